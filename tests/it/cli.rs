//! `tok`: what scripts rely on, and what people read.

use serde_json::{Value, json};
use tok_tests::call::Call;
use tok_tests::environment::Environment;
use tok_tests::normalise::{invented_token, normalise};
use tok_tests::secrets::tokens_in;

fn acme() -> Environment {
    let environment = Environment::dev();
    environment.users(&["alice", "bob"]).workspace("acme", &[("alice", "maintainer"), ("bob", "reader")]);
    environment
}

fn json(call: Call) -> Value {
    call.argument("--output").argument("json").ok().json()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

#[test]
fn a_created_token_is_shown_once_and_alone() {
    let environment = acme();
    let made = environment.tok(&["token", "create", "Laptop"]).acting_as("alice").ok();
    let text = made.line().to_owned();
    assert_eq!(tokens_in(text.as_bytes()), std::slice::from_ref(&text), "stdout has the token and nothing else");
    assert!(text.starts_with("tokpat_"));
    // The words are for people, on stderr, and without the text.
    made.says(&["Laptop", "not shown again"]);
    assert!(!made.complaint().contains(&text));
    let quiet = environment.tok(&["token", "create", "Quiet", "--quiet"]).acting_as("alice").ok();
    assert_eq!(quiet.complaint(), "");
    for arguments in [
        &["token", "list"][..],
        &["token", "show", &text[..11]],
        &["token", "list", "--output", "json"],
        &["audit", "--output", "json"],
    ] {
        let shown = environment.tok(arguments).acting_as("alice").ok();
        assert!(!shown.text().contains(&text[12..]), "{arguments:?}");
        assert!(shown.text().contains(&text[..11]), "{arguments:?}: {}", shown.describe());
    }
}

#[test]
fn the_json_of_a_token_is_the_documented_record() {
    let environment = acme();
    let made = json(
        environment.tok(&["token", "create", "CI", "--expires", "90d", "--description", "a test's"]).acting_as("alice"),
    );
    assert_eq!(names(&made), ["secret", "token"]);
    let text = made["secret"].as_str().unwrap();
    let record = &made["token"];
    for key in [
        "id",
        "kind",
        "name",
        "description",
        "prefix",
        "token_prefix",
        "scopes",
        "permission",
        "workspace",
        "repo_allowlist",
        "routes",
        "state",
        "created_at",
        "expires_at",
        "revoked_at",
        "revoked_by",
        "revoke_reason",
        "last_used_at",
        "last_used_ip",
        "created_by_user_id",
        "created_by_name",
        "created_by_token_prefix",
        "parent_id",
        "family_id",
    ] {
        assert!(record.get(key).is_some(), "no {key} in {record}");
    }
    assert_eq!(record["kind"], "personal");
    assert_eq!(record["name"], "CI");
    assert_eq!(record["description"], "a test's");
    assert_eq!(record["prefix"], "tokpat");
    assert_eq!(record["token_prefix"], text[..11]);
    assert_eq!(record["scopes"], json!(["repo:read", "repo:write"]));
    assert_eq!(record["state"], "active");
    assert_eq!(record["created_by_name"], "alice");
    assert_eq!(
        (&record["permission"], &record["workspace"], &record["revoked_at"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    for key in ["created_at", "expires_at"] {
        assert_eq!(normalise(record[key].as_str().unwrap(), &[]), "[time]", "{record}");
    }
    let days = environment.count("SELECT round(extract(epoch FROM expires_at - created_at) / 86400)::bigint AS count FROM tokens WHERE name = 'CI'");
    assert_eq!(days, 90);

    let listed = json(environment.tok(&["token", "list"]).acting_as("alice"));
    assert_eq!(names(&listed), ["next_cursor", "tokens"]);
    assert_eq!(listed["tokens"], json!([record]));
    assert_eq!(listed["next_cursor"], Value::Null);
    let id = record["id"].as_str().unwrap();
    for reference in [id, &id[..8], &text[..11]] {
        let shown = json(environment.tok(&["token", "show", reference]).acting_as("alice"));
        assert_eq!(shown.get("token").unwrap_or(&shown), record, "{reference}");
    }
}

#[test]
fn a_default_lifetime_is_half_a_year() {
    let environment = acme();
    environment.token("alice", &[]);
    let days = environment
        .count("SELECT round(extract(epoch FROM expires_at - created_at) / 86400)::bigint AS count FROM tokens");
    assert_eq!(days, 180);
    environment.token("alice", &["--expires", "never"]);
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE expires_at IS NULL"), 1);
}

#[test]
fn lists_are_paged_without_loss_while_rows_come_and_go() {
    let environment = acme();
    for _ in 0..5 {
        environment.token("alice", &[]);
    }
    let page = |cursor: Option<&str>| {
        let mut call = environment.tok(&["token", "list", "--limit", "2"]).acting_as("alice");
        if let Some(cursor) = cursor {
            call = call.arguments(["--cursor", cursor]);
        }
        let page = json(call);
        let ids: Vec<String> =
            page["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect();
        (ids, page["next_cursor"].as_str().map(str::to_owned))
    };
    let (mut seen, next) = page(None);
    let gone = seen[1].clone();
    environment.tok(&["token", "revoke", "--force", &gone]).acting_as("alice").ok();
    environment.token("alice", &[]);
    let (second, next) = page(next.as_deref());
    seen.extend(second);
    let (third, end) = page(next.as_deref());
    seen.extend(third);
    assert_eq!((seen.len(), end), (5, None));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5, "no row came twice");
    environment.tok(&["token", "list", "--cursor", "nonsense"]).acting_as("alice").fails(2).says(&["cursor"]);
}

#[test]
fn lists_are_filtered() {
    let environment = acme();
    let soon = environment.token("alice", &["--expires", "2d"]);
    let late = environment.token("alice", &["--expires", "60d"]);
    let gone = environment.token("alice", &[]);
    environment.tok(&["token", "revoke", "--force", &gone[..11]]).acting_as("alice").ok();
    let listed = |arguments: &[&str]| {
        let found = json(environment.tok(&["token", "list"]).arguments(arguments.iter().copied()).acting_as("alice"));
        let prefixes =
            found["tokens"].as_array().unwrap().iter().map(|token| token["token_prefix"].as_str().unwrap().to_owned());
        prefixes.collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--state", "revoked"]), [&gone[..11]]);
    assert_eq!(listed(&["--state", "active"]), [&late[..11], &soon[..11]]);
    assert_eq!(listed(&["--expiring", "14d"]), [&soon[..11]]);
    assert_eq!(listed(&["--kind", "git"]), [""; 0]);
    assert_eq!(listed(&["--never-used"]).len(), 3);
    let all = json(environment.tok(&["token", "list", "--all-users"]));
    assert_eq!(all["tokens"].as_array().unwrap().len(), 3);
    environment.tok(&["token", "list", "--all-users"]).acting_as("alice").fails(4);
    environment.tok(&["token", "list", "--user", "alice"]).acting_as("bob").fails(4);
}

#[test]
fn a_token_is_revoked_by_any_handle_and_only_when_it_is_the_only_one() {
    let environment = acme();
    let tokens: Vec<String> = (0..3).map(|_| environment.token("alice", &[])).collect();
    let listed = json(environment.tok(&["token", "list"]).acting_as("alice"));
    let ids: Vec<String> =
        listed["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect();

    let revoke = |reference: &str| environment.tok(&["token", "revoke", "--force", reference]).acting_as("alice").run();
    revoke(&tokens[0][..11]).expect_code(0);
    let ambiguous = revoke("tokpat_").expect_code(5);
    ambiguous.says(&["more than one", &ids[0]]);
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL"), 1, "nothing was changed");
    // One long enough to be the only one.
    let standing = json(environment.tok(&["token", "list", "--state", "active"]).acting_as("alice"));
    let id = standing["tokens"][0]["id"].as_str().unwrap();
    revoke(&id[..13]).expect_code(0);
    let last = standing["tokens"][1]["id"].as_str().unwrap();
    let reason =
        json(environment.tok(&["token", "rm", "--force", "--reason", "left on a bus", last]).acting_as("alice"));
    assert_eq!(reason["revoked"][0]["token"]["revoke_reason"], "left on a bus", "{reason}");
    assert_eq!(reason["revoked"][0]["token"]["state"], "revoked");
    assert_eq!(reason["revoked"][0]["token"]["revoked_by"], "alice");
    // Again is no error: it is revoked.
    revoke(last).expect_code(0);
    revoke("1b4e28ba-2fa1-4d2e-883f-0016d3cca427").expect_code(5).says(&["tok token list"]);
    revoke("zz").expect_code(2);
    // Somebody else's looks like one that does not exist.
    let foreign = environment.token("alice", &[]);
    let by_bob = environment.tok(&["token", "revoke", "--force", &foreign[..11]]).acting_as("bob").fails(5);
    let unknown = environment.tok(&["token", "revoke", "--force", "tokpat_0000"]).acting_as("bob").fails(5);
    assert_eq!(by_bob.complaint().replace(&foreign[..11], "X"), unknown.complaint().replace("tokpat_0000", "X"));
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
    environment.tok(&["workspace", "delete", "--force", "acme"]).fails(1).says(&["1 repositor"]);
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
fn a_secret_is_never_taken_from_an_argument() {
    let environment = acme();
    let token = environment.token("alice", &[]);
    let refused = environment.tok(&["token", "revoke", "--force", &token]).acting_as("alice").fails(2);
    refused.says(&["whole token"]);
    assert!(!refused.complaint().contains(&token));
    // No flag takes one.
    for arguments in [
        &["--token", "x", "whoami"][..],
        &["token", "check", "x"],
        &["token", "create", "n", "--secret", "x"],
        &["user", "create", "n", "--password", "x"],
    ] {
        environment.tok(arguments).fails(2);
    }
    let checked = json(environment.tok(&["token", "check"]).input(token.clone() + "\n"));
    assert_eq!((&checked["usable"], &checked["owner"]), (&json!(true), &json!("alice")));
    environment.tok(&["token", "revoke", "--force", &token[..11]]).acting_as("alice").ok();
    let ended = environment.tok(&["token", "check", "--output", "json"]).input(token).fails(1);
    assert_eq!(ended.json()["usable"], false);
    environment.tok(&["token", "check"]).input(invented_token()).fails(5);
    environment.tok(&["token", "check"]).input("").fails(2);
    environment.tok(&["token", "check"]).input("x".repeat(100_000)).fails(2);
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
    // A token acts for its owner; nobody else.
    let token = environment.token("alice", &[]);
    environment.tok(&["--as", "bob", "whoami"]).variable("TOK_TOKEN", token).fails(2).says(&["--as"]);
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

#[test]
fn a_list_for_people_reads_like_this() {
    let environment = acme();
    environment.token("alice", &["--scopes", "repo:read", "--expires", "30"]);
    let listed = environment.tok(&["token", "list"]).acting_as("alice").ok();
    let text = listed.text();
    assert!(text.contains("Access tokens (1)") && text.contains("Never used") && text.contains("Expires: "), "{text}");
    assert!(
        text.contains("Scopes: repo:read")
            && text.contains("tokpat_")
            && text.contains("in 29 days") | text.contains("in 30 days"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no colours without a terminal");
}
