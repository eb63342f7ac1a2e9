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

fn any_scopes() -> impl Strategy<Value = ScopeSet> {
    proptest::collection::vec(proptest::sample::select(Scope::every().collect::<Vec<_>>()), 0..6)
        .prop_map(|scopes| scopes.into_iter().collect())
}

fn any_permission() -> impl Strategy<Value = Permission> {
    prop_oneof![Just(Permission::Read), Just(Permission::Write)]
}

fn any_grant() -> impl Strategy<Value = Grant> {
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

fn any_owner() -> impl Strategy<Value = OwnerNow> {
    let role = || proptest::option::of(proptest::sample::select(Role::every().collect::<Vec<_>>()));
    (any::<bool>(), role(), role()).prop_map(|(manager, a, b)| {
        let roles: Vec<_> = [("a", a), ("b", b)].into_iter().filter_map(|(w, r)| r.map(|r| (w, r))).collect();
        user(manager, &roles)
    })
}

fn any_caller() -> impl Strategy<Value = Caller> {
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
fn every_need() -> Vec<Need> {
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

/// A caller in whatever state, at whatever place.
fn any_state() -> impl Strategy<Value = Caller> {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_is_the_decision(caller in any_state(), which in any::<proptest::sample::Index>(), days in 0_i64..3) {
        let mut needs = every_need();
        needs.push(Need::Identity);
        needs.push(Need::Api);
        let (need, at) = (needs.swap_remove(which.index(needs.len())), now() + TimeDelta::days(days));
        let live = decide(&caller, need.clone(), at);
        let said = explain(&caller, need, at);
        prop_assert_eq!(said.verdict.as_ref().err(), live.as_ref().err());
        prop_assert_eq!(said.verdict.is_ok(), live.is_ok());
        // The links come in the order of the rule, and only the last one can have said no.
        let links: Vec<Link> = said.steps.iter().map(|step| step.link).collect();
        prop_assert!(links.first() == Some(&Link::Live) && links.is_sorted(), "{links:?}");
        let (last, before) = said.steps.split_last().unwrap();
        prop_assert!(before.iter().all(|step| step.passed && !step.detail.is_empty()));
        if let (Err(refusal), false) = (&live, last.passed) {
            prop_assert_eq!(&last.detail, &refusal.to_string());
        }
        prop_assert!(last.passed || live.is_err());
    }
}

#[test]
fn each_link_that_says_no_is_named() {
    let writer = || user(false, &[("acme", Role::Writer)]);
    let last = |caller: &Caller, need| {
        let said = explain(caller, need, now());
        let rule = said.verdict.err().map_or("allowed", |refusal| refusal.rule.word());
        (said.steps.last().unwrap().link, rule)
    };
    let push = || on("acme/app", RepoRight::Write);
    assert_eq!(last(&holding(personal("all", &[]), writer()), push()), (Link::Owner, "allowed"));
    assert_eq!(last(&holding(personal("repo:read", &[]), writer()), push()), (Link::Scopes, "scope"));
    assert_eq!(last(&holding(personal("all", &["acme/*:r"]), writer()), push()), (Link::Routes, "route"));
    assert_eq!(last(&holding(personal("all", &["x/*:r"]), writer()), push()), (Link::Routes, "no_route"));
    assert_eq!(last(&holding(personal("all", &[]), user(false, &[])), push()), (Link::Owner, "not_member"));
    let git = Grant::Git { repo: "acme/app".parse().unwrap(), permission: Permission::Read };
    assert_eq!(last(&holding(git, writer()), push()), (Link::Kind, "git_token"));
    assert_eq!(last(&Caller::anonymous(Source::default()), push()), (Link::Live, "no_credential"));
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

/// Somebody whom a password vouches for, whoever they are.
fn any_password() -> impl Strategy<Value = Caller> {
    (any_owner(), any::<bool>()).prop_map(|(mut owner, enabled)| {
        if let OwnerNow::User(user) = &mut owner {
            std::sync::Arc::make_mut(user).enabled = enabled;
        }
        Caller { bearer: Bearer::Password, owner, source: Source::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn a_password_opens_a_session_of_its_own_user_and_does_nothing_else(caller in any_password(), grant in any_grant(), other in any::<bool>()) {
        let enabled = caller.user().unwrap().enabled;
        let stranger = Owner::User(UserId::from_uuid(uuid::Uuid::from_u128(99)));
        let owner = if other { stranger } else { caller.owner_id().unwrap() };
        let opens = grant == Grant::Session && !other && enabled;
        let request = || MintRequest { owner, grant: grant.clone(), expires_at: None, allow_from: Vec::new() };
        prop_assert_eq!(decide(&caller, Need::Mint(request()), now()).is_ok(), opens);
        prop_assert!(decide(&caller, Need::Import(request()), now()).is_err());
        let own = [
            Need::Identity, Need::Profile { user: USER }, Need::ChangeProfile { user: USER }, Need::SeeTokens { owner },
            Need::EndTokens { owner }, Need::ChangeTokens { owner }, Need::EndHeld, Need::OwnAudit, Need::BeginLogin,
            Need::ApproveLogin,
        ];
        for need in every_need().into_iter().chain(own) {
            prop_assert!(decide(&caller, need.clone(), now()).is_err(), "{need:?}");
            if let Need::Repository { repo, right } = need {
                prop_assert!(!has_right(&caller, &repo, right, now()) && highest_right(&caller, &repo, now()).is_none());
            }
        }
    }
}

#[test]
fn whoever_lets_a_device_log_in_has_logged_in_a_moment_ago() {
    let verdict = |caller: &Caller, at| decide(caller, Need::ApproveLogin, at).map(drop).map_err(|no| no.rule);
    let opened = token(Grant::Session, Owner::User(USER), None).created_at;
    let session = holding(Grant::Session, user(false, &[]));
    assert_eq!(verdict(&session, opened + RECENT_LOGIN), Ok(()));
    assert_eq!(verdict(&session, opened + RECENT_LOGIN + TimeDelta::seconds(1)), Err(Rule::StaleLogin));
    for other in
        [holding(personal("all", &[]), user(true, &[])), local(user(true, &[]), false), local(OwnerNow::Nobody, true)]
    {
        assert!(verdict(&other, opened).is_err(), "{other:?}");
    }
    assert_eq!(verdict(&Caller::anonymous(Source::default()), opened), Err(Rule::NoCredential));
    // To ask for a login takes nothing at all.
    assert!(decide(&Caller::anonymous(Source::default()), Need::BeginLogin, opened).is_ok());
}

#[test]
fn a_trust_rule_gives_git_tokens_within_it_and_nothing_else() {
    use crate::trust::{Once, Reach, System, TrustRule};
    let rule = TrustRule {
        id: "9f2c51aa-0000-4000-8000-000000000031".parse().unwrap(),
        name: "ci".parse().unwrap(),
        system: System::Other,
        issuer: "https://ci.example.com".into(),
        audience: "tok".into(),
        claims: vec!["sub=job".parse().unwrap()],
        algorithms: System::Other.algorithms().to_vec(),
        ca: None,
        reach: Reach::new(vec!["acme/app".parse().unwrap()]).unwrap(),
        workspace: TEAM,
        permission: Permission::Read,
        lifetime: crate::clock::Period::from_seconds(600).unwrap(),
        max_age: crate::clock::Period::from_seconds(600).unwrap(),
        once: Once::Token,
        allow_recycled_names: false,
    };
    let owner = OwnerNow::Workspace { id: TEAM, name: "acme".parse().unwrap(), disabled_maker: None };
    let bearer = Bearer::Trusted { rule: std::sync::Arc::new(rule) };
    let caller = Caller { bearer, owner, source: Source::default() };
    let git = |repo: &str, permission, minutes| {
        let grant = Grant::Git { repo: repo.parse().unwrap(), permission };
        let expires_at = Some(now() + TimeDelta::minutes(minutes));
        let request = MintRequest { owner: Owner::Workspace(TEAM), grant, expires_at, allow_from: Vec::new() };
        decide(&caller, Need::Mint(request), now()).map(drop).map_err(|refusal| refusal.rule.word())
    };
    assert_eq!(git("acme/app", Permission::Read, 10), Ok(()));
    assert_eq!(git("acme/app", Permission::Write, 10), Err("permission"));
    assert_eq!(git("acme/other", Permission::Read, 10), Err("other_repository"));
    assert_eq!(git("zoo/app", Permission::Read, 10), Err("other_repository"));
    assert_eq!(git("acme/app", Permission::Read, 11), Err("beyond"));
    let minted = |owner, grant| MintRequest {
        owner,
        grant,
        expires_at: Some(now() + TimeDelta::minutes(1)),
        allow_from: Vec::new(),
    };
    let workspace = "acme".parse().unwrap();
    let whole = Grant::Workspace { workspace, permission: Permission::Read };
    for need in [
        Need::Identity,
        Need::Server,
        Need::OwnAudit,
        Need::SeeTokens { owner: Owner::Workspace(TEAM) },
        Need::EndTokens { owner: Owner::Workspace(TEAM) },
        Need::SeeWorkspace { workspace: "acme".parse().unwrap() },
        Need::ManageWorkspace { workspace: "acme".parse().unwrap() },
        Need::Mint(minted(Owner::Workspace(TEAM), whole.clone())),
        Need::Import(minted(Owner::Workspace(TEAM), whole)),
        Need::Mint(minted(Owner::Workspace(TEAM), Grant::Session)),
    ] {
        let refusal = decide(&caller, need.clone(), now()).unwrap_err();
        assert_eq!(refusal.rule.word(), "trusted_for_git", "{need:?}");
    }
    let gone = Caller { owner: OwnerNow::Nobody, ..caller };
    assert_eq!(decide(&gone, Need::Identity, now()).unwrap_err().rule.word(), "owner_gone");
}
