//! What is explained is what happens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;

use hyper::Method;
use serde_json::{Value, json};
use tok_tests::chance::{self, Chance};
use tok_tests::environment::Environment;
use tok_tests::http::Request;

use crate::authority::acme;
use crate::cli::json;
use crate::matrix::line::Lines;

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

const USERS: [&str; 6] = ["uma", "vic", "wes", "xia", "yan", "zed"];
const PLACES: [&str; 3] = ["acme", "labs", "zoo"];
const REPOS: [&str; 7] = ["acme/app", "acme/lib", "labs/app", "labs/deep", "zoo/app", "uma/own", "nowhere/app"];
/// Tokens, and the thread that asks about a token alone asks about it: some change by being asked about.
const ASKERS: usize = 4;
const TOKENS: usize = 100;
const QUESTIONS: usize = 2_500;

/// A token of whatever kind, limited in whatever ways.
fn any_token(chance: &mut Chance) -> Value {
    let mut body = json!({"name": "any"});
    let place = *chance.one_of(&PLACES);
    let permission = *chance.one_of(&["read", "write"]);
    match chance.below(6) {
        0 | 1 => body = json!({"name": "any", "kind": "workspace", "workspace": place, "permission": permission}),
        2 | 3 => {
            let repos = [*chance.one_of(&["app", "lib"]), *chance.one_of(&["app", "deep"])];
            body = json!({"name": "any", "kind": "repo", "workspace": place, "permission": permission, "repos": repos});
        }
        _ => {
            let scopes = [
                &["repo:read"][..],
                &["repo:write"],
                &["repo:admin"],
                &["all"],
                &["token:read"],
                &["user:write", "repo:read"],
                &[],
            ];
            body["scopes"] = json!(chance.one_of(&scopes));
        }
    }
    if chance.below(3) == 0 {
        let routes = ["acme/*:r", "acme/app:rw", "**:r", "labs/**:w", "/zoo/app:r", "acme/lib:r"];
        body["routes"] = json!([chance.one_of(&routes), chance.one_of(&["labs/*:rw", "uma/own:rw"])]);
    }
    if chance.below(4) == 0 {
        body["allow_cidrs"] = json!([chance.one_of(&["127.0.0.0/8", "192.0.2.0/24", "127.0.0.1/32", "::1/128"])]);
    }
    if chance.below(5) == 0 {
        body["max_uses"] = json!(1 + chance.below(6));
    }
    body
}

/// Makes many, of everybody, and some of them no good: their texts and IDs.
fn any_tokens(environment: &Environment, holders: &[String], chance: &mut Chance) -> Vec<(String, String)> {
    let mut lines = Lines::open(environment);
    let (mut tokens, mut changes) = (Vec::new(), String::new());
    while tokens.len() < TOKENS {
        let holder = chance.one_of(holders);
        let (status, made) = lines.json(&Method::POST, "/v1/tokens", holder, &any_token(chance));
        // Not everybody may make everything everywhere.
        if status != 201 {
            assert!(matches!(status, 400 | 403 | 404), "{status} {made}");
            continue;
        }
        let id = made["token"]["id"].as_str().unwrap().to_owned();
        let change = match chance.below(12) {
            0 => "created_at = now() - interval '9 days', expires_at = now() - interval '1 day'",
            1 => "revoked_at = now(), revoked_by = 'uma'",
            2 => {
                let terms = json!({"grace": chance.one_of(&["0", "1h"])});
                let (status, successor) = lines.json(&Method::POST, &format!("/v1/tokens/{id}/rotate"), holder, &terms);
                if status == 201 {
                    let id = successor["token"]["id"].as_str().unwrap().to_owned();
                    tokens.push((successor["secret"].as_str().unwrap().to_owned(), id));
                }
                ""
            }
            _ => "",
        };
        if !change.is_empty() {
            writeln!(changes, "UPDATE tokens SET {change} WHERE id = '{id}';").unwrap();
        }
        tokens.push((made["secret"].as_str().unwrap().to_owned(), id));
    }
    environment.execute(&changes);
    tokens
}

/// One after the other: what is explained of this token, and what becomes of it.
fn explained_and_tried(lines: &mut Lines, boss: &str, (text, id): &(String, String), repo: &str, act: &str) -> String {
    let question = json!({"reference": id, "repository": repo, "act": act, "address": "127.0.0.1"});
    let (status, said) = lines.json(&Method::POST, "/v1/explain", boss, &question);
    assert_eq!(status, 200, "{said}");
    let service = if act == "read" { "git-upload-pack" } else { "git-receive-pack" };
    let (status, error) = lines.verdict(&format!("/{repo}.git/{service}"), text);
    let rule = said["rule"].as_str().unwrap().to_owned();
    assert_eq!((said["allowed"] == true, summed_up(&rule)), (status == 204, error.as_str()), "{repo} {act}: {said}");
    rule
}

#[test]
fn ten_thousand_questions_about_anything_are_explained_as_they_are_answered() {
    let environment = Environment::dev();
    environment.users(&USERS).tok(&["user", "create", "boss", "--manager"]).ok();
    let roles = [("uma", "maintainer"), ("vic", "writer"), ("wes", "reader"), ("zed", "maintainer")];
    environment.workspace("acme", &roles).workspace("labs", &[("vic", "maintainer"), ("xia", "writer")]);
    environment.workspace("zoo", &[("xia", "maintainer"), ("yan", "reader"), ("uma", "reader")]);
    let boss = environment.token("boss", &["--scopes", "all"]);
    let holders = USERS.map(|user| environment.token(user, &["--scopes", "all"]));
    // Thousands of refusals are written down; that they are on a disk is not what is asked here.
    environment.execute("ALTER SYSTEM SET synchronous_commit = off");
    environment.execute("SELECT pg_reload_conf()");
    let seed = chance::seed();
    let sets: Vec<_> =
        (0..ASKERS as u64).map(|asker| any_tokens(&environment, &holders, &mut Chance::seeded(seed + asker))).collect();
    environment.tok(&["user", "disable", "zed"]).ok();
    environment.tok(&["workspace", "member", "remove", "acme", "wes"]).ok();
    let mut rules = BTreeMap::<String, usize>::new();
    thread::scope(|scope| {
        let ask = |asker: usize| {
            let (environment, boss, tokens) = (&environment, &boss, &sets[asker]);
            scope.spawn(move || {
                let mut chance = Chance::seeded(seed.rotate_left(32) + asker as u64);
                let mut lines = Lines::open(environment);
                let questions = (0..QUESTIONS).map(|_| {
                    let (token, repo) = (chance.one_of(tokens), chance.one_of(&REPOS));
                    explained_and_tried(&mut lines, boss, token, repo, chance.one_of::<&str>(&["read", "write"]))
                });
                questions.collect::<Vec<_>>()
            })
        };
        let askers: Vec<_> = (0..ASKERS).map(ask).collect();
        for asker in askers {
            let answered = asker.join().unwrap_or_else(|_| panic!("the seed was {seed}"));
            for rule in answered {
                *rules.entry(rule).or_default() += 1;
            }
        }
    });
    // Each rule had its say, and no rule had it all.
    for rule in
        ["allowed", "expired", "revoked", "owner_disabled", "address", "scope", "route", "permission", "not_member"]
    {
        assert!(rules.get(rule).is_some_and(|times| *times > 5), "{rule} in {rules:?}, the seed was {seed}");
    }
    assert!(rules.values().sum::<usize>() >= 10_000, "{rules:?}");
}
