//! Those who have no token yet: a password, somebody's "yes", or a CI system vouches for them.

use super::any::{any_grant, any_owner, every_need};
use super::*;

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
