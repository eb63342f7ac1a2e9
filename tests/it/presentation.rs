//! A token means the same however it is presented, and what is no token is nothing.

use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::normalise::invented_token;
use tok_tests::secrets::contains;

use crate::authority::{READ, WRITE, acme, asked};

#[test]
fn incident_20_and_21_a_token_is_judged_alike_however_it_is_presented() {
    let environment = acme();
    let whole = environment.token("will", &[]);
    let narrow = environment.token("will", &["--scopes", "repo:read"]);
    let routed = environment.token("will", &["--route", "acme/app:r"]);
    let elsewhere = environment.token("will", &["--route", "other/*:rw"]);
    let powerless = environment.token("will", &["--scopes", "user:read"]);
    let reader = environment.token("rita", &[]);
    let stranger = environment.token("sten", &[]);
    let revoked = environment.token("will", &[]);
    environment.tok(&["token", "revoke", "--force", &revoked[..11]]).acting_as("will").ok();
    let expired = environment.token("will", &[]);
    expire(&environment, &expired);
    let git_read = environment.git_token("will", "acme/app", "read");
    let git_write = environment.git_token("will", "acme/app", "write");

    for (name, token, read, write) in [
        ("whole", whole.as_str(), 200, 200),
        ("narrow", &narrow, 200, 403),
        ("routed", &routed, 200, 403),
        ("elsewhere", &elsewhere, 404, 404),
        ("powerless", &powerless, 403, 403),
        ("reader's", &reader, 200, 403),
        ("stranger's", &stranger, 404, 404),
        ("revoked", &revoked, 401, 401),
        ("expired", &expired, 401, 401),
        ("read for git", &git_read, 200, 401),
        ("write for git", &git_write, 200, 200),
        ("unknown", &invented_token(), 401, 401),
        ("mistyped", &mistyped(&whole), 401, 401),
        ("not ours", "hunter2-hunter2", 401, 401),
    ] {
        for (service, expected) in [(READ, read), (WRITE, write)] {
            let request = || Request::refs("acme/app", service);
            let bearer = environment.send(&request().bearer(token));
            assert_eq!(bearer.status, expected, "{name} for {service}: {}", bearer.text());
            for (how, other) in [
                ("password of its owner", request().basic("will", token)),
                ("password of anybody", request().basic("somebody-else", token)),
                ("password of nobody", request().basic("", token)),
                ("user name before x-oauth-basic", request().basic(token, "x-oauth-basic")),
                ("lower case", request().header("authorization", &format!("bearer {token}"))),
            ] {
                assert_eq!(environment.send(&other).comparable(), bearer.comparable(), "{name} for {service} as {how}");
            }
            // With an empty password something that is no token is a user name, as libcurl sends it first.
            if !matches!(name, "mistyped" | "not ours") {
                assert_eq!(
                    environment.send(&request().basic(token, "")).comparable(),
                    bearer.comparable(),
                    "{name} as user name"
                );
            }
        }
    }
}

#[test]
fn a_token_works_for_git_in_every_place_where_people_put_it() {
    let environment = acme();
    let token = environment.token("will", &["--scopes", "repo:read"]);
    let url = environment.repository("acme/app");
    let exempt = environment.canaries().exempt().to_owned();
    let list = |url: &str| environment.git(&environment.work(""), &["ls-remote", url]);
    list(&url).with_password(&environment.url(), "will", &token, &exempt).ok();
    list(&url).with_password(&environment.url(), "anybody", &token, &exempt).ok();
    // As a user name it is no secret to git, which writes it into its traces.
    list(&url).untraced().with_password(&environment.url(), &token, "x-oauth-basic", &exempt).ok();
    // libcurl first tries the user name with an empty password: that is nobody, not an error.
    let named = list(&environment.repository_as("will", "acme/app"))
        .with_password(&environment.url(), "will", &token, &exempt)
        .ok();
    assert_eq!(named.statuses().last(), Some(&200));
    let bearer = list(&url)
        .without_helper(&environment.url())
        .setting("http.extraHeader", format!("Authorization: Bearer {token}"))
        .ok();
    assert_eq!(bearer.statuses(), [200, 200]);
    list(&url).variable("TOK_TOKEN", token.clone()).variable("TOK_SERVER", environment.url()).ok();
    // And for tok itself.
    let who = environment.tok(&["whoami", "--output", "json"]).variable("TOK_TOKEN", token.clone()).ok().json();
    assert_eq!((who["user"].as_str(), who["manager"].as_bool()), (Some("will"), Some(false)));
    let checked = environment.tok(&["token", "check", "--output", "json"]).input(token).ok().json();
    assert_eq!((checked["usable"].as_bool(), checked["owner"].as_str()), (Some(true), Some("will")));
}

