//! Too many failures from one source are answered "too many"; who has a good token never notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tok_tests::environment::Environment;
use tok_tests::http::{FORM, Reply, Request};
use tok_tests::normalise::invented_token;

use crate::api::{people, problem};
use crate::authority::READ;

/// A daemon behind a proxy that takes three failures a minute from each client.
fn strict() -> Environment {
    let environment = Environment::new();
    let configuration = "[server]\nbehind_proxy = true\nfailed_logins_per_minute = 3\n";
    environment.start_with(&environment.serve_recipe(configuration));
    environment.users(&["alice"]);
    environment
}

fn form(path: &str, token: &str) -> Request {
    Request::post(path, FORM, format!("token={token}"))
}

fn whoami(environment: &Environment, client: &str, token: &str) -> Reply {
    environment.send(&Request::get("/v1/whoami").header("X-Forwarded-For", client).bearer(token))
}

#[test]
fn failures_are_limited_by_source_and_a_good_token_works_all_the_while() {
    let environment = strict();
    let good = environment.token("alice", &[]);
    for _ in 0..3 {
        problem(&whoami(&environment, "192.0.2.7", &invented_token()), 401, "unauthenticated", None);
    }
    let limited = whoami(&environment, "192.0.2.7", &invented_token());
    problem(&limited, 429, "rate_limited", None);
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    // At every door of the same source …
    let git = Request::refs("alice/app", READ).header("X-Forwarded-For", "192.0.2.7").bearer(&invented_token());
    let reply = environment.send(&git);
    assert!(reply.status == 429 && reply.header("retry-after").is_some(), "{reply:?}");
    let verdict = Request::get("/authz/git")
        .header("X-Original-URI", "/alice/app.git/HEAD")
        .header("X-Original-Method", "GET")
        .header("X-Forwarded-For", "192.0.2.7")
        .bearer(&invented_token());
    let reply = environment.send(&verdict);
    assert_eq!((reply.status, reply.header("x-tok-error")), (403, Some("rate_limited")), "{reply:?}");
    // … and at none of another, while no account and no good token is in the way of anything.
    assert_eq!(whoami(&environment, "192.0.2.8", &invented_token()).status, 401);
    for _ in 0..20 {
        assert_eq!(whoami(&environment, "192.0.2.7", &good).status, 200);
    }
    // A client of IPv6 has a whole /64.
    for last in 0..3 {
        assert_eq!(whoami(&environment, &format!("2001:db8::{last}"), &invented_token()).status, 401);
    }
    assert_eq!(whoami(&environment, "2001:db8::ffff", &invented_token()).status, 429);
    assert_eq!(whoami(&environment, "2001:db8:0:1::1", &invented_token()).status, 401);
    // Nothing and an empty password are no failures, nor is a token that has ended.
    for _ in 0..10 {
        assert_eq!(environment.send(&Request::get("/v1/whoami").header("X-Forwarded-For", "192.0.2.9")).status, 401);
    }
    environment.tok(&["token", "revoke", "--force", &good[..11]]).acting_as("alice").ok();
    for _ in 0..10 {
        assert_eq!(whoami(&environment, "192.0.2.9", &good).status, 401);
    }
}

#[test]
fn a_local_user_is_limited_by_who_they_are() {
    let environment = strict();
    let asked = |token: &str| environment.tok(&["whoami"]).variable("TOK_TOKEN", token);
    for _ in 0..3 {
        asked(&invented_token()).fails(3);
    }
    asked(&invented_token()).fails(1).says(&["too many unknown tokens"]);
    let good = environment.token("alice", &[]);
    asked(&good).ok();
}

