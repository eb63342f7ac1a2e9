//! The TypeScript client: generated from the document that the daemon serves, and its examples on a live daemon.

use std::fs;
use std::path::PathBuf;

use tok_tests::binaries;
use tok_tests::call::Call;
use tok_tests::environment::Environment;
use tok_tests::http::Request;

/// Where the client is; `./dev typescript` has built it.
fn client() -> PathBuf {
    binaries::workspace().join("clients/typescript")
}

fn node(environment: &Environment, script: &str) -> Call {
    let built = client().join(script);
    assert!(built.exists(), "{} is not built: ./dev typescript", built.display());
    environment.call("node").argument(built)
}

/// One of the examples, called with this token.
fn example(environment: &Environment, name: &str, token: &str) -> Call {
    node(environment, &format!("dist/examples/{name}.js"))
        .variable("TOK_SERVER", environment.url())
        .variable("TOK_TOKEN", token)
        .shows_secret()
}

/// A maintainer of `acme` with a token that may do all they may.
fn maintainer(environment: &Environment) -> String {
    environment.tok(&["user", "create", "ann"]).ok();
    environment.tok(&["workspace", "create", "acme"]).ok();
    environment.tok(&["workspace", "member", "add", "acme", "ann", "--role", "maintainer"]).ok();
    environment.token("ann", &["--scopes", "all"])
}

#[test]
fn the_types_are_those_of_the_committed_document() {
    let environment = Environment::new();
    let fresh = environment.path("schema.ts");
    let document = binaries::workspace().join("docs/openapi.json");
    node(&environment, "node_modules/openapi-typescript/bin/cli.js")
        .argument(document)
        .arguments(["--output", fresh.to_str().unwrap(), "--alphabetize", "--export-type"])
        .ok();
    let (fresh, kept) =
        (fs::read_to_string(fresh).unwrap(), fs::read_to_string(client().join("src/schema.ts")).unwrap());
    assert!(fresh == kept, "clients/typescript/src/schema.ts is stale: ./dev generate writes it anew");
}

#[test]
fn a_token_for_one_job_pushes_to_one_repository_for_one_hour() {
    let environment = Environment::dev();
    let made = example(&environment, "ci-token", &maintainer(&environment)).arguments(["acme/app", "4711"]).ok();
    assert!(made.complaint().contains("for acme/app, until "), "{}", made.describe());
    let record = environment.tok(&["token", "check", "--output", "json"]).input(made.line()).ok().json();
    let token = &record["token"];
    assert_eq!((&token["name"], &token["kind"]), (&"ci-4711".into(), &"repo".into()));
    assert_eq!((&token["permission"], &token["repo_allowlist"]), (&"write".into(), &serde_json::json!(["acme/app"])));
    let seconds = |field: &str| chrono(token[field].as_str().unwrap());
    assert_eq!(seconds("expires_at") - seconds("created_at"), 3600);
    let push = |repo: &str| {
        environment.send(
            &Request::get("/authz/git")
                .bearer(made.line())
                .header("X-Original-Method", "GET")
                .header("X-Original-URI", &format!("/{repo}.git/info/refs?service=git-receive-pack")),
        )
    };
    assert_eq!((push("acme/app").status, push("acme/lib").status), (204, 403));
}

#[test]
fn a_token_for_a_dashboard_reads_a_few_repositories_for_a_month() {
    let environment = Environment::dev();
    let made = example(&environment, "dashboard-token", &maintainer(&environment))
        .arguments(["acme/metrics", "acme/app"])
        .ok();
    let token = &environment.tok(&["token", "check", "--output", "json"]).input(made.line()).ok().json()["token"];
    assert_eq!(
        (&token["permission"], &token["repo_allowlist"]),
        (&"read".into(), &serde_json::json!(["acme/app", "acme/metrics"]))
    );
    let seconds = |field: &str| chrono(token[field].as_str().unwrap());
    assert_eq!(seconds("expires_at") - seconds("created_at"), 30 * 24 * 3600);
}

#[test]
fn every_page_of_a_list_is_walked_once() {
    let environment = Environment::dev();
    let token = maintainer(&environment);
    for number in 0..45 {
        let name = format!("dashboard {number:02}");
        environment
            .tok(&["token", "create", &name, "--kind", "workspace", "--workspace", "acme"])
            .acting_as("ann")
            .ok();
    }
    let listed = example(&environment, "paging", &token).argument("acme").ok();
    let mut lines: Vec<&str> = listed.text().lines().collect();
    assert_eq!(lines.len(), 45);
    assert!(lines[0].starts_with("tokwsp_") && lines[0].ends_with("…  dashboard 44 (workspace, read)"), "{}", lines[0]);
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 45);
}

#[test]
fn what_the_server_refuses_is_an_error_with_its_words() {
    let environment = Environment::dev();
    let token = maintainer(&environment);
    let refused = example(&environment, "ci-token", &token).arguments(["other/app", "1"]).fails(1);
    assert!(refused.complaint().contains("workspace other not found, or you may not see it"), "{}", refused.describe());
    let plain = example(&environment, "paging", &token).variable("TOK_SERVER", "http://git.example.com").fails(1);
    assert!(
        plain.complaint().contains("over https only") && !plain.complaint().contains(&token),
        "{}",
        plain.describe()
    );
}

/// Seconds since 1970 of a time as the API writes it.
fn chrono(text: &str) -> i64 {
    text.parse::<tok_model::clock::Timestamp>().unwrap().timestamp()
}
