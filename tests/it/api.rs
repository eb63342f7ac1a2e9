//! HTTP with JSON: each route's good and bad inputs, and how it says no.

use serde_json::{Value, json};
use tok_tests::environment::Environment;
use tok_tests::http::{Reply, Request};

use crate::authority::acme;

/// Tokens of everybody whom these tests need: with all scopes, and of a manager with that scope, too.
pub(crate) struct People {
    pub(crate) environment: Environment,
    pub(crate) will: String,
    pub(crate) mona: String,
    pub(crate) boss: String,
}

pub(crate) fn people() -> People {
    let environment = acme();
    environment.tok(&["user", "create", "boss", "--manager"]).ok();
    let token = |user: &str, scopes: &str| environment.token(user, &["--scopes", scopes, "--expires", "never"]);
    let (will, mona, boss) = (token("will", "all"), token("mona", "all"), token("boss", "all,manager"));
    People { environment, will, mona, boss }
}

impl People {
    pub(crate) fn get(&self, token: &str, target: &str) -> Reply {
        self.environment.send(&Request::get(target).bearer(token))
    }

    pub(crate) fn json(&self, token: &str, method: &str, target: &str, body: &Value) -> Reply {
        self.environment.send(&Request::json(method, target, body).bearer(token))
    }

    pub(crate) fn call(&self, token: &str, method: &str, target: &str) -> Reply {
        self.environment.send(&Request::get(target).method(method).bearer(token))
    }

    pub(crate) fn made(&self, token: &str, body: &Value) -> Value {
        let reply = self.json(token, "POST", "/v1/tokens", body);
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()
    }
}

/// What every problem has; its code and field.
#[track_caller]
pub(crate) fn problem(reply: &Reply, status: u16, code: &str, field: Option<&str>) -> Value {
    let problem = reply.json();
    let place = format!("{status} {code} {field:?}: {:?} {problem}", reply.headers);
    assert_eq!(reply.status, status, "{place}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{place}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{place}");
    assert_eq!(problem["code"], code, "{place}");
    assert_eq!(problem["status"], status, "{place}");
    assert_eq!(problem["type"], format!("urn:tok:problem:{code}"), "{place}");
    assert_eq!(problem["field"].as_str(), field, "{place}");
    for text in ["title", "detail", "hint"] {
        assert!(problem[text].as_str().is_some_and(|words| !words.is_empty()), "no {text}: {place}");
    }
    let id = reply.header("x-request-id").unwrap();
    assert_eq!(problem["instance"], format!("urn:uuid:{id}"), "{place}");
    problem
}

