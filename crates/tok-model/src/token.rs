//! A token as the store knows it: everything but its secret.

use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::grant::{Cidr, Grant};
use crate::id::{TokenId, UserId, WorkspaceId};
use crate::kind::TokenKind;
use crate::label::Label;
use crate::unseen::{self, Unseen};

/// The longest name or description of a token, in characters.
pub const LONGEST_NAME: usize = 200;

/// Who a token acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A user.
    User(UserId),
    /// A workspace.
    Workspace(WorkspaceId),
}

/// Whether it was ended by somebody. That it ran out is not a state: it is asked with a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    /// Nobody ended it.
    Live,
    /// A successor was made. It works until the grace ends; to present it after that is reuse of a secret that was given
    /// up, and ends the family.
    Rotated {
        /// When the successor was made.
        at: Timestamp,
        /// By whom, as the audit trail calls them.
        by: String,
        /// The first moment at which it no longer works: what was asked for, or the successor's first use.
        grace_ends_at: Timestamp,
        /// The token that takes its place.
        successor: TokenId,
    },
    /// Somebody did.
    Revoked {
        /// When.
        at: Timestamp,
        /// Who, as the audit trail calls them.
        by: String,
        /// Why, if they said.
        reason: Option<String>,
    },
}

/// How the reason goes on that a family's end is given, after the beginning of the token that was reused.
const REUSED: &str = "… was presented after it had been rotated away: its family ended";

impl TokenState {
    /// Why a whole family ended: the token that begins so was presented after it had been given up.
    pub fn reason_of_reuse(shown_prefix: &str) -> String {
        format!("{shown_prefix}{REUSED}")
    }

    /// The beginning of the token whose reuse ended this one's family, if that is why it ended.
    pub fn reused(&self) -> Option<&str> {
        match self {
            Self::Revoked { reason: Some(reason), .. } => reason.strip_suffix(REUSED),
            Self::Live | Self::Rotated { .. } | Self::Revoked { .. } => None,
        }
    }
}

/// How a token stands at some time: what lists show and filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Works.
    Active,
    /// Ran out.
    Expired,
    /// Was ended.
    Revoked,
}

crate::kind::words!(Standing, "token state", Active = "active", Expired = "expired", Revoked = "revoked");

/// Where a token was last used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// When, to the minute at worst.
    pub at: Timestamp,
    /// From where; unknown behind a socket.
    pub address: Option<IpAddr>,
    /// By what program, as it called itself.
    pub agent: Option<String>,
    /// For which repository, if for one: `workspace/repo`.
    pub repo: Option<String>,
}

/// How the secret of a token came to be, and so how it is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretForm {
    /// Made here, from the system's generator: the text says what it is.
    Minted,
    /// Chosen by somebody: presented as HTTP Basic (RFC 7617) with the token's name as the user name.
    Chosen,
    /// Made by another system and brought in: presented as it was there.
    Foreign,
}

crate::kind::words!(SecretForm, "secret form", Minted = "minted", Chosen = "chosen", Foreign = "foreign");

/// How often a token may be used, and has been. Each request that is let in with it is a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UseLimit {
    /// At most.
    pub most: i64,
    /// So far.
    pub so_far: i64,
}

/// Who made a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creator {
    /// The user, if it was one.
    pub user: Option<UserId>,
    /// What they were called then.
    pub name: String,
    /// The shown prefix of the token they used, if they used one.
    pub token_prefix: Option<String>,
    /// Address or local socket, as in `192.0.2.1` or `unix:uid=1000`.
    pub from: String,
    /// The program that asked, as it called itself.
    pub agent: Option<String>,
}

