//! Whoever holds a token, and does with it whatever they can think of, never gets further than that token reached.
//!
//! A hundred thousand small histories: somebody holds one token of a user who has others, and mints, changes and rotates
//! through it and through all that they get by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::audit::Source;
use crate::id::WorkspaceId;
use crate::kind::{Permission, Role, TokenKind};
use crate::name::RepoName;
use crate::reach::{Reach, addresses_within};
use crate::route::Routes;
use crate::scope::{Scope, ScopeSet};
use crate::token::{Token, UseLimit};

const USER: UserId = UserId::from_uuid(uuid::Uuid::from_u128(1));
const WORKSPACES: [(&str, WorkspaceId); 2] =
    [("a", WorkspaceId::from_uuid(uuid::Uuid::from_u128(2))), ("b", WorkspaceId::from_uuid(uuid::Uuid::from_u128(3)))];
const HISTORIES: usize = 100_000;
const STEPS: usize = 5;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// A user with a random part in each workspace.
fn somebody(rng: &mut StdRng) -> OwnerNow {
    let roles = [None, Some(Role::Reader), Some(Role::Writer), Some(Role::Maintainer), Some(Role::Maintainer)];
    let mut memberships = BTreeMap::new();
    for (name, workspace) in WORKSPACES {
        if let Some(role) = *roles.choose(rng).unwrap() {
            memberships.insert(name.parse().unwrap(), Membership { workspace, role });
        }
    }
    let manager = rng.random_ratio(1, 4);
    OwnerNow::User(Arc::new(UserNow { id: USER, name: "ann".parse().unwrap(), enabled: true, manager, memberships }))
}

fn owner_of(grant: &Grant) -> Owner {
    match grant {
        Grant::Workspace { workspace, .. } | Grant::Repo { workspace, .. } => {
            let (_, id) = WORKSPACES.into_iter().find(|(name, _)| workspace.as_str() == *name).unwrap();
            Owner::Workspace(id)
        }
        Grant::Personal { .. } | Grant::Session | Grant::Git { .. } => Owner::User(USER),
    }
}

fn token(reach: Reach, owner: Owner) -> Token {
    let limit = reach.max_uses.map(|most| UseLimit { most, so_far: 0 });
    let made = tests::token(reach.grant, owner, reach.expires_at);
    Token { allow_from: reach.allow_from, use_limit: limit, ..made }
}

/// Whoever presents this token, from where it works.
fn holding(token: &Token, user: &OwnerNow) -> Caller {
    let owner = match token.owner {
        Owner::User(_) => user.clone(),
        Owner::Workspace(id) => {
            let (name, _) = WORKSPACES.into_iter().find(|(_, known)| *known == id).unwrap();
            OwnerNow::Workspace { id, name: name.parse().unwrap(), disabled_maker: None }
        }
    };
    let address = if token.allow_from.iter().all(|block| block.contains("192.0.2.1".parse().unwrap())) {
        "192.0.2.1"
    } else {
        "10.1.0.1"
    };
    let source = Source { address: Some(address.parse().unwrap()), ..Source::default() };
    Caller { bearer: Bearer::Token(Arc::new(token.clone())), owner, source }
}

fn any_permission(rng: &mut StdRng) -> Permission {
    *[Permission::Read, Permission::Write].choose(rng).unwrap()
}

fn any_grant(rng: &mut StdRng) -> Grant {
    let workspace = WORKSPACES.choose(rng).unwrap().0.parse().unwrap();
    let repo = |rng: &mut StdRng| ["a", "b"].choose(rng).unwrap().parse::<RepoName>().unwrap();
    match rng.random_range(0..8) {
        0 => Grant::Workspace { workspace, permission: any_permission(rng) },
        1 => {
            let repos = (0..rng.random_range(1..3)).map(|_| repo(rng)).collect();
            Grant::Repo { workspace, permission: any_permission(rng), repos }
        }
        2 => Grant::Git { repo: RepoPath { workspace, repo: repo(rng) }, permission: any_permission(rng) },
        _ => Grant::Personal { scopes: any_scopes(rng), routes: any_routes(rng) },
    }
}

