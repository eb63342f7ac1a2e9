//! Over HTTP: changing a token against its version, rotating it, and idempotency keys.

use serde_json::{Value, json};
use tok_tests::http::{Reply, Request};

use crate::api::{People, people, problem};

const KEY: &str = "Idempotency-Key";

fn made(people: &People, body: &Value) -> (String, Value) {
    let reply = people.json(&people.will, "POST", "/v1/tokens", body);
    assert_eq!(reply.status, 201, "{}", reply.text());
    let body = reply.json();
    (body["secret"].as_str().unwrap().to_owned(), body["token"].clone())
}

fn patched(people: &People, token: &Value, if_match: &[&str], body: &Value) -> Reply {
    let target = format!("/v1/tokens/{}", token["id"].as_str().unwrap());
    let request = Request::json("PATCH", target, body).bearer(&people.will);
    people.environment.send(&if_match.iter().fold(request, |request, tag| request.header("If-Match", tag)))
}

#[test]
fn a_change_is_a_merge_of_what_is_said() {
    let people = people();
    let all = json!({
        "name": "old", "description": "words", "scopes": ["repo:read", "repo:write"], "routes": ["acme/*:rw"],
        "labels": ["a"], "expires": "9d", "max_uses": 50, "allow_cidrs": ["127.0.0.0/8"],
    });
    let (_, token) = made(&people, &all);
    let reply = patched(&people, &token, &[], &json!({"name": "new"}));
    assert_eq!((reply.status, reply.header("etag")), (200, Some("\"2\"")), "{}", reply.text());
    let now = reply.json();
    let expected = json!({"name": "new", "version": 2, "modified_at": now["modified_at"]});
    for (field, value) in token.as_object().unwrap() {
        assert_eq!(now[field], *expected.get(field).unwrap_or(value), "{field}");
    }
    // Null takes away, a list replaces the whole list.
    let change =
        json!({"description": null, "labels": ["b", "c"], "scopes": ["repo:read"], "max_uses": null, "routes": null});
    let now = patched(&people, &token, &[], &change).json();
    assert_eq!(
        (&now["description"], &now["labels"], &now["scopes"]),
        (&json!(""), &json!(["b", "c"]), &json!(["repo:read"]))
    );
    assert_eq!((&now["max_uses"], &now["routes"]), (&Value::Null, &json!([])));
    let now = patched(&people, &token, &[], &json!({"ttl_hours": 1, "labels": null, "allow_cidrs": []})).json();
    assert_eq!((&now["labels"], &now["allow_cidrs"], &now["version"]), (&json!([]), &json!([]), &json!(4)));
    assert!(patched(&people, &token, &[], &json!({"expires": null})).json()["expires_at"].is_null());
    for (body, field) in [
        (json!({}), None),
        (json!({"name": null, "bogus": 1}), Some("bogus")),
        (json!({"name": ""}), Some("name")),
        (json!({"scopes": ["x"]}), Some("scopes")),
        (json!({"scopes": "repo:read"}), Some("scopes")),
        (json!({"repos": ["acme/app"]}), Some("repos")),
        (json!({"permission": "read"}), Some("permission")),
        (json!({"expires": "1h", "ttl_hours": 1}), Some("ttl_hours")),
        (json!({"if_version": 0, "name": "x"}), Some("if_version")),
    ] {
        problem(&patched(&people, &token, &[], &body), 400, "invalid_argument", field);
    }
    let merge = Request::post(
        format!("/v1/tokens/{}", token["id"].as_str().unwrap()),
        "application/merge-patch+json",
        "{\"name\":\"y\"}",
    );
    assert_eq!(people.environment.send(&merge.method("PATCH").bearer(&people.will)).json()["name"], "y");
    problem(
        &people.json(
            &people.mona,
            "PATCH",
            &format!("/v1/tokens/{}", token["id"].as_str().unwrap()),
            &json!({"name": "x"}),
        ),
        404,
        "not_found",
        None,
    );
}

#[test]
fn a_change_to_what_somebody_changed_meanwhile_is_refused() {
    let people = people();
    let (_, token) = made(&people, &json!({"name": "x"}));
    let name = |name: &str| json!({"name": name});
    assert_eq!(patched(&people, &token, &["\"1\""], &name("a")).header("etag"), Some("\"2\""));
    for tags in [&["\"1\""][..], &["\"3\""], &["W/\"2\""], &["2"], &["\"1\", \"3\""], &[""]] {
        problem(&patched(&people, &token, tags, &name("b")), 412, "precondition_failed", Some("If-Match"));
    }
    let said = patched(&people, &token, &[], &json!({"name": "b", "if_version": 1}));
    problem(&said, 412, "precondition_failed", Some("if_version"));
    let both = patched(&people, &token, &["\"2\""], &json!({"name": "b", "if_version": 1}));
    problem(&both, 412, "precondition_failed", Some("If-Match"));
    assert_eq!(people.get(&people.will, &format!("/v1/tokens/{}", token["id"].as_str().unwrap())).json()["name"], "a");
    for (tags, version) in [(&["*"][..], 3), (&["\"7\", \"3\""], 4), (&["\"7\"", "\"4\""], 5)] {
        assert_eq!(patched(&people, &token, tags, &name("c")).json()["version"], version, "{tags:?}");
    }
}

