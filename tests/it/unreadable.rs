//! A row that this version cannot read, as after a step back to an older one: it opens nothing, hides no other, and can
//! be ended.

use serde_json::{Value, json};
use tok_tests::environment::Environment;
use tok_tests::http::Request;

use crate::authority::{READ, acme, asked};
use crate::cli::json;

/// Six of will's tokens, of which some were written by somebody who knows more than this version; those come first.
fn with_unreadable() -> (Environment, Vec<String>) {
    let environment = acme();
    let tokens: Vec<String> = (0..6).map(|_| environment.token("will", &["--label", "ci"])).collect();
    for (token, change) in tokens.iter().zip([
        "scopes = '{repo:fly,repo:read}'",
        "routes = '{\"acme/app:x\"}'",
        "allow_from = '{here}'",
        "labels = labels || '{\"not a label\"}'",
    ]) {
        let statement = format!("UPDATE tokens SET {change} WHERE shown_prefix = '{}'", &token[..11]);
        environment.execute(&statement);
    }
    (environment, tokens)
}

fn of_will(page: &Value) -> Vec<(&str, bool)> {
    let tokens = page["tokens"].as_array().unwrap();
    tokens.iter().map(|token| (token["token_prefix"].as_str().unwrap(), token["unreadable"].is_string())).collect()
}

#[test]
fn the_page_comes_with_what_cannot_be_read_marked_over_each_door() {
    let (environment, tokens) = with_unreadable();
    let expected: Vec<(&str, bool)> =
        tokens.iter().enumerate().rev().map(|(at, token)| (&token[..11], at < 4)).collect();
    let whole = json(environment.tok(&["token", "list", "--kind", "personal"]).acting_as("will"));
    assert_eq!(of_will(&whole), expected);
    let why = |at: usize| whole["tokens"][5 - at]["unreadable"].as_str().unwrap().to_owned();
    for (at, word) in [(0, "repo:fly"), (1, "routes: "), (2, "addresses: "), (3, "labels: ")] {
        assert!(why(at).contains(word), "{at}: {}", why(at));
    }
    // Nothing is said of a reach that was not understood.
    assert_eq!(whole["tokens"][5]["scopes"], json!([]));
    let over_http =
        environment.send(&Request::get("/v1/tokens?kind=personal").bearer(&environment.token("will", &["-s", "all"])));
    assert_eq!(of_will(&over_http.json())[1..], expected[..]);
    // Page by page, too, and among everybody's.
    let paged = json(environment.tok(&["token", "list", "--all", "--limit", "2", "--label", "ci"]).acting_as("will"));
    assert_eq!(of_will(&paged), expected);
    assert!(json(environment.tok(&["token", "list", "--all-users"]))["tokens"].as_array().unwrap().len() >= 7);
    // For people: which, why, and what ends it.
    let listed = environment.tok(&["token", "list"]).acting_as("will").ok();
    assert_eq!(listed.text().matches("[UNREADABLE]").count(), 4, "{}", listed.describe());
    listed.says(&["4 of these cannot be read by this version of tokd", "tok token revoke "]);
    let shown = environment.tok(&["token", "show", &tokens[0][..11]]).acting_as("will").ok();
    assert!(shown.text().contains("repo:fly"), "{}", shown.describe());
}

#[test]
fn it_opens_nothing_and_no_credential_is_thrown_away_for_it() {
    let (environment, tokens) = with_unreadable();
    for token in &tokens[..4] {
        // Neither a 401: git would erase what works again as soon as the newer version is back; nor a "no" for good.
        let reply = asked(&environment, "acme/app", READ, token);
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(!reply.text().contains(&tokens[0][..11]) && reply.header("www-authenticate").is_none());
        let whoami = environment.send(&Request::get("/v1/whoami").bearer(token));
        assert_eq!((whoami.status, whoami.json()["code"].as_str()), (500, Some("internal")));
        assert!(whoami.text().contains("cannot be read by this version of tokd"), "{}", whoami.text());
        let explained = environment.tok(&["token", "explain", &token[..11], "--repo", "acme/app", "--output", "json"]);
        let explained = explained.acting_as("will").run().json();
        assert_eq!((&explained["allowed"], &explained["rule"]), (&json!(false), &json!("unreadable")), "{explained}");
    }
    for token in &tokens[4..] {
        assert_eq!(asked(&environment, "acme/app", READ, token).status, 200);
    }
    // What would act on a guess does nothing, and says what to do.
    let says = ["cannot be read by this version of tokd", "tok token revoke "];
    let reference = &tokens[0][..11];
    environment.tok(&["token", "modify", reference, "--name", "new"]).acting_as("will").fails(1).says(&says);
    environment.tok(&["token", "rotate", reference]).acting_as("will").fails(1).says(&says);
    let kept = environment.rows(&format!("SELECT scopes, version FROM tokens WHERE shown_prefix = '{reference}'"));
    assert_eq!(kept[0], json!({"scopes": ["repo:fly", "repo:read"], "version": 1}));
}

#[test]
fn it_can_be_ended_and_comes_back_as_it_was() {
    let (environment, tokens) = with_unreadable();
    let revoke = |arguments: &[&str]| {
        let call = environment.tok(&["token", "revoke", "--force"]).acting_as("will");
        json(call.arguments(arguments.iter().copied()))
    };
    let done = revoke(&[&tokens[0][..11]]);
    assert_eq!(done["revoked"][0]["token"]["state"], "revoked");
    // Twice is calm, as with every token.
    revoke(&[&tokens[0][..11]]);
    environment.tok(&["token", "restore", &tokens[0][..11]]).acting_as("will").ok();
    environment.execute("UPDATE tokens SET scopes = '{repo:read}' WHERE 'repo:fly' = ANY (scopes)");
    assert_eq!(asked(&environment, "acme/app", READ, &tokens[0]).status, 200, "the newer version is back");
    let many = revoke(&["--label", "ci"]);
    assert_eq!(many["revoked"], json!(6), "{many}");
    assert_eq!(
        environment.count("SELECT count(*) AS count FROM tokens WHERE revoked_at IS NULL AND name = 'a test''s'"),
        0
    );
}
