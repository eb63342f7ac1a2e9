//! The main job, end to end: git push and clone through the helper, tokd and PostgreSQL.

use serde_json::Value;
use tok_tests::environment::Environment;
use tok_tests::secrets::{contains, tokens_in};
use tok_tests::{git, wait};

/// What is worth knowing of each git token, oldest first.
const MINTED: &str = "SELECT t.id, t.permission, t.within_workspace || '/' || array_to_string(t.repos, ',') AS repo, \
     u.name AS owner, extract(epoch FROM t.expires_at - t.created_at)::int AS seconds, p.kind AS parent, \
     p.user_id = t.user_id AS same_owner, t.created_from, t.created_agent, t.created_by_name \
     FROM tokens t JOIN users u ON u.id = t.user_id LEFT JOIN tokens p ON p.id = t.parent_id \
     WHERE t.kind = 'git' ORDER BY t.created_at";

#[test]
fn push_clone_push_and_fetch_go_through_without_a_prompt() {
    let environment = Environment::dev();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    let url = environment.repository("acme/app");

    // A push makes the repository that did not exist: one refused request, then two that count.
    let first = environment.work_tree("first");
    let push = environment.git(&first, &["push", &url, "main"]).acting_as("alice").ok();
    assert_eq!(push.statuses(), [401, 200, 200]);
    assert_eq!(push.helper_calls(), ["get", "store"]);
    assert!(
        push.requests().iter().skip(1).all(|request| request.scheme.as_deref() == Some("Bearer")),
        "{:?}",
        push.requests()
    );

    let clone = environment.git(&environment.work(""), &["clone", &url, "second"]).acting_as("alice").ok();
    assert_eq!(clone.statuses(), [401, 200, 200, 200]);
    assert_eq!(clone.helper_calls(), ["get", "store"]);
    let second = environment.work("second");
    assert_eq!(environment.revision(&second, "HEAD"), environment.revision(&first, "HEAD"));

    environment.commit(&second, "file", "second\n");
    environment.git(&second, &["push"]).acting_as("alice").ok();
    environment.git(&first, &["fetch", &url, "main"]).acting_as("alice").ok();
    assert_eq!(environment.revision(&first, "FETCH_HEAD"), environment.revision(&second, "HEAD"));

    // Two things were needed, so two tokens were minted, however often they were used.
    let rows = environment.rows(MINTED);
    let seen: Vec<(&str, &str)> = rows.iter().map(|row| (text(row, "permission"), text(row, "repo"))).collect();
    assert_eq!(seen, [("write", "acme/app"), ("read", "acme/app")]);
    for row in &rows {
        assert_eq!(text(row, "owner"), "alice");
        assert!((60..=900).contains(&row["seconds"].as_i64().unwrap()), "{row}");
        assert_eq!((text(row, "parent"), &row["same_owner"]), ("session", &Value::Bool(true)), "{row}");
        assert_eq!(text(row, "created_from"), format!("unix:uid={}", nix::unistd::Uid::effective()));
        assert!(text(row, "created_agent").starts_with("git-credential-tok/"), "{row}");
        assert_eq!(text(row, "created_by_name"), "alice");
    }

    // The same, as people see it.
    let listed =
        environment.tok(&["token", "list", "--kind", "git", "--output", "json"]).acting_as("alice").ok().json();
    let listed = listed["tokens"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    for (record, row) in listed.iter().rev().zip(&rows) {
        assert_eq!((&record["id"], &record["permission"]), (&row["id"], &row["permission"]));
        assert_eq!(record["repo_allowlist"], serde_json::json!(["acme/app"]));
        assert_eq!((text(record, "kind"), text(record, "state"), text(record, "user")), ("git", "active", "alice"));
        assert!(text(record, "token_prefix").starts_with("tokgit_") && text(record, "token_prefix").len() == 11);
    }
}

#[test]
fn the_trail_says_who_minted_what_and_what_it_was_used_for() {
    let environment = Environment::dev();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    let work = environment.pushed("alice", "acme/app");
    environment.git(&work, &["fetch"]).acting_as("alice").ok();

    let events = |arguments: &[&str]| {
        let found = environment
            .tok(&["audit", "--output", "json", "--oldest-first", "--limit", "100"])
            .arguments(arguments.iter().copied())
            .ok();
        found.json()["events"].as_array().unwrap().clone()
    };
    // Uses are written in batches, a moment later.
    let of_the_repository = wait::until("both uses are in the trail", || {
        let found = events(&["--repo", "acme/app"]);
        let used =
            |command: &str| found.iter().any(|event| event["action"] == "token.use" && event["git_command"] == command);
        (used("receive-pack") && used("upload-pack")).then_some(found)
    });
    let actions: Vec<&str> = of_the_repository.iter().map(|event| text(event, "action")).collect();
    assert_eq!(actions.iter().filter(|action| **action == "token.mint").count(), 2, "{actions:?}");
    assert_eq!(actions.iter().filter(|action| **action == "repo.create").count(), 1, "{actions:?}");
    for event in &of_the_repository {
        assert_eq!((text(event, "actor_user"), text(event, "outcome")), ("alice", "done"), "{event}");
        assert_eq!(text(event, "repository"), "acme/app");
        if event["action"] == "token.use" {
            assert_eq!(text(event, "address"), "127.0.0.1");
            assert!(text(event, "user_agent").starts_with("git/"), "{event}");
        }
    }
    // What one token did, from its making on.
    let prefix =
        text(of_the_repository.iter().find(|event| event["git_command"] == "receive-pack").unwrap(), "token_prefix");
    let of_the_token = events(&["--token", prefix]);
    assert!(of_the_token.iter().any(|event| event["action"] == "token.mint"), "{of_the_token:?}");
    assert!(of_the_token.iter().all(|event| event["git_command"] != "upload-pack"), "{of_the_token:?}");
    // How everything came about.
    let all = events(&[]);
    for action in ["user.create", "workspace.create", "member.add", "session.open"] {
        assert!(all.iter().any(|event| event["action"] == action), "no {action} in the trail");
    }
}

#[test]
fn a_last_use_is_shown_and_a_clean_stop_loses_none() {
    let environment = Environment::dev();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    environment.pushed("alice", "acme/app");
    // At once, before the next batch is due.
    environment.stop();
    environment.start();
    assert_eq!(
        environment.count("SELECT count(*) FROM audit WHERE action = 'token.use' AND command = 'receive-pack'"),
        1
    );
    let listed =
        environment.tok(&["token", "list", "--kind", "git", "--output", "json"]).acting_as("alice").ok().json();
    assert_eq!(listed["tokens"][0]["last_used_ip"], "127.0.0.1");
    assert!(listed["tokens"][0]["last_used_at"].is_string());
}

#[test]
fn each_user_gets_tokens_of_their_own() {
    let environment = Environment::dev();
    environment.users(&["alice", "bob"]).workspace("acme", &[("alice", "writer"), ("bob", "reader")]);
    let work = environment.pushed("alice", "acme/app");
    // By the user name in the URL, and by TOK_USER.
    environment.git(&work, &["ls-remote", &environment.repository_as("bob", "acme/app")]).ok();
    environment.git(&work, &["ls-remote", &environment.repository("acme/app")]).acting_as("alice").ok();
    let rows = environment.rows(MINTED);
    let seen: Vec<(&str, &str)> = rows.iter().map(|row| (text(row, "owner"), text(row, "permission"))).collect();
    assert_eq!(seen, [("alice", "write"), ("bob", "read"), ("alice", "read")]);
}

#[test]
fn setting_git_up_concerns_one_url_and_can_be_undone() {
    let environment = Environment::new();
    environment.start();
    let url = environment.url();
    let config = environment.home().join(".gitconfig");
    let before = std::fs::read_to_string(&config).unwrap();

    let dry = environment.tok(&["git", "setup", "--dry-run", &url]).ok();
    assert!(dry.text().contains(&format!("credential.{url}.helper")), "{}", dry.describe());
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);

    for _ in 0..2 {
        environment.tok(&["git", "setup", &url]).ok();
        let git = |arguments: &[&str]| environment.git(&environment.work(""), arguments).ok().text().to_owned();
        let helpers = git(&["config", "--get-all", &format!("credential.{url}.helper")]);
        let helpers: Vec<&str> = helpers.lines().collect();
        assert_eq!(helpers.len(), 2, "{helpers:?}");
        assert_eq!(helpers[0], "", "inherited helpers are reset for this URL");
        assert!(helpers[1].contains("tok"), "{helpers:?}");
        assert_eq!(git(&["config", &format!("credential.{url}.useHttpPath")]), "true\n");
        let elsewhere = environment
            .git(&environment.work(""), &["config", "--get-urlmatch", "credential.helper", "https://example.com/a/b"]);
        assert_eq!(elsewhere.fails().code, Some(1), "other servers are left alone");
    }

    environment.tok(&["git", "unset", &url]).ok();
    let left = environment.git(&environment.work(""), &["config", "--get-regexp", "^credential\\."]);
    assert_eq!(left.fails().text(), "");
}

