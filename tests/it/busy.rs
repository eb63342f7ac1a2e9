//! More requests than can wait: those that come then are told so at once, by every door, with the time to come back.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::normalise::invented_token;
use tok_tests::{postgres, wait};
use tokio::sync::mpsc;

use crate::api::problem;
use crate::authority::acme;
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