/// A stored token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its handle.
    pub id: TokenId,
    /// What its owner called it. Any printable text.
    pub name: String,
    /// More words on it.
    pub description: String,
    /// Prefix and first characters of the text.
    pub shown_prefix: String,
    /// What it was given.
    pub grant: Grant,
    /// Who it acts for.
    pub owner: Owner,
    /// The owner's name, for people.
    pub owner_name: String,
    /// The token it was made through.
    pub parent: Option<TokenId>,
    /// The first token of its line of rotations; itself if it never was rotated.
    pub family: TokenId,
    /// Addresses it works from; empty is anywhere.
    pub allow_from: Vec<Cidr>,
    /// Whether it is the login of a user of this machine: nobody holds its text, so it is never presented.
    pub local_login: bool,
    /// Who made it.
    pub creator: Creator,
    /// When it was made.
    pub created_at: Timestamp,
    /// The first moment at which it no longer works; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// The first moment at which it is ended for not being used, unless it is used before; `None` if that ends it never.
    /// By the policy of the server, not by the store, which therefore leaves it out.
    pub idle_ends_at: Option<Timestamp>,
    /// Live or revoked.
    pub state: TokenState,
    /// Its last use.
    pub last_use: Option<LastUse>,
    /// How its secret came to be.
    pub secret: SecretForm,
    /// What it was imported from, if it was.
    pub imported_from: Option<String>,
    /// Words that it is found by.
    pub labels: Vec<Label>,
    /// How often it may be used; `None` is any number of times.
    pub use_limit: Option<UseLimit>,
    /// The token whose place it takes, by rotation.
    pub predecessor: Option<TokenId>,
    /// Its first use is to be written down before it is answered: it takes another's place, whose grace its first use
    /// ends, or it was made under an idempotency key, where a retry replaces only what nobody has used.
    pub first_use_due: bool,
    /// Grows with each change that somebody makes to it, from 1.
    pub version: i32,
    /// When somebody last changed it.
    pub modified_at: Option<Timestamp>,
    /// Why its row cannot be understood, as when another version wrote it. It opens nothing, and where its kind, scopes,
    /// routes, addresses or labels could not be read, they are not what is kept.
    pub unreadable: Option<String>,
}

/// What ends a token whose uses are all made.
pub const USED_UP: &str = "used up";

impl Token {
    /// Whether it ended with the last use that it had, and not by anybody's act.
    pub fn is_used_up(&self) -> bool {
        let ended = matches!(&self.state, TokenState::Revoked { reason: Some(why), .. } if why == USED_UP);
        ended && self.use_limit.is_some_and(|limit| limit.so_far >= limit.most)
    }

    /// Its kind.
    pub fn kind(&self) -> TokenKind {
        self.grant.kind()
    }

    /// The first moment at which it no longer works by itself: its expiry, or the end of the grace that a rotation left it.
    pub fn ends_at(&self) -> Option<Timestamp> {
        let grace_ends_at = match &self.state {
            TokenState::Rotated { grace_ends_at, .. } => Some(*grace_ends_at),
            TokenState::Live | TokenState::Revoked { .. } => None,
        };
        [self.expires_at, grace_ends_at].into_iter().flatten().min()
    }

    /// Whether letting somebody in with it changes something that must be written down first: a use is counted, a first
    /// use ends another's grace, or it turns out to be one that was given up. What is not so may be remembered for a while.
    pub fn needs_the_store(&self) -> bool {
        match &self.state {
            TokenState::Revoked { .. } => false,
            TokenState::Rotated { .. } => true,
            TokenState::Live => self.first_use_due || self.use_limit.is_some(),
        }
    }

    /// How it stands at `now`. It works in `[created_at, expires_at)`.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match &self.state {
            TokenState::Revoked { .. } => Standing::Revoked,
            TokenState::Rotated { grace_ends_at, .. } if *grace_ends_at <= now => Standing::Revoked,
            // What ran out before could not rest too long.
            _ if self
                .idle_ends_at
                .is_some_and(|end| end <= now && self.expires_at.is_none_or(|ran_out| end < ran_out)) =>
            {
                Standing::Revoked
            }
            _ if self.expires_at.is_some_and(|end| end <= now) => Standing::Expired,
            TokenState::Live | TokenState::Rotated { .. } => Standing::Active,
        }
    }
}

