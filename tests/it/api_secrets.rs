//! Over HTTP: secrets of one's own choice, imports and passwords.

use serde_json::{Value, json};
use tok_tests::http::Request;

use crate::api::{people, problem};

const CHOSEN: &str = "correct-horse-battery-staple-47";

#[test]
fn a_chosen_secret_is_presented_with_its_name_and_a_weak_one_is_refused() {
    let people = people();
    let create = |body: &Value| people.json(&people.will, "POST", "/v1/tokens", body);
    let made = create(&json!({"name": "printer", "scopes": ["repo:read"], "secret": CHOSEN}));
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["token"]["secret_form"], "chosen");
    let whoami = |secret: &str| people.environment.send(&Request::get("/v1/whoami").basic("printer", secret));
    assert_eq!(whoami(CHOSEN).json()["token"]["name"], "printer");
    problem(&whoami("correct-horse-battery-staple-48"), 401, "unauthenticated", None);
    let weak = create(&json!({"name": "weak", "secret": "hunter2"}));
    problem(&weak, 400, "invalid_argument", Some("secret"));
    assert!(!weak.text().contains("hunter2"));
}

#[test]
fn a_file_is_tried_and_then_brought_in() {
    let people = people();
    // bcrypt of "open sesame, says Ali": what htpasswd -B wrote.
    let import = |body: &Value| people.json(&people.boss, "POST", "/v1/tokens/import", body);
    let line = "will:$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e";
    let dry = import(&json!({"format": "htpasswd", "content": line, "user": "will", "dry_run": true}));
    assert_eq!(dry.status, 200, "{}", dry.text());
    let before = people.environment.count("SELECT count(*) FROM tokens");
    assert_eq!(
        (&dry.json()["imported"], dry.json()["lines"][0]["line"].as_u64()),
        (&json!(1), Some(1)),
        "{}",
        dry.text()
    );
    assert_eq!(people.environment.count("SELECT count(*) FROM tokens"), before);
    problem(&import(&json!({"format": "htpasswd", "content": ""})), 400, "invalid_argument", Some("content"));
    problem(&import(&json!({"format": "vault", "content": "x"})), 400, "invalid_argument", Some("format"));
    let large = json!({"format": "htpasswd", "content": "x".repeat(1024 * 1024 + 1)});
    problem(&import(&large), 400, "invalid_argument", Some("content"));
    let larger = json!({"format": "htpasswd", "content": "x".repeat(3 * 1024 * 1024)});
    problem(&import(&larger), 413, "too_large", None);
}

#[test]
fn a_password_is_set_and_taken_away() {
    let people = people();
    let put = |token: &str, body: &Value| people.json(token, "PUT", "/v1/users/will/password", body);
    let set = put(&people.boss, &json!({"password": CHOSEN}));
    assert_eq!((set.status, &set.json()["user"]["has_password"]), (200, &json!(true)), "{}", set.text());
    problem(&put(&people.boss, &json!({"password": "hunter2"})), 400, "invalid_argument", Some("password"));
    problem(&put(&people.boss, &json!({})), 400, "invalid_argument", Some("password"));
    problem(&put(&people.mona, &json!({"password": CHOSEN})), 403, "forbidden", None);
    assert_eq!(put(&people.boss, &json!({"password": null})).json()["user"]["has_password"], false);
}