fn any_scopes(rng: &mut StdRng) -> ScopeSet {
    let every: Vec<Scope> = Scope::every().chain([Scope::TokenWrite; 4]).collect();
    (0..rng.random_range(0..6)).map(|_| *every.choose(rng).unwrap()).collect()
}

fn any_routes(rng: &mut StdRng) -> Option<Routes> {
    let patterns = ["a/a", "a/*", "a/**", "b/b", "*/a", "**", "b/**"];
    let rule = |rng: &mut StdRng| {
        format!("{}:{}", patterns.choose(rng).unwrap(), ["r", "w", "rw", "rw"].choose(rng).unwrap()).parse().unwrap()
    };
    let rules = (0..rng.random_range(0..3)).map(|_| rule(rng)).collect();
    Routes::new(rules).ok()
}

/// A reach: anything at all, or more often this one with one thing changed.
fn any_reach(rng: &mut StdRng, like: Option<&Reach>) -> Reach {
    let end = |rng: &mut StdRng| {
        let days = rng.random_range(0..5);
        (days > 0).then(|| now() + TimeDelta::days(days))
    };
    let blocks = |rng: &mut StdRng| {
        let all = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24"];
        let some = rng.random_range(0..4_usize).saturating_sub(1);
        (0..some).map(|_| all.choose(rng).unwrap().parse().unwrap()).collect::<Vec<Cidr>>()
    };
    let uses = |rng: &mut StdRng| rng.random_ratio(1, 12).then_some(3);
    let Some(like) = like.filter(|_| rng.random_ratio(4, 5)) else {
        return Reach { grant: any_grant(rng), expires_at: end(rng), allow_from: blocks(rng), max_uses: uses(rng) };
    };
    let mut reach = like.clone();
    match rng.random_range(0..6) {
        0 => reach.expires_at = end(rng),
        1 => reach.allow_from = blocks(rng),
        2 => reach.max_uses = uses(rng),
        3 => reach.grant = any_grant(rng),
        _ => {
            reach.grant = match reach.grant {
                Grant::Personal { scopes, .. } if rng.random() => Grant::Personal { scopes, routes: any_routes(rng) },
                Grant::Personal { routes, .. } => Grant::Personal { scopes: any_scopes(rng), routes },
                Grant::Workspace { workspace, .. } => Grant::Workspace { workspace, permission: any_permission(rng) },
                Grant::Repo { workspace, repos, .. } => {
                    Grant::Repo { workspace, permission: any_permission(rng), repos }
                }
                other => other,
            }
        }
    }
    reach
}

/// Everything that can be asked in this small world.
fn every_need() -> Vec<Need> {
    let mut needs = vec![Need::Server, Need::OwnAudit, Need::Profile { user: USER }];
    for owner in [Owner::User(USER), Owner::Workspace(WORKSPACES[0].1), Owner::Workspace(WORKSPACES[1].1)] {
        needs.extend([Need::SeeTokens { owner }, Need::EndTokens { owner }, Need::ChangeTokens { owner }]);
    }
    for workspace in ["a", "b"] {
        let name: WorkspaceName = workspace.parse().unwrap();
        needs.extend([
            Need::SeeWorkspace { workspace: name.clone() },
            Need::ManageWorkspace { workspace: name.clone() },
        ]);
        for repo in ["a", "b"] {
            let repo = RepoPath { workspace: name.clone(), repo: repo.parse().unwrap() };
            let rights = [RepoRight::Read, RepoRight::Write, RepoRight::Admin];
            needs.extend(rights.map(|right| Need::Repository { repo: repo.clone(), right }));
        }
    }
    needs
}

/// What a caller may do, a bit for each need.
fn authority(caller: &Caller, needs: &[Need]) -> u64 {
    let bit = |(at, need): (usize, &Need)| u64::from(authority::allowed(caller, need).is_ok()) << at;
    needs.iter().enumerate().map(bit).sum()
}

/// What the daemon asks before it changes a token.
fn may_modify(caller: &Caller, old: &Token, reach: &Reach) -> bool {
    let daemons = matches!(old.kind(), TokenKind::Git | TokenKind::Session);
    let same_kind = old.kind() == reach.grant.kind() && old.grant.workspace() == reach.grant.workspace();
    !daemons
        && same_kind
        && decide(caller, Need::ChangeTokens { owner: old.owner }, now()).is_ok()
        && (reach.within(&old.reach()) || may_mint(caller, old.owner, reach))
}

