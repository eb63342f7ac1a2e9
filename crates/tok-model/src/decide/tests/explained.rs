//! What is explained is what is decided.

use super::any::{any_state, every_need};
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_is_the_decision(caller in any_state(), which in any::<proptest::sample::Index>(), days in 0_i64..3) {
        let mut needs = every_need();
        needs.push(Need::Identity);
        needs.push(Need::Api);
        needs.push(Need::Introspect { token: None });
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
