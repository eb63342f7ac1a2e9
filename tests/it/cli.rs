//! `tok`: what scripts rely on, and what people read.

use serde_json::{Value, json};
use tok_tests::call::Call;
use tok_tests::environment::Environment;
use tok_tests::normalise::invented_token;

pub(crate) fn acme() -> Environment {
    let environment = Environment::dev();
    environment.users(&["alice", "bob"]).workspace("acme", &[("alice", "maintainer"), ("bob", "reader")]);
    environment
}

pub(crate) fn json(call: Call) -> Value {
    call.argument("--output").argument("json").ok().json()
}

pub(crate) fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

#[test]
fn what_cannot_be_undone_needs_force_without_a_terminal() {
    let environment = acme();
    let token = environment.token("alice", &[]);
    for arguments in
        [&["token", "revoke", &token[..11]][..], &["user", "delete", "bob"], &["workspace", "delete", "acme"]]
    {
        environment.tok(arguments).input("y\ny\n").fails(2).says(&["--force"]);
        environment.tok(arguments).arguments(["--output", "json"]).fails(2).says(&["--force"]);
        environment.tok(arguments).argument("--no-input").fails(2).says(&["--force"]);
    }
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL"), 0);
    let dry = json(environment.tok(&["user", "delete", "--dry-run", "bob"]));
    assert_eq!((&dry["deleted"], &dry["user"]["name"]), (&json!(false), &json!("bob")));
    environment.tok(&["user", "delete", "--force", "bob"]).ok();
    environment.tok(&["user", "show", "bob"]).fails(5);
}

#[test]
fn each_exit_code_has_its_meaning() {
    let environment = acme();
    let token = environment.token("alice", &["--scopes", "user:read"]);
    let with = |token: &str, arguments: &[&str]| environment.tok(arguments).variable("TOK_TOKEN", token.to_owned());
    environment.tok(&["whoami"]).ok();
    // 1: it did not work out.
    environment.tok(&["user", "create", "alice"]).fails(1).says(&["exists"]);
    // 2: usage.
    environment.tok(&["token", "create"]).fails(2);
    environment.tok(&["no-such-command"]).fails(2);
    environment.tok(&["user", "create", ".."]).fails(2);
    environment.tok(&["--as", "../x", "whoami"]).fails(2);
    // 3: not logged in.
    with(&invented_token(), &["whoami"]).fails(3);
    with("tokpat_short", &["whoami"]).run().expect_code(3);
    // 4: not allowed.
    with(&token, &["token", "list"]).fails(4).says(&["token:read"]);
    environment.tok(&["user", "list"]).acting_as("alice").fails(4);
    // 5: not found or ambiguous.
    environment.tok(&["user", "show", "nobody-there"]).fails(5).says(&["nobody-there", "tok user list"]);
    environment.tok(&["workspace", "member", "add", "nowhere", "alice"]).fails(5);
    environment.tok(&["--as", "nobody-there", "whoami"]).fails(5).says(&["tok user create nobody-there"]);
    // 6: no daemon.
    let gone = environment.tok(&["whoami"]).variable("TOK_SOCKET", "/nonexistent/tokd.sock").fails(6);
    gone.says(&["/nonexistent/tokd.sock", "no such socket"]);
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let environment = acme();
    let failed = environment.tok(&["user", "show", "nobody-there", "--output", "json"]).fails(5);
    assert_eq!(failed.text(), "");
    let error: Value = serde_json::from_str(&failed.complaint()).unwrap();
    assert_eq!(error["error"]["code"], "not_found");
    assert!(error["error"]["message"].as_str().unwrap().contains("nobody-there"));
    assert!(error["error"]["hint"].is_string());
    let usage = environment.tok(&["token", "create", "x", "--kind", "gold"]).variable("TOK_OUTPUT", "json").fails(2);
    let error: Value = serde_json::from_str(&usage.complaint()).unwrap();
    assert_eq!(error["error"]["code"], "usage");
}