/// Why a token's name, a description or a reason was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing in it.
    #[error("a token needs a name that says where it lives, as in \"CI of acme/app\"")]
    Empty,
    /// Too long.
    #[error("a {what} has at most {LONGEST_NAME} characters, this one has {length}")]
    TooLong {
        /// `name`, `description` or `reason`.
        what: &'static str,
        /// In characters.
        length: usize,
    },
    /// Cannot stand before a password.
    #[error(
        "the name of a token with a chosen secret has no colon, and no space at its ends; {character:?} is one too many"
    )]
    Login {
        /// The offender.
        character: char,
    },
    /// Somebody pasted a token where words belong.
    #[error(
        "a {what} is kept and shown as it is, and this one has a whole token in it: revoke that token, and say it in words"
    )]
    Secret {
        /// `name`, `description` or `reason`.
        what: &'static str,
    },
    /// Would break a line or a terminal.
    #[error("a {what} is one line of printable text; {offender} is not allowed in it")]
    Control {
        /// `name`, `description` or `reason`.
        what: &'static str,
        /// The offender.
        offender: Unseen,
    },
    /// Cannot be told from the same name without it.
    #[error("a name looks different from every other, and nobody sees {offender}: leave it out")]
    Unseen {
        /// The offender.
        offender: Unseen,
    },
}

/// Checks a token's name: one printable line, not empty.
pub fn check_name(text: &str) -> Result<(), TextError> {
    if text.trim().is_empty() {
        return Err(TextError::Empty);
    }
    check_text("name", text)?;
    match unseen::first(text) {
        Some(offender) => Err(TextError::Unseen { offender }),
        None => Ok(()),
    }
}

/// Checks a description: one printable line, may be empty.
pub fn check_description(text: &str) -> Result<(), TextError> {
    check_text("description", text)
}

/// Checks a reason: as a description.
pub fn check_reason(text: &str) -> Result<(), TextError> {
    check_text("reason", text)
}

/// Checks the name of a token with a chosen secret: it is the user name of HTTP Basic (RFC 7617 section 2), in which a
/// colon ends it.
pub fn check_login_name(text: &str) -> Result<(), TextError> {
    check_name(text)?;
    match text.chars().find(|c| *c == ':') {
        Some(character) => Err(TextError::Login { character }),
        None if text.trim() != text => Err(TextError::Login { character: ' ' }),
        None => Ok(()),
    }
}

fn check_text(what: &'static str, text: &str) -> Result<(), TextError> {
    let length = text.chars().count();
    if length > LONGEST_NAME {
        return Err(TextError::TooLong { what, length });
    }
    if crate::secret::has_token(text) {
        return Err(TextError::Secret { what });
    }
    match unseen::first_hostile(text) {
        Some(offender) => Err(TextError::Control { what, offender }),
        None => Ok(()),
    }
}

/// How people point at a token: its ID or the beginning of it, the beginning of its text, or its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The whole ID.
    Id(TokenId),
    /// The beginning of an ID: at least 4 hexadecimal digits, hyphens where an ID has them, lower case.
    IdPrefix(String),
    /// The shown prefix of the text, as in `tokpat_a1b2`, possibly cut short.
    TokenPrefix(String),
    /// The whole name that its owner gave it.
    Name(String),
}

