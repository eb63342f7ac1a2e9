//! `tok token`: made, listed, shown and revoked.

use serde_json::{Value, json};
use tok_tests::normalise::{invented_token, normalise};
use tok_tests::secrets::tokens_in;

use crate::cli::{acme, json, names};

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
    revoke("zz").expect_code(5);
    // Somebody else's looks like one that does not exist.
    let foreign = environment.token("alice", &[]);
    let by_bob = environment.tok(&["token", "revoke", "--force", &foreign[..11]]).acting_as("bob").fails(5);
    let unknown = environment.tok(&["token", "revoke", "--force", "tokpat_0000"]).acting_as("bob").fails(5);
    assert_eq!(by_bob.complaint().replace(&foreign[..11], "X"), unknown.complaint().replace("tokpat_0000", "X"));
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
fn a_list_for_people_reads_like_this() {
    let environment = acme();
    environment.token("alice", &["--scopes", "repo:read", "--expires", "30"]);
    let listed = environment.tok(&["token", "list"]).acting_as("alice").ok();
    let text = listed.text();
    assert!(
        text.contains("Personal Access Tokens (1)") && text.contains("Never used") && text.contains("Expires: "),
        "{text}"
    );
    assert!(
        text.contains("Scopes: repo:read")
            && text.contains("tokpat_")
            && text.contains("in 29 days") | text.contains("in 30 days"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no colours without a terminal");
}