#[test]
fn a_rotation_gives_a_successor_and_the_old_text_ends() {
    let people = people();
    let (old, token) = made(&people, &json!({"name": "ci", "scopes": ["repo:read"], "expires": "9d"}));
    let target = format!("/v1/tokens/{}/rotate", token["id"].as_str().unwrap());
    let reply = people.call(&people.will, "POST", &target);
    assert_eq!((reply.status, reply.header("etag")), (201, Some("\"1\"")), "{}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let rotated = reply.json();
    assert_eq!(rotated["predecessor"]["id"], token["id"]);
    assert_eq!((&rotated["token"]["predecessor_id"], &rotated["token"]["name"]), (&token["id"], &json!("ci")));
    let new = rotated["secret"].as_str().unwrap();
    assert_eq!(people.get(new, "/v1/whoami").status, 200);
    problem(&people.get(&old, "/v1/whoami"), 401, "unauthenticated", None);
    for (body, field) in [
        (json!({"grace": "8d"}), "grace"),
        (json!({"grace": 5}), "grace"),
        (json!({"expires": "soon"}), "expires"),
        (json!({"bogus": 5}), "bogus"),
    ] {
        problem(&people.json(&people.will, "POST", &target, &body), 400, "invalid_argument", Some(field));
    }
    problem(&people.environment.send(&Request::get(target).method("POST")), 401, "unauthenticated", None);
}

#[test]
fn a_retry_with_the_same_key_leaves_one_live_token() {
    let people = people();
    let create = |key: &str, body: &Value| {
        people.environment.send(&Request::json("POST", "/v1/tokens", body).bearer(&people.will).header(KEY, key))
    };
    let body = json!({"name": "once", "labels": ["once"]});
    let live = |label: &str| {
        let page = people.get(&people.will, &format!("/v1/tokens?label={label}")).json();
        page["tokens"].as_array().unwrap().iter().filter(|token| token["state"] == "active").count()
    };
    let first = create("8e03978e-40d5-43e8-bc93-6894a57f9324", &body);
    // A structured field puts it into quotation marks; it is the same key.
    let again = create("\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", &body);
    assert_eq!((first.status, again.status, live("once")), (201, 201, 1), "{}", again.text());
    assert_eq!(people.get(again.json()["secret"].as_str().unwrap(), "/v1/whoami").status, 200);
    let other = create("8e03978e-40d5-43e8-bc93-6894a57f9324", &json!({"name": "other"}));
    problem(&other, 409, "conflict", Some("idempotency_key"));
    let mut same = body.clone();
    same["idempotency_key"] = json!("k1");
    assert_eq!(create("k1", &same).status, 201);
    problem(&create("k2", &same), 400, "invalid_argument", Some("Idempotency-Key"));
    problem(&create("\"\"", &body), 400, "invalid_argument", Some("Idempotency-Key"));
    problem(&create("a b", &body), 400, "invalid_argument", Some("idempotency_key"));

    // A token that rotates itself and loses the reply: the retry presents what the first one gave up.
    let made =
        create("own", &json!({"name": "self", "scopes": ["token:write", "token:read"], "labels": ["self"]})).json();
    let (own, id) = (made["secret"].as_str().unwrap(), made["token"]["id"].as_str().unwrap());
    let rotate = || {
        let request = Request::get(format!("/v1/tokens/{id}/rotate")).method("POST").bearer(own);
        people.environment.send(&request.header(KEY, "rotation-1"))
    };
    let (lost, retried) = (rotate(), rotate());
    assert_eq!((lost.status, retried.status, live("self")), (201, 201, 1), "{}", retried.text());
    assert_eq!(people.get(retried.json()["secret"].as_str().unwrap(), "/v1/whoami").status, 200);
}

#[test]
fn an_end_and_a_rotation_heed_the_version_too() {
    let people = people();
    let (_, token) = made(&people, &json!({"name": "x"}));
    assert_eq!(patched(&people, &token, &[], &json!({"name": "y"})).json()["version"], 2);
    let target = format!("/v1/tokens/{}", token["id"].as_str().unwrap());
    let asked = |method: &str, target: &str, tag: &str| {
        let request = Request::get(target).method(method).bearer(&people.will).header("If-Match", tag);
        people.environment.send(&request)
    };
    let rotate = format!("{target}/rotate");
    for (method, target) in [("DELETE", &target), ("POST", &rotate)] {
        problem(&asked(method, target, "\"1\""), 412, "precondition_failed", Some("If-Match"));
    }
    assert_eq!(people.get(&people.will, &target).json()["state"], "active");
    // A retry under its key is none that came too late.
    let keyed = |version: &str, key: &str| {
        let tag = format!("\"{version}\"");
        let request = Request::get(&rotate).method("POST").bearer(&people.will).header("If-Match", &tag);
        people.environment.send(&request.header("Idempotency-Key", key))
    };
    assert_eq!((keyed("2", "once").status, keyed("2", "once").status), (201, 201));
    // Nor is one that says another version: the first time was heeded.
    assert_eq!(keyed("7", "once").status, 201);
    // Under another key there is no second successor.
    for version in ["2", "7"] {
        problem(&keyed(version, "twice"), 409, "conflict", None);
    }
    assert_eq!(asked("DELETE", &target, "*").status, 200);
}

#[test]
fn who_knows_a_token_as_it_is_is_told_so() {
    let people = people();
    let (_, token) = made(&people, &json!({"name": "x"}));
    let id = token["id"].as_str().unwrap();
    let target = format!("/v1/tokens/{id}");
    let asked = |method: &str, tags: &[&str]| {
        let request = Request::get(&target).method(method).bearer(&people.will);
        people.environment.send(&tags.iter().fold(request, |request, tag| request.header("If-None-Match", tag)))
    };
    let same = |method: &str, tags: &[&str], tag: &str| {
        let reply = asked(method, tags);
        assert_eq!((reply.status, reply.header("etag"), reply.text().as_str()), (304, Some(tag), ""), "{tags:?}");
    };
    let other = |tags: &[&str], tag: &str| {
        let reply = asked("GET", tags);
        assert_eq!((reply.status, reply.header("etag")), (200, Some(tag)), "{tags:?}");
        assert_eq!(reply.json()["id"], id, "{tags:?}");
    };
    for tags in [&["\"1\""][..], &["W/\"1\""], &["*"], &["\"7\", W/\"1\""], &["\"7\"", "\"1\""]] {
        same("GET", tags, "\"1\"");
        same("HEAD", tags, "\"1\"");
    }
    for tags in [&[][..], &["\"2\""], &["1"], &[""], &["\"11\""], &["w/\"1\""]] {
        other(tags, "\"1\"");
    }
    // It is no way to learn of what one may not see.
    let request = Request::get(&target).header("If-None-Match", "*");
    problem(&people.environment.send(&request), 401, "unauthenticated", None);
    let strange = Request::get(&target).bearer(&people.mona);
    assert_eq!(people.environment.send(&strange.header("If-None-Match", "*")).status, 404);

    patched(&people, &token, &["\"1\""], &json!({"name": "y"}));
    other(&["\"1\""], "\"2\"");
    same("GET", &["\"2\""], "\"2\"");
    // That it ended is no new version, but nothing to be kept from whoever knew it alive.
    assert_eq!(people.call(&people.will, "DELETE", &target).status, 200);
    let ended = asked("GET", &["\"2\""]);
    assert_eq!((ended.status, &ended.json()["state"], &ended.json()["version"]), (200, &json!("revoked"), &json!(2)));
    let tag = ended.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("\"2-revoked"), "{tag}");
    same("GET", &[&tag], &tag);
    // Both are good for another act on it.
    for tag in ["\"2\"", &tag] {
        let again = Request::get(&target).method("DELETE").bearer(&people.will).header("If-Match", tag);
        assert_eq!(people.environment.send(&again).status, 200, "{tag}");
    }
    let restored = people.call(&people.will, "POST", &format!("{target}/restore"));
    assert_eq!(restored.status, 200, "{}", restored.text());
    same("GET", &["\"2\""], "\"2\"");
}

