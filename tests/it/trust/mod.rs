//! Jobs of CI systems: their identity tokens, signed by a real issuer over TLS, are exchanged for git tokens as trust rules
//! say, and not otherwise.

mod jobs;
mod unreadable;

use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tok_tests::environment::Environment;
use tok_tests::http::{FORM, Reply, Request};
use tok_tests::issuer::{Issuer, Manner, now};
use tok_tests::postgres::Database;

const GRANT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
const JWT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt";

/// A server with TLS, an issuer, and one rule: acme/app's jobs on main may push to acme/app.
fn place() -> (Environment, Issuer) {
    let environment = Environment::tls();
    environment.users(&["alice"]).workspace("acme", &[("alice", "maintainer")]);
    let issuer = Issuer::new(&environment.path("issuer"));
    add(&environment, &issuer, "app", &["--claim", "repository=acme/app", "--claim", "ref=refs/heads/*"]);
    (environment, issuer)
}

fn add(environment: &Environment, issuer: &Issuer, name: &str, more: &[&str]) {
    let (url, ca) = (issuer.url(), issuer.trust());
    let always =
        ["trust", "add", name, "--issuer", &url, "--audience", "tok", "--repo", "acme/app", "--permission", "write"];
    environment.tok(&always).argument("--ca-file").argument(ca).arguments(more.iter().copied()).ok();
}

