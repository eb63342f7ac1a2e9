//! Bad input over HTTP and gRPC: a stable code, the field as the caller spelled it, and what to do next; and heads of
//! requests that two readers could read differently.

use serde_json::json;
use tok_tests::http::{FORM, Reply, Request};

use crate::api::{people, problem};

#[test]
fn what_nobody_sees_is_named_by_its_code_point_and_place() {
    let people = people();
    for hidden in
        ['\u{200b}', '\u{ad}', '\u{feff}', '\u{3164}', '\u{180e}', '\u{e0041}', '\u{202e}', '\u{fe0f}', '\u{2060}']
    {
        let point = format!("U+{:04X} at position 3", u32::from(hidden));
        let name = format!("CI{hidden}x");
        let reply = people.json(&people.will, "POST", "/v1/tokens", &json!({"name": name}));
        let said = problem(&reply, 400, "invalid_argument", Some("name"));
        assert!(said["detail"].as_str().unwrap().contains(&point), "{said}");
        let reply = people.json(&people.will, "POST", "/v1/tokens", &json!({"name": "x", "labels": [name]}));
        problem(&reply, 400, "invalid_argument", Some("labels"));
        for (path, field) in [("/v1/users", "name"), ("/v1/workspaces", "name")] {
            let reply = people.json(&people.boss, "POST", path, &json!({"name": name}));
            let said = problem(&reply, 400, "invalid_argument", Some(field));
            assert!(said["detail"].as_str().unwrap().contains("U+"), "{said}");
        }
    }
    // In words they are harmless, and shown for what they are.
    let body = json!({"name": "👩‍👩‍👧 ❤️ 1️⃣", "description": "a\u{200b}b 👩‍🚀"});
    let reply = people.json(&people.will, "POST", "/v1/tokens", &body);
    assert_eq!(reply.status, 201, "{}", reply.text());
    let id = reply.json()["token"]["id"].as_str().unwrap().to_owned();
    let shown = people.environment.tok(&["token", "show", &id]).acting_as("will").ok();
    assert!(shown.text().contains("a\\u{200b}b 👩‍🚀") && shown.text().contains("👩‍👩‍👧 ❤️ 1️⃣"), "{}", shown.text());
}

#[test]
fn the_field_is_named_as_the_caller_spelled_it() {
    let people = people();
    for (body, field, word) in [
        (json!({"name": "x", "expires": ""}), "expires", "30 (days)"),
        (json!({"name": "x", "expires": " "}), "expires", "30 (days)"),
        (json!({"name": "x", "ttl_hours": 4_000_000_000_u32}), "ttl_hours", ""),
        (json!({"name": "x", "ttl_hours": 5_000_000_000_u64}), "ttl_hours", "a whole number from 0 to 4294967295"),
        (json!({"name": "x", "ttl_hours": "many"}), "ttl_hours", "a whole number"),
        (json!({"name": "x", "max_uses": 0}), "max_uses", "null"),
        (json!({"name": "x", "max_uses": 1e30}), "max_uses", "a whole number"),
        (json!({"name": "x", "idempotency_key": ""}), "idempotency_key", "UUID"),
        (json!({"name": 7}), "name", "a text"),
        (json!({"name": "x", "scopes": "repo:read"}), "scopes", "a list"),
        (json!({"name": "x", "colour": 1}), "colour", "unknown field"),
    ] {
        let reply = people.json(&people.will, "POST", "/v1/tokens", &body);
        let said = problem(&reply, 400, "invalid_argument", Some(field));
        assert!(format!("{} {}", said["detail"], said["hint"]).contains(word), "{word}: {said}");
    }
    let revoke = |body| people.json(&people.will, "POST", "/v1/tokens/revoke", &body);
    let said = problem(&revoke(json!({"minted_before": "now"})), 400, "invalid_argument", Some("minted_before"));
    assert!(said["hint"].as_str().unwrap().contains("2026-11-22T10:00:00Z"), "{said}");
    let said = problem(&revoke(json!({"label": "ci", "reason": "a\u{7}b"})), 400, "invalid_argument", Some("reason"));
    assert!(said["detail"].as_str().unwrap().starts_with("a reason is one line"), "{said}");
    let explain = people.json(&people.will, "POST", "/v1/explain", &json!({"at": "noon"}));
    problem(&explain, 400, "invalid_argument", Some("at"));
    for (target, field, word) in [
        ("/v1/audit?since=yesterday", "since", "2026-11-22T10:00:00Z"),
        ("/v1/audit?until=2026-13-01T00:00:00Z", "until", "RFC 3339"),
        ("/v1/tokens?page_size=0", "page_size", "1 to 1000"),
        ("/v1/tokens?page_size=1001", "page_size", "1 to 1000"),
        ("/v1/users?page_size=0", "page_size", "1 to 1000"),
        ("/v1/audit?page_size=99999999999", "page_size", "whole number"),
        ("/v1/tokens?never_used=1", "never_used", "neither true nor false"),
        ("/v1/tokens?colour=red", "colour", "no parameter"),
        ("/v1/tokens?cursor=bogus", "cursor", "next_cursor"),
        ("/v1/audit?cursor=00", "cursor", "cursor"),
        ("/v1/audit?since=2026-11-22T10:00:00Z&until=2026-11-21T10:00:00Z", "until", "`since`"),
        ("/v1/audit?token=", "token", "empty"),
        ("/v1/audit?user=", "user", "empty"),
        ("/v1/tokens?workspace=", "workspace", "empty"),
        ("/v1/tokens?label=", "label", "empty"),
    ] {
        let said = problem(&people.get(&people.boss, target), 400, "invalid_argument", Some(field));
        assert!(format!("{} {}", said["detail"], said["hint"]).contains(word), "{target}: {said}");
    }
    let id = people.get(&people.will, "/v1/tokens").json()["tokens"][0]["id"].as_str().unwrap().to_owned();
    for (body, field) in [
        (json!({"ttl_hours": 4_000_000_000_u32}), "ttl_hours"),
        (json!({"expires": ""}), "expires"),
        (json!({"max_uses": 0}), "max_uses"),
    ] {
        let reply = people.json(&people.will, "PATCH", &format!("/v1/tokens/{id}"), &body);
        problem(&reply, 400, "invalid_argument", Some(field));
    }
    let rotate =
        people.json(&people.will, "POST", &format!("/v1/tokens/{id}/rotate"), &json!({"ttl_hours": 4_000_000_000_u32}));
    problem(&rotate, 400, "invalid_argument", Some("ttl_hours"));
}

