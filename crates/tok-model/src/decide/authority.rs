//! Kind, scopes, routes and the owner's authority, each asked in turn.

use chrono::TimeDelta;

use super::explain::{Link, Silent, Trace};
use super::refusal::{Refusal, Rule, moment};
use super::{Bearer, Caller, Need, OwnerNow, UserNow};
use crate::audit::Source;
use crate::clock::Timestamp;
use crate::grant::Grant;
use crate::kind::{Permission, Role, TokenKind};
use crate::name::{RepoPath, WorkspaceName};
use crate::route::Routes;
use crate::scope::{RepoRight, Scope};
use crate::token::{Owner, Token, TokenState};
use crate::trust::TrustRule;

/// How long after logging in somebody may let another device log in without saying their password again.
pub const RECENT_LOGIN: TimeDelta = TimeDelta::minutes(15);

/// Is what was presented good at all, whatever it is wanted for?
pub(super) fn live(caller: &Caller, now: Timestamp) -> Result<(), Refusal> {
    match &caller.bearer {
        Bearer::Nothing => return Err(Rule::NoCredential.into()),
        Bearer::LocalPeer { manager: true } if matches!(caller.owner, OwnerNow::Nobody) => {}
        Bearer::LocalPeer { .. } if matches!(caller.owner, OwnerNow::Nobody) => {
            return Err(Rule::UnknownLocalUser.into());
        }
        // That the rule's workspace is there is asked where its caller is made.
        Bearer::Trusted { .. } if caller.owner_id().is_none() => return Err(Rule::OwnerGone.into()),
        Bearer::Password if caller.user().is_none() => return Err(Rule::OwnerGone.into()),
        Bearer::LocalPeer { .. } | Bearer::Password | Bearer::Temporary { .. } | Bearer::Trusted { .. } => {}
        Bearer::Token(token) => {
            works(token, now)?;
            if caller.owner_id() != Some(token.owner) {
                return Err(Rule::OwnerGone.into());
            }
            from_there(token, &caller.source)?;
        }
        // Its owner is a manager, and the caller another user; that much was asked when they became one.
        Bearer::Acting { .. } => {
            if let Some(token) = caller.token() {
                works(token, now)?;
                from_there(token, &caller.source)?;
            }
            if caller.user().is_none() {
                return Err(Rule::OwnerGone.into());
            }
        }
    }
    match &caller.owner {
        OwnerNow::User(user) if !user.enabled => Err(Rule::OwnerDisabled(user.name.clone()).into()),
        OwnerNow::Workspace { disabled_maker: Some(name), .. } => Err(Rule::OwnerDisabled(name.clone()).into()),
        OwnerNow::Nobody | OwnerNow::User(_) | OwnerNow::Workspace { .. } => Ok(()),
    }
}

/// Understood, and neither ended, given up, used up nor run out.
fn works(token: &Token, now: Timestamp) -> Result<(), Refusal> {
    if let Some(why) = &token.unreadable {
        return Err(Rule::Unreadable(why.clone()).into());
    }
    if token.use_limit.is_some_and(|limit| limit.so_far >= limit.most) {
        return Err(Rule::UsedUp.into());
    }
    match &token.state {
        TokenState::Revoked { at, .. } => {
            return Err(match token.state.reused() {
                Some(reused) => Rule::FamilyEnded { at: *at, reused: reused.to_owned() }.into(),
                None => Rule::Revoked(*at).into(),
            });
        }
        TokenState::Rotated { grace_ends_at, .. } if *grace_ends_at <= now => {
            return Err(Rule::Rotated(*grace_ends_at).into());
        }
        TokenState::Live | TokenState::Rotated { .. } => {}
    }
    if let Some(end) = token.expires_at.filter(|end| *end <= now) {
        return Err(Rule::Expired(end).into());
    }
    match token.idle_ends_at.filter(|end| *end <= now) {
        Some(end) => Err(Rule::Idle(end).into()),
        None => Ok(()),
    }
}

fn from_there(token: &Token, source: &Source) -> Result<(), Refusal> {
    let allowed = |address| token.allow_from.iter().any(|block| block.contains(address));
    if token.allow_from.is_empty() || source.address.is_some_and(allowed) { Ok(()) } else { Err(Rule::Address.into()) }
}

/// A password is no credential for calls: it opens a session, and that is what everything else is done with.
pub(super) fn beyond_login(caller: &Caller) -> Result<(), Refusal> {
    if matches!(caller.bearer, Bearer::Password) { Err(Rule::OnlyToLogIn.into()) } else { Ok(()) }
}

