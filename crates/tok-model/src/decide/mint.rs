//! Who may make which token: at most what they may do themselves, for at most as long.

use super::authority::{repository, scoped, server, workspace_role};
use super::explain::Silent;
use super::refusal::{Beyond, Refusal, Rule};
use super::{Bearer, Caller, MintRequest, OwnerNow};
use crate::clock::Timestamp;
use crate::grant::Grant;
use crate::kind::{Permission, Role, TokenKind};
use crate::name::{RepoPath, WorkspaceName};
use crate::reach::addresses_within;
use crate::route::Routes;
use crate::scope::{RepoRight, Scope, ScopeSet};
use crate::token::Owner;

pub(super) fn allowed(caller: &Caller, request: &MintRequest, now: Timestamp) -> Result<(), Refusal> {
    if matches!(caller.bearer, Bearer::Trusted { .. }) && !matches!(request.grant, Grant::Git { .. }) {
        return Err(Rule::TrustedForGit.into());
    }
    outlives_nothing(caller, request, now)?;
    match &request.grant {
        Grant::Git { repo, permission } => {
            owned_by_caller(caller, request)?;
            may_mint_git(caller)?;
            within_rule(caller, request, now)?;
            whole_permission(caller, repo, *permission)?;
            within_user(caller, repo, *permission)
        }
        Grant::Session => {
            owned_by_caller(caller, request)?;
            // A login is opened by whoever the kernel or a password vouches for, never by another token.
            match &caller.bearer {
                Bearer::LocalPeer { .. } | Bearer::Password => Ok(()),
                Bearer::Token(token) => Err(Rule::Kind(token.kind()).into()),
                Bearer::Temporary { .. } | Bearer::Acting { .. } => Err(Rule::NotYours.into()),
                Bearer::Trusted { .. } => Err(Rule::TrustedForGit.into()),
                Bearer::Nothing => Err(Rule::NoCredential.into()),
            }
        }
        Grant::Personal { scopes, routes } => {
            creates_tokens(caller)?;
            owned_by_caller(caller, request)?;
            personal_within(caller, scopes, routes.as_ref())
        }
        Grant::Workspace { workspace, permission } => {
            creates_tokens(caller)?;
            owned_by_workspace(caller, request, workspace)?;
            for_workspace(caller, workspace, *permission)
        }
        Grant::Repo { workspace, permission, repos } => {
            creates_tokens(caller)?;
            owned_by_workspace(caller, request, workspace)?;
            for_workspace(caller, workspace, *permission)?;
            repos.iter().try_for_each(|name| {
                let repo = RepoPath { workspace: workspace.clone(), repo: name.clone() };
                whole_permission(caller, &repo, *permission)
            })
        }
    }
}

/// The same for a secret of another system. Managers bring in everybody's, within what their own token has; logins and what
/// is minted just in time are no other system's to make.
pub(super) fn importable(caller: &Caller, request: &MintRequest, now: Timestamp) -> Result<(), Refusal> {
    if matches!(caller.bearer, Bearer::Trusted { .. }) {
        return Err(Rule::TrustedForGit.into());
    }
    match &request.grant {
        Grant::Personal { scopes, routes } if server(caller).is_ok() => {
            outlives_nothing(caller, request, now)?;
            match request.owner {
                Owner::User(_) => personal_within(caller, scopes, routes.as_ref()),
                Owner::Workspace(_) => Err(Rule::NotYours.into()),
            }
        }
        Grant::Personal { .. } | Grant::Workspace { .. } | Grant::Repo { .. } => allowed(caller, request, now),
        kind @ (Grant::Session | Grant::Git { .. }) => Err(Rule::Kind(kind.kind()).into()),
    }
}

/// A permission to write includes reading, which a route may have left out (`acme/app:w`): both are asked for.
fn whole_permission(caller: &Caller, repo: &RepoPath, permission: Permission) -> Result<(), Refusal> {
    repository(caller, repo, RepoRight::Read, &mut Silent)?;
    repository(caller, repo, permission.right(), &mut Silent)
}

/// What administers by the kernel's word does so on the local socket alone. A git token has the authority of the tok user
/// that it acts for, so one that this user could do nothing with is not made.
fn within_user(caller: &Caller, repo: &RepoPath, permission: Permission) -> Result<(), Refusal> {
    let (true, Some(user)) = (caller.administers_by_kernel(), caller.user()) else { return Ok(()) };
    let plain = Caller { bearer: Bearer::LocalPeer { manager: false }, ..caller.clone() };
    whole_permission(&plain, repo, permission).map_err(|_| {
        let (user, workspace) = (user.name.clone(), repo.workspace.clone());
        Rule::Beyond(Beyond::Peer { user, workspace, role: Role::needed_for(permission.right()) }).into()
    })
}

/// Later than the maker's own token, from more places, or more often?
fn outlives_nothing(caller: &Caller, request: &MintRequest, now: Timestamp) -> Result<(), Refusal> {
    if let Some(end) = request.expires_at.filter(|end| *end <= now) {
        return Err(Rule::Expired(end).into());
    }
    let Some(token) = caller.token() else { return Ok(()) };
    if token.use_limit.is_some() {
        return Err(Rule::Beyond(Beyond::Uses).into());
    }
    if let Some(end) = token.ends_at()
        && request.expires_at.is_none_or(|wanted| wanted > end)
    {
        return Err(Rule::Beyond(Beyond::Expiry(end)).into());
    }
    if !addresses_within(&request.allow_from, &token.allow_from) {
        return Err(Rule::Beyond(Beyond::Address).into());
    }
    Ok(())
}