#[test]
fn an_empty_password_is_nobody_and_no_reason_to_slow_down() {
    let environment = acme();
    for _ in 0..50 {
        let reply = environment.send(&Request::refs("acme/app", READ).basic("will", ""));
        assert_eq!(reply.status, 401);
        assert!(!reply.header("www-authenticate").unwrap().contains("error="), "{reply:?}");
    }
    assert_eq!(asked(&environment, "acme/app", READ, &environment.token("will", &[])).status, 200);
}

#[test]
fn the_challenge_is_one_header_line_with_both_schemes() {
    let environment = acme();
    for (service, right) in [(READ, "repo:read"), (WRITE, "repo:write")] {
        let reply = environment.send(&Request::refs("acme/app", service));
        assert_eq!(reply.status, 401);
        let expected = format!("Basic realm=\"tok\", Bearer realm=\"tok\", scope=\"{right}\", resource=\"acme/app\"");
        assert_eq!(reply.header("www-authenticate"), Some(expected.as_str()));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    let bad = environment.send(&Request::refs("acme/app", READ).bearer(&invented_token()));
    assert!(bad.header("www-authenticate").unwrap().ends_with("error=\"invalid_token\""), "{bad:?}");
}

#[test]
fn incident_06_what_is_refused_is_not_repeated_in_the_log() {
    let environment = acme();
    for (number, canary) in
        ["rejected-canary-one", "rejected-canary-two", "rejected-canary-three"].into_iter().enumerate()
    {
        environment.canaries().register("something refused", canary);
        let request = Request::refs("acme/app", READ);
        let request = match number {
            0 => request.bearer(canary),
            1 => request.basic("will", canary),
            _ => request.header("Authorization", &format!("Digest username=\"{canary}\"")),
        };
        let reply = environment.send(&request);
        assert_eq!(reply.status, 401);
        assert!(!contains(&reply.body, canary.as_bytes()));
    }
    let asked = environment.tok(&["token", "check"]).input("rejected-canary-four\n").run();
    environment.canaries().register("something refused", "rejected-canary-four");
    assert!(!asked.complaint().contains("rejected-canary-four"), "{}", asked.describe());
    // Whether the log has one of them is looked at when the environment ends.
}

/// Makes a token that was never used one that ended a minute ago.
fn expire(environment: &Environment, token: &str) {
    environment.execute(&format!(
        "UPDATE tokens SET created_at = now() - interval '1 hour', expires_at = now() - interval '1 minute' \
         WHERE shown_prefix = '{}'",
        &token[..11]
    ));
}

#[test]
fn the_verdict_door_says_what_the_gateway_says() {
    let environment = acme();
    let writer = environment.token("will", &["--scopes", "repo:write,user:read"]);
    let reader = environment.token("rita", &[]);
    let stranger = environment.token("sten", &[]);
    let ask = |token: &str, uri: &str| {
        let request = Request::get("/authz/git").header("X-Original-URI", uri).header("X-Original-Method", "GET");
        environment.send(&if token.is_empty() { request } else { request.bearer(token) })
    };
    let read = "/acme/app.git/info/refs?service=git-upload-pack";
    let write = "/acme/app.git/info/refs?service=git-receive-pack";
    let good = ask(&writer, write);
    assert_eq!(
        (good.status, good.header("remote-user"), good.header("x-tok-scopes")),
        (204, Some("will"), Some("repo:read repo:write user:read"))
    );
    let id = environment.rows(&format!("SELECT id FROM tokens WHERE shown_prefix = '{}'", &writer[..11]));
    assert_eq!(good.header("x-tok-token-id"), id[0]["id"].as_str());
    for (token, uri, status) in [
        (reader.as_str(), read, 204),
        (&reader, write, 403),
        (&stranger, read, 403),
        ("", read, 401),
        (&invented_token(), read, 401),
        (&writer, "/acme/../acme/app.git/info/refs", 403),
        (&writer, "/", 403),
    ] {
        let reply = ask(token, uri);
        assert_eq!(reply.status, status, "{uri}: {reply:?}");
        assert_eq!(reply.header("www-authenticate").is_some(), status == 401, "{reply:?}");
    }
    // One may not see it, or it is not there: the same.
    assert_eq!(ask(&stranger, read).comparable(), ask(&stranger, &read.replace("app", "nil")).comparable());
}

/// With another last character.
fn mistyped(token: &str) -> String {
    let other = if token.ends_with('x') { 'y' } else { 'x' };
    format!("{}{other}", &token[..token.len() - 1])
}