fn may_mint(caller: &Caller, owner: Owner, reach: &Reach) -> bool {
    let Reach { grant, expires_at, allow_from, max_uses: _ } = reach.clone();
    decide(caller, Need::Mint(MintRequest { owner, grant, expires_at, allow_from }), now()).is_ok()
}

#[test]
fn whoever_holds_a_token_never_gets_further_than_it_reached() {
    let mut rng = StdRng::seed_from_u64(0x746f_6b31);
    let needs = every_need();
    let (mut minted, mut modified, mut rotated, mut refused) = (0, 0, 0, 0);
    for history in 0..HISTORIES {
        let user = somebody(&mut rng);
        let first = any_reach(&mut rng, None);
        let root = token(first.clone(), owner_of(&first.grant));
        let most = authority(&holding(&root, &user), &needs);
        // Tokens whose text they have, and another of the same user or workspace, whose text they have not.
        let mut held = vec![root];
        let mut other = {
            let reach = any_reach(&mut rng, Some(&first));
            token(reach.clone(), owner_of(&reach.grant))
        };
        for _ in 0..STEPS {
            let caller = holding(held.choose(&mut rng).unwrap(), &user);
            let own = caller.token().unwrap().reach();
            let gained = match rng.random_range(0..4) {
                0 | 1 => {
                    let reach = any_reach(&mut rng, Some(&own));
                    let owner = owner_of(&reach.grant);
                    let made = may_mint(&caller, owner, &reach).then(|| token(reach, owner));
                    minted += usize::from(made.is_some());
                    made
                }
                2 => {
                    // Rotation gives them the text of the successor, whoever's text the old one was.
                    let old = if rng.random() { &other } else { held.choose(&mut rng).unwrap() };
                    let ends_at = [old.expires_at, own.expires_at].into_iter().flatten().min();
                    let reach = Reach { expires_at: ends_at, ..old.reach() };
                    let made = decide(&caller, Need::ChangeTokens { owner: old.owner }, now()).is_ok()
                        && !matches!(old.kind(), TokenKind::Git | TokenKind::Session)
                        && may_mint(&caller, old.owner, &reach);
                    rotated += usize::from(made);
                    made.then(|| token(reach, old.owner))
                }
                _ => {
                    let at = rng.random_range(0..=held.len());
                    let old = held.get(at).unwrap_or(&other);
                    let reach = any_reach(&mut rng, Some(&old.reach()));
                    if may_modify(&caller, old, &reach) {
                        modified += 1;
                        let changed = token(reach, old.owner);
                        match held.get_mut(at) {
                            Some(old) => *old = changed.clone(),
                            None => other = changed.clone(),
                        }
                        // Of the other they still have no text.
                        (at < held.len()).then_some(changed)
                    } else {
                        None
                    }
                }
            };
            let Some(gained) = gained else {
                refused += 1;
                continue;
            };
            let may = authority(&holding(&gained, &user), &needs);
            let beyond: Vec<&Need> = needs
                .iter()
                .enumerate()
                .filter(|(at, _)| ((may & !most) >> at) & 1 == 1)
                .map(|(_, need)| need)
                .collect();
            assert!(beyond.is_empty(), "history {history}: {first:?} came to {gained:?}, which may {beyond:?}");
            let no_later = first.expires_at.is_none_or(|end| gained.expires_at.is_some_and(|mine| mine <= end));
            assert!(no_later, "history {history}: {first:?} came to outlive itself: {gained:?}");
            assert!(addresses_within(&gained.allow_from, &first.allow_from), "history {history}: {first:?} {gained:?}");
            let limited = first.max_uses.is_some();
            assert!(!limited || gained.use_limit.is_some_and(|limit| Some(limit.most) <= first.max_uses), "{gained:?}");
            held.push(gained);
        }
    }
    // It would be easy to hold if nothing ever happened.
    for happened in [minted, modified, rotated, refused] {
        assert!(
            happened > HISTORIES / 20,
            "{minted} minted, {modified} modified, {rotated} rotated, {refused} refused"
        );
    }
}
