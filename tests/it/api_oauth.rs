//! The OAuth forms, exactly as their RFCs have them.

use serde_json::{Value, json};
use tok_tests::http::{FORM, Reply, Request};
use tok_tests::normalise::invented_token;

use crate::api::{People, people};

fn form(people: &People, path: &str, token: Option<&str>, body: &str) -> Reply {
    let request = Request::post(path, FORM, body);
    let request = if let Some(token) = token { request.bearer(token) } else { request };
    people.environment.send(&request)
}

fn introspected(people: &People, text: &str) -> Reply {
    form(people, "/oauth2/introspect", Some(&people.mona), &format!("token={text}&token_type_hint=access_token"))
}

#[test]
fn introspection_says_what_a_live_token_is_worth() {
    let people = people();
    let reply = introspected(&people, &people.will);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let said = reply.json();
    let token = people.get(&people.will, "/v1/whoami").json()["token"].clone();
    let url = people.environment.url();
    assert_eq!((&said["active"], &said["token_type"]), (&json!(true), &json!("Bearer")));
    assert_eq!((&said["username"], &said["jti"], &said["kind"]), (&json!("will"), &token["id"], &json!("personal")));
    assert_eq!((&said["iss"], &said["aud"]), (&json!(url), &json!(url)));
    assert_eq!(said["sub"], token["created_by_user_id"]);
    assert!(said["iat"].is_i64() && said.get("exp").is_none(), "{said}");
    let scopes: Vec<&str> = said["scope"].as_str().unwrap().split(' ').collect();
    assert!(scopes.contains(&"repo:write") && !scopes.contains(&"manager"), "{scopes:?}");

    let body = json!({"name": "r", "kind": "repo", "permission": "read", "repos": ["acme/app"], "expires": "never"});
    let made = people.json(&people.mona, "POST", "/v1/tokens", &body).json();
    let said = introspected(&people, made["secret"].as_str().unwrap()).json();
    assert_eq!((&said["permission"], &said["workspace"]), (&json!("read"), &json!("acme")));
    assert_eq!((&said["repo_allowlist"], &said["scope"]), (&json!(["acme/app"]), &json!("repo:read")));
    assert!(said.get("username").is_none() && said.get("exp").is_none(), "{said}");
    let hour = people.environment.token("will", &["--expires", "1h"]);
    let said = introspected(&people, &hour).json();
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3600);
    // By Basic, and with one's own token as the one asked about.
    let basic = Request::post("/oauth2/introspect", FORM, format!("token={}", people.will));
    assert_eq!(people.environment.send(&basic.basic("anyone", &people.will)).json()["active"], true);
}

#[test]
fn whatever_is_not_usable_is_inactive_and_nothing_else() {
    let people = people();
    let environment = &people.environment;
    let revoked = environment.token("will", &[]);
    environment.tok(&["token", "revoke", "--force", &revoked[..11]]).acting_as("will").ok();
    let expired = environment.token("will", &[]);
    environment.execute(&format!(
        "UPDATE tokens SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day' WHERE shown_prefix = '{}'",
        &expired[..11]
    ));
    let elsewhere = environment.token("will", &["--allow-cidr", "192.0.2.0/24"]);
    let disabled = environment.token("sten", &[]);
    environment.tok(&["user", "disable", "sten"]).ok();
    for text in
        [&revoked, &expired, &elsewhere, &disabled, &invented_token(), "rubbish", "%00%ff", "a+b", &"x".repeat(9_000)]
    {
        let reply = introspected(&people, text);
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"active":false}"#), "{text}");
    }
}

#[test]
fn the_caller_of_introspection_is_somebody_and_says_a_token() {
    let people = people();
    let error = |reply: &Reply, status: u16, error: &str| {
        assert_eq!((reply.status, &reply.json()["error"]), (status, &json!(error)), "{reply:?}");
        assert!(reply.json()["error_description"].is_string());
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    };
    let body = format!("token={}", people.will);
    let nobody = form(&people, "/oauth2/introspect", None, &body);
    error(&nobody, 401, "invalid_client");
    assert!(nobody.header("www-authenticate").unwrap().starts_with("Bearer realm=\"tok\""));
    error(&form(&people, "/oauth2/introspect", Some(&invented_token()), &body), 401, "invalid_token");
    let git = people.environment.git_token("will", "acme/app", "read");
    error(&form(&people, "/oauth2/introspect", Some(&git), &body), 403, "insufficient_scope");
    error(&form(&people, "/oauth2/introspect", Some(&people.mona), ""), 400, "invalid_request");
    error(&form(&people, "/oauth2/introspect", Some(&people.mona), "token="), 400, "invalid_request");
    error(&form(&people, "/oauth2/introspect", Some(&people.mona), "token=a&token=b"), 400, "invalid_request");
    let wrong = Request::json("POST", "/oauth2/introspect", &json!({"token": "x"})).bearer(&people.mona);
    error(&people.environment.send(&wrong), 415, "invalid_request");
    error(&people.get(&people.mona, "/oauth2/introspect"), 405, "invalid_request");
    // Parameters that nobody knows are ignored (RFC 6749 section 3.2).
    assert_eq!(
        form(&people, "/oauth2/introspect", Some(&people.mona), &format!("{body}&resource=x")).json()["active"],
        true
    );
}

#[test]
fn the_metadata_lists_what_exists_and_answers_at_each_address() {
    let people = people();
    let url = people.environment.url();
    let get = |target: &str| people.environment.send(&Request::get(target));
    let server = get("/.well-known/oauth-authorization-server").json();
    assert_eq!(server["issuer"], url.as_str());
    for (key, address) in server.as_object().unwrap().iter().filter(|(key, _)| key.ends_with("_endpoint")) {
        let path = address.as_str().unwrap().strip_prefix(&url).unwrap();
        assert_eq!(get(path).status, 405, "{key}");
    }
    for path in ["", "/v1", "/acme/app.git", "/no/such.git"] {
        let resource = get(&format!("/.well-known/oauth-protected-resource{path}")).json();
        assert_eq!(resource["resource"], format!("{url}{path}"));
        assert_eq!(
            (&resource["authorization_servers"], &resource["bearer_methods_supported"]),
            (&json!([url]), &json!(["header"]))
        );
    }
    for path in ["/v2", "/acme/..", "/acme/a%2fb"] {
        let reply = get(&format!("/.well-known/oauth-protected-resource{path}"));
        assert_eq!((reply.status, &reply.json()["code"]), (404, &json!("not_found")), "{path}");
    }
    assert!(matches!(server["scopes_supported"], Value::Array(_)));
}
