//! The authority rule, as one pure function.
//!
//! Effective authority = kind ∩ scopes ∩ routes ∩ the owner's authority *now* ∩ live (not expired, not revoked, owner
//! enabled, address allowed). [`decide`] is the only constructor of [`Permit`], and whatever changes or reveals
//! anything in the store takes a `&Permit`, so code that forgot to ask does not compile.

mod authority;
mod caller;
mod explain;
mod mint;
mod refusal;

pub use authority::{RECENT_LOGIN, has_right, highest_right};
pub use caller::{Bearer, Caller, Membership, OwnerNow, UserNow};
pub use explain::{Explained, Link, Step, explain};
pub use refusal::{Class, Refusal, Rule};

use explain::{Silent, Trace};

use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::grant::{Cidr, Grant};
use crate::id::{TokenId, UserId};
use crate::kind::Role;
use crate::name::{RepoPath, WorkspaceName};
use crate::scope::RepoRight;
use crate::token::Owner;

/// What somebody wants to do, stated as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Ask who one is and what one may do.
    Identity,
    /// Call the API at all. A git token is for git and nothing else.
    Api,
    /// Ask what a token is worth that somebody presented (RFC 7662).
    Introspect {
        /// Which one, as far as it is anybody's.
        token: Option<TokenId>,
    },
    /// Do something with a repository.
    Repository {
        /// Which one.
        repo: RepoPath,
        /// What.
        right: RepoRight,
    },
    /// Read a user's profile.
    Profile {
        /// Whose.
        user: UserId,
    },
    /// Change a user's profile, their password among it.
    ChangeProfile {
        /// Whose.
        user: UserId,
    },
    /// See an owner's tokens (never their secrets).
    SeeTokens {
        /// Whose.
        owner: Owner,
    },
    /// End an owner's tokens, or bring back what was ended a moment ago.
    EndTokens {
        /// Whose.
        owner: Owner,
    },
    /// End the very token that was presented: to hold its text is enough (RFC 7009), whatever else is wrong with it.
    EndHeld,
    /// Begin a login that somebody else approves: anybody may ask for one.
    BeginLogin,
    /// Let a device log in as oneself, or refuse it.
    ApproveLogin,
    /// Change an owner's tokens without giving them more than they have.
    ChangeTokens {
        /// Whose.
        owner: Owner,
    },
    /// Make a token.
    Mint(MintRequest),
    /// Make a token of a secret that another system made: as [`Need::Mint`], and managers may for any user.
    Import(MintRequest),
    /// See a workspace's members.
    SeeWorkspace {
        /// Which one.
        workspace: WorkspaceName,
    },
    /// Add and remove a workspace's members.
    ManageWorkspace {
        /// Which one.
        workspace: WorkspaceName,
    },
    /// Read what one's own tokens did.
    OwnAudit,
    /// Administer the server: users, workspaces, everybody's tokens, the whole trail.
    Server,
}

/// A token that somebody wants made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintRequest {
    /// For whom it shall act.
    pub owner: Owner,
    /// What it shall be given.
    pub grant: Grant,
    /// Until when; `None` is for ever.
    pub expires_at: Option<Timestamp>,
    /// From where it shall work; empty is anywhere.
    pub allow_from: Vec<Cidr>,
}

/// Proof that [`decide`] said yes: to this need, for this caller, at this time.
#[derive(Debug)]
pub struct Permit {
    need: Need,
    actor: Actor,
    at: Timestamp,
}

impl Permit {
    /// What was allowed. Store functions act on this, not on arguments beside it.
    pub fn need(&self) -> &Need {
        &self.need
    }

    /// Who was allowed it, for the audit trail.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// When it was allowed.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// May `caller` do what they need, `now`?
pub fn decide(caller: &Caller, need: Need, now: Timestamp) -> Result<Permit, Refusal> {
    judge(caller, need, now, &mut Silent)
}

/// The decision; `trace` is told of each link of the rule that is asked, and has no say.
fn judge(caller: &Caller, need: Need, now: Timestamp, trace: &mut impl Trace) -> Result<Permit, Refusal> {
    if !matches!(need, Need::EndHeld | Need::BeginLogin) {
        trace.asked(Link::Live, authority::live(caller, now), || authority::standing_words(caller))?;
    }
    if !matches!(&need, Need::Mint(request) if request.grant == Grant::Session) {
        authority::beyond_login(caller)?;
    }
    match &need {
        Need::ApproveLogin => authority::approves(caller, now)?,
        Need::Mint(request) => mint::allowed(caller, request, now)?,
        Need::Repository { repo, right } => authority::repository(caller, repo, *right, trace)?,
        Need::Import(request) => mint::importable(caller, request, now)?,
        other => authority::allowed(caller, other)?,
    }
    let actor = actor_for(caller, &need);
    Ok(Permit { need, actor, at: now })
}

/// A workspace's token rests on its maker's part there. Who administers by the kernel's word makes one by that word, where
/// the tok user of their name could not have, and so it does not rest on that user.
fn actor_for(caller: &Caller, need: &Need) -> Actor {
    let actor = caller.actor();
    let (Need::Mint(request) | Need::Import(request)) = need else { return actor };
    let (true, Owner::Workspace(workspace), Some(user)) =
        (caller.administers_by_kernel(), request.owner, caller.user())
    else {
        return actor;
    };
    let maintains = user.memberships.values().any(|part| part.workspace == workspace && part.role == Role::Maintainer);
    if user.manager || maintains { actor } else { Actor { user: None, ..actor } }
}

#[cfg(test)]
mod chains;
#[cfg(test)]
mod tests;
