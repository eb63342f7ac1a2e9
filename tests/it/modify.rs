//! Tokens are changed: narrowed by whoever may change them, widened only by whoever could make such a token anew.

use serde_json::Value;
use tok_tests::environment::Environment;
use tok_tests::http::Request;

use crate::authority::{READ, WRITE, acme, asked};

fn modify(environment: &Environment, user: &str, token: &str, arguments: &[&str]) -> tok_tests::call::Call {
    let call = environment.tok(&["token", "modify", "--output", "json", &token[..11]]);
    call.arguments(arguments.iter().copied()).acting_as(user)
}

fn statuses(environment: &Environment, token: &str) -> [u16; 2] {
    [READ, WRITE].map(|service| asked(environment, "acme/app", service, token).status)
}

fn trail(environment: &Environment, token: &str) -> Vec<String> {
    let rows = environment.rows(&format!(
        "SELECT detail FROM audit WHERE action = 'token.modify' AND token_prefix = '{}' ORDER BY id",
        &token[..11]
    ));
    rows.iter().map(|row| row["detail"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_changed_counts_on_the_next_request_and_the_trail_says_from_what_to_what() {
    let environment = acme();
    let token = environment.token("will", &["--description", "all"]);
    assert_eq!(statuses(&environment, &token), [200, 200]);
    let record = modify(&environment, "will", &token, &["--scopes", "repo:read", "--label", "ci"]).ok().json();
    assert_eq!(record["token"]["scopes"], serde_json::json!(["repo:read"]));
    assert_eq!((&record["token"]["version"], record["token"]["modified_at"].is_string()), (&Value::from(2), true));
    assert_eq!(statuses(&environment, &token), [200, 403]);
    modify(&environment, "will", &token, &["--scopes", "repo:write", "--route", "acme/app:r"]).ok();
    assert_eq!(statuses(&environment, &token), [200, 403]);
    modify(&environment, "will", &token, &["--route", ""]).ok();
    assert_eq!(statuses(&environment, &token), [200, 200]);
    modify(&environment, "will", &token, &["--allow-cidr", "192.0.2.0/24"]).ok();
    assert_eq!(statuses(&environment, &token), [401, 401]);
    modify(&environment, "will", &token, &["--allow-cidr", "127.0.0.1"]).ok();
    assert_eq!(statuses(&environment, &token), [200, 200]);
    environment.tok(&["token", "rename", &token[..11], "pushes „builds“"]).acting_as("will").ok();
    modify(&environment, "will", &token, &["--expires", "never", "--description", ""]).ok();
    let told = trail(&environment, &token);
    assert_eq!(told[0], "labels [] -> [ci]; scopes [repo:read, repo:write] -> [repo:read]");
    assert_eq!(told[1], "scopes [repo:read] -> [repo:write]; routes [] -> [acme/app:r]");
    assert_eq!(told[3], "allow_cidrs [] -> [192.0.2.0/24]");
    assert_eq!(told[5], r#"name "a test's" -> "pushes „builds“""#);
    assert!(
        told[6].starts_with(r#"description "all" -> ""; expires 20"#) && told[6].ends_with(" -> never"),
        "{told:?}"
    );
}

#[test]
fn a_change_that_somebody_else_was_faster_with_is_refused_with_the_version_there_is() {
    let environment = acme();
    let token = environment.token("will", &[]);
    modify(&environment, "will", &token, &["--name", "one", "--if-version", "1"]).ok();
    let late = modify(&environment, "will", &token, &["--name", "two", "--if-version", "1"]).fails(1);
    late.says(&["the version 2 now, not 1"]);
    assert!(late.complaint().contains("conflict"), "{}", late.complaint());
    modify(&environment, "will", &token, &["--name", "two", "--if-version", "2"]).ok();
    // Of several at once that saw the same version one changes it.
    let calls: Vec<_> = (0..6)
        .map(|number| {
            modify(&environment, "will", &token, &["--name", &format!("n{number}"), "--if-version", "3"]).start()
        })
        .collect();
    let done = calls.into_iter().map(|call| call.wait().code).filter(|code| *code == Some(0)).count();
    assert_eq!(done, 1);
}

#[test]
fn to_widen_takes_the_authority_to_make_such_a_token() {
    let environment = acme();
    let token = environment.token("will", &["--scopes", "repo:read,token:write", "--expires", "30d"]);
    let wide = environment.token("will", &["--scopes", "repo:write,token:write", "--expires", "never"]);
    let by = |text: &str, arguments: &[&str]| {
        let call = environment.tok(&["token", "modify", "--output", "json"]).arguments(arguments.iter().copied());
        call.variable("TOK_TOKEN", text.to_owned())
    };
    // Neither itself nor another of its owner, neither in scope nor in time.
    by(&token, &[&token[..11], "--add-scopes", "repo:write"])
        .fails(4)
        .says(&["the scope repo:write is not in your token"]);
    by(&token, &[&token[..11], "--expires", "60d"]).fails(4).says(&["your token ends at"]);
    by(&token, &[&token[..11], "--expires", "20d"]).ok();
    by(&token, &[&token[..11], "--expires", "25d"]).fails(4);
    by(&token, &[&wide[..11], "--name", "only renamed"]).ok();
    by(&token, &[&wide[..11], "--add-scopes", "user:read"]).fails(4);
    by(&token, &[&wide[..11], "--remove-scopes", "repo:write"]).ok();
    by(&wide, &[&token[..11], "--expires", "never"]).fails(4);
    modify(&environment, "will", &token, &["--add-scopes", "repo:write", "--expires", "never"]).ok();

    // A manager narrows and renames what is somebody else's, and widens it as them only.
    let manager =
        |arguments: &[&str]| environment.tok(&["token", "modify", &token[..11]]).arguments(arguments.iter().copied());
    manager(&["--scopes", "repo:read"]).ok();
    manager(&["--scopes", "repo:write"]).fails(4).says(&["--as will"]);
    modify(&environment, "rita", &token, &["--name", "mine"]).fails(5);

    // A maintainer changes what acts for the workspace.
    let create = environment.tok(&["token", "create", "ci", "--kind", "repo", "--repo", "acme/app"]);
    let repo = create.arguments(["--permission", "read"]).acting_as("mona").ok().line().to_owned();
    assert_eq!(statuses(&environment, &repo), [200, 403]);
    modify(&environment, "mona", &repo, &["--permission", "write", "--repo", "acme/app,acme/lib"]).ok();
    assert_eq!(statuses(&environment, &repo), [200, 200]);
    modify(&environment, "mona", &repo, &["--repo", "lib"]).ok();
    assert_eq!(statuses(&environment, &repo), [404, 404]);
    modify(&environment, "mona", &repo, &["--scopes", "repo:read"]).fails(2).says(&["takes no scopes"]);
    modify(&environment, "will", &repo, &["--name", "not his"]).fails(5);
}

#[test]
fn what_was_minted_reaches_no_further_than_what_it_was_minted_through() {
    let environment = acme();
    let token = environment.token("will", &["--scopes", "repo:write,token:write", "--expires", "30d"]);
    let child = environment
        .tok(&["token", "create", "child", "--scopes", "repo:read", "--expires", "20d"])
        .variable("TOK_TOKEN", token.clone());
    let child = child.ok().line().to_owned();
    modify(&environment, "will", &token, &["--expires", "10d"]).ok();
    let same = "SELECT c.expires_at = p.expires_at AS same FROM tokens c JOIN tokens p ON p.id = c.parent_id WHERE c.name = 'child'";
    assert_eq!(environment.rows(same)[0]["same"], Value::from(true));
    assert_eq!(asked(&environment, "acme/app", READ, &child).status, 200);
}

#[test]
fn what_has_ended_is_not_changed_and_what_the_daemon_made_is_only_renamed() {
    let environment = acme();
    let token = environment.token("will", &[]);
    environment.tok(&["token", "revoke", "--force", &token[..11]]).acting_as("will").ok();
    let refused = modify(&environment, "will", &token, &["--name", "again"]).fails(1);
    refused.says(&["was revoked at", "by will", "tok token create"]);
    let git = environment.git_token("will", "acme/app", "read");
    modify(&environment, "will", &git, &["--expires", "never"]).fails(2).says(&["can be renamed"]);
    modify(&environment, "will", &git, &["--name", "laptop"]).ok();
    assert_eq!(asked(&environment, "acme/app", READ, &git).status, 200);
}

#[test]
fn what_is_made_through_a_token_that_was_narrowed_meanwhile_is_decided_on_what_it_is_now() {
    let environment = acme();
    let parent = environment.token("will", &["--scopes", "repo:write,token:write"]);
    // This daemon knows the parent as it was; somebody at another one narrows it.
    assert_eq!(statuses(&environment, &parent), [200, 200]);
    environment.execute(&format!(
        "UPDATE tokens SET scopes = '{{repo:read,token:write}}', version = version + 1 WHERE shown_prefix = '{}'",
        &parent[..11]
    ));
    let create = |scope: &str| {
        let body = serde_json::json!({"name": "child", "scopes": [scope]});
        environment.send(&Request::json("POST", "/v1/tokens", &body).bearer(&parent))
    };
    let wide = create("repo:write");
    assert_eq!((wide.status, wide.json()["code"].as_str()), (403, Some("forbidden")), "{}", wide.text());
    let narrow = create("repo:read");
    assert_eq!(narrow.status, 201, "it is made on the second try, and nobody is told of the first");
    let scopes = environment.rows("SELECT scopes FROM tokens WHERE name = 'child'");
    assert_eq!(scopes, [serde_json::json!({"scopes": ["repo:read"]})]);
}
