//! What `/v1` says no to, and how: the field, the word for programs, and the next step.

use serde_json::{Value, json};
use tok_tests::http::{Reply, Request};
use tok_tests::normalise::invented_token;

use crate::api::{people, problem};

#[test]
fn a_read_only_token_of_a_workspace_is_told_what_it_lacks() {
    let people = people();
    let body = json!({"name": "home", "kind": "workspace", "workspace": "acme", "permission": "read"});
    let read = people.made(&people.mona, &body)["secret"].as_str().unwrap().to_owned();
    for target in ["/v1/tokens", "/v1/audit"] {
        let said = problem(&people.get(&read, target), 403, "forbidden", None);
        assert!(said["detail"].as_str().unwrap().contains("with the permission write"), "{said}");
        assert!(said["hint"].as_str().unwrap().contains("--permission write"), "{said}");
    }
    let create =
        people.json(&read, "POST", "/v1/tokens", &json!({"name": "x", "kind": "workspace", "permission": "read"}));
    let said = problem(&create, 403, "forbidden", None);
    assert!(said["detail"].as_str().unwrap().contains("with the permission write"), "{said}");
    // What no token of a workspace ever may is said as that.
    let said = problem(&people.get(&read, "/v1/users"), 403, "forbidden", None);
    assert!(said["detail"].as_str().unwrap().contains("a workspace token never may"), "{said}");
}

#[test]
fn what_is_not_there_is_named_with_what_shows_what_is() {
    let people = people();
    let look = |reply: &Reply, (status, code): (u16, &str), field: &str, hint: &str| {
        let said = problem(reply, status, code, Some(field));
        assert!(said["hint"].as_str().unwrap().contains(hint), "{said}");
    };
    let missing = (404, "not_found");
    let token = json!({"name": "x", "kind": "workspace", "workspace": "nows", "permission": "read"});
    look(&people.json(&people.boss, "POST", "/v1/tokens", &token), missing, "workspace", "tok workspace list");
    look(&people.json(&people.will, "POST", "/v1/tokens", &token), missing, "workspace", "tok workspace list");
    look(&people.get(&people.boss, "/v1/tokens?workspace=nows"), missing, "workspace", "tok workspace list");
    look(&people.get(&people.boss, "/v1/tokens?user=nobody"), missing, "user", "tok user list");
    let role = json!({"role": "reader"});
    let put = |name: &str| people.json(&people.mona, "PUT", &format!("/v1/workspaces/acme/members/{name}"), &role);
    look(&put("nobody"), missing, "user", "tok user list");
    let out = people.call(&people.mona, "DELETE", "/v1/workspaces/acme/members/sten");
    look(&out, missing, "user", "tok workspace member list");
    let user = people.json(&people.boss, "POST", "/v1/users", &json!({"name": "will"}));
    look(&user, (409, "conflict"), "name", "tok user list");
    let workspace = |body: &Value| people.json(&people.boss, "POST", "/v1/workspaces", body);
    look(&workspace(&json!({"name": "acme"})), (409, "conflict"), "name", "tok workspace list");
    look(&workspace(&json!({"name": "fresh", "owner": "nobody"})), missing, "owner", "tok user list");

    let environment = &people.environment;
    for arguments in [
        &["token", "list", "--workspace", "nows"][..],
        &["token", "list", "--user", "nobody"],
        &["token", "create", "z", "--kind", "workspace", "--workspace", "nows", "--permission", "read"],
        &["token", "create", "z", "--kind", "repo", "--repo", "nows/x", "--permission", "read"],
        &["user", "passwd", "nobody", "--remove", "--force"],
    ] {
        environment.tok(arguments).fails(5).says(&["hint: ", " list`"]);
    }
}

