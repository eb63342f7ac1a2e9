//! "No", with the rule that said it.

use crate::clock::Timestamp;
use crate::kind::{Permission, Role, TokenKind};
use crate::name::{RepoPath, UserName, WorkspaceName};
use crate::route::Route;
use crate::scope::{RepoRight, Scope};

/// How a door shall put a refusal; the same classes at every door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing good was presented: HTTP 401, gRPC `UNAUTHENTICATED`. git erases what it presented.
    Unauthenticated,
    /// A git token that is too narrow: HTTP 401 with `error="insufficient_scope"` (RFC 6750 section 3.1), upon which
    /// the helper gets a better one.
    StepUp,
    /// A good token without the right: HTTP 403, gRPC `PERMISSION_DENIED`. git keeps it.
    Forbidden,
    /// What one may not see looks like what does not exist: HTTP 404, gRPC `NOT_FOUND`.
    Hidden,
    /// Too many failures came from there: HTTP 429, gRPC `RESOURCE_EXHAUSTED`. Says nothing about what was presented.
    Throttled,
}

/// Why [`decide`](super::decide) said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct Refusal {
    /// The rule that said it.
    pub rule: Rule,
}

impl From<Rule> for Refusal {
    fn from(rule: Rule) -> Self {
        Self { rule }
    }
}

/// Each rule that can say no, with the facts it judged by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Nothing was presented.
    #[error("no credential was given")]
    NoCredential,
    /// No such token. (Doors say so when a lookup finds nothing; [`decide`](super::decide) never sees one.)
    #[error("this token is not known here")]
    UnknownToken,
    /// No such token, and too many such tries came from there. (Said by doors, like [`Rule::UnknownToken`].)
    #[error("too many unknown tokens and wrong secrets came from this address; the next is looked at in {0} s")]
    Throttled(u32),
    /// It ran out.
    #[error("the token expired at {}", moment(.0))]
    Expired(Timestamp),
    /// It was ended.
    #[error("the token was revoked at {}", moment(.0))]
    Revoked(Timestamp),
    /// It was ended with its whole family, because one that had been given up for a successor was used after that.
    #[error("the token was revoked at {}: {reused}…, which had been rotated away, was used again, perhaps by a thief", moment(.at))]
    FamilyEnded {
        /// When.
        at: Timestamp,
        /// The beginning of the one that was used.
        reused: String,
    },
    /// Nobody used it for as long as the server's policy lets a token rest.
    #[error("the token was not used for too long, and ended at {}", moment(.0))]
    Idle(Timestamp),
    /// It was given up for a successor. Presenting it is reuse.
    #[error("the token was rotated away: its successor has taken its place since {}", moment(.0))]
    Rotated(Timestamp),
    /// It has been used as often as it may.
    #[error("the token has been used as often as it may be")]
    UsedUp,
    /// What it may do cannot be read, so it may do nothing. It may be good for the version of tokd that wrote it.
    #[error("this version of tokd cannot read what the token may do: {0}")]
    Unreadable(String),
    /// Its owner is gone.
    #[error("the token's owner no longer exists")]
    OwnerGone,
    /// Its owner is disabled.
    #[error("the user {0} is disabled")]
    OwnerDisabled(UserName),
    /// Not from there.
    #[error("the token does not work from this address")]
    Address,
    /// A local user that tok does not know.
    #[error("no tok user has the name of this system user")]
    UnknownLocalUser,
    /// A scope is missing.
    #[error("the token lacks the scope {0}")]
    Scope(Scope),
    /// No route of the token matches.
    #[error("no route of the token reaches {0}")]
    NoRoute(RepoPath),
    /// The deciding route allows less.
    #[error("the route {route} of the token does not let it {} {repo}", right.verb())]
    Route {
        /// The rule that decided.
        route: Route,
        /// What it was asked for.
        repo: RepoPath,
        /// What was wanted.
        right: RepoRight,
    },
    /// A token confined to other repositories.
    #[error("the token is for other repositories than {0}")]
    OtherRepository(RepoPath),
    /// A git token is for one repository and this is another, or for reading and this is a push.
    #[error("the git token is for {had}, not to {} {repo}", right.verb())]
    GitToken {
        /// What it is for, in words.
        had: String,
        /// What was asked for.
        repo: RepoPath,
        /// What was wanted.
        right: RepoRight,
    },
    /// A permission of the token is too low.
    #[error("the token may only {permission}, not {} {repo}", right.verb())]
    Permission {
        /// What it has.
        permission: Permission,
        /// What was asked for.
        repo: RepoPath,
        /// What was wanted.
        right: RepoRight,
    },
    /// This kind may, with the permission to write.
    #[error("the {0} token may only read, and this takes one with the permission write")]
    ReadOnly(TokenKind),
    /// The user is no member, so the repository does not exist for them.
    #[error("repository {0} not found, or you may not see it")]
    NotMember(RepoPath),
    /// The user is no member of the workspace.
    #[error("workspace {0} not found, or you may not see it")]
    HiddenWorkspace(WorkspaceName),
    /// The role is too low.
    #[error("{user} has the role {role} in {}, and to {} {repo} takes the role {}", repo.workspace, right.verb(), Role::needed_for(*right))]
    Role {
        /// Who.
        user: UserName,
        /// Their role.
        role: Role,
        /// What was asked for.
        repo: RepoPath,
        /// What was wanted.
        right: RepoRight,
    },
    /// Only maintainers may.
    #[error("only a maintainer of {0} may do that")]
    NotMaintainer(WorkspaceName),
    /// This kind never may.
    #[error("a {0} token never may do that")]
    Kind(TokenKind),
    /// A trust rule gives git tokens and nothing else.
    #[error("a trust rule lets somebody in for git tokens, and for nothing else")]
    TrustedForGit,
    /// A password opens sessions and does nothing else.
    #[error("a password is for logging in; what comes after is done with the session that it opens")]
    OnlyToLogIn,
    /// Letting a device log in takes a fresh login.
    #[error("you logged in too long ago to let another device log in as you")]
    StaleLogin,
    /// Somebody else's.
    #[error("that belongs to somebody else")]
    NotYours,
    /// Only managers may.
    #[error("only a manager of this server may do that")]
    NotManager,
    /// A token would be given more than its maker has.
    #[error("nobody can give a token more than they have themselves: {0}")]
    Beyond(Beyond),
}

