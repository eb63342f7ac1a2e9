use super::*;

fn rule(system: System, issuer: &str, claims: &[&str]) -> TrustRule {
    TrustRule {
        id: "9f2c51aa-0000-4000-8000-000000000031".parse().unwrap(),
        name: "ci".parse().unwrap(),
        system,
        issuer: issuer.to_owned(),
        audience: "https://git.example.com".to_owned(),
        claims: claims.iter().map(|claim| claim.parse().unwrap()).collect(),
        algorithms: system.algorithms().to_vec(),
        ca: None,
        reach: Reach::new(vec!["acme/app".parse().unwrap()]).unwrap(),
        workspace: "9f2c51aa-0000-4000-8000-000000000032".parse().unwrap(),
        permission: Permission::Write,
        lifetime: Period::from_seconds(DEFAULT_LIFETIME).unwrap(),
        max_age: Period::from_seconds(3600).unwrap(),
        once: Once::Token,
        allow_recycled_names: false,
    }
}

fn github(claims: &[&str]) -> TrustRule {
    rule(System::GitHub, "https://token.actions.githubusercontent.com", claims)
}

fn claims(pairs: &[(&str, &str)]) -> Claims {
    let all = pairs.iter().map(|(name, value)| (*name, vec![(*value).to_owned()]));
    all.chain([("aud", vec!["https://git.example.com".to_owned()])]).collect()
}

#[test]
fn a_rule_that_strangers_would_meet_cannot_be() {
    for good in [
        &["repository=acme/app"][..],
        &["repository=acme/*", "ref=refs/heads/main"],
        &["repository_owner=acme"],
        &["repository_id=1234"],
        &["sub=repo:acme/app:ref:refs/heads/main"],
    ] {
        assert_eq!(github(good).check(), Ok(()), "{good:?}");
    }
    for bad in [
        &["ref=refs/heads/main"][..],
        &["repository=*/app"],
        &["repository=**"],
        &["repository_owner=ac*"],
        &["sub=repo:*"],
        &["repository_owner_id=1*"],
        // One of two alternatives is everybody.
        &["repository=acme/app", "repository=**"],
    ] {
        assert!(matches!(github(bad).check(), Err(RuleError::Unanchored { .. })), "{bad:?}");
    }
    assert!(matches!(github(&[]).check(), Err(RuleError::NoClaims(_))));
    let gitlab = |claims| rule(System::GitLab, "https://gitlab.com", claims).check();
    assert_eq!(gitlab(&["project_path=acme/app"]), Ok(()));
    assert!(gitlab(&["ref_protected=true"]).is_err());
    let other = |claims| rule(System::Other, "https://ci.example.com", claims).check();
    assert_eq!(other(&["sub=job-*"]), Ok(()));
    for good in [&["repository=acme/app", "ref=refs/heads/main"][..], &["organization_slug=acme"], &["project_id=7"]] {
        assert_eq!(other(good), Ok(()), "{good:?}");
    }
    for bad in [
        &["sub=*"][..],
        &["sub=**"],
        &["ref=refs/heads/main"],
        &["repository=*/app"],
        &["repository_id=1*"],
        &["anything=else", "event_name=push"],
        &["sub=job-1", "sub=*"],
    ] {
        assert!(matches!(other(bad), Err(RuleError::Unanchored { .. })), "{bad:?}");
    }
}

#[test]
fn lifetimes_and_audiences_have_their_bounds() {
    let with = |change: fn(&mut TrustRule)| {
        let mut rule = github(&["repository=acme/app"]);
        change(&mut rule);
        rule.check()
    };
    assert_eq!(with(|rule| rule.lifetime = Period::from_seconds(3601).unwrap()), Err(RuleError::Lifetime));
    assert_eq!(with(|rule| rule.lifetime = Period::from_seconds(59).unwrap()), Err(RuleError::Lifetime));
    assert_eq!(with(|rule| rule.max_age = Period::from_seconds(86_401).unwrap()), Err(RuleError::MaxAge));
    assert_eq!(with(|rule| rule.audience = String::new()), Err(RuleError::Audience));
    assert_eq!(with(|rule| rule.algorithms = Vec::new()), Err(RuleError::NoAlgorithm));
}

