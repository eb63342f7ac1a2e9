//! One entry of another system's file, read but not judged.

use secrecy::SecretString;
use tok_model::clock::Expiry;
use tok_model::import::{FOREIGN_PREFIXES, ImportFormat};
use tok_model::kind::{Permission, TokenKind};
use tok_model::secret::{ForeignSecret, LEAST_FOREIGN, LONGEST_SECRET, SHOWN_LENGTH};

use super::{githosted, htpasswd, nitro, reposilite, wick, wit};

/// One entry: what it says, or why it cannot be read. No reason ever has a secret in it.
pub(super) struct Entry {
    /// The line, or which of the JSON entries; counted from 1.
    pub(super) line: u32,
    /// What the token is called, if it could be read that far.
    pub(super) name: String,
    pub(super) said: Result<Said, String>,
}

/// What an entry says.
pub(super) struct Said {
    pub(super) description: String,
    /// Whom it acts for, if the entry says.
    pub(super) user: Option<String>,
    /// Whom it probably acts for, unless somebody says otherwise.
    pub(super) namesake: Option<String>,
    pub(super) reach: Reach,
    /// Its end; `None` is not said, or never.
    pub(super) expires: Option<Expiry>,
    pub(super) secret: Secret,
}

/// What it may do.
pub(super) enum Reach {
    /// For a user. `None` leaves it to whoever brings it in.
    Personal { scopes: Option<Vec<String>>, routes: Option<Vec<String>> },
    /// For a workspace, on all of its repositories, or only on these.
    Workspace { permission: Permission, repos: Option<Vec<String>> },
}

/// Its secret.
pub(super) enum Secret {
    /// Random: found by its digest, and presented as it was there. Its text, if that is known, is judged yet.
    Random { secret: ForeignSecret, text: Option<SecretString>, shown: String },
    /// Perhaps chosen by somebody: kept under a slow hash, and presented with its name.
    Chosen(SecretString),
    /// The same, of which only bcrypt's hash is known.
    Bcrypt(String),
}

/// Reads a file. An error is about the whole of it.
pub(super) fn read(format: ImportFormat, content: &str) -> Result<Vec<Entry>, String> {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    match format {
        ImportFormat::Wit => wit::read(content),
        ImportFormat::Githosted => githosted::read(content),
        ImportFormat::Reposilite => reposilite::read(content),
        ImportFormat::Nitro => nitro::read(content),
        ImportFormat::Wick => wick::read(content),
        ImportFormat::Htpasswd => Ok(htpasswd::read(content)),
    }
}

/// A random secret by its text or by the SHA-256 of it, whichever is given. `prefix` is shown of one whose text is not.
pub(super) fn random(text: Option<&str>, sha256: Option<&str>, prefix: &str) -> Result<Secret, String> {
    match (text, sha256) {
        (Some(_), Some(_)) => Err("it has both its text and its hash: leave one of them out".to_owned()),
        (None, None) => Err("it has neither its text nor the SHA-256 of it".to_owned()),
        (None, Some(hash)) => {
            let hash = hash.strip_prefix("sha256:").unwrap_or(hash);
            let secret =
                ForeignSecret::of_sha256(hash).ok_or("its hash is not a SHA-256: 64 hexadecimal digits are one")?;
            Ok(Secret::Random { secret, text: None, shown: prefix.to_owned() })
        }
        (Some(text), None) => {
            if TokenKind::every().any(|kind| text.starts_with(kind.prefix())) {
                return Err("its text is a tok token's; those are made, not brought in".to_owned());
            }
            // What a list shows of a token, which everybody who may see the list knows.
            if text.contains('…') || text.contains("...") {
                return Err("its text is cut short with an ellipsis, as lists show it: give the whole token".to_owned());
            }
            if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err("its text has characters in it that no token has".to_owned());
            }
            if text.len() > LONGEST_SECRET {
                return Err(format!(
                    "its text has {} characters: a token that a system made has {LEAST_FOREIGN} to {LONGEST_SECRET}",
                    text.len()
                ));
            }
            let known =
                FOREIGN_PREFIXES.iter().find(|prefix| text.starts_with(**prefix)).map_or(0, |known| known.len());
            let shown = &text[..(known + SHOWN_LENGTH).min(text.len() / 2)];
            Ok(Secret::Random {
                secret: ForeignSecret::of_text(text),
                text: Some(SecretString::from(text)),
                shown: shown.to_owned(),
            })
        }
    }
}

/// When it ends, as the other system writes it.
pub(super) fn end(text: Option<&str>) -> Result<Option<Expiry>, String> {
    match text.map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("never") => Ok(None),
        // A bare number would be read as days from now, which no list of tokens means.
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("its end is a number; a date is 2027-01-31, a moment 2027-01-31T12:00:00Z".to_owned())
        }
        Some(text) => match text.parse() {
            Ok(at @ Expiry::At(_)) => Ok(Some(at)),
            _ => Err("its end is no date (2027-01-31) and no moment (2027-01-31T12:00:00Z)".to_owned()),
        },
    }
}

/// Scopes, routes or repositories in one text: with commas, semicolons or spaces between them.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split([',', ';', ' ']).map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A name of a field for a message. What does not look like one could be a secret that stands in the wrong place.
pub(super) fn shown_name(name: &str) -> String {
    let plain = name.len() <= 24 && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    if plain { format!("{name:?}") } else { "(not shown: it looks like no name of a field)".to_owned() }
}

/// `1`-based number of a line or an entry.
pub(super) fn number(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}
