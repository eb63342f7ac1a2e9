//! Names people choose: users, workspaces and repositories.
//!
//! A name is checked once, here, and then is a type of its own; nothing later has to wonder whether it may become a
//! path segment, a line of git's credential protocol or a column of a terminal.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The longest user or workspace name, in bytes (all names are ASCII).
pub const LONGEST_OWNER_NAME: usize = 39;
/// The longest repository name, in bytes.
pub const LONGEST_REPO_NAME: usize = 100;

/// First path segments that tokd's own address answers, so no workspace (and no user, who owns the workspace of the
/// same name) may be called so. Compared without regard to case.
pub const RESERVED: &[&str] = &[
    "-",
    "about",
    "account",
    "admin",
    "api",
    "assets",
    "authz",
    "console",
    "dashboard",
    "device",
    "docs",
    "explore",
    "favicon.ico",
    "git",
    "healthz",
    "help",
    "login",
    "logout",
    "metrics",
    "new",
    "oauth2",
    "openapi.json",
    "profile",
    "public",
    "readyz",
    "register",
    "robots.txt",
    "settings",
    "signup",
    "static",
    "status",
    "tok",
    "tokd",
    "v1",
    "v2",
    "well-known",
];

/// Why a name was refused. The text names the rule, never the whole hostile value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a {what} name cannot be empty")]
    Empty {
        /// Which name: `user`, `workspace` or `repository`.
        what: &'static str,
    },
    /// Longer than the limit.
    #[error("a {what} name has at most {limit} characters, this one has {length}")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
        /// What was given, in bytes.
        length: usize,
    },
    /// A character outside the alphabet.
    #[error(
        "a {what} name has letters, digits, '.', '_' and '-' only; {character:?} (U+{:04X}) at position {position} is not allowed",
        u32::from(*character)
    )]
    Character {
        /// Which name.
        what: &'static str,
        /// The offending character (printed escaped).
        character: char,
        /// Where, counted from 1.
        position: usize,
    },
    /// Starts or ends where a tool would read it as something else (`-flag`, `.hidden`, `..`).
    #[error("a {what} name starts with a letter or digit and does not end with '.', and '..' cannot stand in it")]
    Edge {
        /// Which name.
        what: &'static str,
    },
    /// An ending that git or tok gives a meaning of its own.
    #[error("a {what} name cannot end with {ending:?}: git gives that ending a meaning of its own")]
    Ending {
        /// Which name.
        what: &'static str,
        /// The ending.
        ending: &'static str,
    },
    /// A path segment of tokd's own address.
    #[error("the name {name:?} is reserved: tokd answers that path itself; choose another")]
    Reserved {
        /// The reserved word.
        name: &'static str,
    },
    /// It would be read as an address, where people are told who did something.
    #[error("a {what} name cannot be an IP address")]
    Address {
        /// Which name.
        what: &'static str,
    },
    /// Not `workspace/repository`.
    #[error("a repository is written workspace/repository, with exactly one '/'")]
    NotAPath,
}

fn check(what: &'static str, text: &str, limit: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > limit {
        return Err(NameError::TooLong { what, limit, length: text.chars().count() });
    }
    if let Some((at, character)) =
        text.chars().enumerate().find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        return Err(NameError::Character { what, character, position: at + 1 });
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || text.ends_with('.') || text.contains("..") {
        return Err(NameError::Edge { what });
    }
    for ending in [".git", ".lock"] {
        if text.len() >= ending.len() && text[text.len() - ending.len()..].eq_ignore_ascii_case(ending) {
            return Err(NameError::Ending { what, ending });
        }
    }
    Ok(())
}

fn check_owner(what: &'static str, text: &str) -> Result<(), NameError> {
    check(what, text, LONGEST_OWNER_NAME)?;
    // Only of the fourth version: ':' is in no name.
    if text.parse::<Ipv4Addr>().is_ok() {
        return Err(NameError::Address { what });
    }
    match RESERVED.iter().find(|r| r.eq_ignore_ascii_case(text)) {
        Some(name) => Err(NameError::Reserved { name }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A user's login name. Case is kept, but two names that differ in case alone cannot both exist (the store sees to it).
    UserName, |t| check_owner("user", t)
}
name! {
    /// A workspace's name: the first segment of a repository's URL.
    WorkspaceName, |t| check_owner("workspace", t)
}
name! {
    /// A repository's name inside its workspace, without the `.git` of its URL.
    RepoName, |t| check("repository", t, LONGEST_REPO_NAME)
}
name! {
    /// A trust rule's name. Case is kept, but two names that differ in case alone cannot both exist.
    TrustName, |t| match t {
        // /v1/trusts/check asks something else.
        "check" => Err(NameError::Reserved { name: "check" }),
        _ => check("trust rule", t, LONGEST_REPO_NAME),
    }
}

impl From<&UserName> for WorkspaceName {
    /// The workspace a user owns from the first day carries the user's name; both obey the same rules.
    fn from(user: &UserName) -> Self {
        Self(user.0.clone())
    }
}

/// A repository: `workspace/repo`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath {
    /// The workspace that owns it.
    pub workspace: WorkspaceName,
    /// Its name there.
    pub repo: RepoName,
}

impl FromStr for RepoPath {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (workspace, repo) = text.split_once('/').ok_or(NameError::NotAPath)?;
        if repo.contains('/') {
            return Err(NameError::NotAPath);
        }
        Ok(Self { workspace: workspace.parse()?, repo: repo.parse()? })
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.workspace, self.repo))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_are_refused_with_the_rule_they_break() {
        for (text, rule) in [
            ("", "empty"),
            ("..", "starts with"),
            (".git", "starts with"),
            ("-rf", "starts with"),
            ("a..b", "'..'"),
            ("a/b", "'/'"),
            ("a\u{7}b", "\\u{7}"),
            ("a\nb", "\\n"),
            ("a%2e", "'%'"),
            ("app.git", ".git"),
            ("app.LOCK", ".lock"),
            ("naïve", "'ï'"),
            (&"x".repeat(300), "300"),
        ] {
            let error = text.parse::<RepoName>().unwrap_err().to_string();
            assert!(error.contains(rule), "{text:?}: {error}");
        }
        assert!("V1".parse::<WorkspaceName>().unwrap_err().to_string().contains("reserved"));
        assert!("v1".parse::<RepoName>().is_ok());
        assert!("127.0.0.1".parse::<UserName>().unwrap_err().to_string().contains("address"));
        assert!("10.0.0.8".parse::<WorkspaceName>().is_err());
        assert!("127.0.0.1".parse::<RepoName>().is_ok() && "10.0.0".parse::<UserName>().is_ok());
    }

    #[test]
    fn a_repository_path_has_two_segments() {
        assert_eq!("acme/app".parse::<RepoPath>().unwrap().to_string(), "acme/app");
        for bad in ["acme", "acme/", "/app", "acme/a/b", "acme/../app", "acme//app"] {
            assert!(bad.parse::<RepoPath>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_the_same_and_is_safe_as_a_path_segment(text in "\\PC{0,50}") {
            if let Ok(name) = text.parse::<RepoName>() {
                prop_assert_eq!(name.to_string(), text.clone());
                prop_assert!(!text.contains(['/', '\\', '\0', '%', ' ']) && text != "." && text != "..");
            }
        }
    }
}
