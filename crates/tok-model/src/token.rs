//! A token as the store knows it: everything but its secret.

mod reference;
mod text;

use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::grant::{Cidr, Grant};
use crate::id::{TokenId, UserId, WorkspaceId};
use crate::kind::TokenKind;
use crate::label::Label;

pub use reference::{Reference, ReferenceError};
pub use text::{LONGEST_NAME, TextError, check_description, check_login_name, check_name, check_reason};

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
        self.works_beside_successor_until().or(self.expires_at)
    }

    /// If a rotation gave its place to a successor: until when it works beside that one at the most. A grace gives nobody
    /// more time than they had.
    pub fn works_beside_successor_until(&self) -> Option<Timestamp> {
        match &self.state {
            TokenState::Rotated { grace_ends_at, .. } => {
                Some(self.expires_at.map_or(*grace_ends_at, |end| end.min(*grace_ends_at)))
            }
            TokenState::Live | TokenState::Revoked { .. } => None,
        }
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
