//! HTTP with JSON: each route's good and bad inputs, and how it says no.

use serde_json::{Value, json};
use tok_tests::environment::Environment;
use tok_tests::http::{Reply, Request};
use tok_tests::normalise::invented_token;

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

    fn made(&self, token: &str, body: &Value) -> Value {
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