#[test]
fn what_was_made_says_where_it_is() {
    let people = people();
    let made = |target: &str, body: &Value| {
        let reply = people.json(&people.boss, "POST", target, body);
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.header("location").unwrap_or_else(|| panic!("{target}: no Location")).to_owned()
    };
    assert_eq!(made("/v1/users", &json!({"name": "newcomer"})), "/v1/users/newcomer");
    assert_eq!(people.get(&people.boss, "/v1/users/newcomer").json()["user"]["name"], "newcomer");
    assert_eq!(made("/v1/workspaces", &json!({"name": "New.Place"})), "/v1/workspaces/New.Place");
    assert_eq!(people.call(&people.boss, "DELETE", "/v1/workspaces/New.Place").status, 200);
    let trust = json!({
        "name": "app", "issuer": "https://ci.example.com", "claims": ["sub=deploy"], "repos": ["acme/app"],
        "permission": "read",
    });
    assert_eq!(made("/v1/trusts", &trust), "/v1/trusts/app");
    assert_eq!(people.get(&people.boss, "/v1/trusts/app").json()["trust"]["name"], "app");
    let token = made("/v1/tokens", &json!({"name": "x"}));
    assert_eq!(people.get(&people.boss, &token).json()["name"], "x");
    assert_eq!(people.get(&people.boss, &made(&format!("{token}/rotate"), &json!({}))).json()["name"], "x");
}