/// Whoever lets another device log in as them has logged in themselves, a moment ago: with a session that was found lying
/// about nobody makes more of them.
pub(super) fn approves(caller: &Caller, now: Timestamp) -> Result<(), Refusal> {
    let Bearer::Token(token) = &caller.bearer else { return Err(Rule::NotYours.into()) };
    match token.grant {
        Grant::Session if caller.user().is_none() => Err(Rule::NotYours.into()),
        Grant::Session if now - token.created_at > RECENT_LOGIN => Err(Rule::StaleLogin.into()),
        Grant::Session => Ok(()),
        _ => Err(Rule::Kind(token.kind()).into()),
    }
}

/// May they, given that they are [`live`]?
pub(super) fn allowed(caller: &Caller, need: &Need) -> Result<(), Refusal> {
    // Git tokens are all that a trust rule gives; they are asked for elsewhere.
    if let Bearer::Trusted { .. } = caller.bearer {
        return Err(Rule::TrustedForGit.into());
    }
    match need {
        Need::Api if caller.token().is_some_and(|token| token.kind() == TokenKind::Git) => {
            Err(Rule::Kind(TokenKind::Git).into())
        }
        // It asks about itself and about no other.
        Need::Introspect { token: asked } => match caller.token() {
            Some(token) if token.kind() == TokenKind::Git && *asked != Some(token.id) => {
                Err(Rule::Kind(TokenKind::Git).into())
            }
            _ => Ok(()),
        },
        Need::Identity | Need::Api | Need::BeginLogin => Ok(()),
        Need::Repository { repo, right } => repository(caller, repo, *right, &mut Silent),
        Need::Profile { user } => scoped(caller, Scope::UserRead).and_then(|()| own(caller, Owner::User(*user))),
        Need::ChangeProfile { user } => scoped(caller, Scope::UserWrite).and_then(|()| own(caller, Owner::User(*user))),
        Need::SeeTokens { owner } => scoped(caller, Scope::TokenRead).and_then(|()| own(caller, *owner)),
        Need::EndTokens { owner } | Need::ChangeTokens { owner } => {
            scoped(caller, Scope::TokenWrite).and_then(|()| own(caller, *owner))
        }
        Need::EndHeld if caller.token().is_some() => Ok(()),
        Need::EndHeld => Err(Rule::NoCredential.into()),
        Need::OwnAudit => scoped(caller, Scope::AuditRead),
        Need::SeeWorkspace { workspace } => workspace_role(caller, workspace).map(drop),
        // People are admitted by people: a workspace's own token could let those in again who were shown out.
        Need::ManageWorkspace { .. } if matches!(caller.owner, OwnerNow::Workspace { .. }) => {
            Err(Rule::Kind(caller.token().map_or(TokenKind::Workspace, Token::kind)).into())
        }
        Need::ManageWorkspace { workspace } => match workspace_role(caller, workspace)? {
            Role::Maintainer => scoped(caller, Scope::RepoAdmin),
            Role::Reader | Role::Writer => Err(Rule::NotMaintainer(workspace.clone()).into()),
        },
        Need::Server => server(caller),
        Need::Mint(_) | Need::Import(_) | Need::ApproveLogin => Err(Rule::NotManager.into()),
    }
}

/// Whether the caller has this right on a repository. Says neither why nor why not, and so copies nothing.
pub fn has_right(caller: &Caller, repo: &RepoPath, right: RepoRight, now: Timestamp) -> bool {
    live(caller, now).is_ok() && beyond_login(caller).is_ok() && repository(caller, repo, right, &mut Silent).is_ok()
}

/// The highest right the caller has on a repository, `None` if it does not exist for them.
pub fn highest_right(caller: &Caller, repo: &RepoPath, now: Timestamp) -> Option<RepoRight> {
    live(caller, now).ok()?;
    beyond_login(caller).ok()?;
    [RepoRight::Admin, RepoRight::Write, RepoRight::Read]
        .into_iter()
        .find(|right| repository(caller, repo, *right, &mut Silent).is_ok())
}

pub(super) fn repository(
    caller: &Caller,
    repo: &RepoPath,
    right: RepoRight,
    trace: &mut impl Trace,
) -> Result<(), Refusal> {
    if let Some(token) = caller.token() {
        grant_reaches(&token.grant, repo, right, trace)?;
    }
    if let Bearer::Trusted { rule } = &caller.bearer {
        rule_reaches(rule, repo, right)?;
    }
    trace.asked(Link::Owner, owner_may(caller, repo, right), || owner_words(caller, repo))
}

