//! `tok git why`: who would answer git, by which rule, with what.

use serde_json::json;
use tok_tests::environment::Environment;

fn environment() -> Environment {
    let environment = Environment::tls();
    environment.users(&["alice", "bob"]).workspace("acme", &[("alice", "maintainer"), ("bob", "reader")]);
    environment.pushed("alice", "acme/app");
    environment
}

const MINTED: &str = "SELECT count(*) AS count FROM tokens WHERE kind = 'git'";

#[test]
fn a_login_answers_and_nothing_is_minted_to_say_so() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let url = environment.repository("acme/app");
    laptop.tok(&["git", "why", &url]).fails(3).says(&["nobody answers", "tok login"]);
    laptop.logged_in("bob");
    laptop.tok(&["git", "why", &url]).ok().says(&[&format!("tok git setup {}", environment.url())]);
    laptop.tok(&["git", "setup", &environment.url()]).ok();
    let before = environment.count(MINTED);
    let why = |words: &[&str]| laptop.tok(&["git", "why", &url, "--output", "json"]).arguments(words.iter().copied());
    let said = why(&[]).ok().json();
    assert_eq!(
        (&said["answered_by"], &said["login"]["user"], &said["right"], &said["allowed"], &said["minted"]),
        (&json!("agent"), &json!("bob"), &json!("read"), &json!(true), &json!(false)),
        "{said}"
    );
    assert_eq!((&said["helpers"], &said["login_rule"]), (&json!(["tok"]), &json!("it is the only one")));
    assert_eq!((&said["answer"][0], &said["answer"][1]), (&json!("authtype=Bearer"), &json!("credential=tokgit_…")));
    let denied = why(&["--push"]).fails(4).json();
    assert_eq!((&denied["allowed"], &denied["answer"]), (&json!(false), &json!([])), "{denied}");
    assert!(denied["reason"].as_str().unwrap().contains("reader"), "{denied}");
    assert_eq!(environment.count(MINTED), before, "asking mints nothing");

    // What git really gets, without the secret of it.
    let minted = why(&["--mint"]).ok();
    let lines: Vec<String> =
        minted.json()["answer"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect();
    let shown =
        lines.iter().find_map(|line| line.strip_prefix("credential=")).unwrap().trim_end_matches('…').to_owned();
    assert!(lines.contains(&"authtype=Bearer".to_owned()) && shown.len() == "tokgit_a1b2".len(), "{lines:?}");
    assert_eq!(environment.count(&format!("SELECT count(*) AS count FROM tokens WHERE shown_prefix = '{shown}'")), 1);
    laptop.tok(&["git", "why", &environment.repository("elsewhere/none")]).fails(4);
    laptop.tok(&["git", "why", &environment.url()]).fails(2).says(&["names no repository"]);
    let other = url.replace("https://", "https://alice@");
    laptop.tok(&["git", "why", &other]).fails(3).says(&["another user", "bob"]);
}

#[test]
fn a_token_of_a_job_and_the_daemon_of_a_server_answer_before_logins() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let url = environment.repository("acme/app");
    let token = environment.token("alice", &["--scopes", "repo:read"]);
    let job = |words: &[&str]| {
        let call = laptop.tok(&["git", "why", &url]).arguments(words.iter().copied());
        call.variable("TOK_TOKEN", &token).variable("TOK_SERVER", environment.url())
    };
    let said = job(&["--output", "json"]).ok().json();
    assert_eq!(
        (&said["answered_by"], &said["answer"][1]),
        (&json!("token"), &json!(format!("credential={}…", &token[..11]))),
        "{said}"
    );
    let denied = job(&["--push"]).fails(4);
    assert!(denied.text().contains("repo:write"), "{}", denied.describe());
    // On the server the socket answers.
    let local = environment.tok(&["git", "why", &url, "--output", "json"]).acting_as("alice").ok().json();
    assert_eq!((&local["answered_by"], &local["allowed"]), (&json!("socket"), &json!(true)), "{local}");
}