#[test]
fn every_command_prints_its_documented_json() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    let shape = |arguments: &[&str]| json(environment.tok(arguments));
    let user = shape(&["user", "create", "carol"]);
    assert_eq!(names(&user), ["user"]);
    assert_eq!(
        (&user["user"]["name"], &user["user"]["manager"], &user["user"]["disabled_at"]),
        (&json!("carol"), &json!(false), &Value::Null)
    );
    assert_eq!(names(&shape(&["user", "list"])), ["next_cursor", "users"]);
    let shown = shape(&["user", "show", "alice"]);
    assert_eq!(names(&shown), ["memberships", "user"]);
    assert!(
        shown["memberships"]
            .as_array()
            .unwrap()
            .contains(&json!({"workspace": "acme", "role": "maintainer", "owner": false})),
        "{shown}"
    );
    assert_eq!(names(&shape(&["workspace", "create", "other"])), ["workspace"]);
    let listed = shape(&["workspace", "list"]);
    assert_eq!(names(&listed), ["next_cursor", "workspaces"]);
    let acme = listed["workspaces"].as_array().unwrap().iter().find(|workspace| workspace["name"] == "acme").unwrap();
    assert_eq!(acme["repositories"], 1);
    let member = shape(&["workspace", "member", "add", "other", "carol", "--role", "writer"]);
    assert_eq!(
        (&member["member"]["user"], &member["member"]["role"], &member["member"]["workspace"]),
        (&json!("carol"), &json!("writer"), &json!("other"))
    );
    assert_eq!(names(&shape(&["workspace", "member", "list", "other"])), ["members"]);
    assert_eq!(names(&shape(&["workspace", "member", "remove", "other", "carol"])), ["member"]);
    let repositories = shape(&["repo", "list"]);
    assert_eq!(names(&repositories), ["next_cursor", "repositories"]);
    assert_eq!(repositories["repositories"][0]["url"], environment.repository("acme/app"));
    let scopes = shape(&["token", "scopes"]);
    assert!(scopes["scopes"].as_array().unwrap().len() >= 10, "{scopes}");
    let who = shape(&["whoami"]);
    assert_eq!((&who["manager"], &who["peer_uid"]), (&json!(true), &json!(nix::unistd::Uid::effective().as_raw())));
    let status = shape(&["status"]);
    assert_eq!(status["server"]["listen_url"], environment.url());
    assert_eq!(status["server"]["store"], "embedded");
    let events = shape(&["audit", "--limit", "3"]);
    assert_eq!((names(&events), events["events"].as_array().unwrap().len()), (vec!["events", "next_cursor"], 3));
    let disabled = shape(&["user", "disable", "carol"]);
    assert!(disabled["user"]["disabled_at"].is_string());
    assert_eq!(shape(&["user", "enable", "carol"])["user"]["disabled_at"], Value::Null);
    let deleted = shape(&["workspace", "delete", "--force", "other"]);
    assert_eq!(deleted["deleted"], true);
    environment.tok(&["workspace", "delete", "--force", "acme"]).fails(1).says(&["repositories in it: 1"]);
}