#[test]
fn an_issuer_is_an_https_url_and_nothing_clever() {
    for good in [
        "https://token.actions.githubusercontent.com",
        "https://git.example.com/api/actions",
        "https://127.0.0.1:8443/",
    ] {
        assert_eq!(check_issuer(good), Ok(()), "{good}");
    }
    for bad in [
        "http://ci.example.com",
        "https://",
        "https://user@ci.example.com",
        "https://ci.example.com/?a",
        "https://ci.example.com/#a",
        "https://ci.example.com/a/../b",
        "https://ci.example.com/%2e%2e",
        "https://ci.example.com\\@evil",
        "https://ci.example.com/a b",
        "ci.example.com",
    ] {
        assert_eq!(check_issuer(bad), Err(RuleError::Issuer), "{bad}");
    }
}

#[test]
fn each_claim_is_judged_and_said() {
    let rule = github(&["repository=acme/app", "ref=refs/heads/main", "ref=refs/tags/*"]);
    let good = claims(&[("repository", "acme/app"), ("ref", "refs/tags/v1")]);
    assert!(rule.judge(&good).accepted());
    let bad = claims(&[("repository", "acme/other\u{1b}[31m")]);
    let judgement = rule.judge(&bad);
    let said: Vec<_> = judgement.unmet().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "repository: expected acme/app, saw acme/other\u{fffd}[31m",
            "ref: expected refs/heads/main or refs/tags/*, and the token has no such claim",
        ]
    );
    let elsewhere: Claims = [("aud", vec!["https://other.example".to_owned()])].into_iter().collect();
    assert!(rule.judge(&elsewhere).unmet().any(|finding| finding.claim == "aud"));
    // A list is met by one of its members, an empty one by nothing.
    let listed: Claims = [("groups", vec!["a".to_owned(), "b".to_owned()]), ("none", vec![])].into_iter().collect();
    assert!("groups=b".parse::<Expectation>().unwrap().met_by(&listed));
    assert!(!"none=*".parse::<Expectation>().unwrap().met_by(&listed));
}

#[test]
fn a_rule_by_names_remembers_ids_and_one_by_ids_need_not() {
    let seen = claims(&[
        ("repository", "acme/app"),
        ("repository_id", "42"),
        ("repository_owner", "acme"),
        ("repository_owner_id", "7"),
    ]);
    let by_name = github(&["repository=acme/app"]);
    let ids: Vec<_> = by_name.pins(&seen).unwrap().into_iter().map(|pin| (pin.name, pin.id)).collect();
    assert_eq!(ids, [("acme/app".to_owned(), "42".to_owned()), ("acme".to_owned(), "7".to_owned())]);
    assert!(by_name.goes_by_names());
    assert_eq!(github(&["repository=acme/app", "repository_owner_id=7"]).pins(&seen), Ok(Vec::new()));
    assert!(github(&["repository=acme/app", "repository_id=*"]).goes_by_names());
    assert!(by_name.pins(&claims(&[("repository", "acme/app")])).is_err());
    let other = rule(System::Other, "https://ci.example.com", &["repository=acme/app"]);
    assert_eq!(other.pins(&claims(&[("repository", "acme/app")])), Ok(Vec::new()));
    assert_eq!(other.pins(&seen).unwrap().len(), 2);
    let careless = TrustRule { allow_recycled_names: true, ..by_name };
    assert_eq!(careless.pins(&seen), Ok(Vec::new()));
}

#[test]
fn a_name_among_several_has_to_be_who_it_was_too() {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let seen: Claims = [
        ("repository", texts(&["zoo/x", "acme/app"])),
        ("repository_id", texts(&["43"])),
        ("aud", texts(&["https://git.example.com"])),
    ]
    .into_iter()
    .collect();
    for system in [System::GitHub, System::Other] {
        let rule = rule(system, "https://ci.example.com", &["repository=acme/app"]);
        assert!(rule.judge(&seen).accepted());
        let pinned: Vec<_> = rule.pins(&seen).unwrap().into_iter().map(|pin| (pin.name, pin.id)).collect();
        assert_eq!(pinned, [("zoo/x".to_owned(), "43".to_owned()), ("acme/app".to_owned(), "43".to_owned())]);
    }
    let nameless: Claims = [("repository", texts(&["zoo/x", "acme/app"]))].into_iter().collect();
    assert!(github(&["repository=acme/app"]).pins(&nameless).is_err());
}