#[test]
fn what_is_not_there_or_there_already_is_named_with_where_to_look() {
    let people = people();
    let create = |body| people.json(&people.will, "POST", "/v1/tokens", &body);
    let personal = json!({"name": "z", "kind": "workspace", "permission": "read", "workspace": "nows"});
    let said = problem(&create(personal), 404, "not_found", Some("workspace"));
    assert!(said["hint"].as_str().unwrap().contains("tok workspace list"), "{said}");
    let of_repos = json!({"name": "z", "kind": "repo", "permission": "read", "repos": ["nows/x"]});
    problem(&create(of_repos), 404, "not_found", Some("repos"));
    let member = people.json(&people.boss, "PUT", "/v1/workspaces/acme/members/nobody", &json!({"role": "reader"}));
    let said = member.json();
    assert_eq!((member.status, said["code"].as_str()), (404, Some("not_found")), "{said}");
    assert!(said["hint"].as_str().unwrap().contains("tok user list"), "{said}");
    for (path, name) in [("/v1/users", "Will"), ("/v1/workspaces", "acme")] {
        let reply = people.json(&people.boss, "POST", path, &json!({"name": name}));
        problem(&reply, 409, "conflict", Some("name"));
    }
    let of_one = json!({"name": "z", "kind": "repo", "permission": "read", "repos": ["acme/app"]});
    let of_one = people.json(&people.mona, "POST", "/v1/tokens", &of_one).json()["secret"].as_str().unwrap().to_owned();
    for who in [&people.will, &people.boss, &of_one] {
        let said = problem(&people.get(who, "/v1/repositories?workspace=nows"), 404, "not_found", Some("workspace"));
        assert!(said["hint"].as_str().unwrap().contains("tok workspace list"), "{said}");
        assert_eq!(people.get(who, "/v1/repositories?workspace=acme").status, 200);
    }
}

#[test]
fn a_request_that_two_could_read_differently_is_refused() {
    let people = people();
    let send = |request: Request| people.environment.send(&request);
    let create = || Request::json("POST", "/v1/tokens", &json!({"name": "x"})).bearer(&people.will);
    let packed = send(create().header("Content-Encoding", "gzip"));
    problem(&packed, 415, "unsupported_media_type", Some("Content-Encoding"));
    assert_eq!(packed.header("accept-encoding"), Some("identity"));
    assert_eq!(send(create().header("Content-Encoding", "identity")).status, 201);
    for kind in ["application/json; charset=utf-16", "application/json;charset=\"latin1\""] {
        let request = Request::post("/v1/tokens", kind, "{\"name\":\"x\"}").bearer(&people.will);
        problem(&send(request), 415, "unsupported_media_type", Some("Content-Type"));
    }
    let form = |kind: &str| Request::post("/oauth2/introspect", kind, "token=x").bearer(&people.will);
    let said = send(form("application/x-www-form-urlencoded; charset=utf-7"));
    assert_eq!((said.status, said.json()["error"].as_str()), (415, Some("invalid_request")));
    assert_eq!(send(form(FORM).header("Content-Encoding", "br")).status, 415);
    for (name, value) in [("Host", "elsewhere.example"), ("Authorization", "Bearer x"), ("Content-Type", "text/plain")]
    {
        problem(&send(create().header(name, value)), 400, "invalid_argument", Some(name));
    }
    assert_eq!(send(Request::get("/healthz").header("Host", "b")).status, 400);
    // Whoever takes no JSON is told so before anything is done.
    let count = || people.get(&people.will, "/v1/tokens?page_size=1000").json()["tokens"].as_array().unwrap().len();
    let before = count();
    for accept in ["text/html", "application/xml, text/*", "application/json;q=0"] {
        problem(&send(create().header("Accept", accept)), 406, "not_acceptable", Some("Accept"));
    }
    assert_eq!(count(), before);
    for accept in ["*/*", "text/html, application/json;q=0.1", "application/problem+json", ""] {
        assert_eq!(send(create().header("Accept", accept)).status, 201, "{accept}");
    }
}

