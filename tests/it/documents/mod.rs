//! The examples of the five documents that tok grew out of, each done with tok's names.
//!
//! What each command is called there and here stands in docs/coming-from.md.

mod commands;
mod pages;
mod wit;

use serde_json::{Value, json};
use tok_tests::call::Call;
use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::normalise::without_tokens;
use tok_tests::secrets::tokens_in;

use crate::cli::{acme, json};

/// acme with a repository in it that carol has pushed, so that lists of others are not about that.
fn with_app() -> Environment {
    let environment = acme();
    environment.users(&["carol"]);
    environment.tok(&["workspace", "member", "add", "acme", "carol", "--role", "writer"]).ok();
    environment.pushed("carol", "acme/app");
    environment
}

/// A command of a shell on a terminal of its own, as this user. Somebody may type into it.
pub(crate) fn terminal(environment: &Environment, user: &str, command: &str) -> Call {
    environment.call("script").arguments(["-qec", command, "/dev/null"]).acting_as(user).holds_input()
}

/// What it shows, with line ends as files have them.
fn shown(call: Call) -> String {
    call.ok().text().replace("\r\n", "\n")
}

/// Makes a token like this in a shell, and gives its record.
fn made(environment: &Environment, command: &str) -> Value {
    let call = environment.call("sh").arguments(["-c", &format!("{command} --output json")]);
    call.acting_as("alice").shows_secret().ok().json()
}

/// Lines that begin like this, in this order.
#[track_caller]
fn reads(text: &str, lines: &[&str]) {
    let mut rest = text.lines();
    for line in lines {
        assert!(
            rest.any(|found| found.starts_with(line)),
            "no {line:?} where it should be in:\n{}",
            without_tokens(text)
        );
    }
}

fn days(record: &Value) -> i64 {
    let date = |key: &str| record["token"][key].as_str().map(|text| text[..10].replace('-', ""));
    let day = |text: String| {
        let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
        let (year, month, day) = (number(0..4), number(4..6), number(6..8));
        // Days since some day of old, by the civil calendar.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day
    };
    day(date("expires_at").unwrap()) - day(date("created_at").unwrap())
}

