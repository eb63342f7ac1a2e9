mod any;
mod explained;
mod vouched;

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::audit::Source;
use crate::id::{TokenId, WorkspaceId};
use crate::kind::{Permission, Role, TokenKind};
use crate::route::Routes;
use crate::route::tests::any_routes;
use crate::scope::{Scope, ScopeSet};
use crate::token::{Creator, Token, TokenState};

use self::any::{any_caller, any_grant, every_need};

const USER: UserId = UserId::from_uuid(uuid::Uuid::from_u128(1));
const TEAM: WorkspaceId = WorkspaceId::from_uuid(uuid::Uuid::from_u128(2));

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn user(manager: bool, roles: &[(&str, Role)]) -> OwnerNow {
    let memberships: BTreeMap<_, _> =
        roles.iter().map(|(w, role)| (w.parse().unwrap(), Membership { workspace: TEAM, role: *role })).collect();
    OwnerNow::User(std::sync::Arc::new(UserNow {
        id: USER,
        name: "ann".parse().unwrap(),
        enabled: true,
        manager,
        memberships,
    }))
}

pub(super) fn token(grant: Grant, owner: Owner, expires_at: Option<Timestamp>) -> Token {
    Token {
        id: TokenId::from_uuid(uuid::Uuid::from_u128(7)),
        name: "t".into(),
        description: String::new(),
        shown_prefix: "tokpat_abcd".into(),
        grant,
        owner,
        owner_name: "ann".into(),
        parent: None,
        family: TokenId::from_uuid(uuid::Uuid::from_u128(7)),
        allow_from: Vec::new(),
        local_login: false,
        creator: Creator {
            user: Some(USER),
            name: "ann".into(),
            token_prefix: None,
            from: "unix:uid=1".into(),
            agent: None,
        },
        created_at: now() - TimeDelta::days(1),
        expires_at,
        idle_ends_at: None,
        state: TokenState::Live,
        last_use: None,
        secret: crate::token::SecretForm::Minted,
        imported_from: None,
        labels: Vec::new(),
        use_limit: None,
        predecessor: None,
        first_use_due: false,
        version: 1,
        modified_at: None,
        unreadable: None,
    }
}

fn holding(grant: Grant, owner_now: OwnerNow) -> Caller {
    let owner = match &owner_now {
        OwnerNow::Workspace { id, .. } => Owner::Workspace(*id),
        _ => Owner::User(USER),
    };
    Caller {
        bearer: Bearer::Token(std::sync::Arc::new(token(grant, owner, None))),
        owner: owner_now,
        source: Source::default(),
    }
}

fn local(owner: OwnerNow, manager: bool) -> Caller {
    Caller { bearer: Bearer::LocalPeer { manager }, owner, source: Source { uid: Some(1000), ..Source::default() } }
}

fn personal(scopes: &str, routes: &[&str]) -> Grant {
    let routes = (!routes.is_empty()).then(|| Routes::from_texts(routes.iter().copied()).unwrap());
    Grant::Personal { scopes: scopes.parse().unwrap(), routes }
}

fn on(repo: &str, right: RepoRight) -> Need {
    Need::Repository { repo: repo.parse().unwrap(), right }
}

fn class_of(caller: &Caller, need: Need) -> Option<Class> {
    decide(caller, need, now()).err().map(|refusal| refusal.class())
}

#[test]
fn a_reader_reads_is_told_why_he_may_not_push_and_sees_nothing_else() {
    let bob = holding(personal("repo:read, repo:write", &[]), user(false, &[("acme", Role::Reader)]));
    assert_eq!(class_of(&bob, on("acme/app", RepoRight::Read)), None);
    let refusal = decide(&bob, on("acme/app", RepoRight::Write), now()).unwrap_err();
    assert_eq!(refusal.class(), Class::Forbidden);
    assert_eq!(refusal.to_string(), "ann has the role reader in acme, and to push to acme/app takes the role writer");
    assert!(refusal.hint().unwrap().contains("tok workspace member add acme ann --role writer"));
    assert_eq!(class_of(&bob, on("other/app", RepoRight::Read)), Some(Class::Hidden));
    assert_eq!(class_of(&bob, on("other/app", RepoRight::Write)), Some(Class::Hidden));
}

