//! What a login goes by beside its server and user: a name of its own, and what it is for.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use tok_model::name::{NameError, RepoPath, WorkspaceName};

/// The name of a login on this machine: letters, digits, `-`, `_` and `.`, at most 64.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Profile(String);

impl FromStr for Profile {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && text.len() <= 64 && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a profile's name has 1 to 64 letters, digits, '-', '_' and '.', and begins with a letter or digit")
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a login is for: a workspace, or one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathPrefix {
    Workspace(WorkspaceName),
    Repository(RepoPath),
}

impl PathPrefix {
    /// A repository that it covers, if it names one.
    pub(crate) fn example(&self) -> Option<RepoPath> {
        match self {
            Self::Workspace(name) => format!("{name}/{name}").parse().ok(),
            Self::Repository(repo) => Some(repo.clone()),
        }
    }

    pub(super) fn covers(&self, path: &RepoPath) -> bool {
        match self {
            Self::Workspace(name) => *name == path.workspace,
            Self::Repository(repo) => repo == path,
        }
    }
}

impl FromStr for PathPrefix {
    type Err = NameError;
    /// Reads `acme`, `acme/` and `acme/app`, as they stand in a URL: with a slash before and `.git` behind, too.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        match text.strip_suffix('/').unwrap_or(text) {
            path if path.contains('/') => path.strip_suffix(".git").unwrap_or(path).parse().map(Self::Repository),
            name => name.parse().map(Self::Workspace),
        }
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace(name) => name.fmt(f),
            Self::Repository(repo) => repo.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_workspaces_and_repositories() {
        for (text, expected) in
            [("acme", "acme"), ("/acme/", "acme"), ("acme/app.git", "acme/app"), ("/acme/app", "acme/app")]
        {
            assert_eq!(text.parse::<PathPrefix>().unwrap().to_string(), expected);
        }
        for bad in ["", "/", "acme/*", "acme/app/x", "../x", "acme//app", "a b"] {
            assert!(bad.parse::<PathPrefix>().is_err(), "{bad}");
        }
        let app: RepoPath = "acme/app".parse().unwrap();
        assert!("acme".parse::<PathPrefix>().unwrap().covers(&app));
        assert!(!"acm".parse::<PathPrefix>().unwrap().covers(&app));
        assert!(!"acme/ap".parse::<PathPrefix>().unwrap().covers(&app));
    }

    #[test]
    fn a_profile_is_a_plain_word() {
        for good in ["work", "a", "ci-2", "me_at.home"] {
            assert_eq!(good.parse::<Profile>().unwrap().to_string(), good);
        }
        for bad in ["", "-x", ".x", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Profile>().is_err(), "{bad}");
        }
    }
}