#[test]
fn incident_01_nothing_in_the_database_directory_is_or_makes_a_token() {
    let environment = Environment::dev();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    let personal = environment.token("alice", &[]);
    environment.pushed("alice", "acme/app");
    environment.stop();

    let pepper = std::fs::read_to_string(environment.data().join("pepper")).unwrap();
    let key: String = pepper.lines().find_map(|line| line.split_once(':')).unwrap().1.trim().to_owned();
    let raw: Vec<u8> = (0..key.len() / 2).map(|at| u8::from_str_radix(&key[at * 2..at * 2 + 2], 16).unwrap()).collect();
    assert_eq!(raw.len(), 32);
    let mut looked_at = 0;
    let mut directories = vec![environment.data().join("pg")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            looked_at += bytes.len();
            assert!(!contains(&bytes, &raw), "the pepper is in {}", path.display());
            assert!(tokens_in(&bytes).is_empty(), "a token is in {}", path.display());
            // The part of a token that nothing but itself has.
            assert!(!contains(&bytes, &personal.as_bytes()[11..]), "most of a token is in {}", path.display());
        }
    }
    assert!(looked_at > 16 << 20, "the write-ahead log was there to be looked at");
    environment.start();
}

#[test]
fn incident_27_no_stored_value_works_as_a_credential() {
    let environment = Environment::dev();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    environment.pushed("alice", "acme/app");
    environment.token("alice", &[]);
    let stored = environment.rows(
        "SELECT id::text AS value FROM tokens UNION SELECT encode(digest, 'hex') FROM tokens \
         UNION SELECT replace(encode(digest, 'base64'), E'\\n', '') FROM tokens UNION SELECT shown_prefix FROM tokens \
         UNION SELECT encode(fingerprint, 'hex') FROM peppers UNION SELECT id::text FROM users",
    );
    assert!(stored.len() > 8, "{stored:?}");
    for value in stored.iter().map(|row| text(row, "value")) {
        let request = tok_tests::http::Request::refs("acme/app", "git-upload-pack");
        for request in [request.clone().bearer(value), request.clone().basic("alice", value), request.basic(value, "")]
        {
            assert_eq!(environment.send(&request).status, 401);
        }
    }
}