#[test]
fn each_link_of_the_rule_refuses_on_its_own() {
    let writer = || user(false, &[("acme", Role::Writer)]);
    let push = || on("acme/app", RepoRight::Write);
    assert_eq!(class_of(&Caller::anonymous(Source::default()), push()), Some(Class::Unauthenticated));
    assert_eq!(class_of(&holding(personal("repo:read", &[]), writer()), push()), Some(Class::Forbidden));
    assert_eq!(class_of(&holding(personal("all", &["acme/*:r"]), writer()), push()), Some(Class::Forbidden));
    assert_eq!(class_of(&holding(personal("all", &["acme/lib:rw"]), writer()), push()), Some(Class::Hidden));
    assert_eq!(
        class_of(&holding(personal("all", &["acme/app:w"]), writer()), on("acme/app", RepoRight::Read)),
        Some(Class::Hidden)
    );
    assert_eq!(class_of(&holding(personal("", &[]), writer()), Need::Identity), None);

    let git = |permission| Grant::Git { repo: "acme/app".parse().unwrap(), permission };
    assert_eq!(class_of(&holding(git(Permission::Write), writer()), push()), None);
    assert_eq!(class_of(&holding(git(Permission::Read), writer()), push()), Some(Class::StepUp));
    assert_eq!(
        class_of(&holding(git(Permission::Write), writer()), on("acme/lib", RepoRight::Read)),
        Some(Class::StepUp)
    );
    // The member was removed since: the token stays good, and its repository no longer exists for it.
    assert_eq!(class_of(&holding(git(Permission::Write), user(false, &[])), push()), Some(Class::Hidden));
    assert_eq!(
        class_of(&holding(git(Permission::Write), writer()), Need::SeeTokens { owner: Owner::User(USER) }),
        Some(Class::Forbidden)
    );

    let mut ended = holding(personal("all", &[]), writer());
    let Bearer::Token(token) = &mut ended.bearer else { unreachable!() };
    let token = std::sync::Arc::make_mut(token);
    token.expires_at = Some(now());
    assert_eq!(class_of(&ended, push()), Some(Class::Unauthenticated));
    assert!(decide(&ended, push(), now() - TimeDelta::microseconds(1)).is_ok());

    let mut fenced = holding(personal("all", &[]), writer());
    let Bearer::Token(token) = &mut fenced.bearer else { unreachable!() };
    let token = std::sync::Arc::make_mut(token);
    token.allow_from = vec!["192.0.2.0/24".parse().unwrap()];
    assert_eq!(class_of(&fenced, push()), Some(Class::Unauthenticated));
    fenced.source.address = Some("192.0.2.9".parse().unwrap());
    assert_eq!(class_of(&fenced, push()), None);

    let mut disabled = holding(personal("all", &[]), writer());
    let OwnerNow::User(user) = &mut disabled.owner else { unreachable!() };
    std::sync::Arc::make_mut(user).enabled = false;
    assert_eq!(class_of(&disabled, push()), Some(Class::Unauthenticated));
}

#[test]
fn local_peers_are_identified_not_trusted() {
    assert_eq!(class_of(&local(OwnerNow::Nobody, false), Need::Identity), Some(Class::Unauthenticated));
    assert_eq!(class_of(&local(OwnerNow::Nobody, true), Need::Server), None);
    // Acting as somebody is acting with their authority, also for root: the flag is gone then.
    assert_eq!(class_of(&local(user(false, &[]), true), Need::Server), None);
    assert_eq!(class_of(&local(user(false, &[]), false), Need::Server), Some(Class::Forbidden));
    assert_eq!(class_of(&local(user(true, &[]), false), Need::Server), None);
}

#[test]
fn a_peer_that_administers_does_so_whatever_the_tok_user_of_its_name_is() {
    let (peer, plain) = (local(user(false, &[]), true), local(user(false, &[]), false));
    let workspace = || "acme".parse().unwrap();
    let all_of_it = || Grant::Workspace { workspace: workspace(), permission: Permission::Write };
    let mint = |owner, grant| Need::Mint(MintRequest { owner, grant, expires_at: None, allow_from: Vec::new() });
    let needs = || {
        [
            Need::SeeWorkspace { workspace: workspace() },
            Need::ManageWorkspace { workspace: workspace() },
            Need::SeeTokens { owner: Owner::Workspace(TEAM) },
            Need::Repository { repo: "acme/app".parse().unwrap(), right: RepoRight::Admin },
            mint(Owner::Workspace(TEAM), all_of_it()),
        ]
    };
    for (need, refused) in needs().into_iter().zip(needs()) {
        assert_eq!(class_of(&peer, need), None);
        assert!(class_of(&plain, refused).is_some());
    }
    // What it makes for a workspace rests on no user who could not have made it.
    let made = decide(&peer, mint(Owner::Workspace(TEAM), all_of_it()), now()).unwrap();
    assert_eq!((&made.actor().user, made.actor().source.uid), (&None, Some(1000)));
    // Its tokens have the authority of the user whom they act for, and no more.
    let git = || Grant::Git { repo: "acme/app".parse().unwrap(), permission: Permission::Write };
    let refusal = decide(&peer, mint(Owner::User(USER), git()), now()).unwrap_err();
    assert_eq!(refusal.class(), Class::Forbidden);
    assert_eq!(refusal.hint().as_deref(), Some("let them: tok workspace member add acme ann --role writer"));
    assert_eq!(class_of(&peer, mint(Owner::User(USER), personal("manager", &[]))), Some(Class::Forbidden));
    let writer = local(user(false, &[("acme", Role::Writer)]), true);
    assert_eq!(class_of(&writer, mint(Owner::User(USER), git())), None);
}

