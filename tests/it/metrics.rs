//! `/metrics`: what is counted, who may read it, and what it never says.

use std::thread;

use tok_tests::environment::Environment;
use tok_tests::http::{Reply, Request};
use tok_tests::wait;

use crate::api::people;

fn read(environment: &Environment) -> Reply {
    environment.send(&Request::get("/metrics"))
}

/// The sum of all series whose line begins so.
#[track_caller]
pub(crate) fn figure(environment: &Environment, series: &str) -> u64 {
    let text = read(environment).text();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(series)).collect();
    assert!(!lines.is_empty(), "{series} is not there: {text}");
    let value = |line: &&str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of few")]
    let sum = lines.iter().map(value).sum::<f64>() as u64;
    sum
}

fn authz(token: &str) -> Request {
    let request =
        Request::get("/authz/git").header("X-Original-URI", "/acme/app.git/info/refs?service=git-upload-pack");
    request.header("X-Original-Method", "GET").bearer(token)
}

#[test]
fn what_happens_is_counted_and_names_nobody() {
    let people = people();
    let environment = &people.environment;
    let reply = read(environment);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));

    for _ in 0..3 {
        assert_eq!(environment.send(&authz(&people.will)).status, 204);
    }
    let done = "tok_requests_total{door=\"authz\",operation=\"upload-pack --advertise\",outcome=\"done\"}";
    assert_eq!(figure(environment, done), 3);
    assert_eq!(figure(environment, "tok_verdict_seconds_count"), 3);
    assert!(figure(environment, "tok_verdict_cache_hits_total") >= 2);
    assert!(figure(environment, "tok_verdict_cache_misses_total") >= 1);
    assert!(figure(environment, "tok_verdict_cache_tokens") <= 10);

    // The JSON door counts routes, and never what somebody put into an address.
    people.get(&people.mona, "/v1/tokens?page_size=1");
    people.get(&people.mona, "/v1/users/a-name-of-somebody");
    people.get(&people.mona, "/v1/nothing/a-name-of-somebody");
    let http = |rest: &str| format!("tok_requests_total{{door=\"http\",operation=\"{rest}\"");
    assert_eq!(figure(environment, &http("GET /v1/tokens")), 1);
    assert_eq!(figure(environment, &http("GET /v1/users/{name}\",outcome=\"forbidden")), 1);
    assert_eq!(figure(environment, &http("other\",outcome=\"not_found")), 1);
    assert!(figure(environment, "tok_requests_total{door=\"socket\",operation=\"TokenService/Create\"") >= 3);

    // Ends, failures and what the trail took.
    let minted = figure(environment, "tok_acts_total{action=\"token.mint\",outcome=\"done\"}");
    let revoked = figure(environment, "tok_acts_total{action=\"token.revoke\",outcome=\"done\"}");
    environment.git_token("will", "acme/app", "read");
    environment.tok(&["token", "create", "brief"]).acting_as("will").ok();
    environment.tok(&["token", "revoke", "brief", "--force"]).acting_as("will").ok();
    assert_eq!(figure(environment, "tok_acts_total{action=\"token.mint\",outcome=\"done\"}"), minted + 1);
    assert_eq!(figure(environment, "tok_acts_total{action=\"token.revoke\",outcome=\"done\"}"), revoked + 1);
    assert!(figure(environment, "tok_requests_total{door=\"helper\",operation=\"get\",outcome=\"done\"}") >= 1);
    environment.send(&authz(&tok_tests::normalise::invented_token()));
    assert_eq!(figure(environment, "tok_failures_total"), 1);
    wait::until_true("the uses are written", || figure(environment, "tok_audit_lines_flushed_total") >= 2);
    assert!(figure(environment, "tok_store_wait_seconds_count") > 5);
    assert!(figure(environment, "tok_store_turn_size_count{kind=\"look_up\"}") >= 1);
    assert!(figure(environment, "tok_database_connections") >= 1);
    assert!(figure(environment, "process_resident_memory_bytes") > 1 << 20);
    assert!(figure(environment, "process_open_fds") > 3);

    // Nobody is in it, and no token.
    let text = read(environment).text();
    for word in ["will", "mona", "boss", "acme", "127.0.0.1", "a-name-of-somebody", "tokpat_", "tokgit_"] {
        assert!(!text.contains(word), "{word} is in the metrics: {text}");
    }
}

#[test]
fn strangers_cannot_make_the_list_longer() {
    let people = people();
    let environment = &people.environment;
    let series = || read(environment).text().lines().filter(|line| !line.starts_with('#')).count();
    environment.send(&Request::get("/v1/nothing"));
    environment.send(&Request::get("/nobody/nothing.git/info/refs"));
    environment.send(&Request::get("/authz/git").header("X-Original-URI", "/x"));
    let before = series();
    for number in 0..20 {
        environment.send(&Request::get(format!("/v1/nothing{number}/there")));
        environment.send(&Request::get(format!("/some{number}/repo.git/info/refs")));
        environment.send(&Request::get("/authz/git").header("X-Original-URI", &format!("/y{number}")));
    }
    assert_eq!(series(), before);
}

#[test]
fn programs_of_this_machine_and_managers_may_read_them() {
    let people = people();
    let environment = &people.environment;
    let proxied = |request: Request| environment.send(&request.header("X-Forwarded-For", "192.0.2.1"));
    // What came through a proxy did not begin here, whatever it says.
    let refused = proxied(Request::get("/metrics"));
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer realm=\"tok\"")));
    assert_eq!(proxied(Request::get("/metrics").bearer(&people.boss)).status, 200);
    assert_eq!(proxied(Request::get("/metrics").bearer(&people.mona)).status, 403);
    assert_eq!(proxied(Request::get("/metrics").bearer(&tok_tests::normalise::invented_token())).status, 401);
    assert_eq!(environment.send(&Request::get("/metrics").method("POST")).status, 405);
    // Several who ask at once are all answered.
    thread::scope(|scope| {
        for asked in (0..8).map(|_| scope.spawn(|| read(environment))).collect::<Vec<_>>() {
            assert_eq!(asked.join().unwrap().status, 200);
        }
    });
    for (setting, direct, with_token) in [("manager", 401, 200), ("off", 404, 404)] {
        environment.stop();
        environment.start_with(&environment.serve_recipe(&format!("[server]\nmetrics = \"{setting}\"\n")));
        assert_eq!(read(environment).status, direct, "{setting}");
        assert_eq!(environment.send(&Request::get("/metrics").bearer(&people.boss)).status, with_token, "{setting}");
    }
}
