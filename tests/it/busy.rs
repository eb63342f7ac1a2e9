//! More requests than can wait: those that come then are told so at once, by every door, with the time to come back.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::normalise::invented_token;
use tok_tests::{postgres, wait};
use tokio::sync::mpsc;

use crate::api::problem;
use crate::authority::acme;
use crate::chosen::chosen;
use crate::metrics::figure;
use crate::remote_grpc::{Answer, Channel};

/// Whoever waits for the database has their answer later than this.
const PATIENCE: Duration = Duration::from_secs(8);

/// Somebody at the database who lets nobody read a token. Dropping it lets go.
struct Holder<'e> {
    environment: &'e Environment,
    psql: Child,
}

impl<'e> Holder<'e> {
    fn of_tokens(environment: &'e Environment) -> Self {
        let psql = Command::new(postgres::program("psql"))
            .args(["-X", "-q", "-d", &postgres::embedded_url(environment.data())])
            .args(["-c", "BEGIN; LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)"])
            .env("PGAPPNAME", "holder")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let held = "SELECT count(*) AS count FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' \
                    AND relation = 'tokens'::regclass";
        wait::until_true("the tokens are held", || environment.count(held) == 1);
        Self { environment, psql }
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'";
        self.environment.rows(end);
        let _ = self.psql.wait();
    }
}

/// The status, the code, and after how many seconds to come back.
fn said(answer: &Answer) -> (u32, String, Option<String>) {
    let seconds = answer.fault().get(&7).map(|number| String::from_utf8(number.clone()).unwrap());
    (answer.status(), answer.fault_code(), seconds)
}

#[test]
fn who_comes_when_too_many_wait_is_told_when_to_come_back() {
    let environment = acme();
    let good = environment.token("will", &["--scopes", "all"]);
    let channel = Channel::open(&environment);
    let holder = Holder::of_tokens(&environment);
    // Each asks for a token that nobody has looked up yet, and waits for the database.
    let (tell, mut told) = mpsc::unbounded_channel();
    let senders = channel.connections(20);
    for sender in senders.iter().flat_map(|sender| std::iter::repeat_n(sender, 80)) {
        let bearer = format!("Bearer {}", invented_token());
        let (sender, tell) = (sender.clone(), tell.clone());
        let answer = channel.ask(sender, "tok.v1.IdentityService/Whoami", &[("authorization", &bearer)]);
        channel.runtime.spawn(async move {
            if let Some(answer) = answer.await {
                let _ = tell.send(said(&answer));
            }
        });
    }
    let first = channel.runtime.block_on(async { tokio::time::timeout(PATIENCE, told.recv()).await });
    let first = first.expect("somebody is told at once that they cannot wait");
    assert_eq!(first, Some((14, "busy".to_owned(), Some("2".to_owned()))), "the first answer of all");
    let reply = environment.send(&Request::get("/v1/whoami").bearer(&invented_token()));
    assert_eq!(reply.header("retry-after"), Some("2"));
    let problem = problem(&reply, 503, "busy", None);
    assert!(problem["hint"].as_str().unwrap().contains("nothing was changed"), "{problem}");
    // git is told the same, and throws no credential away.
    let fetch = environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(&invented_token()));
    assert_eq!((fetch.status, fetch.header("www-authenticate")), (503, None));
    assert!(fetch.header("retry-after").is_some(), "{:?}", fetch.headers);
    drop(holder);
    let works = || environment.send(&Request::get("/v1/whoami").bearer(&good)).status == 200;
    wait::until_true("it answers again", works);
}

/// What the doors say of a name that nobody has, for which a slow hash is made, until one says that it cannot be made now.
/// A "no" in between is one that was found out.
fn until_busy<T>(mut ask: impl FnMut(&str) -> T, status: impl Fn(&T) -> u32, no: u32) -> T {
    let mut number = 0;
    loop {
        number += 1;
        let answer = ask(&format!("violet-tractor-{number}-sun"));
        if status(&answer) != no {
            return answer;
        }
        assert!(number < 200, "it is never busy");
    }
}

#[test]
fn who_comes_when_too_many_secrets_are_checked_is_told_when_to_come_back_and_memory_stays() {
    let environment = &acme();
    let good = environment.token("will", &["--scopes", "all"]);
    let right = "clover-anvil-41-lantern";
    chosen(environment, "will", "deploy", right, &[]);
    environment.stop();
    // So that nobody is held back for having been wrong too often.
    environment.start_with(&environment.serve_recipe("[server]\nfailed_logins_per_minute = 0\n"));
    let before = figure(environment, "process_resident_memory_bytes");
    let (stop, busy, wrong) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        // Two are checked at a time and 64 wait: these are more, and come back at once.
        for number in 0..90 {
            let (stop, busy, wrong) = (&stop, &busy, &wrong);
            scope.spawn(move || {
                for time in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let secret = format!("violet-tractor-{number}-moon-{time}");
                    let reply = environment.send(&Request::get("/v1/whoami").basic("nobody", &secret));
                    match reply.status {
                        401 => wrong.fetch_add(1, Ordering::Relaxed),
                        503 => busy.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}: {}", reply.text()),
                    };
                }
            });
        }
        let _stops = Flag(&stop);
        wait::until_true("some are told that it cannot be said now", || busy.load(Ordering::Relaxed) > 0);
        let verdict = Request::get("/authz/git").header("X-Original-Method", "GET");
        for (request, hinted) in [
            (Request::get("/v1/whoami"), true),
            (Request::refs("acme/app", "git-upload-pack"), false),
            (verdict.header("X-Original-URI", "/acme/app.git/info/refs?service=git-upload-pack"), false),
        ] {
            let reply = until_busy(
                |secret| environment.send(&request.clone().basic("nobody", secret)),
                |reply| reply.status.into(),
                401,
            );
            assert_eq!((reply.status, reply.header("www-authenticate")), (503, None), "{}", reply.text());
            assert!(reply.header("retry-after").is_some(), "{:?}", reply.headers);
            if hinted {
                problem(&reply, 503, "busy", None);
            }
        }
        let mut channel = Channel::open(environment);
        let mut call = |secret: &str| {
            let basic = format!("Basic {}", STANDARD.encode(format!("nobody:{secret}")));
            channel.call("tok.v1.IdentityService/Whoami", b"", &[("authorization", &basic)])
        };
        let answer = until_busy(&mut call, Answer::status, 16);
        assert_eq!(said(&answer), (14, "busy".to_owned(), Some("2".to_owned())));
        // Whoever has a token notices nothing; and the right secret is never said to be wrong.
        assert_eq!(environment.send(&Request::get("/v1/whoami").bearer(&good)).status, 200);
        let with_right = environment.send(&Request::get("/v1/whoami").basic("deploy", right)).status;
        assert!([200, 503].contains(&with_right), "{with_right}");
        wait::until_true("many came", || busy.load(Ordering::Relaxed) > 300);
    });
    assert!(wrong.load(Ordering::Relaxed) >= 64, "whoever could wait has an answer");
    assert!(figure(environment, "tok_slow_hashes_refused_total") >= busy.load(Ordering::Relaxed));
    // Two hashes of 19 MiB and the connections; for each who came it were gigabytes.
    let grown = figure(environment, "process_resident_memory_bytes").saturating_sub(before) >> 20;
    assert!(grown < 160, "{grown} MiB more");
    let asked = || environment.send(&Request::get("/v1/whoami").basic("deploy", right)).status;
    wait::until_true("it checks again", || asked() == 200);
}

/// Tells the others to stop, also when a test fails.
struct Flag<'f>(&'f AtomicBool);

impl Drop for Flag<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