#[test]
fn hostile_names_are_refused_with_the_rule_they_break() {
    let environment = acme();
    let before = environment.rows("SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM workspaces) AS workspaces, (SELECT count(*) FROM members) AS members");
    let long = "x".repeat(300);
    for (name, words) in [
        ("..", "starts with"),
        (".git", "starts with"),
        ("a..b", "'..'"),
        ("a/b", "'/'"),
        ("a\u{7}b", "not allowed"),
        ("a\nb", "not allowed"),
        ("a\u{202e}b", "not allowed"),
        ("a%2e", "'%'"),
        ("app.git", ".git"),
        ("app.lock", ".lock"),
        ("v1", "reserved"),
        ("ADMIN", "reserved"),
        ("'; DROP TABLE users; --", "not allowed"),
        ("", "empty"),
        (&long, "300"),
    ] {
        for noun in ["user", "workspace"] {
            let refused = environment.tok(&[noun, "create", "--", name]).fails(2);
            refused.says(&[words]);
            let complaint = refused.complaint();
            assert!(!complaint.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{complaint:?}");
            assert!(complaint.len() < 1000, "{complaint}");
        }
        environment.tok(&["workspace", "member", "add", "acme", "--", name]).fails(2);
    }
    // The same but for its case is the same.
    environment.tok(&["user", "create", "ALICE"]).fails(1);
    let after = environment.rows("SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM workspaces) AS workspaces, (SELECT count(*) FROM members) AS members");
    assert_eq!(before, after);
}

#[test]
fn variables_stand_in_for_options_and_flags_win() {
    let environment = acme();
    let made = environment.tok(&["token", "create", "CI", "--output", "json"]).acting_as("alice");
    let made = made
        .variable("TOK_EXPIRES", "7d")
        .variable("TOK_SCOPES", "repo:read")
        .variable("TOK_DESCRIPTION", "words")
        .ok()
        .json();
    assert_eq!((&made["token"]["scopes"], &made["token"]["description"]), (&json!(["repo:read"]), &json!("words")));
    let flag = environment.tok(&["token", "create", "CI", "--scopes", "user:read"]).acting_as("alice");
    let flag = flag.variable("TOK_SCOPES", "repo:read").variable("TOK_OUTPUT", "json").ok().json();
    assert_eq!(flag["token"]["scopes"], json!(["user:read"]));
    let who = environment.tok(&["--as", "bob", "whoami"]).acting_as("alice").variable("TOK_OUTPUT", "json").ok().json();
    assert_eq!(who["user"], "bob");
    // A token acts for its owner, and for another only if that is a manager.
    let token = environment.token("alice", &[]);
    environment.tok(&["--as", "bob", "whoami"]).variable("TOK_TOKEN", token).fails(4).says(&["--as", "manager"]);
    let root = environment.tok(&["token", "create", "mine", "--scopes", "all"]).ok().line().to_owned();
    let who = environment.tok(&["--as", "bob", "whoami"]).variable("TOK_TOKEN", root);
    let who = who.variable("TOK_OUTPUT", "json").ok().json();
    assert_eq!((&who["user"], &who["manager"]), (&json!("bob"), &json!(false)));
}

#[test]
fn only_managers_manage() {
    let environment = acme();
    for arguments in [
        &["user", "create", "eve"][..],
        &["user", "list"],
        &["user", "disable", "bob"],
        &["user", "delete", "--force", "bob"],
        &["workspace", "create", "eves"],
        &["workspace", "delete", "--force", "acme"],
    ] {
        environment.tok(arguments).acting_as("alice").fails(4);
    }
    // A maintainer keeps the members of the own workspace; a reader does not.
    environment.tok(&["workspace", "member", "add", "acme", "bob", "--role", "writer"]).acting_as("alice").ok();
    environment.tok(&["workspace", "member", "add", "acme", "bob", "--role", "maintainer"]).acting_as("bob").fails(4);
    environment.tok(&["workspace", "member", "add", "bob", "alice"]).acting_as("alice").fails(5);
}

#[test]
fn a_closed_pipe_and_help_are_no_errors() {
    let environment = acme();
    let tok = tok_tests::binaries::path("tok");
    let script = "\"$0\" audit --limit 100 | head -n 1; \"$0\" --help >/dev/null && \"$0\" --version && \"$0\" token create --help | head -n 1";
    let run = environment.call("bash").arguments(["-o", "pipefail", "-c", script]).argument(tok).ok();
    assert_eq!(run.complaint(), "");
    assert!(run.text().contains("tok 0."), "{}", run.describe());
    let words = environment.tok(&["completions", "bash"]).ok();
    assert!(words.text().contains("complete"), "{}", words.describe());
}