#[test]
fn a_token_is_made_listed_shown_and_revoked_with_curl_alone() {
    let people = people();
    let made = people.json(
        &people.will,
        "POST",
        "/v1/tokens",
        &json!({"name": "ci-deploy", "scopes": ["repo:read"], "ttl_hours": 1, "labels": ["ci"]}),
    );
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.header("etag"), Some("\"1\""));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert_eq!(made.header("x-content-type-options"), Some("nosniff"));
    let body = made.json();
    let (secret, token) = (body["secret"].as_str().unwrap(), &body["token"]);
    assert_eq!(made.header("location"), Some(format!("/v1/tokens/{}", token["id"].as_str().unwrap()).as_str()));
    assert!(secret.starts_with(token["token_prefix"].as_str().unwrap()));
    assert_eq!(
        (&token["kind"], &token["name"], &token["user"]),
        (&json!("personal"), &json!("ci-deploy"), &json!("will"))
    );
    assert_eq!(token["scopes"], json!(["repo:read"]));
    assert!(token["expires_at"].is_string() && token["revoked_at"].is_null());
    // It works, and for no more than it was made for.
    assert_eq!(people.get(secret, "/v1/whoami").json()["token"]["id"], token["id"]);
    let narrow = people.get(secret, "/v1/tokens");
    let said = problem(&narrow, 403, "forbidden", None);
    assert!(said["detail"].as_str().unwrap().contains("token:read"));
    let challenge = narrow.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with(r#"Bearer realm="tok", error="insufficient_scope", scope="token:read""#),
        "{challenge}"
    );

    let listed = people.get(&people.will, "/v1/tokens?label=ci").json();
    assert_eq!(listed, json!({"tokens": [listed["tokens"][0]], "next_cursor": null}));
    assert_eq!(listed["tokens"][0]["id"], token["id"]);
    for reference in [token["id"].as_str().unwrap(), &token["id"].as_str().unwrap()[..8], &secret[..11]] {
        let shown = people.get(&people.will, &format!("/v1/tokens/{reference}"));
        assert_eq!((shown.status, shown.header("etag")), (200, Some("\"1\"")), "{reference}");
        assert_eq!(shown.json()["name"], "ci-deploy");
    }
    let target = format!("/v1/tokens/{}", token["id"].as_str().unwrap());
    let dry = people.call(&people.will, "DELETE", &format!("{target}?dry_run=true&reason=over")).json();
    assert_eq!((&dry["token"]["state"], &dry["already_revoked"]), (&json!("active"), &json!(false)));
    let ended = people.call(&people.will, "DELETE", &format!("{target}?reason=job%20over")).json();
    assert_eq!((&ended["token"]["state"], &ended["token"]["revoke_reason"]), (&json!("revoked"), &json!("job over")));
    let dead = people.get(secret, "/v1/whoami");
    problem(&dead, 401, "unauthenticated", None);
    assert!(dead.header("www-authenticate").unwrap().contains(r#"error="invalid_token""#));
    let again = people.call(&people.will, "DELETE", &target);
    assert_eq!((again.status, &again.json()["already_revoked"]), (200, &json!(true)));
}

#[test]
fn what_another_system_calls_ttl_hours_and_repo_allowlist_is_understood() {
    let people = people();
    let made = people.made(
        &people.mona,
        &json!({"name": "dashboard", "kind": "repo", "permission": "read", "workspace": "acme", "repo_allowlist": ["app"], "ttl_hours": 720}),
    );
    let token = &made["token"];
    assert_eq!((&token["prefix"], &token["permission"]), (&json!("tokrep"), &json!("read")));
    assert_eq!(token["repo_allowlist"], json!(["acme/app"]));
    // A repo token makes no tokens and sees nothing of the control plane.
    let secret = made["secret"].as_str().unwrap();
    problem(&people.json(secret, "POST", "/v1/tokens", &json!({"name": "x"})), 403, "forbidden", None);
    let forever = people.made(&people.will, &json!({"name": "x", "ttl_hours": 0}));
    assert!(forever["token"]["expires_at"].is_null());
    let both = people.json(&people.will, "POST", "/v1/tokens", &json!({"name": "x", "ttl_hours": 1, "expires": "1h"}));
    problem(&both, 400, "invalid_argument", Some("ttl_hours"));
}

#[test]
fn a_workspaces_own_token_need_not_name_its_workspace() {
    let people = people();
    let body =
        |permission: &str| json!({"name": "home", "kind": "workspace", "workspace": "acme", "permission": permission});
    let write = people.made(&people.mona, &body("write"))["secret"].as_str().unwrap().to_owned();
    let asked = json!({"name": "ci-deploy", "kind": "repo", "permission": "read", "repo_allowlist": ["deploy-configs"], "ttl_hours": 1});
    let made = people.made(&write, &asked);
    assert_eq!(made["token"]["repo_allowlist"], json!(["acme/deploy-configs"]));
    assert_eq!(
        people.made(&write, &json!({"name": "x", "kind": "workspace", "permission": "read"}))["token"]["workspace"],
        "acme"
    );
    let with = |arguments: &[&str]| people.environment.tok(arguments).variable("TOK_TOKEN", &write).shows_secret();
    let create =
        ["token", "create", "ci", "--kind", "repo", "--repo", "app", "--permission", "read", "--output", "json"];
    assert_eq!(with(&create).ok().json()["token"]["repo_allowlist"], json!(["acme/app"]));
    // Another one is another's, and whoever acts for no workspace has to say which.
    let other = people.json(
        &write,
        "POST",
        "/v1/tokens",
        &json!({"name": "x", "kind": "workspace", "workspace": "other", "permission": "read"}),
    );
    problem(&other, 404, "not_found", Some("workspace"));
    let unsaid = people.json(&people.mona, "POST", "/v1/tokens", &asked);
    problem(&unsaid, 400, "invalid_argument", Some("repo_allowlist"));
    let id = made["token"]["id"].as_str().unwrap();
    let both = json!({"repos": ["acme/app"], "repo_allowlist": ["acme/app"]});
    problem(&people.json(&write, "PATCH", &format!("/v1/tokens/{id}"), &both), 400, "invalid_argument", Some("repos"));
}

#[test]
fn pages_follow_one_another_by_cursor_and_by_link() {
    let people = people();
    for number in 0..5 {
        people.made(&people.will, &json!({"name": format!("n{number}"), "labels": ["page"]}));
    }
    let mut target = "/v1/tokens?label=page&page_size=2".to_owned();
    let mut names = Vec::new();
    loop {
        let reply = people.get(&people.will, &target);
        let page = reply.json();
        names.extend(page["tokens"].as_array().unwrap().iter().map(|token| token["name"].as_str().unwrap().to_owned()));
        match reply.header("link") {
            None => {
                assert!(page["next_cursor"].is_null());
                break;
            }
            Some(link) => {
                let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
                assert!(next.ends_with(page["next_cursor"].as_str().unwrap()), "{link}");
                next.clone_into(&mut target);
            }
        }
    }
    assert_eq!(names, ["n4", "n3", "n2", "n1", "n0"]);
}

#[test]
fn users_workspaces_and_members_are_administered() {
    let people = people();
    let boss = people.boss.as_str();
    let made = people.json(boss, "POST", "/v1/users", &json!({"name": "newcomer"}));
    assert_eq!((made.status, &made.json()["user"]["name"]), (201, &json!("newcomer")));
    problem(&people.json(boss, "POST", "/v1/users", &json!({"name": "newcomer"})), 409, "conflict", Some("name"));
    problem(&people.json(&people.will, "POST", "/v1/users", &json!({"name": "mine"})), 403, "forbidden", None);
    let users = people.get(boss, "/v1/users").json();
    assert!(users["users"].as_array().unwrap().iter().any(|user| user["name"] == "newcomer"));
    let shown = people.get(&people.will, "/v1/users/will").json();
    assert_eq!((&shown["user"]["name"], &shown["memberships"][0]["workspace"]), (&json!("will"), &json!("acme")));
    problem(&people.get(&people.will, "/v1/users/mona"), 403, "forbidden", None);

    let disabled = people.call(boss, "POST", "/v1/users/will/disable").json();
    assert!(disabled["user"]["disabled_at"].is_string());
    problem(&people.get(&people.will, "/v1/whoami"), 401, "unauthenticated", None);
    assert!(people.call(boss, "POST", "/v1/users/will/enable").json()["user"]["disabled_at"].is_null());
    assert_eq!(people.get(&people.will, "/v1/whoami").status, 200);

    let made = people.json(boss, "POST", "/v1/workspaces", &json!({"name": "lab", "owner": "will"}));
    assert_eq!((made.status, &made.json()["workspace"]["owner"]), (201, &json!("will")));
    let put = |token: &str, role: &str| {
        people.json(token, "PUT", "/v1/workspaces/lab/members/newcomer", &json!({"role": role}))
    };
    assert_eq!(put(&people.will, "reader").json()["member"]["role"], "reader");
    assert_eq!(put(&people.will, "writer").json()["member"]["role"], "writer");
    problem(&put(&people.will, "king"), 400, "invalid_argument", Some("role"));
    problem(&put(&people.mona, "reader"), 404, "not_found", None);
    let members = people.get(&people.will, "/v1/workspaces/lab/members").json();
    assert_eq!(members["members"].as_array().unwrap().len(), 2);
    let gone = people.call(&people.will, "DELETE", "/v1/workspaces/lab/members/newcomer");
    assert_eq!((gone.status, &gone.json()["member"]["role"]), (200, &json!("writer")));
    assert_eq!(people.get(&people.will, "/v1/workspaces").json()["workspaces"].as_array().unwrap().len(), 3);
    let dry = people.call(boss, "DELETE", "/v1/workspaces/lab?dry_run=true").json();
    assert_eq!(dry["deleted"], false);
    assert_eq!(people.call(boss, "DELETE", "/v1/workspaces/lab").json()["deleted"], true);
    problem(&people.call(boss, "DELETE", "/v1/workspaces/acme"), 409, "conflict", None);
    let dry = people.call(boss, "DELETE", "/v1/users/newcomer?dry_run=true").json();
    assert_eq!((&dry["deleted"], &dry["workspace_kept"]), (&json!(false), &Value::Null));
    assert_eq!(people.call(boss, "DELETE", "/v1/users/newcomer").json()["deleted"], true);
    problem(&people.get(boss, "/v1/users/newcomer"), 404, "not_found", None);

    let repositories = people.get(&people.will, "/v1/repositories?workspace=acme").json();
    assert_eq!(repositories["repositories"][0]["url"], people.environment.repository("acme/app"));
    let events = people.get(boss, "/v1/audit?user=boss&action=user.delete&page_size=2").json();
    assert!(events["events"].as_array().unwrap().iter().any(|event| event["action"] == "user.delete"), "{events}");
    assert!(people.get(boss, "/v1/server/status").json()["users"].is_number());
    assert!(people.get(&people.will, "/v1/server/status").json()["users"].is_null());
}

#[test]
fn the_document_is_served_and_describes_every_address() {
    let people = people();
    let reply = people.environment.send(&Request::get("/openapi.json"));
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    let committed: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    assert!(document == committed, "docs/openapi.json is stale");
    // Each address that it lists is there: nobody gets "nothing at this address" or "other methods".
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = path.replace("{path}", "v1");
        let target: Vec<_> = target.split('/').map(|part| if part.starts_with('{') { "acme" } else { part }).collect();
        for method in item.as_object().unwrap().keys() {
            let request = Request::get(target.join("/")).method(&method.to_uppercase());
            let reply = people.environment.send(&request);
            assert!(!matches!(reply.status, 404 | 405), "{method} {path}: {reply:?}");
        }
    }
}
