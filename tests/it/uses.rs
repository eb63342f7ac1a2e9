//! Tokens that may be used so many times: exactly so many, whatever happens at once.

use std::sync::Barrier;
use std::thread;

use serde_json::Value;
use tok_tests::environment::Environment;

use crate::authority::{READ, WRITE, acme, asked};

fn show(environment: &Environment, token: &str) -> Value {
    environment.tok(&["token", "show", "--output", "json", &token[..11]]).ok().json()
}

#[test]
fn incident_25_of_64_that_redeem_a_single_use_token_one_does() {
    let environment = acme();
    for _ in 0..3 {
        let token = environment.token("will", &["--max-uses", "1"]);
        let together = Barrier::new(64);
        let let_in = thread::scope(|scope| {
            let (environment, token, together) = (&environment, &token, &together);
            let redeem = move || {
                together.wait();
                asked(environment, "acme/app", READ, token).status
            };
            let runs: Vec<_> = (0..64).map(|_| scope.spawn(redeem)).collect();
            let statuses: Vec<u16> = runs.into_iter().map(|run| run.join().unwrap()).collect();
            assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
            statuses.into_iter().filter(|status| *status == 200).count()
        });
        assert_eq!(let_in, 1);
        let record = show(&environment, &token);
        assert_eq!((&record["state"], &record["uses"]), (&Value::from("revoked"), &Value::from(1)));
        assert_eq!((&record["revoke_reason"], &record["revoked_by"]), (&Value::from("used up"), &Value::from("will")));
        assert_eq!(asked(&environment, "acme/app", READ, &token).status, 401);
    }
    // And over the local socket.
    let token = environment.token("will", &["--scopes", "user:read", "--max-uses", "1"]);
    let calls: Vec<_> =
        (0..16).map(|_| environment.tok(&["whoami"]).variable("TOK_TOKEN", token.clone()).start()).collect();
    let codes: Vec<_> = calls.into_iter().map(|call| call.wait().code).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
}

#[test]
fn only_what_is_let_in_is_a_use() {
    let environment = acme();
    let token = environment.token("will", &["--scopes", "repo:read", "--max-uses", "3"]);
    let uses = || show(&environment, &token)["uses"].as_u64().unwrap();
    // Refused, asked about, shown: none of them is a use.
    assert_eq!(asked(&environment, "acme/app", WRITE, &token).status, 403);
    let checked = environment.tok(&["token", "check", "--output", "json"]).input(token.clone()).ok().json();
    assert_eq!((&checked["usable"], uses()), (&Value::from(true), 0));
    for used in 1..=3 {
        assert_eq!(asked(&environment, "acme/app", READ, &token).status, 200);
        assert_eq!(uses(), used);
    }
    let refused = asked(&environment, "acme/app", READ, &token);
    assert_eq!(refused.status, 401);
    assert_eq!(uses(), 3);
    let why = environment.tok(&["token", "check", "--output", "json"]).input(token.clone()).fails(1).json();
    assert!(why["verdict"].as_str().unwrap().contains("used as often as it may be"), "{why}");
    let told = environment
        .rows(&format!("SELECT detail FROM audit WHERE action = 'token.revoke' AND token_prefix = '{}'", &token[..11]));
    assert_eq!(told[0]["detail"], "used up");
}

#[test]
fn a_limit_is_not_got_around_by_making_or_changing_tokens() {
    let environment = acme();
    let token = environment.token("will", &["--scopes", "repo:read,token:write", "--max-uses", "10"]);
    let with = |arguments: &[&str]| environment.tok(arguments).variable("TOK_TOKEN", token.clone());
    with(&["token", "create", "child", "--scopes", "repo:read"]).fails(4).says(&["makes no others"]);
    with(&["token", "rotate", &token[..11]]).fails(4).says(&["makes no others"]);
    with(&["token", "modify", &token[..11], "--max-uses", "50"]).fails(4).says(&["makes no others"]);
    with(&["token", "modify", &token[..11], "--max-uses", "9"]).ok();
    let so_far = show(&environment, &token)["uses"].as_u64().unwrap();
    assert!(so_far >= 4);
    let modify = |most: &str| environment.tok(&["token", "modify", &token[..11], "--max-uses", most]).acting_as("will");
    modify("1").fails(2).says(&["has been used"]);
    modify("50").ok();
    modify("0").ok();
    assert_eq!(show(&environment, &token)["max_uses"], Value::Null);
    modify("2").ok();
    assert_eq!(show(&environment, &token)["uses"], Value::from(0), "counted from when there is a limit");
}