/// Secrets that somebody chose, and those of other systems, could be guessed: from where too many were wrong the next is not
/// looked at, the right one neither, at every door. What tok made itself goes on working there.
#[test]
fn what_could_be_guessed_waits_at_every_door_found_or_not() {
    let environment = strict();
    let good = environment.token("alice", &[]);
    let (foreign, chosen) = ("wit_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0", "violet-tractor-97-moon");
    for secret in [foreign, chosen] {
        environment.canaries().register("a secret of another's making", secret);
    }
    let file = format!(r#"[{{"name":"CI","token":"{foreign}","scopes":["repo:read"]}}]"#);
    environment.tok(&["token", "import", "--format", "wit", "--user", "alice"]).input(file).ok();
    let create = environment.tok(&["token", "create", "deploy", "--secret-stdin", "--quiet"]);
    create.acting_as("alice").input(format!("{chosen}\n")).ok();
    let from = |request: Request, client: &str| environment.send(&request.header("X-Forwarded-For", client));
    let both = [
        Request::get("/v1/whoami").bearer(foreign),
        Request::get("/v1/whoami").basic("anybody", foreign),
        Request::get("/v1/whoami").basic("deploy", chosen),
    ];
    for request in &both {
        assert_eq!(from(request.clone(), "192.0.2.8").status, 200);
    }
    // Guesses use up what the source has, as a password, alone, as a user name, or asked about.
    for guess in [
        Request::get("/v1/whoami").bearer(&foreign.replace('a', "b")),
        Request::get("/v1/whoami").basic(&foreign.replace('a', "c"), ""),
        form("/oauth2/introspect", &foreign.replace('a', "d")).bearer(&good),
    ] {
        assert!(matches!(from(guess, "192.0.2.7").status, 401 | 200));
    }
    for wrong in ["wit_z1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0", "deploy:amber-lighthouse-41-fog"] {
        let reply = from(Request::get("/v1/whoami").bearer(wrong), "192.0.2.7");
        problem(&reply, 429, "rate_limited", None);
    }
    for request in both {
        let reply = from(request, "192.0.2.7");
        problem(&reply, 429, "rate_limited", None);
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
    }
    assert_eq!(from(Request::refs("alice/app", READ).basic("deploy", chosen), "192.0.2.7").status, 429);
    // Whoever only asks about one is told the same, and nothing of a database.
    let pair = format!("deploy:{chosen}");
    for text in [foreign, pair.as_str(), "deploy:amber-lighthouse-41-fog"] {
        for path in ["/oauth2/introspect", "/oauth2/revoke"] {
            let reply = from(form(path, text).bearer(&good), "192.0.2.7");
            let error = reply.json();
            assert_eq!(
                (reply.status, error["error"].as_str()),
                (429, Some("temporarily_unavailable")),
                "{path} {reply:?}"
            );
            assert!(error["error_description"].as_str().unwrap().contains("too many"), "{error}");
            assert!(reply.header("retry-after").is_some(), "{reply:?}");
        }
        let check = Request::json("POST", "/v1/tokens/check", &serde_json::json!({ "secret": text })).bearer(&good);
        problem(&from(check, "192.0.2.7"), 429, "rate_limited", None);
    }
    assert!(!environment.log().contains("The database cannot answer"));
    // A user name alone is nobody, as everywhere; tok's own token works; another source goes on.
    assert_eq!(from(Request::get("/v1/whoami").basic("a-user-name-that-is-long", ""), "192.0.2.7").status, 401);
    assert_eq!(whoami(&environment, "192.0.2.7", &good).status, 200);
    assert_eq!(whoami(&environment, "192.0.2.8", foreign).status, 200);
}

#[test]
fn heads_and_bodies_have_their_limits() {
    let people = people();
    let large = Request::get("/v1/whoami").header("X-Large", &"x".repeat(40 * 1024)).bearer(&people.will);
    assert_eq!(people.environment.send(&large).status, 431);
    let mut many = Request::get("/v1/whoami").bearer(&people.will);
    for number in 0..100 {
        many = many.header(&format!("X-{number}"), "x");
    }
    assert_eq!(people.environment.send(&many).status, 431);
    // Whoever says that a body comes and does not send it is answered, and not waited for.
    let mut stream = TcpStream::connect(people.environment.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{{",
        people.will
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(str::from_utf8(&answer).unwrap(), "HTTP/1.1 408");
}