#[test]
fn the_systems_are_known_by_their_issuers() {
    for (issuer, system) in [
        ("https://token.actions.githubusercontent.com", System::GitHub),
        ("https://token.actions.githubusercontent.com/acme", System::GitHub),
        ("https://token.actions.githubusercontent.com.evil.example", System::Other),
        ("https://gitlab.com", System::GitLab),
        ("https://codeberg.org/api/actions", System::Forgejo),
        ("https://ci.example.com", System::Other),
    ] {
        assert_eq!(System::of_issuer(issuer), system, "{issuer}");
    }
}

#[test]
fn a_reach_is_within_one_workspace() {
    let reach = |texts: &[&str]| Reach::new(texts.iter().map(|text| text.parse().unwrap()).collect());
    let two = reach(&["acme/app", "acme/lib-*", "acme/app"]).unwrap();
    assert_eq!(two.texts(), ["acme/app", "acme/lib-*"]);
    assert!(two.covers(&"acme/lib-a".parse().unwrap()) && !two.covers(&"acme/other".parse().unwrap()));
    assert!(!two.covers(&"acne/app".parse().unwrap()) && two.only().is_none());
    assert_eq!(reach(&["acme/app"]).unwrap().only(), Some("acme/app".parse().unwrap()));
    assert!(matches!(reach(&["acme/app", "zoo/app"]), Err(ReachError::Workspaces(_))));
    assert_eq!(reach(&[]), Err(ReachError::Count));
    for bad in ["acme", "acme/", "acme/a/b", "acme/..", "*/app", "acme/a b", "acme/-*"] {
        assert!(bad.parse::<RepoPattern>().is_err(), "{bad}");
    }
}

#[test]
fn claims_that_have_a_place_of_their_own_are_not_expected() {
    for bad in ["aud=x", "iss=x", "exp=1", "repository", "=x", "a b=c", "sub="] {
        assert!(bad.parse::<Expectation>().is_err(), "{bad}");
    }
    let equals: Expectation = "sub=a=b".parse().unwrap();
    assert_eq!((equals.claim.as_str(), equals.pattern.as_str()), ("sub", "a=b"));
}

#[test]
fn a_rule_is_about_those_it_names_and_nobody_else() {
    let job = claims(&[
        ("repository", "acme/app"),
        ("repository_owner", "acme"),
        ("ref", "refs/tags/v1"),
        ("sub", "repo:acme/app:ref:refs/tags/v1"),
    ]);
    for about in [
        &["repository=acme/app", "ref=refs/heads/main"][..],
        &["repository=acme/*", "repository_id=7"],
        &["repository_owner=acme", "ref=refs/heads/main"],
        &["sub=repo:acme/app:ref:refs/heads/main"],
    ] {
        assert!(github(about).is_about(&job), "{about:?}");
    }
    for other in [
        &["repository=acme/secret", "ref=refs/tags/v1"][..],
        &["repository=acme/secret", "sub=**"],
        &["sub=repo:acme/secret:ref:refs/tags/v1"],
        &["sub=repo:acme/app2:ref:refs/tags/v1"],
        &["repository_id=7", "ref=refs/tags/v1"],
    ] {
        assert!(!github(other).is_about(&job), "{other:?}");
    }
    let gitlab = rule(System::GitLab, "https://gitlab.com", &["sub=project_path:acme/app:ref_type:branch:ref:main"]);
    let of =
        |path: &str| gitlab.is_about(&claims(&[("project_path", path), ("sub", "project_path:x:ref_type:tag:ref:v1")]));
    assert!(of("acme/app") && !of("acme/lib"));
}
