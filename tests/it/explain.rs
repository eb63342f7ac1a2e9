//! What is explained is what happens.

use tok_tests::environment::Environment;
use tok_tests::http::Request;

use crate::authority::acme;
use crate::cli::json;

/// The words with which `/authz/git` sums up each rule.
fn summed_up(rule: &str) -> &'static str {
    match rule {
        "allowed" => "",
        "expired" | "revoked" | "rotated" | "idle" | "used_up" | "owner_gone" | "owner_disabled" | "address" => {
            "invalid_token"
        }
        "scope" | "route" | "permission" | "role" | "git_token" | "kind" => "insufficient_scope",
        "no_route" | "other_repository" | "not_member" => "not_found",
        other => panic!("{other} is no rule about repositories"),
    }
}

/// Every token with every repository and act, explained and tried. How often the answer was yes, and how often no.
fn agree(environment: &Environment, tokens: &[String]) -> (usize, usize) {
    let (mut yes, mut no) = (0, 0);
    for text in tokens {
        for repo in ["acme/app", "acme/lib", "other/app"] {
            for (act, path) in [("--fetch", "git-upload-pack"), ("--push", "git-receive-pack")] {
                let call = ["token", "explain", &text[..11], "--repo", repo, act, "--from", "127.0.0.1"];
                let said = environment.tok(&[&call[..], &["--output", "json"]].concat()).run().json();
                let tried = environment.send(
                    &Request::get("/authz/git")
                        .header("X-Original-URI", &format!("/{repo}.git/{path}"))
                        .header("X-Original-Method", "POST")
                        .bearer(text),
                );
                let rule = said["rule"].as_str().unwrap();
                assert_eq!(said["allowed"] == true, tried.status == 204, "{repo} {act}: {said}");
                assert_eq!(summed_up(rule), tried.header("x-tok-error").unwrap_or_default(), "{repo} {act}: {said}");
                let steps = said["steps"].as_array().unwrap();
                assert_eq!(steps[0]["link"], "live");
                assert_eq!(steps.iter().all(|step| step["passed"] == true), rule == "allowed", "{said}");
                *(if tried.status == 204 { &mut yes } else { &mut no }) += 1;
            }
        }
    }
    (yes, no)
}

#[test]
fn what_is_explained_is_what_happens() {
    let environment = acme();
    environment.pushed("mona", "acme/lib");
    environment.users(&["olga"]).workspace("other", &[("olga", "writer"), ("will", "reader")]);
    environment.pushed("olga", "other/app");
    let mut tokens = Vec::new();
    for user in ["rita", "will", "mona", "sten", "olga"] {
        tokens.push(environment.token(user, &[]));
        tokens.push(environment.token(user, &["--scopes", "repo:read", "--route", "acme/app:rw"]));
        tokens.push(environment.token(user, &["--scopes", "all", "--route", "acme/*:r", "--route", "other/*:w"]));
    }
    tokens.push(environment.token("will", &["--scopes", "token:read"]));
    tokens.push(environment.token("will", &["--allow-cidr", "192.0.2.0/24"]));
    tokens.push(environment.token("will", &["--allow-cidr", "127.0.0.0/8"]));
    for permission in ["read", "write"] {
        let kind = |kind: &str, rest: &[&str]| {
            environment.token("mona", &[&["--kind", kind, "--permission", permission], rest].concat())
        };
        tokens.push(kind("workspace", &["--workspace", "acme"]));
        tokens.push(kind("repo", &["--repo", "acme/app"]));
        tokens.push(environment.git_token("will", "acme/app", permission));
    }
    let (yes, no) = agree(&environment, &tokens);
    assert!(yes > 20 && no > 50, "{yes} {no}");

    // The world changes, and both see it.
    environment.tok(&["workspace", "member", "add", "acme", "rita", "--role", "writer"]).ok();
    environment.tok(&["workspace", "member", "remove", "acme", "will"]).ok();
    environment.tok(&["user", "disable", "olga"]).ok();
    environment.tok(&["token", "revoke", "--force", &tokens[6][..11]]).ok();
    environment.execute(&format!(
        "UPDATE tokens SET expires_at = created_at + interval '1 microsecond' WHERE shown_prefix = '{}'",
        &tokens[0][..11]
    ));
    let now = environment
        .rows("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS now");
    let now = now[0]["now"].as_str().unwrap();
    environment.tok(&["token", "revoke", "--force", "--workspace", "acme", "--minted-before", now]).ok();
    let (changed, _) = agree(&environment, &tokens);
    assert!(changed > 3 && changed < yes, "{changed} {yes}");
}

#[test]
fn only_ones_own_tokens_are_explained() {
    let environment = acme();
    let wills = environment.token("will", &["--expires", "30d"]);
    let explain = |user: &str, arguments: &[&str]| {
        let call = environment.tok(&["token", "explain", &wills[..11], "--output", "json"]);
        call.arguments(arguments.iter().copied()).acting_as(user).run()
    };
    explain("mona", &[]).expect_code(5);
    let good = explain("will", &[]).expect_code(0).json();
    assert_eq!((&good["allowed"], &good["rule"]), (&true.into(), &"allowed".into()), "{good}");
    let later = explain("will", &["--repo", "acme/app", "--at", "2100-01-01T00:00:00Z"]).json();
    assert_eq!((&later["allowed"], &later["rule"]), (&false.into(), &"expired".into()), "{later}");
    assert!(later["hint"].as_str().unwrap().contains("tok token create"), "{later}");
    let oneself = json(environment.tok(&["token", "explain", "--repo", "acme/app", "--push"]).acting_as("will"));
    assert_eq!(oneself["allowed"], true, "{oneself}");
    // Nothing of it is a use.
    assert_eq!(
        environment.count("SELECT count(*) FROM last_uses JOIN tokens ON id = token_id WHERE kind = 'personal'"),
        0
    );
}