#[test]
fn nitro_a_description_is_enough_and_json_goes_through_jq() {
    let environment = acme();
    let record = made(&environment, r#"tok token create --description "deploys at night""#);
    assert_eq!((&record["token"]["description"], days(&record)), (&json!("deploys at night"), 180));
    assert_eq!(record["token"]["name"], "deploys at night");
    assert_eq!(days(&made(&environment, r#"tok token create --description "short" --expires "30""#)), 30);
    let script = r#"
        SECRET=$(tok token create --description "captured" --scopes all --output json | jq -r '.secret')
        TOK_TOKEN=$SECRET TOK_USER= tok workspace list --output json | jq -r '.workspaces[].name'
    "#;
    let listed = environment.call("bash").arguments(["-ec", script]).acting_as("alice").ok();
    assert!(listed.text().lines().any(|name| name == "acme"), "what its owner reaches: {}", listed.describe());
    // Its variables have ours beside them.
    let call = environment.tok(&["token", "create", "--output", "json"]).acting_as("alice");
    let record = call.variable("TOK_DESCRIPTION", "by variable").variable("TOK_EXPIRES", "7").ok().json();
    assert_eq!((&record["token"]["description"], days(&record)), (&json!("by variable"), 7));
    environment.tok(&["token", "create"]).acting_as("alice").fails(2);
}

#[test]
fn nitro_lists_go_on_from_a_cursor_and_revoking_needs_force_without_a_person() {
    let environment = acme();
    for _ in 0..3 {
        environment.token("alice", &[]);
    }
    let first = json(environment.tok(&["token", "list", "--limit", "2"]).acting_as("alice"));
    let cursor = first["next_cursor"].as_str().unwrap().to_owned();
    let by_flag = json(environment.tok(&["token", "list", "--cursor", &cursor]).acting_as("alice"));
    let by_variable = environment.tok(&["token", "list"]).variable("TOK_CURSOR", cursor).acting_as("alice");
    assert_eq!(by_flag, json(by_variable));
    assert_eq!((by_flag["tokens"].as_array().unwrap().len(), &by_flag["next_cursor"]), (1, &Value::Null));
    assert!(!by_flag.to_string().contains("secret\":\"tok"), "metadata only");
    let all = json(environment.tok(&["token", "list", "--all", "--limit", "1"]).acting_as("alice"));
    assert_eq!((all["tokens"].as_array().unwrap().len(), &all["next_cursor"]), (3, &Value::Null));

    let id = all["tokens"][0]["id"].as_str().unwrap();
    environment.tok(&["token", "revoke", id]).acting_as("alice").fails(2).says(&["--force", "Revoke personal"]);
    environment.tok(&["token", "revoke", id, "--output", "json"]).acting_as("alice").fails(2).says(&["--force"]);
    let unknown = "1b4e28ba-2fa1-4d2e-883f-0016d3cca427";
    environment.tok(&["token", "revoke", unknown]).acting_as("alice").fails(5).says(&["tok token list"]);
    let done = json(environment.tok(&["token", "revoke", id, "--force"]).acting_as("alice"));
    assert_eq!(done["revoked"][0]["token"]["state"], "revoked");
}

#[test]
fn githosted_kinds_reach_what_its_table_says() {
    let environment = acme();
    for repo in ["acme/deploy-configs", "acme/metrics"] {
        environment.pushed("alice", repo);
    }
    // The two patterns: one hour for a CI job, thirty days for a dashboard.
    let ci = made(
        &environment,
        "tok token create ci-42 --kind repo --permission write --workspace acme --repo deploy-configs --expires 1h",
    );
    let record = &ci["token"];
    assert_eq!((&record["kind"], &record["prefix"]), (&json!("repo"), &json!("tokrep")));
    assert_eq!(record["repo_allowlist"], json!(["acme/deploy-configs"]));
    assert_eq!((&record["permission"], &record["created_by_name"]), (&json!("write"), &json!("alice")));
    for field in
        ["created_at", "expires_at", "revoked_at", "last_used_at", "created_by_user_id", "created_by_token_prefix"]
    {
        assert!(record.get(field).is_some(), "{field}");
    }
    let dashboard = made(
        &environment,
        "tok token create dashboard-readonly --kind repo --permission read --repo acme/metrics,acme/deploy-configs --expires 30d",
    );
    let status = |made: &Value, repo: &str, service: &str| {
        environment.send(&Request::refs(repo, service).bearer(made["secret"].as_str().unwrap())).status
    };
    assert_eq!(status(&ci, "acme/deploy-configs", "git-receive-pack"), 200);
    assert!(matches!(status(&ci, "acme/metrics", "git-upload-pack"), 403 | 404));
    assert_eq!(status(&dashboard, "acme/metrics", "git-upload-pack"), 200);
    assert_eq!(status(&dashboard, "acme/metrics", "git-receive-pack"), 403);

    // A workspace token with write makes tokens of both kinds; a repo token makes none.
    let workspace = made(&environment, "tok token create root --kind workspace --workspace acme --permission write");
    assert_eq!(workspace["token"]["prefix"], "tokwsp");
    let through = |made: &Value, arguments: &[&str]| {
        let call = environment.tok(&["token", "create", "child"]).arguments(arguments.iter().copied());
        call.variable("TOK_TOKEN", made["secret"].as_str().unwrap().to_owned())
    };
    let child = json(through(&workspace, &["--kind", "repo", "--repo", "acme/metrics"]));
    assert_eq!(child["token"]["created_by_token_prefix"], workspace["token"]["token_prefix"]);
    json(through(&workspace, &["--kind", "workspace", "--workspace", "acme", "--permission", "read"]));
    through(&ci, &["--kind", "repo", "--repo", "acme/deploy-configs"]).fails(4);
    through(&dashboard, &["--kind", "repo", "--repo", "acme/metrics"]).fails(4);
    let listed = json(environment.tok(&["token", "list", "--workspace", "acme", "--limit", "20"]).acting_as("alice"));
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 5);
}

#[test]
fn wick_every_device_has_its_own_and_losing_one_breaks_no_other() {
    let environment = with_app();
    let [laptop, ci] =
        ["Laptop", "Production CI"].map(|name| made(&environment, &format!("tok token create '{name}' -s all")));
    let works = |made: &Value| {
        environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(made["secret"].as_str().unwrap())).status
    };
    assert_eq!((works(&laptop), works(&ci)), (200, 200));
    // "revoking by name is faster than reading masked hex"
    environment.tok(&["token", "revoke", "Laptop", "--force"]).acting_as("alice").ok();
    assert_eq!((works(&laptop), works(&ci)), (401, 200), "instant, and only that one");

    // An admin sees everybody's, counts them, and ends any of them.
    environment.token("bob", &[]);
    let live =
        json(environment.tok(&["token", "list", "--all-users", "--kind", "personal", "--state", "active", "--all"]));
    assert_eq!(live["tokens"].as_array().unwrap().len(), 2);
    let never = json(environment.tok(&[
        "token",
        "list",
        "--all-users",
        "--kind",
        "personal",
        "--state",
        "active",
        "--never-used",
    ]));
    assert_eq!(never["tokens"][0]["user"], "bob");
    environment.tok(&["token", "list", "--all-users"]).acting_as("alice").fails(4);
    environment.tok(&["token", "revoke", ci["token"]["id"].as_str().unwrap(), "--force", "--reason", "left"]).ok();
    assert_eq!(works(&ci), 401);

    // Deleting the user ends the tokens.
    let last = environment.token("bob", &[]);
    environment.tok(&["user", "delete", "--force", "bob"]).ok();
    assert_eq!(environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(&last)).status, 401);
    // Each call is known by its token, not only by its user.
    let prefix = laptop["token"]["token_prefix"].as_str().unwrap();
    tok_tests::wait::until_true("the use is written", || {
        let events = json(environment.tok(&["audit", "--token", laptop["token"]["id"].as_str().unwrap()]));
        events.to_string().contains("token.use") && events.to_string().contains(prefix)
    });
}

#[test]
fn reposilite_verbs_have_their_counterparts() {
    let environment = with_app();
    // token-generate: raw, it reaches nothing; with a secret of one's own, it is presented as name and secret.
    let root = made(&environment, "tok token create root --scopes ''");
    assert_eq!(root["token"]["scopes"], json!([]));
    let refs = Request::refs("acme/app", "git-upload-pack");
    let raw = environment.send(&refs.clone().bearer(root["secret"].as_str().unwrap())).status;
    assert!(matches!(raw, 403 | 404), "{raw}");
    // tokens
    let listed = environment.tok(&["token", "list"]).acting_as("alice").ok();
    assert!(listed.text().starts_with("Personal Access Tokens (1)\n") && listed.text().contains("root"));
    // token-rename
    let renamed = environment.tok(&["token", "rename", "root", "super-user"]).acting_as("alice").ok();
    assert!(
        renamed.text().starts_with("Token name has been changed from 'root' to 'super-user'\n"),
        "{}",
        renamed.describe()
    );
    // token-modify: a manager of the server may give that away.
    let modified = environment.tok(&["token", "modify", "super-user", "--scopes", "repo:read"]).acting_as("alice").ok();
    assert!(modified.text().contains("  Scopes: none → repo:read\n"), "{}", modified.describe());
    assert_eq!(environment.send(&refs.clone().bearer(root["secret"].as_str().unwrap())).status, 200);
    environment.tok(&["token", "modify", "super-user", "--scopes", "manager"]).acting_as("alice").fails(4);
    // Routes: READ (r), WRITE (w).
    let routed = made(&environment, "tok token create routed --route 'acme/*:r' --route acme/app:rw");
    let push = Request::refs("acme/app", "git-receive-pack").bearer(routed["secret"].as_str().unwrap());
    assert_eq!(environment.send(&push).status, 200);
    // token-revoke
    let revoked = environment.tok(&["token", "revoke", "super-user", "--force"]).acting_as("alice").ok();
    assert!(revoked.text().starts_with("Revoked token: super-user\n"), "{}", revoked.describe());
    assert_eq!(environment.send(&refs.bearer(root["secret"].as_str().unwrap())).status, 401);
}

#[test]
fn reposilite_a_secret_of_ones_own_comes_from_a_file_or_stdin() {
    let environment = with_app();
    let secret = "violet-kestrel-9-umbrella";
    environment.canaries().register("a chosen secret", secret);
    let file = environment.canaries().exempt().join("secret");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let from_file = |name: &str| {
        let call = environment.tok(&["token", "create", name, "--secret-file"]).argument(file.clone());
        call.acting_as("alice")
    };
    set_mode(&file, 0o644);
    from_file("first").fails(2).says(&["chmod 600", "0644"]);
    set_mode(&file, 0o600);
    from_file("first").ok();
    let refs = |name: &str| environment.send(&Request::refs("acme/app", "git-upload-pack").basic(name, secret)).status;
    assert_eq!((refs("first"), refs("other")), (200, 401));
    from_file("first").fails(1).says(&["choose another name"]);
    let by_stdin = environment.tok(&["token", "create", "other", "--secret-stdin"]).acting_as("alice");
    by_stdin.clone().input("short\n").fails(2);
    by_stdin.clone().input("").fails(2).says(&["stdin is empty"]);
    by_stdin.input(format!("{secret}-2\n")).ok();
    environment.tok(&["token", "create", "x", "--secret-stdin", "--secret-file", "f"]).fails(2);
    // On a terminal it is asked for, twice, and not shown.
    let twice = format!("{secret}-3\n{secret}-3\n");
    let typed =
        terminal(&environment, "alice", "tok token create typed --secret-stdin").input(twice).shows_secret().ok();
    let text = typed.text().replace("\r\n", "\n");
    reads(
        &text,
        &[
            "New secret: ",
            "The same secret again: ",
            "Created personal access token",
            "Its secret is the one that you chose",
        ],
    );
    assert_eq!(
        environment.send(&Request::refs("acme/app", "git-upload-pack").basic("typed", &format!("{secret}-3"))).status,
        200
    );
}

fn set_mode(file: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}