fn owner_may(caller: &Caller, repo: &RepoPath, right: RepoRight) -> Result<(), Refusal> {
    match &caller.owner {
        OwnerNow::Nobody => match caller.bearer {
            // root without a user of its own administers tok, and so may look after any repository.
            Bearer::LocalPeer { manager: true } | Bearer::Temporary { .. } => Ok(()),
            _ => Err(Rule::NotMember(repo.clone()).into()),
        },
        OwnerNow::Workspace { name, .. } if *name == repo.workspace => Ok(()),
        OwnerNow::Workspace { .. } => Err(Rule::NotMember(repo.clone()).into()),
        OwnerNow::User(user) => match role_of(caller, user, &repo.workspace) {
            None => Err(Rule::NotMember(repo.clone()).into()),
            Some(role) if role.right() >= right => Ok(()),
            Some(role) => Err(Rule::Role { user: user.name.clone(), role, repo: repo.clone(), right }.into()),
        },
    }
}

/// What an explanation says of the owner's part.
fn owner_words(caller: &Caller, repo: &RepoPath) -> String {
    match &caller.owner {
        OwnerNow::Nobody => "it administers this server".to_owned(),
        OwnerNow::Workspace { name, .. } => format!("it acts for the workspace {name}"),
        OwnerNow::User(user) if user.manager => format!("{} is a manager of this server", user.name),
        OwnerNow::User(_) if caller.administers_by_kernel() => "it administers this server".to_owned(),
        OwnerNow::User(user) => match role_of(caller, user, &repo.workspace) {
            Some(role) => format!("{} has the role {role} in {}", user.name, repo.workspace),
            None => format!("{} is no member of {}", user.name, repo.workspace),
        },
    }
}

/// What an explanation says of what was presented, if it is good.
pub(super) fn standing_words(caller: &Caller) -> String {
    let Some(token) = caller.token() else { return "the caller is known".to_owned() };
    match (token.works_beside_successor_until(), token.expires_at) {
        (Some(end), _) => format!("it works beside its successor until {}", moment(&end)),
        (None, Some(end)) => format!("it works until {}, and its owner is enabled", moment(&end)),
        (None, None) => "it works, and its owner is enabled".to_owned(),
    }
}

/// A user's role in a workspace; a manager has the highest everywhere.
fn role_of(caller: &Caller, user: &UserNow, workspace: &WorkspaceName) -> Option<Role> {
    if user.manager || caller.administers_by_kernel() {
        Some(Role::Maintainer)
    } else {
        user.memberships.get(workspace).map(|membership| membership.role)
    }
}

fn grant_reaches(grant: &Grant, repo: &RepoPath, right: RepoRight, trace: &mut impl Trace) -> Result<(), Refusal> {
    let confined = |workspace: &WorkspaceName, listed: bool, permission: Permission| {
        if *workspace != repo.workspace || !listed {
            Err(Refusal::from(Rule::OtherRepository(repo.clone())))
        } else if permission.covers(right) {
            Ok(())
        } else {
            Err(Rule::Permission { permission, repo: repo.clone(), right }.into())
        }
    };
    let kind = || format!("a {} token may be used for that", grant.kind());
    match grant {
        Grant::Session => trace.asked(Link::Kind, Ok(()), kind),
        Grant::Personal { scopes, routes } => {
            trace.asked(Link::Kind, Ok(()), kind)?;
            let scope = right.scope();
            let scoped = if scopes.grants(scope) { Ok(()) } else { Err(Rule::Scope(scope).into()) };
            trace.asked(Link::Scopes, scoped, || format!("its scopes include {scope}"))?;
            let Some(routes) = routes else { return Ok(()) };
            trace.asked(Link::Routes, routed(routes, repo, right), || format!("its routes reach {repo}"))
        }
        Grant::Workspace { workspace, permission } => {
            trace.asked(Link::Kind, confined(workspace, true, *permission), || {
                format!("it is for every repository of {workspace}, to {permission}")
            })
        }
        Grant::Repo { workspace, permission, repos } => {
            trace.asked(Link::Kind, confined(workspace, repos.contains(&repo.repo), *permission), || {
                format!("{repo} is on its list, to {permission}")
            })
        }
        Grant::Git { repo: mine, permission } => {
            let reached = if mine == repo && permission.covers(right) {
                Ok(())
            } else {
                let covers = permission.covers(RepoRight::Write);
                let had = format!("{} {mine}", if covers { "pushing to" } else { "reading" });
                Err(Rule::GitToken { had, repo: repo.clone(), right }.into())
            };
            trace.asked(Link::Kind, reached, || format!("it is for {mine}, to {permission}"))
        }
    }
}

/// A trust rule's part.
fn rule_reaches(rule: &TrustRule, repo: &RepoPath, right: RepoRight) -> Result<(), Refusal> {
    if !rule.reach.covers(repo) {
        Err(Rule::OtherRepository(repo.clone()).into())
    } else if rule.permission.covers(right) {
        Ok(())
    } else {
        Err(Rule::Permission { permission: rule.permission, repo: repo.clone(), right }.into())
    }
}

