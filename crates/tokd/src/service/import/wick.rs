//! wick's personal access tokens: lines of name, user and SHA-256 with tabs between them, or JSON.

use super::entry::{Entry, Reach, Said, number, random};
use super::fields::{Fields, each, entries};

const PREFIX: &str = "wick_pat_";
const FIELDS: &[&str] = &["id", "name", "user", "hash", "sha256", "token", "createdAt", "lastUsedAt"];

pub(super) fn read(content: &str) -> Result<Vec<Entry>, String> {
    if content.trim_start().starts_with(['[', '{']) {
        return Ok(each(&entries(content, &["tokens"])?, |fields| fields.needed("name"), from_json));
    }
    let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    Ok(lines.map(|(at, line)| from_line(number(at), line)).collect())
}

fn from_json(fields: &Fields<'_>) -> Result<Said, String> {
    fields.only(FIELDS)?;
    said(fields.text("user")?, fields.text("token")?, fields.any(&["sha256", "hash"])?)
}

fn from_line(line: u32, text: &str) -> Entry {
    let mut columns = text.split('\t').map(str::trim);
    let (Some(name), Some(user), Some(secret), None) = (columns.next(), columns.next(), columns.next(), columns.next())
    else {
        let why = "it is not a name, a user and a SHA-256 with a tab between each".to_owned();
        return Entry { line, name: String::new(), said: Err(why) };
    };
    let user = Some(user).filter(|user| !user.is_empty());
    let said = if secret.starts_with(PREFIX) { said(user, Some(secret), None) } else { said(user, None, Some(secret)) };
    Entry { line, name: name.to_owned(), said }
}

fn said(user: Option<&str>, text: Option<&str>, sha256: Option<&str>) -> Result<Said, String> {
    Ok(Said {
        description: String::new(),
        user: user.map(str::to_owned),
        namesake: None,
        // It carries the same permissions as its user.
        reach: Reach::Personal { scopes: Some(vec!["all".to_owned()]), routes: None },
        expires: None,
        secret: random(text, sha256, PREFIX)?,
    })
}