#[test]
fn every_bad_input_is_named_with_its_field_and_the_next_step() {
    let people = people();
    let long = "x".repeat(300);
    for (body, field) in [
        (json!({}), Some("name")),
        (json!({"name": ""}), Some("name")),
        (json!({"name": "a\u{1b}[31m"}), Some("name")),
        (json!({"name": long}), Some("name")),
        (json!({"name": 7}), Some("name")),
        (json!({"name": "x", "bogus": 1}), Some("bogus")),
        (json!({"name": "x", "Name": "y"}), Some("Name")),
        (json!({"name": "x", "scopes": "all"}), Some("scopes")),
        (json!({"name": "x", "scopes": ["repo:wrote"]}), Some("scopes")),
        (json!({"name": "x", "scopes": ["repo:read", 3]}), Some("scopes[1]")),
        (json!({"name": "x", "kind": "weird"}), Some("kind")),
        (json!({"name": "x", "kind": "git"}), Some("kind")),
        (json!({"name": "x", "kind": "workspace", "workspace": "acme"}), Some("permission")),
        (json!({"name": "x", "permission": "admin"}), Some("permission")),
        (json!({"name": "x", "workspace": "acme"}), Some("workspace")),
        (json!({"name": "x", "kind": "repo", "permission": "read"}), Some("repos")),
        (json!({"name": "x", "repos": ["acme/app"], "repo_allowlist": ["acme/app"]}), Some("repos")),
        (json!({"name": "x", "routes": ["acme"]}), Some("routes")),
        (json!({"name": "x", "allow_cidrs": ["10.0.0.1/8"]}), Some("allow_cidrs")),
        (json!({"name": "x", "expires": "soon"}), Some("expires")),
        (json!({"name": "x", "expires": "2001-01-01"}), Some("expires")),
        (json!({"name": "x", "ttl_hours": -1}), Some("ttl_hours")),
        (json!({"name": "x", "labels": ["a b"]}), Some("labels")),
        (json!({"name": "x", "max_uses": 1.5}), Some("max_uses")),
        (json!({"name": "x", "idempotency_key": "a b"}), Some("idempotency_key")),
        (json!(["x"]), None),
        (json!("x"), None),
        (Value::Null, None),
    ] {
        let reply = people.json(&people.will, "POST", "/v1/tokens", &body);
        problem(&reply, 400, "invalid_argument", field);
    }
    let send = |content_type: &str, body: &str| {
        let request = Request::post("/v1/tokens", content_type, body).bearer(&people.will);
        people.environment.send(&request)
    };
    let broken = problem(&send("application/json", "{\"name\":\n  \"x\",,}"), 400, "invalid_argument", None);
    assert!(broken["detail"].as_str().unwrap().contains("line 2, column 7"), "{broken}");
    problem(&send("application/json", "{\"name\":\"x\"} {}"), 400, "invalid_argument", None);
    problem(&send("application/json", "{\"name\":\"x\",\"name\":\"y\"}"), 400, "invalid_argument", Some("name"));
    problem(&send("application/json", &"[".repeat(5_000)), 400, "invalid_argument", None);
    problem(&send("application/json", "{\"name\":\"\\ud800\"}"), 400, "invalid_argument", Some("name"));
    problem(&send("text/plain", "{\"name\":\"x\"}"), 415, "unsupported_media_type", Some("Content-Type"));
    problem(&send("application/json", &" ".repeat(64 * 1024 + 1)), 413, "too_large", None);
    assert_eq!(send("Application/JSON; charset=utf-8", "{\"name\":\"x\"}").status, 201);

    for (target, field) in [
        ("/v1/tokens?page_size=many", "page_size"),
        ("/v1/tokens?page_size=-1", "page_size"),
        ("/v1/tokens?cursor=bogus", "cursor"),
        ("/v1/tokens?state=dead", "state"),
        ("/v1/tokens?kind=x", "kind"),
        ("/v1/tokens?never_used=perhaps", "never_used"),
        ("/v1/tokens?expiring=soon", "expiring"),
        ("/v1/tokens?label=a%20b", "label"),
        ("/v1/tokens?user=..%2f", "user"),
        ("/v1/tokens?token=abc", "token"),
        ("/v1/tokens?label=a&label=b", "label"),
        ("/v1/audit?since=yesterday", "since"),
        ("/v1/audit?repository=acme", "repository"),
        ("/v1/repositories?workspace=..", "workspace"),
        ("/v1/users/..%2fx", "name"),
        ("/v1/tokens/tokpat_%25", "id"),
    ] {
        problem(&people.get(&people.boss, target), 400, "invalid_argument", Some(field));
    }
    // A value in the wrong place may be a secret: it is not said back.
    let secret = invented_token();
    let reply = people.json(&people.will, "POST", "/v1/tokens", &json!({"name": "x", "max_uses": secret}));
    assert!(!reply.text().contains(&secret), "{}", reply.text());
}