#[test]
fn incident_26_no_secret_travels_in_a_url() {
    let environment = Environment::dev();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    let work = environment.pushed("alice", "acme/app");
    let token = environment.token("alice", &["--scopes", "repo:read"]);
    let refs = "/acme/app.git/info/refs?service=git-upload-pack";
    for target in [
        format!("{refs}&access_token={token}"),
        format!("{refs}&token={token}"),
        format!("{refs}&private_token={token}"),
    ] {
        let reply = environment.send(&tok_tests::http::Request::get(target));
        // RFC 6750, section 5.3: page URLs are logged everywhere. So it does not work, and it is not logged here.
        assert!(matches!(reply.status, 400 | 401 | 404), "{reply:?}");
        assert!(!contains(&reply.body, token.as_bytes()));
    }
    let fetch = environment.git(&work, &["fetch"]).acting_as("alice").ok();
    for request in fetch.requests() {
        assert!(tokens_in(request.target.as_bytes()).is_empty(), "{request:?}");
    }
    // What the log holds of it is looked at by the environment when it ends.
    assert!(!environment.log().contains(&token));
}

#[test]
fn a_push_of_many_megabytes_does_not_grow_the_daemon() {
    let environment = Environment::dev();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    // The first push warms everything up that stays.
    let work = environment.pushed("alice", "acme/app");
    let memory = |field: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", environment.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let before = memory("VmRSS");
    // 500 for the full measure.
    let megabytes: usize = std::env::var("TOK_TEST_LARGE_MB").map_or(64, |text| text.parse().unwrap());
    environment.commit(&work, "large", git::noise(megabytes << 20, 1));
    environment.git(&work, &["-c", "core.compression=0", "push"]).acting_as("alice").ok();
    environment
        .git(&environment.work(""), &["clone", "--quiet", &environment.repository("acme/app"), "copy"])
        .acting_as("alice")
        .ok();
    let most = memory("VmHWM");
    assert!(most < before + 24 * 1024, "{before} kB before, at most {most} kB while {megabytes} MB went in and out");
    assert_eq!(environment.revision(&environment.work("copy"), "HEAD"), environment.revision(&work, "HEAD"));
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key:?} in {value}"))
}