fn routed(routes: &Routes, repo: &RepoPath, right: RepoRight) -> Result<(), Refusal> {
    let Some(route) = routes.deciding(&repo.to_string()) else {
        return Err(Rule::NoRoute(repo.clone()).into());
    };
    let access = route.access();
    let enough = match right {
        RepoRight::Read => access.read,
        RepoRight::Write => access.write,
        RepoRight::Admin => access.read && access.write,
    };
    if enough {
        Ok(())
    } else if right == RepoRight::Read {
        // A rule without `r` hides: to say "forbidden" would say that it is there.
        Err(Rule::NoRoute(repo.clone()).into())
    } else {
        Err(Rule::Route { route: route.clone(), repo: repo.clone(), right }.into())
    }
}

/// Has the caller this scope? A local peer and a session have all of their user's.
pub(super) fn scoped(caller: &Caller, scope: Scope) -> Result<(), Refusal> {
    let Some(token) = caller.token() else { return Ok(()) };
    match &token.grant {
        Grant::Session => Ok(()),
        Grant::Personal { scopes, .. } if scopes.grants(scope) => Ok(()),
        Grant::Personal { .. } => Err(Rule::Scope(scope).into()),
        // The control plane of its own workspace; managing the server or a user is nothing a workspace does.
        Grant::Workspace { permission, .. } => match scope {
            Scope::TokenRead | Scope::TokenWrite | Scope::AuditRead | Scope::RepoAdmin
                if permission.covers(RepoRight::Write) =>
            {
                Ok(())
            }
            Scope::TokenRead | Scope::TokenWrite | Scope::AuditRead | Scope::RepoAdmin => {
                Err(Rule::ReadOnly(TokenKind::Workspace).into())
            }
            _ => Err(Rule::Kind(TokenKind::Workspace).into()),
        },
        Grant::Repo { .. } | Grant::Git { .. } => Err(Rule::Kind(token.kind()).into()),
    }
}

/// Is it the caller's own, a workspace's of which they are maintainer, or are they a manager?
fn own(caller: &Caller, owner: Owner) -> Result<(), Refusal> {
    if caller.owner_id() == Some(owner) || server(caller).is_ok() {
        return Ok(());
    }
    let maintained = |user: &UserNow| {
        user.memberships.iter().any(|(name, membership)| {
            Owner::Workspace(membership.workspace) == owner
                && workspace_role(caller, name).is_ok_and(|role| role == Role::Maintainer)
        })
    };
    if caller.user().is_some_and(maintained) { Ok(()) } else { Err(Rule::NotYours.into()) }
}

/// What part the caller has in a workspace. Asks nothing of repositories.
pub(super) fn workspace_role(caller: &Caller, workspace: &WorkspaceName) -> Result<Role, Refusal> {
    let hidden = || Refusal::from(Rule::HiddenWorkspace(workspace.clone()));
    if let Some(token) = caller.token() {
        match &token.grant {
            Grant::Session => {}
            // A token narrowed to routes reaches repositories, not the workspace around them.
            Grant::Personal { scopes, routes: None } if scopes.grants(Scope::RepoRead) => {}
            Grant::Personal { routes: Some(_), .. } => return Err(hidden()),
            Grant::Personal { .. } => return Err(Rule::Scope(Scope::RepoRead).into()),
            Grant::Workspace { workspace: mine, permission } if mine == workspace => {
                return Ok(if permission.covers(RepoRight::Write) { Role::Maintainer } else { Role::Reader });
            }
            Grant::Workspace { .. } => return Err(hidden()),
            Grant::Repo { workspace: mine, .. } if mine != workspace => return Err(hidden()),
            Grant::Repo { .. } | Grant::Git { .. } => return Err(Rule::Kind(token.kind()).into()),
        }
    }
    match &caller.owner {
        OwnerNow::User(user) => role_of(caller, user, workspace).ok_or_else(hidden),
        OwnerNow::Nobody => match caller.bearer {
            Bearer::LocalPeer { manager: true } | Bearer::Temporary { .. } => Ok(Role::Maintainer),
            _ => Err(hidden()),
        },
        OwnerNow::Workspace { .. } => Err(hidden()),
    }
}

/// Does the caller administer the server?
pub(super) fn server(caller: &Caller) -> Result<(), Refusal> {
    scoped(caller, Scope::Manager)?;
    match (&caller.bearer, caller.user()) {
        (_, Some(user)) if user.manager => Ok(()),
        // Acting as a user, a temporary token has that user's authority and no more.
        (Bearer::LocalPeer { manager: true }, _) | (Bearer::Temporary { .. }, None) => Ok(()),
        _ => Err(Rule::NotManager.into()),
    }
}
