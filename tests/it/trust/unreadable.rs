//! A trust rule that this version cannot read, as after a step back to an older one: it lets nobody in, hides no other,
//! and can be removed.

use serde_json::{Value, json};
use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::issuer::Issuer;

use super::{add, exchange, job, place, refused};

/// Two rules for one issuer, of which somebody who knows more than this version wrote the first: acme/app's jobs are let
/// in by it, acme/lib's by the other.
fn with_unreadable() -> (Environment, Issuer) {
    let (environment, issuer) = place();
    add(&environment, &issuer, "lib", &["--claim", "repository=acme/lib"]);
    environment.execute("UPDATE trusts SET algorithms = '{ES256,ES999}', system = 'buildkite' WHERE name = 'app'");
    (environment, issuer)
}

#[test]
fn the_list_comes_with_the_rule_marked_and_the_command_over_each_door() {
    let (environment, issuer) = with_unreadable();
    let marks = |trusts: &Value| -> Vec<(String, bool)> {
        let each = trusts["trusts"].as_array().unwrap().iter();
        each.map(|trust| (trust["name"].as_str().unwrap().to_owned(), trust["unreadable"].is_string())).collect()
    };
    let expected = [("app".to_owned(), true), ("lib".to_owned(), false)];
    let over_grpc = environment.tok(&["trust", "list", "--output", "json"]).ok().json();
    assert_eq!(marks(&over_grpc), expected);
    let manager = environment.token("root", &["--scopes", "manager"]);
    let over_http = environment.send(&Request::get("/v1/trusts").bearer(&manager)).json();
    assert_eq!(over_http, over_grpc);
    let app = &over_http["trusts"][0];
    // What is kept stands there as it is; what nobody here knows is no guess.
    assert_eq!((&app["system"], &app["permission"]), (&Value::Null, &json!("write")));
    assert_eq!((&app["algorithms"], &app["issuer"]), (&json!(["ES256", "ES999"]), &json!(issuer.url())));
    assert!(app["unreadable"].as_str().unwrap().contains("buildkite"), "{app}");
    let listed = environment.tok(&["trust", "list"]).ok();
    assert_eq!(listed.text().matches("[UNREADABLE]").count(), 1, "{}", listed.describe());
    listed.says(&["1 of these cannot be read by this version of tokd", "tok trust remove app"]);
    let shown = environment.tok(&["trust", "show", "app"]).ok();
    assert!(shown.text().contains("Unreadable:") && shown.text().contains("buildkite"), "{}", shown.describe());
}

#[test]
fn it_lets_nobody_in_and_others_of_its_issuer_work() {
    let (environment, issuer) = with_unreadable();
    let lib = || issuer.token(&job(&json!({"repository": "acme/lib"})));
    let reply = exchange(&environment, &lib(), "");
    assert_eq!(reply.status, 200, "{}", reply.text());
    environment.canaries().register("a git token", reply.json()["access_token"].as_str().unwrap());
    let app = issuer.token(&job(&json!({})));
    let (error, words) = refused(&exchange(&environment, &app, "&resource=acme%2Fapp"), 400);
    assert_eq!(error, "access_denied", "{words}");
    assert!(words.contains("not counting 1 that this version of tokd cannot read"), "{words}");
    let checked = environment.tok(&["trust", "check", "--output", "json"]).input(app.clone()).run();
    let rules = checked.json()["identity"]["rules"].clone();
    let of = |name: &str| rules.as_array().unwrap().iter().find(|rule| rule["rule"] == name).unwrap().clone();
    assert_eq!(of("app")["accepted"], false);
    assert!(of("app")["trouble"].as_str().unwrap().contains("buildkite"), "{rules}");
    assert_eq!(of("lib")["accepted"], false);

    // With no other rule left a stranger is told what everybody is told whose issuer nobody named, and as seldom: a manager
    // finds the rule in the list and in the log, which it does not fill, and the figures count who is kept out.
    environment.tok(&["trust", "remove", "lib", "--force"]).ok();
    let (error, words) = refused(&exchange(&environment, &app, "&resource=acme%2Fapp"), 400);
    let nobodys = Issuer::new(&environment.path("nobody")).token(&job(&json!({})));
    assert_eq!((error, words), refused(&exchange(&environment, &nobodys, "&resource=acme%2Fapp"), 400));
    let limited =
        (0..200).map(|_| exchange(&environment, &app, "&resource=acme%2Fapp")).find(|reply| reply.status != 400);
    assert_eq!(limited.map(|reply| reply.status), Some(429));
    let said = environment.log();
    assert_eq!(said.matches("no trust rule for its issuer can be read").count(), 1, "{said}");
    assert!(said.contains("buildkite") && said.contains(&issuer.url()), "{said}");
    let figures = environment.send(&Request::get("/metrics")).text();
    let counted = figures.lines().find_map(|line| line.strip_prefix("tok_trust_unreadable_total "));
    assert!(counted.is_some_and(|count| count.parse::<u32>().unwrap() > 1), "{counted:?}");
    environment.tok(&["trust", "check"]).input(app.clone()).fails(1).says(&["app: ", "buildkite", "tok trust remove"]);
}

#[test]
fn it_can_be_removed_by_its_name_and_by_its_id_and_its_tokens_end_with_it() {
    let (environment, issuer) = place();
    let granted = exchange(&environment, &issuer.token(&job(&json!({}))), "&resource=acme%2Fapp").json();
    let text = granted["access_token"].as_str().unwrap().to_owned();
    environment.canaries().register("a git token", &text);
    let asked = || environment.send(&Request::refs("acme/app", "git-receive-pack").bearer(&text)).status;
    assert_eq!(asked(), 200);
    environment.execute("UPDATE trusts SET system = 'buildkite' WHERE name = 'app'");
    let planned = environment.tok(&["trust", "remove", "app", "--dry-run"]).ok();
    assert!(planned.text().contains("Would remove the trust rule app"), "{}", planned.describe());
    let removed = environment.tok(&["trust", "remove", "app", "--force"]).ok();
    assert!(removed.text().contains("1 live token"), "{}", removed.describe());
    assert_eq!(asked(), 401);

    add(&environment, &issuer, "again", &["--claim", "repository=acme/app"]);
    environment.execute("UPDATE trusts SET name = 'a rule' WHERE name = 'again'");
    let listed = environment.tok(&["trust", "list", "--output", "json"]).ok().json();
    let id = listed["trusts"][0]["id"].as_str().unwrap();
    environment.tok(&["trust", "list"]).ok().says(&["tok trust remove ", id]);
    environment.tok(&["trust", "remove", id, "--force"]).ok();
    assert_eq!(environment.count("SELECT count(*) AS count FROM trusts"), 0);
}
