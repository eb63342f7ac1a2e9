//! The examples of the Rust client library do what they say, against a server over TLS.

use serde_json::{Value, json};
use tok_tests::binaries;
use tok_tests::call::Call;
use tok_tests::environment::Environment;
use tok_tests::http::Request;

fn acme() -> (Environment, String) {
    let environment = Environment::tls();
    environment.users(&["alice"]).workspace("acme", &[("alice", "maintainer")]);
    for repo in ["app", "docs", "secret"] {
        environment.pushed("alice", &format!("acme/{repo}"));
    }
    let token = environment.token("alice", &["--scopes", "all"]);
    (environment, token)
}

/// An example on a machine elsewhere.
fn example(environment: &Environment, token: &str, name: &str, arguments: &[&str]) -> Call {
    let call = environment.call(binaries::example(name)).arguments(arguments.iter().copied());
    call.without("TOK_SOCKET").variable("TOK_SERVER", environment.url()).variable("TOK_TOKEN", token)
}

fn record(environment: &Environment, secret: &str) -> Value {
    let shown = environment.tok(&["token", "list", "--all-users", "--output", "json"]).ok();
    let tokens = shown.json()["tokens"].as_array().unwrap().clone();
    tokens.into_iter().find(|token| token["token_prefix"] == secret[..11]).unwrap()
}

fn status(environment: &Environment, secret: &str, repo: &str, service: &str) -> u16 {
    environment.send(&Request::refs(repo, service).bearer(secret)).status
}

fn seconds(record: &Value) -> i64 {
    let at = |name: &str| record[name].as_str().unwrap().parse::<tok_model::clock::Timestamp>().unwrap();
    (at("expires_at") - at("created_at")).num_seconds()
}

#[test]
fn a_ci_job_gets_one_repository_for_an_hour() {
    let (environment, token) = acme();
    let secret = example(&environment, &token, "ci_token", &["acme/app", "4711"]).shows_secret().ok();
    let secret = secret.line();
    let record = record(&environment, secret);
    assert_eq!(
        (&record["kind"], &record["permission"], &record["repo_allowlist"], &record["name"]),
        (&json!("repo"), &json!("write"), &json!(["acme/app"]), &json!("CI job 4711"))
    );
    assert!((3_590..=3_600).contains(&seconds(&record)), "{record}");
    assert_eq!(status(&environment, secret, "acme/app", "git-receive-pack"), 200);
    // What it may not read looks like what is not there.
    assert_eq!(status(&environment, secret, "acme/docs", "git-upload-pack"), 404);
    // It creates no tokens.
    example(&environment, secret, "ci_token", &["acme/app", "another"]).fails(1);
    example(&environment, &token, "ci_token", &[]).fails(1).says(&["usage"]);
}

#[test]
fn a_dashboard_reads_two_repositories_for_thirty_days() {
    let (environment, token) = acme();
    let secret = example(&environment, &token, "dashboard_token", &["acme/app", "acme/docs"]).shows_secret().ok();
    let secret = secret.line();
    let record = record(&environment, secret);
    assert_eq!((&record["permission"], &record["repo_allowlist"]), (&json!("read"), &json!(["acme/app", "acme/docs"])));
    assert!((30 * 86_400 - 10..=30 * 86_400).contains(&seconds(&record)), "{record}");
    for repo in ["acme/app", "acme/docs"] {
        assert_eq!(status(&environment, secret, repo, "git-upload-pack"), 200);
        assert_eq!(status(&environment, secret, repo, "git-receive-pack"), 403);
    }
    assert_ne!(status(&environment, secret, "acme/secret", "git-upload-pack"), 200);
}

#[test]
fn every_token_is_listed_once_whatever_the_size_of_a_page() {
    let (environment, token) = acme();
    for number in 0..5 {
        environment.tok(&["token", "create", &format!("number {number}")]).acting_as("alice").ok();
    }
    let listed = |size: &str| {
        let run = example(&environment, &token, "paging", &[size]).ok();
        (run.text().to_owned(), run.complaint())
    };
    let (whole, pages) = listed("100");
    assert_eq!(pages, "1 pages\n");
    assert!((0..5).all(|number| whole.matches(&format!("number {number}\n")).count() == 1), "{whole}");
    let (again, pages) = listed("2");
    assert_eq!(again, whole);
    assert_ne!(pages, "1 pages\n");
}