#[test]
fn maintainers_see_and_end_the_tokens_of_their_workspace() {
    let ends = || Need::EndTokens { owner: Owner::Workspace(TEAM) };
    assert_eq!(class_of(&local(user(false, &[("acme", Role::Maintainer)]), false), ends()), None);
    assert_eq!(class_of(&local(user(false, &[("acme", Role::Writer)]), false), ends()), Some(Class::Forbidden));
    let narrow =
        holding(personal("repo:read, token:write", &["acme/app:r"]), user(false, &[("acme", Role::Maintainer)]));
    assert_eq!(class_of(&narrow, ends()), Some(Class::Forbidden));
}

#[test]
fn a_workspaces_token_rests_while_its_maker_is_disabled_and_admits_nobody() {
    let grant = || Grant::Workspace { workspace: "acme".parse().unwrap(), permission: Permission::Write };
    let acting = |disabled_maker: Option<&str>| {
        let disabled_maker = disabled_maker.map(|name| name.parse().unwrap());
        holding(grant(), OwnerNow::Workspace { id: TEAM, name: "acme".parse().unwrap(), disabled_maker })
    };
    let push = || on("acme/app", RepoRight::Write);
    assert_eq!(class_of(&acting(None), push()), None);
    assert_eq!(class_of(&acting(Some("ann")), push()), Some(Class::Unauthenticated));
    let manage = Need::ManageWorkspace { workspace: "acme".parse().unwrap() };
    assert_eq!(class_of(&acting(None), manage), Some(Class::Forbidden));
}

#[test]
fn repo_and_git_tokens_create_nothing() {
    let repos: BTreeSet<_> = ["app".parse().unwrap()].into();
    let workspace = || OwnerNow::Workspace { id: TEAM, name: "acme".parse().unwrap(), disabled_maker: None };
    let wants = || {
        Need::Mint(MintRequest {
            owner: Owner::Workspace(TEAM),
            grant: Grant::Git { repo: "acme/app".parse().unwrap(), permission: Permission::Read },
            expires_at: None,
            allow_from: Vec::new(),
        })
    };
    let repo =
        holding(Grant::Repo { workspace: "acme".parse().unwrap(), permission: Permission::Write, repos }, workspace());
    assert_eq!(class_of(&repo, wants()), Some(Class::Forbidden));
    let whole =
        holding(Grant::Workspace { workspace: "acme".parse().unwrap(), permission: Permission::Read }, workspace());
    assert_eq!(class_of(&whole, wants()), None);
    assert_eq!(class_of(&whole, Need::SeeTokens { owner: Owner::Workspace(TEAM) }), Some(Class::Forbidden));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn minted_authority_never_exceeds_the_minters(caller in any_caller(), grant in any_grant(), days in 0_i64..4) {
        let for_workspace = matches!(grant.kind(), TokenKind::Workspace | TokenKind::Repo);
        let owner = if for_workspace { Owner::Workspace(TEAM) } else { caller.owner_id().unwrap() };
        let expires_at = (days > 0).then(|| now() + TimeDelta::days(days));
        let request = MintRequest { owner, grant: grant.clone(), expires_at, allow_from: Vec::new() };
        if decide(&caller, Need::Mint(request), now()).is_err() {
            return Ok(());
        }
        let owner_now = if for_workspace {
            OwnerNow::Workspace { id: TEAM, name: grant.workspace().unwrap().clone(), disabled_maker: None }
        } else {
            caller.owner.clone()
        };
        let child = Caller {
            bearer: Bearer::Token(std::sync::Arc::new(token(grant, owner, expires_at))),
            owner: owner_now,
            source: Source::default(),
        };
        for need in every_need() {
            let mine = decide(&caller, need.clone(), now()).is_ok();
            prop_assert!(mine || decide(&child, need.clone(), now()).is_err(), "{need:?} for {child:?} made by {caller:?}");
        }
        if let Some(end) = caller.token().and_then(|t| t.expires_at) {
            prop_assert!(decide(&child, Need::Identity, end).is_err());
        }
    }

    #[test]
    fn rights_on_a_repository_are_nested(caller in any_caller()) {
        for repo in ["a/a", "b/c"] {
            let may = |right| decide(&caller, on(repo, right), now()).is_ok();
            // A route may give writing without reading, so only administration must include the others.
            prop_assert!(!may(RepoRight::Admin) || (may(RepoRight::Write) && may(RepoRight::Read)));
        }
    }
}