/// What of a token to be made lies beyond its maker's own authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// A scope.
    #[error("the scope {0} is not in your token")]
    Scope(Scope),
    /// A route.
    #[error("the route {0} reaches further than your token's routes")]
    Route(Route),
    /// No routes at all, where the maker's token has some.
    #[error("your token is limited to routes, so name routes within them with --route")]
    NoRoutes,
    /// A later end.
    #[error("your token ends at {}, and what it makes cannot outlive it", moment(.0))]
    Expiry(Timestamp),
    /// Anything at all, where the maker's token is for so many uses: what it makes could be used more often.
    #[error("your token may be used a limited number of times, and such a token makes no others")]
    Uses,
    /// Other addresses.
    #[error("your token works from fewer addresses; name them with --allow-cidr")]
    Address,
    /// The manager scope, for somebody who is none.
    #[error("{0} is no manager")]
    Manager(UserName),
    /// What root, or the daemon's own user, may do on the local socket, for their tok user who may not.
    #[error(
        "on the local socket you administer this server, but a git token acts for the user {user}, who may not do that in {workspace}"
    )]
    Peer {
        /// The tok user of the caller's system name.
        user: UserName,
        /// Where.
        workspace: WorkspaceName,
        /// The least role that may.
        role: Role,
    },
}

/// To the second, which is as much as anybody needs to know.
pub(super) fn moment(at: &Timestamp) -> impl std::fmt::Display {
    at.format("%Y-%m-%d %H:%M:%S UTC")
}