#[test]
fn heads_are_there_wherever_bodies_are() {
    let people = people();
    for target in ["/v1/whoami", "/v1/tokens", "/v1/scopes", "/openapi.json", "/healthz", "/readyz", "/"] {
        let got = people.call(&people.will, "GET", target);
        let head = people.call(&people.will, "HEAD", target);
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        assert_eq!(head.header("content-type"), got.header("content-type"), "{target}");
        let wrong = people.call(&people.will, "PURGE", target);
        assert_eq!(wrong.status, 405, "{target}");
        assert!(
            wrong.header("allow").is_some_and(|allowed| allowed.contains("GET") && allowed.contains("HEAD")),
            "{wrong:?}"
        );
    }
    let refs = Request::refs("acme/app", "git-upload-pack").bearer(&people.will);
    let status = people.environment.send(&refs).status;
    let head = people.environment.send(&refs.clone().method("HEAD"));
    assert_eq!((head.status, head.body.len()), (status, 0));
    let put = people.environment.send(&refs.method("PUT"));
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD")));
    let said = problem(&people.get(&people.will, "/v1/tokens/"), 404, "not_found", None);
    assert!(said["hint"].as_str().unwrap().contains("without a /"), "{said}");
}

#[test]
fn a_git_token_reaches_git_and_itself() {
    let people = people();
    let environment = &people.environment;
    let git = environment.git_token("will", "acme/app", "read");
    let ask = |request: Request| environment.send(&request);
    for target in ["/v1/whoami", "/v1/server/status", "/v1/tokens", "/v1/repositories", "/v1/workspaces"] {
        problem(&ask(Request::get(target).bearer(&git)), 403, "forbidden", None);
    }
    let check = |secret: &str| ask(Request::json("POST", "/v1/tokens/check", &json!({"secret": secret})).bearer(&git));
    problem(&check(&people.mona), 403, "forbidden", None);
    let introspect = |text: &str| ask(Request::post("/oauth2/introspect", FORM, format!("token={text}")).bearer(&git));
    assert_eq!(introspect(&git).json()["active"], json!(true));
    let other: Reply = introspect(&people.mona);
    assert_eq!((other.status, other.json()["error"].as_str()), (403, Some("insufficient_scope")));
    assert!(other.header("www-authenticate").unwrap().contains("error=\"insufficient_scope\""), "{other:?}");
    assert_eq!(introspect("name:secret").status, 403);
    assert_eq!(ask(Request::post("/oauth2/revoke", FORM, format!("token={git}"))).status, 200);
    assert_eq!(introspect(&git).status, 401);
    // What the server is made of is for managers.
    let insides = ["socket", "store", "postgres_version", "schema_version", "git_version", "git_root"];
    let narrow = people.get(&people.will, "/v1/server/status").json();
    let whole = people.get(&people.boss, "/v1/server/status").json();
    for inside in insides {
        assert!(narrow[inside].is_null() && whole[inside].is_string(), "{inside}: {narrow}");
    }
}

#[test]
fn a_temporary_token_is_known_where_it_is_asked_about() {
    let environment = tok_tests::environment::Environment::new();
    environment.start_with(&environment.recipe().arguments(&["--token", "root:root-secret"]));
    let run = environment.tok(&["token", "check"]).input("root:root-secret").run();
    run.says(&["temporary token", "until tokd stops", "hint: "]);
    let run = environment.tok(&["token", "revoke", "--stdin", "--force"]).input("root:root-secret").run();
    run.says(&["temporary token", "until tokd stops", "hint: ", "it ends when tokd starts without it"]);
    // Whoever may ask what it is worth is told that it works, and that no expiry is known of it.
    environment.users(&["ann"]);
    let asking = environment.token("ann", &["--scopes", "all"]);
    let introspect = |text: &str| {
        let form = Request::post("/oauth2/introspect", FORM, format!("token={text}")).bearer(&asking);
        environment.send(&form)
    };
    let known = introspect("root%3Aroot-secret");
    assert_eq!((known.status, &known.json()["active"], &known.json()["exp"]), (200, &json!(true), &json!(null)));
    let said = known.json();
    assert_eq!(
        (&said["kind"], &said["token_type"], &said["sub"]),
        (&json!("temporary"), &json!("Basic"), &json!("temporary:root"))
    );
    assert!(said["scope"].as_str().unwrap().contains("manager"), "{said}");
    assert!(!known.text().contains("root-secret"), "{}", known.text());
    let unknown = introspect("root%3Aroot-secrets");
    assert_eq!((unknown.status, unknown.json()), (200, json!({"active": false})));
    let form = Request::post("/oauth2/revoke", FORM, "token=root%3Aroot-secret");
    let said = environment.send(&form);
    assert_eq!((said.status, said.json()["error"].as_str()), (400, Some("invalid_request")));
}