#[test]
fn a_manager_who_acts_as_somebody_has_their_authority_as_far_as_the_token_reaches() {
    let everything = |scopes: &[Scope]| Grant::Personal { scopes: scopes.iter().copied().collect(), routes: None };
    let acting = |grant: Grant, state: TokenState| {
        // The manager's token; its owner is another than the one they act as.
        let manager = Owner::User(UserId::from_uuid(uuid::Uuid::from_u128(9)));
        let token = Token { state, expires_at: Some(now() + TimeDelta::days(1)), ..token(grant, manager, None) };
        let by = std::sync::Arc::new(Bearer::Token(std::sync::Arc::new(token)));
        Caller {
            bearer: Bearer::Acting { by },
            owner: user(false, &[("acme", Role::Writer)]),
            source: Source::default(),
        }
    };
    let needs = |repo: &str, right| Need::Repository { repo: repo.parse().unwrap(), right };
    let whole = acting(everything(&[Scope::All]), TokenState::Live);
    assert!(decide(&whole, needs("acme/app", RepoRight::Write), now()).is_ok());
    // Not what the manager may do.
    assert!(decide(&whole, Need::Server, now()).is_err());
    assert!(decide(&whole, needs("acme/app", RepoRight::Admin), now()).is_err());
    assert!(decide(&whole, needs("other/app", RepoRight::Read), now()).is_err());
    // Nor more than the token.
    let narrow = acting(everything(&[Scope::UserRead]), TokenState::Live);
    assert!(decide(&narrow, needs("acme/app", RepoRight::Read), now()).is_err());
    assert!(decide(&narrow, Need::SeeTokens { owner: Owner::User(USER) }, now()).is_err());
    // What is made through it acts for the other, ends with the token at the latest, and has a trail back to it.
    let wish = |expires_at| {
        let grant = everything(&[Scope::RepoRead]);
        Need::Mint(MintRequest { owner: Owner::User(USER), grant, expires_at, allow_from: Vec::new() })
    };
    let permit = decide(&whole, wish(Some(now() + TimeDelta::hours(1))), now()).unwrap();
    assert_eq!(permit.actor().token, Some(TokenId::from_uuid(uuid::Uuid::from_u128(7))));
    assert!(decide(&whole, wish(Some(now() + TimeDelta::days(2))), now()).is_err());
    assert!(decide(&whole, wish(None), now()).is_err());
    // It stops with the token.
    let by = "ann".to_owned();
    let ended = TokenState::Revoked { at: now(), by, reason: None };
    let ended = acting(everything(&[Scope::All]), ended);
    assert!(matches!(decide(&ended, Need::Identity, now()).unwrap_err().rule, Rule::Revoked(_)));
}

#[test]
fn a_git_token_asks_about_itself_alone() {
    let git = holding(
        Grant::Git { repo: "acme/app".parse().unwrap(), permission: Permission::Read },
        user(false, &[("acme", Role::Reader)]),
    );
    let own = git.token().map(|token| token.id);
    assert_eq!(class_of(&git, Need::Introspect { token: own }), None);
    assert_eq!(class_of(&git, Need::Introspect { token: None }), Some(Class::Forbidden));
    assert_eq!(
        class_of(&git, Need::Introspect { token: Some(TokenId::from_uuid(uuid::Uuid::from_u128(77))) }),
        Some(Class::Forbidden)
    );
    assert_eq!(class_of(&holding(personal("", &[]), user(false, &[])), Need::Introspect { token: None }), None);
}

#[test]
fn whoever_holds_a_token_may_end_it_whatever_else_is_wrong() {
    let mut held = holding(personal("", &[]), OwnerNow::Nobody);
    let Bearer::Token(token) = &mut held.bearer else { unreachable!() };
    let token = std::sync::Arc::make_mut(token);
    (token.expires_at, token.allow_from) = (Some(now()), vec!["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(class_of(&held, Need::EndHeld), None);
    assert_eq!(class_of(&held, Need::Identity), Some(Class::Unauthenticated));
    assert_eq!(class_of(&Caller::anonymous(Source::default()), Need::EndHeld), Some(Class::Unauthenticated));
    assert_eq!(class_of(&local(user(true, &[]), false), Need::EndHeld), Some(Class::Unauthenticated));
}
