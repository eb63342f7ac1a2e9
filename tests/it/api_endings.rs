//! Over HTTP: ending many tokens as one act, undoing it, ending by text (RFC 7009), and why a token may or may not.

use serde_json::{Value, json};
use tok_tests::http::{FORM, Reply, Request};
use tok_tests::normalise::invented_token;

use crate::api::{People, people, problem};

fn made(people: &People, body: &Value) -> (String, String) {
    let reply = people.json(&people.will, "POST", "/v1/tokens", body);
    assert_eq!(reply.status, 201, "{}", reply.text());
    let body = reply.json();
    (body["secret"].as_str().unwrap().to_owned(), body["token"]["id"].as_str().unwrap().to_owned())
}

#[test]
fn a_selection_ends_as_one_act_and_comes_back_as_one() {
    let people = people();
    let tokens: Vec<_> = (0..3).map(|_| made(&people, &json!({"name": "job", "labels": ["job"]}))).collect();
    let revoke = |body: &Value| people.json(&people.will, "POST", "/v1/tokens/revoke", body);
    let dry = revoke(&json!({"label": "job", "dry_run": true}));
    assert_eq!((dry.status, &dry.json()["revoked"]), (200, &json!(3)), "{}", dry.text());
    assert_eq!(people.get(&tokens[0].0, "/v1/whoami").status, 200);
    let done = revoke(&json!({"label": "job", "reason": "jobs are over"})).json();
    assert_eq!((&done["revoked"], done["sample"].as_array().unwrap().len()), (&json!(3), 3));
    assert!(done["restorable_until"].is_string());
    problem(&people.get(&tokens[0].0, "/v1/whoami"), 401, "unauthenticated", None);
    let restored = people.call(&people.will, "POST", &format!("/v1/tokens/{}/restore", tokens[0].1));
    assert_eq!((restored.status, &restored.json()["restored"]), (200, &json!(3)), "{}", restored.text());
    assert_eq!(people.get(&tokens[2].0, "/v1/whoami").status, 200);
    let said = problem(&revoke(&json!({})), 400, "invalid_argument", None);
    assert!(said["detail"].as_str().unwrap().contains("label, parent"), "{said}");
    for (body, field) in [
        (json!({"label": "a b"}), "label"),
        (json!({"kind": "x"}), "kind"),
        (json!({"minted_before": "yesterday"}), "minted_before"),
        (json!({"user": "will", "workspace": "acme"}), "workspace"),
        (json!({"labels": ["x"]}), "labels"),
        // A condition that is there and empty must not be dropped.
        (json!({"user": "will", "label": ""}), "label"),
        (json!({"label": "job", "parent": ""}), "parent"),
        (json!({"label": "job", "user": ""}), "user"),
    ] {
        problem(&revoke(&body), 400, "invalid_argument", Some(field));
    }
    problem(&people.json(&people.mona, "POST", "/v1/tokens/revoke", &json!({"user": "will"})), 403, "forbidden", None);
}

#[test]
fn whoever_holds_a_token_may_end_it_and_learns_nothing_of_others() {
    let people = people();
    let send = |token: Option<&str>, body: &str| {
        let request = Request::post("/oauth2/revoke", FORM, body);
        people.environment.send(&if let Some(token) = token { request.bearer(token) } else { request })
    };
    let fresh = || people.environment.token("will", &[]);
    for (caller, hint) in [
        (None, ""),
        (Some(people.mona.as_str()), "&token_type_hint=access_token"),
        (Some("rubbish"), "&token_type_hint=refresh_token"),
        // A hint is one: what it names wrongly is looked for all the same (RFC 7009 section 2.1).
        (None, "&token_type_hint=pat"),
        (None, "&token_type_hint="),
    ] {
        let token = fresh();
        assert_eq!(people.get(&token, "/v1/whoami").status, 200);
        for _ in 0..2 {
            let reply = send(caller, &format!("token={token}{hint}"));
            assert_eq!((reply.status, reply.text().as_str()), (200, ""), "{caller:?}");
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
        problem(&people.get(&token, "/v1/whoami"), 401, "unauthenticated", None);
    }
    // What never was a token is answered alike.
    for text in [&invented_token(), "rubbish", "%ff"] {
        assert_eq!(send(None, &format!("token={text}")).status, 200, "{text}");
    }
    let error = |reply: Reply, error: &str| {
        assert_eq!((reply.status, &reply.json()["error"]), (400, &json!(error)), "{reply:?}");
    };
    let token = fresh();
    error(send(None, ""), "invalid_request");
    error(send(None, &format!("token={token}&token={token}")), "invalid_request");
    assert_eq!(people.get(&token, "/v1/whoami").status, 200);
    let server = people.environment.send(&Request::get("/.well-known/oauth-authorization-server")).json();
    assert_eq!(server["revocation_endpoint"], format!("{}/oauth2/revoke", people.environment.url()));
}

#[test]
fn a_verdict_is_explained_without_the_secret() {
    let people = people();
    let (_, id) = made(&people, &json!({"name": "narrow", "scopes": ["repo:read"]}));
    let explain = |body: &Value| people.json(&people.will, "POST", "/v1/explain", body);
    let said = explain(&json!({"reference": id, "repository": "acme/app"})).json();
    assert_eq!((&said["allowed"], &said["rule"], &said["token"]["id"]), (&json!(true), &json!("allowed"), &json!(id)));
    let said = explain(&json!({"reference": id, "repository": "acme/app", "act": "write"})).json();
    assert_eq!((&said["allowed"], &said["rule"]), (&json!(false), &json!("scope")));
    assert_eq!(said["steps"].as_array().unwrap().last().unwrap()["passed"], false);
    assert_eq!(explain(&json!({})).json()["allowed"], true);
    for (body, field) in [
        (json!({"act": "write"}), "repository"),
        (json!({"repository": "acme/app", "act": "push"}), "act"),
        (json!({"repository": "acme"}), "repository"),
        (json!({"address": "here"}), "address"),
        (json!({"at": "soon"}), "at"),
    ] {
        problem(&explain(&body), 400, "invalid_argument", Some(field));
    }
}