/// Tokens act for whoever made them; a manager acts for another by `--as`, which makes them that other first.
fn owned_by_caller(caller: &Caller, request: &MintRequest) -> Result<(), Refusal> {
    if caller.owner_id() == Some(request.owner) {
        Ok(())
    } else if matches!(caller.owner, OwnerNow::Nobody) {
        Err(Rule::UnknownLocalUser.into())
    } else {
        Err(Rule::NotYours.into())
    }
}

/// The owner is the workspace that the grant names, as far as the caller's own facts tell.
fn owned_by_workspace(caller: &Caller, request: &MintRequest, workspace: &WorkspaceName) -> Result<(), Refusal> {
    let Owner::Workspace(wanted) = request.owner else { return Err(Rule::NotYours.into()) };
    let known = match &caller.owner {
        OwnerNow::Workspace { id, .. } => Some(*id),
        OwnerNow::User(user) => user.memberships.get(workspace).map(|membership| membership.workspace),
        OwnerNow::Nobody => None,
    };
    if known.is_none_or(|id| id == wanted) { Ok(()) } else { Err(Rule::NotYours.into()) }
}

fn may_mint_git(caller: &Caller) -> Result<(), Refusal> {
    match caller.token().map(crate::token::Token::kind) {
        None | Some(TokenKind::Session | TokenKind::Personal | TokenKind::Workspace) => Ok(()),
        Some(kind @ (TokenKind::Repo | TokenKind::Git)) => Err(Rule::Kind(kind).into()),
    }
}

/// What is made under a trust rule lives as long as the rule says, at most.
fn within_rule(caller: &Caller, request: &MintRequest, now: Timestamp) -> Result<(), Refusal> {
    let Bearer::Trusted { rule } = &caller.bearer else { return Ok(()) };
    let end = now + rule.lifetime.delta();
    match request.expires_at {
        Some(wanted) if wanted <= end => Ok(()),
        _ => Err(Rule::Beyond(Beyond::Expiry(end)).into()),
    }
}

fn creates_tokens(caller: &Caller) -> Result<(), Refusal> {
    scoped(caller, Scope::TokenWrite)
}

fn personal_within(caller: &Caller, scopes: &ScopeSet, routes: Option<&Routes>) -> Result<(), Refusal> {
    let beyond = |what| Err(Refusal::from(Rule::Beyond(what)));
    if let Some(user) = caller.user()
        && scopes.iter().any(|s| s == Scope::Manager)
        && !user.manager
    {
        return beyond(Beyond::Manager(user.name.clone()));
    }
    let Some(token) = caller.token() else { return Ok(()) };
    match &token.grant {
        Grant::Session => Ok(()),
        Grant::Personal { scopes: mine, routes: my_routes } => {
            if let Some(scope) = mine.first_missing(scopes) {
                return beyond(Beyond::Scope(scope));
            }
            match (my_routes, routes) {
                (None, _) => Ok(()),
                (Some(_), None) => beyond(Beyond::NoRoutes),
                (Some(mine), Some(wanted)) => match mine.first_beyond(wanted) {
                    Some(route) => beyond(Beyond::Route(route.clone())),
                    None => Ok(()),
                },
            }
        }
        Grant::Workspace { .. } | Grant::Repo { .. } | Grant::Git { .. } => Err(Rule::Kind(token.kind()).into()),
    }
}

/// A token that acts for a workspace is made by its maintainers, and reaches no further than they do.
fn for_workspace(caller: &Caller, workspace: &WorkspaceName, permission: Permission) -> Result<(), Refusal> {
    if workspace_role(caller, workspace)? != Role::Maintainer {
        return Err(Rule::NotMaintainer(workspace.clone()).into());
    }
    // Managers have a part in every workspace, but its tokens are theirs to see and end as managers alone. So it is as
    // managers that they make one: with a token, by its scope.
    if caller.user().is_some_and(|user| !user.memberships.contains_key(workspace)) {
        server(caller)?;
    }
    if let Some(token) = caller.token() {
        match &token.grant {
            // A workspace token with write reaches the control plane, so its maker's must reach as far: every scope it has.
            Grant::Personal { scopes, .. } => {
                let needed: ScopeSet = [Scope::RepoAdmin, Scope::TokenWrite, Scope::AuditRead].into_iter().collect();
                if let Some(scope) = scopes.first_missing(&needed) {
                    return Err(Rule::Beyond(Beyond::Scope(scope)).into());
                }
            }
            Grant::Workspace { permission: mine, .. } if !mine.covers(permission.right()) => {
                return Err(Rule::Kind(TokenKind::Workspace).into());
            }
            Grant::Workspace { .. } | Grant::Session => {}
            Grant::Repo { .. } | Grant::Git { .. } => return Err(Rule::Kind(token.kind()).into()),
        }
    }
    debug_assert!(permission.right() < RepoRight::Admin);
    Ok(())
}