/// Text that points at nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// None of the forms.
    #[error(
        "{0:?} points at no token: give an ID or at least 4 characters of it, a prefix such as tokpat_a1b2, or a name; `tok token list` shows them"
    )]
    Form(String),
    /// Somebody typed a whole secret where a handle belongs.
    #[error(
        "that is a whole token, not its ID; a secret in an argument is seen by others on this machine: revoke it, and use its ID or the first 11 characters"
    )]
    Secret,
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        if let Some(kind) = TokenKind::every().find(|k| text.starts_with(k.prefix())) {
            let shown = &text[kind.prefix().len()..];
            let shown = shown.trim_end_matches(['.', '…']);
            return if shown.len() > crate::secret::SHOWN_LENGTH {
                Err(ReferenceError::Secret)
            } else if shown.chars().all(|c| c.is_ascii_alphanumeric()) {
                Ok(Self::TokenPrefix(format!("{}{shown}", kind.prefix())))
            } else {
                Err(ReferenceError::Form(text.chars().take(20).collect()))
            };
        }
        // Of another system's text, too: its beginning points at it, all of it is a secret.
        if let Some(prefix) = crate::import::FOREIGN_PREFIXES.iter().find(|prefix| text.starts_with(**prefix)) {
            let shown = text[prefix.len()..].trim_end_matches(['.', '…']);
            match shown.len() {
                _ if !shown.chars().all(|c| c.is_ascii_alphanumeric()) => {}
                0..=crate::secret::SHOWN_LENGTH => return Ok(Self::TokenPrefix(format!("{prefix}{shown}"))),
                crate::secret::LEAST_FOREIGN.. => return Err(ReferenceError::Secret),
                _ => {}
            }
        }
        let digits = text.trim_end_matches(['.', '…']).to_ascii_lowercase();
        let plausible = digits.chars().enumerate().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        });
        if (4..36).contains(&digits.len()) && plausible {
            return Ok(Self::IdPrefix(digits));
        }
        match check_name(text) {
            Ok(()) => Ok(Self::Name(text.to_owned())),
            Err(_) => Err(ReferenceError::Form(text.chars().take(40).collect())),
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::IdPrefix(text) | Self::TokenPrefix(text) | Self::Name(text) => f.pad(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_apart() {
        let id = "1b4e28ba-2fa1-4d2e-883f-0016d3cca427";
        assert!(matches!(id.parse(), Ok(Reference::Id(_))));
        assert_eq!("1B4E2".parse(), Ok(Reference::IdPrefix("1b4e2".into())));
        assert_eq!("1b4e28ba-2f".parse(), Ok(Reference::IdPrefix("1b4e28ba-2f".into())));
        assert_eq!("tokpat_a1b2…".parse(), Ok(Reference::TokenPrefix("tokpat_a1b2".into())));
        assert_eq!("tokpat_a1b2c3".parse::<Reference>(), Err(ReferenceError::Secret));
        for name in ["abc", "1b4e28ba2", "%", "1b4e'--", "CI of acme/app", "wit_backup", "deploy:"] {
            assert_eq!(name.parse(), Ok(Reference::Name(name.into())));
        }
        for text in ["1b4e28ba-2f", "tokpat_a1b2", "CI"] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        assert_eq!("wit_a1b2...".parse(), Ok(Reference::TokenPrefix("wit_a1b2".into())));
        let whole = "wick_pat_0123456789abcdef0123456789abcdef";
        assert_eq!(whole.parse::<Reference>(), Err(ReferenceError::Secret));
        for bad in ["", " ", "tokpat_%", "a\nb", &"x".repeat(201)] {
            assert!(matches!(bad.parse::<Reference>(), Err(ReferenceError::Form(_))), "{bad}");
        }
    }

    #[test]
    fn names_are_one_printable_line() {
        assert!(check_name("CI „acme“ 🚀").is_ok() && check_description("").is_ok());
        for bad in ["", "  ", "a\nb", "a\u{1b}[31m", "a\u{202e}b", "\u{2028}", "a\u{200b}", &"x".repeat(201)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        // Harmless where nobody goes by it, and shown escaped.
        assert!(check_description("a\u{200b}").is_ok() && check_description("a\u{202e}b").is_err());
        let why = check_name("ab\u{200b}").unwrap_err().to_string();
        assert!(why.contains("U+200B at position 3"), "{why}");
        assert!(check_reason("a\nb").unwrap_err().to_string().contains("a reason is one line"));
        assert!(check_login_name("deploy of acme").is_ok());
        for bad in ["a:b", ":", " a", "a ", ""] {
            assert!(check_login_name(bad).is_err(), "{bad:?}");
        }
    }
}
