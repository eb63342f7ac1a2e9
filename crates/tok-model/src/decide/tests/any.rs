//! Whoever and whatever there may be, for properties that hold of all.

use super::*;

pub(super) fn any_scopes() -> impl Strategy<Value = ScopeSet> {
    proptest::collection::vec(proptest::sample::select(Scope::every().collect::<Vec<_>>()), 0..6)
        .prop_map(|scopes| scopes.into_iter().collect())
}

pub(super) fn any_permission() -> impl Strategy<Value = Permission> {
    prop_oneof![Just(Permission::Read), Just(Permission::Write)]
}

pub(super) fn any_grant() -> impl Strategy<Value = Grant> {
    let workspace = || prop_oneof![Just("a"), Just("b")].prop_map(|w| w.parse::<WorkspaceName>().unwrap());
    let repo = || prop_oneof![Just("a"), Just("b"), Just("c")];
    prop_oneof![
        4 => (any_scopes(), proptest::option::of(any_routes())).prop_map(|(scopes, routes)| Grant::Personal { scopes, routes }),
        1 => Just(Grant::Session),
        2 => (workspace(), any_permission()).prop_map(|(workspace, permission)| Grant::Workspace { workspace, permission }),
        2 => (workspace(), any_permission(), proptest::collection::btree_set(repo().prop_map(|r| r.parse().unwrap()), 1..3))
            .prop_map(|(workspace, permission, repos)| Grant::Repo { workspace, permission, repos }),
        2 => (workspace(), repo(), any_permission()).prop_map(|(workspace, repo, permission)| Grant::Git {
            repo: RepoPath { workspace, repo: repo.parse().unwrap() },
            permission,
        }),
    ]
}

pub(super) fn any_owner() -> impl Strategy<Value = OwnerNow> {
    let role = || proptest::option::of(proptest::sample::select(Role::every().collect::<Vec<_>>()));
    (any::<bool>(), role(), role()).prop_map(|(manager, a, b)| {
        let roles: Vec<_> = [("a", a), ("b", b)].into_iter().filter_map(|(w, r)| r.map(|r| (w, r))).collect();
        user(manager, &roles)
    })
}

pub(super) fn any_caller() -> impl Strategy<Value = Caller> {
    (any_owner(), proptest::option::of(any_grant()), any::<bool>(), 0_i64..3).prop_map(
        |(owner, grant, manager, days)| {
            let Some(grant) = grant else { return local(owner, manager) };
            let owner = if matches!(grant.kind(), TokenKind::Workspace | TokenKind::Repo) {
                OwnerNow::Workspace { id: TEAM, name: grant.workspace().unwrap().clone(), disabled_maker: None }
            } else {
                owner
            };
            let mut caller = holding(grant, owner);
            if let Bearer::Token(token) = &mut caller.bearer {
                std::sync::Arc::make_mut(token).expires_at = (days > 0).then(|| now() + TimeDelta::days(days));
            }
            caller
        },
    )
}

/// Everything that can be asked in the small world of these tests.
pub(super) fn every_need() -> Vec<Need> {
    let mut needs = vec![Need::Server];
    for workspace in ["a", "b"] {
        let name: WorkspaceName = workspace.parse().unwrap();
        needs.push(Need::SeeWorkspace { workspace: name.clone() });
        needs.push(Need::ManageWorkspace { workspace: name });
        for repo in ["a", "b", "c"] {
            for right in [RepoRight::Read, RepoRight::Write, RepoRight::Admin] {
                needs.push(on(&format!("{workspace}/{repo}"), right));
            }
        }
    }
    needs
}

/// A caller in whatever state, at whatever place.
pub(super) fn any_state() -> impl Strategy<Value = Caller> {
    (any_caller(), 0..8_u8, any::<bool>(), any::<bool>()).prop_map(|(mut caller, state, enabled, inside)| {
        if let OwnerNow::User(user) = &mut caller.owner {
            std::sync::Arc::make_mut(user).enabled = enabled || state > 3;
        }
        caller.source.address = inside.then(|| "192.0.2.7".parse().unwrap());
        let Bearer::Token(token) = &mut caller.bearer else { return caller };
        let token = std::sync::Arc::make_mut(token);
        match state {
            0 => token.state = TokenState::Revoked { at: now(), by: "ann".into(), reason: None },
            1 => token.expires_at = Some(now()),
            2 => token.idle_ends_at = Some(now()),
            3 => token.allow_from = vec!["192.0.2.0/24".parse().unwrap()],
            4 => token.use_limit = Some(crate::token::UseLimit { most: 1, so_far: 1 }),
            _ => {}
        }
        caller
    })
}