#[test]
fn who_is_nobody_is_told_how_to_be_somebody_before_anything_is_read() {
    let people = people();
    let metadata = format!("resource_metadata=\"{}/.well-known/oauth-protected-resource\"", people.environment.url());
    for request in [
        Request::get("/v1/whoami"),
        Request::get("/v1/tokens"),
        Request::get("/v1/users"),
        Request::get("/v1/audit"),
        Request::get("/v1/server/status"),
        Request::post("/v1/tokens", "application/json", "rubbish"),
        Request::get("/v1/tokens/0000").method("DELETE"),
    ] {
        let reply = people.environment.send(&request);
        problem(&reply, 401, "unauthenticated", None);
        assert_eq!(reply.header("www-authenticate"), Some(format!("Bearer realm=\"tok\", {metadata}").as_str()));
        let reply = people.environment.send(&request.clone().bearer("hunter2"));
        problem(&reply, 401, "unauthenticated", None);
        let challenge = format!("Bearer realm=\"tok\", error=\"invalid_token\", {metadata}");
        assert_eq!(reply.header("www-authenticate"), Some(challenge.as_str()));
    }
    // Never a cookie, never the address.
    let cookie = Request::get("/v1/whoami").header("Cookie", &format!("token={}", people.will));
    problem(&people.environment.send(&cookie), 401, "unauthenticated", None);
    let asked = Request::get(format!("/v1/tokens?access_token={}", people.will));
    problem(&people.environment.send(&asked), 401, "unauthenticated", None);
    let public = people.environment.send(&Request::get("/v1/scopes"));
    assert_eq!((public.status, &public.json()["scopes"][0]["scope"]), (200, &json!("repo:read")));
}

#[test]
fn addresses_and_methods_that_are_not_there_say_which_are() {
    let people = people();
    for target in ["/v1", "/v1/", "/v1/nope", "/v1/tokens/", "/oauth2/nope/x", "/v1/users/a/b/c"] {
        let reply = people.get(&people.will, target);
        assert_eq!(reply.status, 404, "{target}");
    }
    problem(&people.get(&people.will, "/v1/nope"), 404, "not_found", None);
    let reply = people.call(&people.will, "PUT", "/v1/tokens");
    problem(&reply, 405, "method_not_allowed", None);
    let allowed = reply.header("allow").unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    // A browser's page elsewhere gets no word of it.
    let preflight = Request::get("/v1/tokens").method("OPTIONS").header("Origin", "https://elsewhere.example");
    let reply = people.environment.send(&preflight);
    assert!(!reply.headers.iter().any(|(name, _)| name.starts_with("access-control")), "{reply:?}");
}

#[test]
fn a_reference_that_fits_two_tokens_lists_them() {
    let people = people();
    let ids: Vec<String> = (0..2)
        .map(|_| people.made(&people.will, &json!({"name": "twin"}))["token"]["id"].as_str().unwrap().to_owned())
        .collect();
    let (one, other) = (&ids[0], format!("{}{}", &ids[0][..8], &ids[1][8..]));
    people.environment.execute(&format!("UPDATE tokens SET id = '{other}' WHERE id = '{}'", ids[1]));
    let reply = people.call(&people.will, "DELETE", &format!("/v1/tokens/{}", &one[..8]));
    let said = problem(&reply, 409, "ambiguous", None);
    assert_eq!(said["matches"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(people.get(&people.will, &format!("/v1/tokens/{one}")).json()["state"], "active");
}
