//! Who is calling, and what their owner may do at this moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::audit::{Actor, Source};
use crate::id::{UserId, WorkspaceId};
use crate::kind::Role;
use crate::name::{UserName, WorkspaceName};
use crate::token::{Owner, Token};
use crate::trust::TrustRule;

/// A caller: what they presented, who stands behind it, and from where they call.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What they presented.
    pub bearer: Bearer,
    /// Who stands behind it, as the store has it now.
    pub owner: OwnerNow,
    /// From where.
    pub source: Source,
}

/// What a caller presented.
#[derive(Debug, Clone)]
pub enum Bearer {
    /// Nothing.
    Nothing,
    /// The kernel's word for their user ID on the local socket.
    LocalPeer {
        /// Whether that user ID administers the server: root's or the daemon's own. Not so while it acts as another
        /// user (`--as`): then it has that user's authority and no more.
        manager: bool,
    },
    /// A token.
    Token(Arc<Token>),
    /// What a manager presented who acts as another user (`--as`): they have that user's authority, as far as what they
    /// presented reaches, and no more. Only whoever has asked whether they administer the server may make one.
    Acting {
        /// A token of the manager's, or a temporary one.
        by: Arc<Bearer>,
    },
    /// Whoever a password, or a login that they approved in their browser, vouches for: good for opening a session of
    /// their own, and for nothing else.
    Password,
    /// A temporary token, given to the daemon when it started and kept nowhere: administers the server.
    Temporary {
        /// What it was called.
        name: Arc<str>,
    },
    /// An identity token of a CI system that a trust rule of this server lets in: may make git tokens for the rule's
    /// workspace, within the rule, and nothing else. Only whoever has verified the token may make one.
    Trusted {
        /// The rule.
        rule: Arc<TrustRule>,
    },
}

/// The owner's authority now.
#[derive(Debug, Clone)]
pub enum OwnerNow {
    /// Nobody known to tok.
    Nobody,
    /// A user.
    User(Arc<UserNow>),
    /// A workspace that exists.
    Workspace {
        /// Its ID.
        id: WorkspaceId,
        /// Its name.
        name: WorkspaceName,
        /// Whoever made the token, if they are disabled: it rests with them.
        disabled_maker: Option<UserName>,
    },
}

/// A user as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNow {
    /// Their ID.
    pub id: UserId,
    /// Their login name.
    pub name: UserName,
    /// Whether they may act at all.
    pub enabled: bool,
    /// Whether they may administer the server.
    pub manager: bool,
    /// Each workspace they are a member of.
    pub memberships: BTreeMap<WorkspaceName, Membership>,
}

/// A user's part in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// As what.
    pub role: Role,
}

impl Bearer {
    fn token(&self) -> Option<&Token> {
        match self {
            Self::Token(token) => Some(token),
            Self::Acting { by } => by.token(),
            Self::Nothing | Self::LocalPeer { .. } | Self::Password | Self::Temporary { .. } | Self::Trusted { .. } => {
                None
            }
        }
    }

    fn temporary(&self) -> Option<&str> {
        match self {
            Self::Temporary { name } => Some(name),
            Self::Acting { by } => by.temporary(),
            Self::Nothing | Self::LocalPeer { .. } | Self::Password | Self::Token(_) | Self::Trusted { .. } => None,
        }
    }
}

impl Caller {
    /// Somebody who presented nothing.
    pub fn anonymous(source: Source) -> Self {
        Self { bearer: Bearer::Nothing, owner: OwnerNow::Nobody, source }
    }

    /// The user behind the call, if it is one.
    pub fn user(&self) -> Option<&UserNow> {
        match &self.owner {
            OwnerNow::User(user) => Some(user),
            OwnerNow::Nobody | OwnerNow::Workspace { .. } => None,
        }
    }

    /// The workspace that the call is made for, if it is one: by a token of its own.
    pub fn workspace(&self) -> Option<&WorkspaceName> {
        match &self.owner {
            OwnerNow::Workspace { name, .. } => Some(name),
            OwnerNow::Nobody | OwnerNow::User(_) => None,
        }
    }

    /// The token presented, if one was.
    pub fn token(&self) -> Option<&Token> {
        self.bearer.token()
    }

    /// Whether the kernel's word alone makes the caller administer the server: root, or the daemon's own user. They do so
    /// whether or not there is a tok user of their name, and whatever that one is.
    pub fn administers_by_kernel(&self) -> bool {
        matches!(self.bearer, Bearer::LocalPeer { manager: true })
    }

    /// Who the caller acts for.
    pub fn owner_id(&self) -> Option<Owner> {
        match &self.owner {
            OwnerNow::Nobody => None,
            OwnerNow::User(user) => Some(Owner::User(user.id)),
            OwnerNow::Workspace { id, .. } => Some(Owner::Workspace(*id)),
        }
    }

    /// The name that hooks, logs and servers behind a proxy shall know the caller by: a login name, or `workspace:<name>`
    /// for a token that acts for one, which no login name can be. Empty for nobody.
    pub fn remote_user(&self) -> String {
        match &self.owner {
            OwnerNow::Nobody => String::new(),
            OwnerNow::User(user) => user.name.as_str().to_owned(),
            OwnerNow::Workspace { name, .. } => format!("workspace:{name}"),
        }
    }

    /// The caller as the audit trail remembers them.
    pub fn actor(&self) -> Actor {
        let token = self.token();
        Actor {
            user: self.user().map(|user| (user.id, user.name.clone())),
            workspace: self.workspace().cloned(),
            token: token.map(|t| t.id),
            parent: token.and_then(|t| t.parent),
            token_prefix: token.map(|t| t.shown_prefix.clone()),
            temporary: self.bearer.temporary().map(str::to_owned),
            trust: match &self.bearer {
                Bearer::Trusted { rule } => Some(rule.name.to_string()),
                _ => None,
            },
            source: self.source.clone(),
        }
    }
}
