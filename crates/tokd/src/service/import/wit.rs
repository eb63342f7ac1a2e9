//! wit's personal access tokens: JSON, or CSV with a first line that names its columns.

use super::entry::{Entry, Reach, Said, end, number, random, shown_name, words};
use super::fields::{Fields, each, entries};

const PREFIX: &str = "wit_";
/// What carries something, and behind it what a list also has and nobody needs.
const FIELDS: &[&str] = &[
    "name",
    "token",
    "sha256",
    "hash",
    "scopes",
    "expires",
    "expiresAt",
    "user",
    "description",
    "id",
    "prefix",
    "createdAt",
    "lastUsedAt",
];
const COLUMNS: &[&str] =
    &["name", "token", "sha256", "hash", "scopes", "expires", "user", "description", "id", "created", "last_used"];

pub(super) fn read(content: &str) -> Result<Vec<Entry>, String> {
    if content.trim_start().starts_with(['[', '{']) {
        return Ok(each(&entries(content, &["tokens"])?, |fields| fields.needed("name"), from_json));
    }
    from_csv(content)
}

fn from_json(fields: &Fields<'_>) -> Result<Said, String> {
    fields.only(FIELDS)?;
    Ok(Said {
        description: fields.text("description")?.unwrap_or_default().to_owned(),
        user: fields.text("user")?.map(str::to_owned),
        namesake: None,
        reach: Reach::Personal { scopes: fields.texts("scopes")?, routes: None },
        expires: end(fields.any(&["expires", "expiresAt"])?)?,
        secret: random(fields.text("token")?, fields.any(&["sha256", "hash"])?, PREFIX)?,
    })
}

fn from_csv(content: &str) -> Result<Vec<Entry>, String> {
    let mut lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, head) = lines.next().ok_or("it is empty")?;
    let columns = cells(head).ok_or("its first line has a quotation mark that is not closed")?;
    let columns: Vec<String> = columns.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    if !columns.iter().any(|name| name == "name") {
        return Err(format!(
            "it is neither JSON nor CSV with a first line that names its columns, of {}",
            COLUMNS.join(", ")
        ));
    }
    if let Some(column) = columns.iter().find(|column| !COLUMNS.contains(&column.as_str())) {
        return Err(format!("the column {} is not known here; known are {}", shown_name(column), COLUMNS.join(", ")));
    }
    Ok(lines.map(|(at, line)| row(number(at), &columns, line)).collect())
}

fn row(line: u32, columns: &[String], text: &str) -> Entry {
    let refused = |name: &str, why: &str| Entry { line, name: name.to_owned(), said: Err(why.to_owned()) };
    let Some(cells) = cells(text) else { return refused("", "a quotation mark is not closed") };
    let cell = |name: &str| {
        let at = columns.iter().position(|column| column == name)?;
        cells.get(at).map(|cell| cell.trim()).filter(|cell| !cell.is_empty())
    };
    let name = cell("name").unwrap_or_default();
    if cells.len() != columns.len() {
        return refused(name, &format!("it has {} columns, the first line {}", cells.len(), columns.len()));
    }
    let said = || {
        Ok(Said {
            description: cell("description").unwrap_or_default().to_owned(),
            user: cell("user").map(str::to_owned),
            namesake: None,
            reach: Reach::Personal { scopes: cell("scopes").map(words), routes: None },
            expires: end(cell("expires"))?,
            secret: random(cell("token"), cell("sha256").or(cell("hash")), PREFIX)?,
        })
    };
    Entry { line, name: name.to_owned(), said: said() }
}

/// The cells of a line (RFC 4180, a line each). `None` if a quotation mark is not closed.
fn cells(line: &str) -> Option<Vec<String>> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    (!quoted).then_some(cells)
}
