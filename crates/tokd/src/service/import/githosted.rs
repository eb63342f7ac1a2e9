//! githosted's workspace and repo tokens: JSON, as its SDK's `createToken` and `listTokens` write it.

use tok_model::kind::Permission;

use super::entry::{Entry, Reach, Said, end, random};
use super::fields::{Fields, each, entries};

const FIELDS: &[&str] = &[
    "name",
    "token",
    "sha256",
    "hash",
    "kind",
    "permission",
    "repoAllowlist",
    "expiresAt",
    "revokedAt",
    "description",
    "prefix",
    "createdAt",
    "lastUsedAt",
    "createdByUserId",
    "createdByName",
    "createdByTokenPrefix",
    "id",
];

pub(super) fn read(content: &str) -> Result<Vec<Entry>, String> {
    let entries = entries(content, &["tokens"])?;
    // createToken's result has the text beside the record.
    let record = |fields: &Fields<'_>| -> Result<Option<()>, String> { Ok(fields.object("record")?.map(|_| ())) };
    let name = |fields: &Fields<'_>| match fields.object("record")? {
        Some(record) => record.needed("name"),
        None => fields.needed("name"),
    };
    Ok(each(&entries, name, |fields| match (record(fields)?, fields.object("record")?) {
        (Some(()), Some(record)) => {
            fields.only(&["token", "record"])?;
            said(&record, fields.text("token")?)
        }
        _ => said(fields, None),
    }))
}

fn said(fields: &Fields<'_>, text: Option<&str>) -> Result<Said, String> {
    fields.only(FIELDS)?;
    if fields.has("revokedAt") {
        return Err("it was revoked there".to_owned());
    }
    let permission = match fields.text("permission")? {
        // As there: whoever does not say may write.
        None | Some("write") => Permission::Write,
        Some("read") => Permission::Read,
        Some(_) => return Err("its permission is neither read nor write".to_owned()),
    };
    let repos = fields.texts("repoAllowlist")?.filter(|repos| !repos.is_empty());
    let (prefix, repos) = match (fields.text("kind")?, repos) {
        (None | Some("workspace"), None) => ("gw_", None),
        (None | Some("workspace"), Some(_)) => return Err("a workspace token has no repoAllowlist".to_owned()),
        (Some("repo"), Some(repos)) => ("gr_", Some(repos)),
        (Some("repo"), None) => return Err("a repo token needs its repoAllowlist".to_owned()),
        (Some(_), _) => return Err("its kind is neither workspace nor repo".to_owned()),
    };
    let own = fields.text("token")?;
    if text.is_some() && own.is_some() {
        return Err("its text is there twice".to_owned());
    }
    Ok(Said {
        description: fields.text("description")?.unwrap_or_default().to_owned(),
        user: None,
        namesake: None,
        reach: Reach::Workspace { permission, repos },
        expires: end(fields.text("expiresAt")?)?,
        secret: random(text.or(own), fields.any(&["sha256", "hash"])?, prefix)?,
    })
}
