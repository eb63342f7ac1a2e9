//! Password files of Apache and nginx: `name:$2y$…`, one a line. Only bcrypt is taken.

use super::entry::{Entry, Reach, Said, Secret, number};
use crate::slow_hash::bcrypt_cost;

pub(super) fn read(content: &str) -> Vec<Entry> {
    let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| {
            let Some((name, hash)) = line.trim().split_once(':') else {
                let why = "it is not name:hash".to_owned();
                return Entry { line: number(at), name: String::new(), said: Err(why) };
            };
            Entry { line: number(at), name: name.to_owned(), said: said(name, hash) }
        })
        .collect()
}

fn said(name: &str, hash: &str) -> Result<Said, String> {
    let unsafe_hash = |what: &str| {
        Err(format!("{what} can be guessed too fast; make a bcrypt line with `htpasswd -B`, or a new token"))
    };
    match hash {
        _ if hash.starts_with("$2") => {}
        _ if hash.starts_with("$apr1$") || hash.starts_with("$1$") => return unsafe_hash("its MD5 hash"),
        _ if hash.starts_with("{SHA}") => return unsafe_hash("its SHA-1 hash"),
        _ if hash.starts_with("$5$") || hash.starts_with("$6$") => {
            return Err("its hash is SHA-crypt; only bcrypt is taken: make a line with `htpasswd -B`".to_owned());
        }
        _ => return unsafe_hash("what it has (crypt, or the password itself)"),
    }
    bcrypt_cost(hash)?;
    Ok(Said {
        description: String::new(),
        user: None,
        namesake: Some(name.to_owned()),
        reach: Reach::Personal { scopes: None, routes: None },
        expires: None,
        secret: Secret::Bcrypt(hash.to_owned()),
    })
}