impl Rule {
    /// The rule as a word for programs, which does not change.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::UnknownToken => "unknown_token",
            Self::Throttled(_) => "throttled",
            Self::Expired(_) => "expired",
            Self::Revoked(_) | Self::FamilyEnded { .. } => "revoked",
            Self::Idle(_) => "idle",
            Self::Rotated(_) => "rotated",
            Self::UsedUp => "used_up",
            Self::Unreadable(_) => "unreadable",
            Self::OwnerGone => "owner_gone",
            Self::OwnerDisabled(_) => "owner_disabled",
            Self::Address => "address",
            Self::UnknownLocalUser => "unknown_local_user",
            Self::Scope(_) => "scope",
            Self::NoRoute(_) => "no_route",
            Self::Route { .. } => "route",
            Self::OtherRepository(_) => "other_repository",
            Self::GitToken { .. } => "git_token",
            Self::Permission { .. } | Self::ReadOnly(_) => "permission",
            Self::NotMember(_) => "not_member",
            Self::HiddenWorkspace(_) => "hidden_workspace",
            Self::Role { .. } => "role",
            Self::NotMaintainer(_) => "not_maintainer",
            Self::Kind(_) => "kind",
            Self::TrustedForGit => "trusted_for_git",
            Self::OnlyToLogIn => "only_to_log_in",
            Self::StaleLogin => "stale_login",
            Self::NotYours => "not_yours",
            Self::NotManager => "not_manager",
            Self::Beyond(_) => "beyond",
        }
    }
}

impl Rule {
    /// Whether what was presented is over, or never was anything: nobody can change that, and only something else in its
    /// place helps. A session's user logs in again.
    pub fn is_over(&self) -> bool {
        matches!(
            self,
            Self::NoCredential
                | Self::UnknownToken
                | Self::Expired(_)
                | Self::Revoked(_)
                | Self::FamilyEnded { .. }
                | Self::Idle(_)
                | Self::Rotated(_)
                | Self::UsedUp
        )
    }

    /// Whether it is about whom was known, and would say no to another login of theirs, too. The hint says what helps.
    pub fn outlasts_a_login(&self) -> bool {
        matches!(self, Self::OwnerDisabled(_) | Self::Address | Self::UnknownLocalUser)
    }
}

impl Refusal {
    /// How a door shall put it.
    pub fn class(&self) -> Class {
        match &self.rule {
            Rule::NoCredential
            | Rule::UnknownToken
            | Rule::Expired(_)
            | Rule::Revoked(_)
            | Rule::FamilyEnded { .. }
            | Rule::Idle(_)
            | Rule::Rotated(_)
            | Rule::UsedUp
            | Rule::OwnerGone
            | Rule::OwnerDisabled(_)
            | Rule::Address
            | Rule::UnknownLocalUser => Class::Unauthenticated,
            Rule::GitToken { .. } => Class::StepUp,
            Rule::Throttled(_) => Class::Throttled,
            Rule::NoRoute(_) | Rule::OtherRepository(_) | Rule::NotMember(_) | Rule::HiddenWorkspace(_) => {
                Class::Hidden
            }
            Rule::Unreadable(_)
            | Rule::Scope(_)
            | Rule::Route { .. }
            | Rule::Permission { .. }
            | Rule::ReadOnly(_)
            | Rule::Role { .. }
            | Rule::NotMaintainer(_)
            | Rule::Kind(_)
            | Rule::TrustedForGit
            | Rule::OnlyToLogIn
            | Rule::StaleLogin
            | Rule::NotYours
            | Rule::NotManager
            | Rule::Beyond(_) => Class::Forbidden,
        }
    }

