//! The kinds of token, the two permissions of kinds that carry no scopes, and the roles of a workspace.

use crate::scope::RepoRight;

/// Text that names none of a fixed list of words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {text:?}; known are {known}")]
pub struct UnknownWord {
    pub(crate) what: &'static str,
    pub(crate) text: String,
    pub(crate) known: String,
}

/// Gives an enum its words: `as_str`, `Display`, `FromStr`, `every`.
macro_rules! words {
    ($name:ident, $what:literal, $($variant:ident = $text:literal),+ $(,)?) => {
        impl $name {
            /// Every value, in order.
            pub fn every() -> impl Iterator<Item = Self> {
                [$(Self::$variant),+].into_iter()
            }

            /// The text that is stored, sent and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::kind::UnknownWord;
            fn from_str(text: &str) -> Result<Self, $crate::kind::UnknownWord> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::kind::UnknownWord {
                        what: $what,
                        text: text.chars().take(40).collect(),
                        known: Self::every().map(Self::as_str).collect::<Vec<_>>().join(", "),
                    }),
                }
            }
        }
    };
}
pub(crate) use words;

/// What sort of token it is: for whom it acts and how far it reaches at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {
    /// Acts for a user, within scopes and routes.
    Personal,
    /// Acts for a workspace: every repository of it.
    Workspace,
    /// Acts for a workspace, on the repositories of its allowlist only.
    Repo,
    /// A user's login; may mint git tokens.
    Session,
    /// Minted just in time for one repository.
    Git,
}

words!(
    TokenKind,
    "token kind",
    Personal = "personal",
    Workspace = "workspace",
    Repo = "repo",
    Session = "session",
    Git = "git"
);

impl TokenKind {
    /// The fixed prefix of the token's text, with the underscore that ends it. Fixed for ever: secret scanners know them.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Personal => "tokpat_",
            Self::Workspace => "tokwsp_",
            Self::Repo => "tokrep_",
            Self::Session => "tokses_",
            Self::Git => "tokgit_",
        }
    }
}

/// How much a workspace, repo or git token may do. Write includes read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Clone and fetch.
    Read,
    /// Push as well.
    Write,
}

words!(Permission, "permission", Read = "read", Write = "write");

impl Permission {
    /// Whether it is enough for `right`; administration never is a permission's to give.
    pub fn covers(self, right: RepoRight) -> bool {
        self.right() >= right
    }

    /// The most that it allows on a repository.
    pub fn right(self) -> RepoRight {
        match self {
            Self::Read => RepoRight::Read,
            Self::Write => RepoRight::Write,
        }
    }
}

/// A member's role in a workspace. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May clone and fetch.
    Reader,
    /// May push.
    Writer,
    /// May administer repositories, members and workspace tokens.
    Maintainer,
}

words!(Role, "role", Reader = "reader", Writer = "writer", Maintainer = "maintainer");

impl Role {
    /// The most that the role allows on each repository of the workspace.
    pub fn right(self) -> RepoRight {
        match self {
            Self::Reader => RepoRight::Read,
            Self::Writer => RepoRight::Write,
            Self::Maintainer => RepoRight::Admin,
        }
    }

    /// The least role that gives `right`.
    pub fn needed_for(right: RepoRight) -> Self {
        match right {
            RepoRight::Read => Self::Reader,
            RepoRight::Write => Self::Writer,
            RepoRight::Admin => Self::Maintainer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_and_strangers_are_named() {
        for kind in TokenKind::every() {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(kind.prefix().len(), 7);
        }
        let error = "owner".parse::<Role>().unwrap_err().to_string();
        assert!(error.contains("owner") && error.contains("reader, writer, maintainer"), "{error}");
    }

    #[test]
    fn write_covers_read_and_neither_covers_admin() {
        assert!(Permission::Write.covers(RepoRight::Read) && !Permission::Read.covers(RepoRight::Write));
        assert!(Permission::every().all(|p| !p.covers(RepoRight::Admin)));
        for right in [RepoRight::Read, RepoRight::Write, RepoRight::Admin] {
            assert_eq!(Role::needed_for(right).right(), right);
        }
    }
}
