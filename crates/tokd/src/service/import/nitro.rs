//! nitro's personal access tokens: JSON.

use super::entry::{Entry, Reach, Said, end, random};
use super::fields::{Fields, each, entries};

const FIELDS: &[&str] =
    &["id", "description", "expiresAt", "secret", "hash", "sha256", "user", "createdAt", "lastUsedAt"];

pub(super) fn read(content: &str) -> Result<Vec<Entry>, String> {
    // There a token has no name, and its description must be given.
    Ok(each(&entries(content, &["tokens", "items"])?, |fields| fields.needed("description"), said))
}

fn said(fields: &Fields<'_>) -> Result<Said, String> {
    fields.only(FIELDS)?;
    Ok(Said {
        description: fields.text("id")?.map(|id| format!("nitro {id}")).unwrap_or_default(),
        user: fields.text("user")?.map(str::to_owned),
        namesake: None,
        // It can do whatever its owner can.
        reach: Reach::Personal { scopes: Some(vec!["all".to_owned()]), routes: None },
        expires: end(fields.text("expiresAt")?)?,
        secret: random(fields.text("secret")?, fields.any(&["sha256", "hash"])?, "nitro_")?,
    })
}