/// What a job of acme/app on main says of itself, and more.
fn job(more: &Value) -> Value {
    let mut claims = json!({
        "repository": "acme/app", "repository_id": "42", "repository_owner": "acme", "repository_owner_id": "7",
        "ref": "refs/heads/main", "event_name": "push",
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

fn exchange(environment: &Environment, token: &str, more: &str) -> Reply {
    environment.canaries().register("an identity token", token);
    let body = format!("grant_type={GRANT}&subject_token_type={JWT}&subject_token={token}{more}");
    environment.send(&Request::post("/oauth2/token", FORM, body))
}

/// The error, and its description.
#[track_caller]
fn refused(reply: &Reply, status: u16) -> (String, String) {
    assert_eq!(reply.status, status, "{}", reply.text());
    let text = |name: &str| reply.json()[name].as_str().unwrap_or_default().to_owned();
    (text("error"), text("error_description"))
}

#[test]
fn a_job_gets_a_token_for_one_repository_for_minutes_and_once() {
    let (environment, issuer) = place();
    let token = issuer.token(&job(&json!({})));
    let reply = exchange(&environment, &token, "&resource=acme%2Fapp&scope=repo%3Awrite");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let granted = reply.json();
    let text = granted["access_token"].as_str().unwrap().to_owned();
    environment.canaries().register("a git token", &text);
    assert!(text.starts_with("tokgit_"));
    assert_eq!(granted["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(
        (&granted["token_type"], &granted["scope"], &granted["resource"]),
        (&json!("Bearer"), &json!("repo:write"), &json!("acme/app"))
    );
    assert!((500..=600).contains(&granted["expires_in"].as_i64().unwrap()), "{granted}");
    let asked = |repo: &str, service: &str| environment.send(&Request::refs(repo, service).bearer(&text)).status;
    assert_eq!(asked("acme/app", "git-receive-pack"), 200);
    assert_ne!(asked("acme/other", "git-upload-pack"), 200);
    assert_eq!(environment.send(&Request::get("/v1/trusts").bearer(&text)).status, 403);

    let (error, words) = refused(&exchange(&environment, &token, "&resource=acme%2Fapp"), 400);
    assert_eq!(error, "invalid_grant");
    assert!(words.contains("exchanged before"), "{words}");

    let trail = environment.tok(&["audit", "--action", "token.exchange", "--output", "json"]).ok().json();
    let events = trail["events"].as_array().unwrap();
    let done = events.iter().find(|event| event["outcome"] == "done").unwrap();
    let detail = done["detail"].as_str().unwrap();
    for words in ["repository=acme/app", "jti ", &issuer.url(), "repo:acme/app:ref:refs/heads/main"] {
        assert!(detail.contains(words), "{detail}");
    }
    assert!(events.iter().any(|event| event["outcome"] == "refused"), "{trail}");

    // What was given under a rule ends with it.
    let removed = environment.tok(&["trust", "remove", "app", "--force"]).ok();
    assert!(removed.text().contains("1 live token"), "{}", removed.describe());
    assert_eq!(asked("acme/app", "git-receive-pack"), 401);
}

#[test]
fn what_is_not_believed_is_refused_and_what_is_not_meant_is_explained() {
    let (environment, issuer) = place();
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let good = issuer.token(&job(&json!({})));
    let parts: Vec<&str> = good.split('.').collect();
    // Signed with the public key as if it were a shared secret, and not signed at all.
    let none = format!("{}.{}.", part(r#"{"alg":"none","typ":"JWT","kid":"first"}"#), parts[1]);
    let hmac = format!("{}.{}.{}", part(r#"{"alg":"HS256","typ":"JWT","kid":"first"}"#), parts[1], parts[2]);
    let other = Issuer::new(&environment.path("other"));
    let stolen = other.token(&job(&json!({"iss": issuer.url()})));
    let cut = format!("{}.{}.{}", parts[0], parts[1], part("signature"));
    for (token, code) in [
        (none, "invalid_request"),
        (hmac, "invalid_request"),
        (issuer.token_with(&json!({"kid": null}), &job(&json!({}))), "invalid_request"),
        (issuer.token_with(&json!({"crit": ["x"]}), &job(&json!({}))), "invalid_request"),
        (issuer.token_with(&json!({"alg": "RS256"}), &job(&json!({}))), "invalid_grant"),
        (issuer.token_with(&json!({"kid": "nobodys"}), &job(&json!({}))), "invalid_grant"),
        (other.token(&job(&json!({}))), "invalid_grant"),
        (stolen, "invalid_grant"),
        (cut, "invalid_grant"),
        ("nonsense-that-is-no-token-of-anybody".to_owned(), "invalid_request"),
    ] {
        let (error, words) = refused(&exchange(&environment, &token, ""), 400);
        assert_eq!(error, code, "{words}");
        assert!(!words.contains("expected"), "a stranger learns nothing of rules: {words}");
    }
    for (claims, code, said) in [
        (json!({"exp": now() - 120}), "invalid_grant", "expired at"),
        (json!({"nbf": now() + 120}), "invalid_grant", "good from"),
        (json!({"exp": null}), "invalid_grant", "`exp`"),
        (json!({"exp": "2030"}), "invalid_grant", "`exp`"),
        (json!({"iat": now() - 7200}), "invalid_grant", "longer ago than the 1h"),
        (json!({"aud": "somebody"}), "access_denied", "aud: expected tok, saw somebody"),
        (json!({"ref": "refs/tags/v1"}), "access_denied", "ref: expected refs/heads/*, saw refs/tags/v1"),
        (json!({"ref": null}), "access_denied", "the token has no such claim"),
    ] {
        let (error, words) = refused(&exchange(&environment, &issuer.token(&job(&claims)), ""), 400);
        assert_eq!(error, code, "{claims}: {words}");
        assert!(words.contains(said), "{claims}: {words}");
    }
    let fresh = || issuer.token(&job(&json!({})));
    let (error, words) = refused(&exchange(&environment, &fresh(), "&resource=acme%2Fother"), 400);
    assert_eq!(error, "invalid_target");
    assert!(words.contains("app gives write to acme/app"), "{words}");
    assert_eq!(refused(&exchange(&environment, &fresh(), "&scope=repo%3Aadmin"), 400).0, "invalid_request");
    assert_eq!(
        refused(&exchange(&environment, &fresh(), "&audience=https%3A%2F%2Felsewhere.example"), 400).0,
        "invalid_target"
    );
}

#[test]
fn who_is_not_meant_learns_nothing_of_rules_and_managers_read_all_of_it() {
    let (environment, issuer) = place();
    add(&environment, &issuer, "secret", &["--claim", "repository=acme/secret", "--claim", "ref=refs/heads/main"]);
    let evil = json!({
        "repository": "evil/app", "repository_owner": "evil", "sub": "repo:evil/app:ref:refs/heads/x", "aud": "somebody",
        "ref": "refs/heads/x",
    });
    let (error, words) = refused(&exchange(&environment, &issuer.token(&job(&evil)), ""), 400);
    assert_eq!(error, "access_denied");
    for said in ["none is about it", "aud=somebody", "sub=repo:evil/app:ref:refs/heads/x", "repository=evil/app"] {
        assert!(words.contains(said), "{words}");
    }
    assert!(!words.contains("acme") && !words.contains("expected") && !words.contains("rule app"), "{words}");
    // Of a rule that is about the job everything is told, and of the other that there is one.
    let (_, words) = refused(&exchange(&environment, &issuer.token(&job(&json!({"ref": "refs/tags/v1"}))), ""), 400);
    assert!(words.contains("rule app: ref: expected refs/heads/*, saw refs/tags/v1"), "{words}");
    assert!(words.contains("and 1 rule more") && !words.contains("acme/secret"), "{words}");
    let trail = environment.tok(&["audit", "--action", "token.exchange", "--output", "json"]).ok();
    for said in
        ["rule app: aud: expected tok, saw somebody; repository: expected acme/app, saw evil/app", "rule secret: "]
    {
        assert!(trail.text().contains(said), "{}", trail.describe());
    }
}

#[test]
fn each_rule_of_an_issuer_is_judged_by_its_own_certificates() {
    let (environment, issuer) = place();
    let other = Issuer::new(&environment.path("other"));
    let (url, twice) = (issuer.url(), environment.path("twice.pem"));
    let ca = std::fs::read_to_string(issuer.trust()).unwrap();
    std::fs::write(&twice, format!("{ca}\n{ca}")).unwrap();
    let add = |name: &str, claim: &str, ca: &std::path::Path| {
        let rule = ["trust", "add", name, "--issuer", &url, "--audience", "tok", "--system", "other"];
        let reach = ["--repo", "acme/app", "--permission", "read", "--claim", claim];
        environment.tok(&rule).arguments(reach).argument("--ca-file").argument(ca).ok();
    };
    add("libs", "sub=build-*", &twice);
    add("lost", "sub=lost-*", &other.trust());
    let of = |sub: &str| issuer.token(&json!({"sub": sub}));
    for token in [of("build-1"), issuer.token(&job(&json!({})))] {
        let reply = exchange(&environment, &token, "");
        assert_eq!(reply.status, 200, "{}", reply.text());
        environment.canaries().register("a git token", reply.json()["access_token"].as_str().unwrap());
    }
    // Whom the one rule that would let it in cannot ask is not known to be kept out.
    let (error, words) = refused(&exchange(&environment, &of("lost-1"), ""), 503);
    assert_eq!(error, "temporarily_unavailable", "{words}");
    let (error, _) = refused(&exchange(&environment, &of("nobody"), ""), 400);
    assert_eq!(error, "access_denied");
    let token = of("build-2");
    environment.canaries().register("an identity token", &token);
    let check = environment.tok(&["trust", "check", "--token-stdin", "--output", "json"]).input(token).ok().json();
    let rules: Vec<_> = check["identity"]["rules"].as_array().unwrap().clone();
    let seen = |name: &str| rules.iter().find(|rule| rule["rule"] == name).unwrap().clone();
    assert_eq!((rules.len(), &seen("libs")["accepted"], &seen("app")["accepted"]), (3, &json!(true), &json!(false)));
    assert!(seen("lost")["trouble"].as_str().unwrap().contains("cannot be fetched"), "{check}");
}

#[test]
fn what_is_said_over_oauth_is_said_in_the_characters_it_may_have() {
    let (environment, issuer) = place();
    let access = issuer.token_with(&json!({"typ": "at+jwt"}), &job(&json!({})));
    let (_, words) = refused(&exchange(&environment, &access, ""), 400);
    assert!(words.contains("its header calls it `at+jwt` (`typ`)") && !words.contains('?'), "{words}");
    let gitlab = ["--system", "gitlab", "--algorithm", "ES256", "--claim", "project_path=acme/app"];
    add(&environment, &issuer, "gitlab", &gitlab);
    let of = |id: &str| issuer.token(&json!({"project_path": "acme/app", "project_id": id}));
    assert_eq!(exchange(&environment, &of("5"), "").status, 200);
    let (_, words) = refused(&exchange(&environment, &of("6"), ""), 400);
    assert!(words.contains("best with --claim project_id=<the ID>") && !words.contains('?'), "{words}");
}

#[test]
fn a_name_that_passed_to_somebody_else_is_refused_by_its_id() {
    let (environment, issuer) = place();
    assert_eq!(exchange(&environment, &issuer.token(&job(&json!({}))), "").status, 200);
    for (claim, id) in [("repository_id", "43"), ("repository_owner_id", "8")] {
        let (error, words) = refused(&exchange(&environment, &issuer.token(&job(&json!({claim: id}))), ""), 400);
        assert_eq!(error, "access_denied");
        assert!(words.contains("passed to somebody else") && words.contains(&format!("saw {claim}={id}")), "{words}");
    }
    assert_eq!(exchange(&environment, &issuer.token(&job(&json!({}))), "").status, 200);
    let shown = environment.tok(&["trust", "show", "app"]).ok();
    assert!(
        shown.text().contains("acme/app is repository_id=42, acme is repository_owner_id=7"),
        "{}",
        shown.describe()
    );
    // A rule that has an ID is sure from the start.
    environment.tok(&["trust", "remove", "app", "--force"]).ok();
    add(&environment, &issuer, "by-id", &["--claim", "repository=acme/app", "--claim", "repository_id=43"]);
    let (_, words) = refused(&exchange(&environment, &issuer.token(&job(&json!({}))), ""), 400);
    assert!(words.contains("repository_id: expected 43, saw 42"), "{words}");
}

#[test]
fn keys_are_fetched_seldom_and_a_new_one_is_found() {
    let (environment, issuer) = place();
    let good = || exchange(&environment, &issuer.token(&job(&json!({}))), "").status;
    assert_eq!(issuer.asked(), 0, "nobody is asked before there is a reason");
    thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(good)).collect();
        for one in all {
            assert_eq!(one.join().unwrap(), 200);
        }
    });
    assert_eq!(issuer.asked(), 1, "whoever comes while keys are fetched waits for them");
    issuer.rotate("second");
    assert_eq!(good(), 200);
    assert_eq!(issuer.asked(), 2);
    for _ in 0..5 {
        let unknown = issuer.token_with(&json!({"kid": "third"}), &job(&json!({})));
        refused(&exchange(&environment, &unknown, ""), 400);
    }
    assert_eq!(issuer.asked(), 2, "names that nobody has fetch nothing within a minute");
    issuer.behave(Manner::Gone);
    assert_eq!(good(), 200, "keys that are known do without their issuer");
}

#[test]
fn an_issuer_that_does_not_answer_as_it_should_is_no_reason_to_say_no() {
    for manner in [Manner::Gone, Manner::Redirects, Manner::Huge, Manner::Slow] {
        let (environment, issuer) = place();
        issuer.behave(manner);
        let (error, words) = refused(&exchange(&environment, &issuer.token(&job(&json!({}))), ""), 503);
        assert_eq!(error, "temporarily_unavailable", "{manner:?}: {words}");
        assert!(words.contains("cannot be fetched"), "{words}");
        if manner == Manner::Redirects {
            assert!(words.contains("not followed"), "{words}");
        }
    }
}

#[test]
fn of_many_who_bring_the_same_identity_token_one_gets_something() {
    let (environment, issuer) = place();
    let token = issuer.token(&job(&json!({})));
    let nameless = issuer.token(&job(&json!({"jti": null})));
    for token in [&token, &nameless] {
        let statuses: Vec<u16> = thread::scope(|scope| {
            let all: Vec<_> = (0..12).map(|_| scope.spawn(|| exchange(&environment, token, "").status)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 400)), "{statuses:?}");
    }
}

#[test]
fn every_algorithm_is_verified_by_a_rule_that_names_it_and_by_no_other() {
    let environment = Environment::tls();
    environment.users(&["alice"]).workspace("acme", &[("alice", "maintainer")]);
    let issuer = Issuer::new(&environment.path("issuer"));
    let algorithms = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
    for algorithm in algorithms {
        issuer.publish(algorithm);
        let claims = ["--claim", "repository=acme/app", "--claim", &format!("ref=refs/heads/{algorithm}")];
        add(&environment, &issuer, algorithm, &[&["--algorithm", algorithm][..], &claims].concat());
    }
    for signed in algorithms {
        for named in algorithms {
            let claims = job(&json!({"ref": format!("refs/heads/{named}")}));
            let reply = exchange(&environment, &issuer.token_with(&json!({"kid": signed}), &claims), "");
            if signed == named {
                assert_eq!(reply.status, 200, "{signed}: {}", reply.text());
                environment.canaries().register("a git token", reply.json()["access_token"].as_str().unwrap());
            } else {
                assert_eq!(refused(&reply, 400).0, "access_denied", "signed with {signed}, for {named}");
            }
        }
        // A key signs with its own algorithm only, whatever a header says of it.
        for other in algorithms.into_iter().filter(|other| *other != signed) {
            let claims = job(&json!({"ref": format!("refs/heads/{other}")}));
            let claimed = issuer.token_with(&json!({"kid": signed, "alg": other}), &claims);
            assert_eq!(refused(&exchange(&environment, &claimed, ""), 400).0, "invalid_grant", "{signed} as {other}");
        }
    }
    // Once at first, and once because there might be another key of a name that it knows.
    assert_eq!(issuer.asked(), 2);
}

#[test]
fn of_two_daemons_on_one_database_one_gives_something_for_an_identity_token() {
    let database = Database::empty();
    let (one, other) = (Environment::new(), Environment::new());
    one.start_with(&one.serve_recipe("").variable("DATABASE_URL", database.url()));
    // One pepper for both.
    std::fs::create_dir_all(other.data()).unwrap();
    std::fs::copy(one.data().join("pepper"), other.data().join("pepper")).unwrap();
    other.start_with(&other.serve_recipe("").variable("DATABASE_URL", database.url()));
    one.users(&["alice"]).workspace("acme", &[("alice", "maintainer")]);
    let issuer = Issuer::new(&one.path("issuer"));
    add(&one, &issuer, "app", &["--claim", "repository=acme/app"]);
    let mut winners = [0; 2];
    for round in 0..12 {
        // Without a `jti` it is all that is signed that counts.
        let claims = if round % 2 == 0 { json!({}) } else { json!({"jti": null, "run_id": round}) };
        let token = issuer.token(&job(&claims));
        other.canaries().register("an identity token", &token);
        let replies: Vec<(usize, Reply)> = thread::scope(|scope| {
            let ask = |number: usize| {
                let (environment, token) = ([&one, &other][number % 2], &token);
                scope.spawn(move || (number % 2, exchange(environment, token, "")))
            };
            let all: Vec<_> = (0..6).map(ask).collect();
            all.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let given: Vec<usize> = replies.iter().filter(|(_, reply)| reply.status == 200).map(|(at, _)| *at).collect();
        assert_eq!(given.len(), 1, "{:?}", replies.iter().map(|(at, reply)| (at, reply.text())).collect::<Vec<_>>());
        winners[given[0]] += 1;
        for (_, reply) in replies.iter().filter(|(_, reply)| reply.status != 200) {
            assert!(refused(reply, 400).1.contains("exchanged before"), "{}", reply.text());
        }
    }
    assert_eq!(database.rows("SELECT count(*) AS count FROM tokens WHERE kind = 'git'")[0]["count"], 12);
    assert_eq!(winners.iter().sum::<u32>(), 12);
}

#[test]
fn a_manager_sees_expected_against_seen_and_the_token_stays_good() {
    let (environment, issuer) = place();
    let token = issuer.token(&job(&json!({"ref": "refs/tags/v1"})));
    environment.canaries().register("an identity token", &token);
    let check = environment.tok(&["trust", "check", "--token-stdin"]).input(token.clone()).fails(4);
    assert!(check.text().contains("no   ref: expected refs/heads/*, saw refs/tags/v1"), "{}", check.text());
    let good = issuer.token(&job(&json!({})));
    environment.canaries().register("an identity token", &good);
    let check = environment.tok(&["trust", "check", "--token-stdin"]).input(good.clone()).ok();
    assert!(check.text().contains("lets it write acme/app"), "{}", check.describe());
    assert_eq!(exchange(&environment, &good, "").status, 200);
    // Whoever manages nothing neither sees nor makes rules.
    for arguments in [&["trust", "list"][..], &["trust", "show", "app"], &["trust", "remove", "app", "--force"]] {
        environment.tok(arguments).acting_as("alice").fails(4);
    }
    environment
        .tok(&[
            "trust",
            "add",
            "all",
            "--system",
            "github",
            "--claim",
            "ref=refs/heads/main",
            "--repo",
            "acme/app",
            "--permission",
            "write",
        ])
        .fails(2);
}