    /// What to do next, as a command where there is one. Nothing for what one may not know about.
    pub fn hint(&self) -> Option<String> {
        match &self.rule {
            Rule::NoCredential
            | Rule::UnknownToken
            | Rule::Expired(_)
            | Rule::Revoked(_)
            | Rule::Idle(_)
            | Rule::Rotated(_)
            | Rule::UsedUp
            | Rule::OwnerGone => Some(
                "make a token with `tok token create <name>`, or let git use the helper: `tok git setup <url>`"
                    .to_owned(),
            ),
            Rule::FamilyEnded { reused, .. } => Some(format!(
                "make another with `tok token create <name>`; `tok audit --token {reused}` shows who used the old one, \
                 and from where"
            )),
            Rule::Throttled(_) => {
                Some("find what sends the wrong token, and wait; tokens that are good work all the while".to_owned())
            }
            Rule::Unreadable(_) => Some(
                "run the version of tokd that wrote it, or end it with `tok token revoke <id>` and make another"
                    .to_owned(),
            ),
            Rule::OwnerDisabled(name) => Some(format!("a manager can undo it: tok user enable {name}")),
            Rule::Address => Some("call from an allowed address, or make another token with --allow-cidr".to_owned()),
            Rule::UnknownLocalUser => {
                Some("a manager can add you, under the name that `id -un` prints: tok user create <name>".to_owned())
            }
            Rule::Scope(scope) => Some(format!("make a token that has it: tok token create <name> --scopes {scope}")),
            Rule::Route { repo, .. } => Some(format!("make a token with --route '{repo}:rw'")),
            Rule::Permission { .. } | Rule::ReadOnly(_) => Some("make a token with --permission write".to_owned()),
            Rule::Role { user, repo, right, .. } => Some(format!(
                "a maintainer can change that: tok workspace member add {} {user} --role {}",
                repo.workspace,
                Role::needed_for(*right)
            )),
            // The same whether there is one or not.
            Rule::HiddenWorkspace(_) => Some("`tok workspace list` shows those that you may see".to_owned()),
            Rule::NotMaintainer(workspace) => Some(format!("`tok workspace member list {workspace}` shows who is one")),
            Rule::Kind(_) => Some("use a personal token".to_owned()),
            Rule::OnlyToLogIn => Some("log in: tok login <server>".to_owned()),
            Rule::StaleLogin => Some("log in again, and approve it then".to_owned()),
            Rule::NotManager => Some("ask a manager, or run this as root on the server".to_owned()),
            Rule::Beyond(Beyond::Peer { user, workspace, role }) => {
                Some(format!("let them: tok workspace member add {workspace} {user} --role {role}"))
            }
            Rule::Beyond(_) => Some("ask for less, or use a token that has it".to_owned()),
            // The same whether or not there is one.
            Rule::GitToken { .. }
            | Rule::NoRoute(_)
            | Rule::OtherRepository(_)
            | Rule::NotMember(_)
            | Rule::TrustedForGit
            | Rule::NotYours => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_nothing_good_and_what_others_can_change_is_not_over() {
        let now = Timestamp::UNIX_EPOCH;
        let ended = Rule::FamilyEnded { at: now, reused: "tokpat_a1b2".to_owned() };
        for over in [
            Rule::NoCredential,
            Rule::UnknownToken,
            Rule::Expired(now),
            Rule::Revoked(now),
            ended,
            Rule::Idle(now),
            Rule::Rotated(now),
            Rule::UsedUp,
        ] {
            assert!(over.is_over() && Refusal::from(over.clone()).class() == Class::Unauthenticated, "{over}");
        }
        let ann: UserName = "ann".parse().unwrap();
        for not in [Rule::OwnerDisabled(ann), Rule::Address, Rule::Throttled(9), Rule::NotYours] {
            assert!(!not.is_over(), "{not}");
        }
    }

    #[test]
    fn who_is_disabled_is_not_sent_to_log_in() {
        for no in [Rule::OwnerDisabled("ann".parse().unwrap()), Rule::UnknownLocalUser, Rule::Address] {
            assert!(no.outlasts_a_login() && !no.is_over(), "{no:?}");
            let refusal = Refusal::from(no);
            assert!(refusal.class() == Class::Unauthenticated && refusal.hint().is_some(), "{refusal:?}");
        }
        for yes in [Rule::OwnerGone, Rule::UnknownToken, Rule::NoCredential] {
            assert!(!yes.outlasts_a_login(), "{yes:?}");
        }
    }
}
