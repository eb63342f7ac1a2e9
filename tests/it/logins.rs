//! Logging in from elsewhere, over gRPC: by password, by a device that somebody lets in, and what a session is for.

use std::thread;

use hyper::Request;
use hyper::body::{Body as _, Incoming};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tok_tests::environment::Environment;
use tok_tests::http;

use crate::remote_grpc::{Answer, Channel, field, fields, http_body, last, text, varint};

const PASSWORD: &str = "violet-tractor-97-moon";
const WRONG: &str = "violet-tractor-97-moor";

/// A server where ann has a password and bob none.
fn people() -> Environment {
    let environment = Environment::dev();
    environment.users(&["ann", "bob", "cid"]);
    environment.workspace("acme", &[("ann", "writer"), ("bob", "reader")]);
    for secret in [PASSWORD, WRONG] {
        environment.canaries().register("a password", secret);
    }
    for user in ["ann", "cid"] {
        environment.tok(&["user", "passwd", user]).input(format!("{PASSWORD}\n")).ok();
    }
    environment.tok(&["user", "disable", "cid"]).ok();
    environment
}

fn log_in(channel: &mut Channel, user: &str, password: &str) -> Answer {
    let message = [field(1, user.as_bytes()), field(2, password.as_bytes()), field(3, b"laptop")].concat();
    channel.call("tok.v1.SessionService/OpenSession", &message, &[])
}

/// The text of the session that was opened.
fn session(answer: &Answer) -> String {
    assert_eq!(answer.status(), 0, "{answer:?}");
    text(&fields(&answer.messages[0]), 1)
}

fn whoami(channel: &mut Channel, token: &str) -> u32 {
    channel.call("tok.v1.IdentityService/Whoami", b"", &[("authorization", &format!("Bearer {token}"))]).status()
}

fn mint(channel: &mut Channel, token: &str, repo: &str, permission: u64, failed: &str) -> Answer {
    let message = [field(1, repo.as_bytes()), varint(2 << 3), varint(permission), field(3, failed.as_bytes())].concat();
    channel.call("tok.v1.SessionService/MintGit", &message, &[("authorization", &format!("Bearer {token}"))])
}

#[test]
fn a_password_opens_a_session_that_is_a_token_like_the_others() {
    let environment = people();
    environment.pushed("ann", "acme/app");
    let mut channel = Channel::open(&environment);
    let answer = log_in(&mut channel, "ann", PASSWORD);
    let text_of_it = session(&answer);
    assert!(text_of_it.starts_with("tokses_"));
    assert_eq!(text(&fields(&answer.messages[0]), 3), "ann");
    assert_eq!(whoami(&mut channel, &text_of_it), 0);
    let listed =
        environment.tok(&["token", "list", "--kind", "session", "--output", "json"]).acting_as("ann").ok().json();
    let listed = listed["tokens"].as_array().unwrap().clone();
    let mine = listed.iter().find(|token| token["name"] == "login of ann on laptop").unwrap();
    assert_eq!((mine["kind"].as_str(), mine["state"].as_str()), (Some("session"), Some("active")));
    assert!(mine["expires_at"].is_string(), "the default lifetime of tokens is a session's too");
    // What it is for: a token for one repository and right, the same until it is refused, and never more than ann has.
    let minted = mint(&mut channel, &text_of_it, "acme/app", 1, "");
    let git = session(&minted);
    assert!(git.starts_with("tokgit_"));
    let refs = http::Request::refs("acme/app", "git-upload-pack");
    assert_eq!(environment.send(&refs.clone().basic("ann", &git)).status, 200);
    assert_eq!(session(&mint(&mut channel, &text_of_it, "acme/app", 1, "")), git);
    let id = text(&fields(&minted.messages[0]), 2);
    assert_ne!(session(&mint(&mut channel, &text_of_it, "acme/app", 1, &id)), git);
    assert!(session(&mint(&mut channel, &text_of_it, "acme/app", 2, "")).starts_with("tokgit_"));
    assert_eq!(mint(&mut channel, &text_of_it, "acme/app", 0, "").status(), 3);
    assert_eq!(mint(&mut channel, &text_of_it, "nobody/app", 1, "").status(), 5);
    assert_eq!(mint(&mut channel, &git, "acme/app", 1, "").status(), 7, "a git token makes no others");
    // Whoever holds it ends it, and with it what was minted through it.
    let ends = field(1, text_of_it.as_bytes());
    assert_eq!(channel.call("tok.v1.TokenService/RevokeSecret", &ends, &[]).status(), 0);
    assert_eq!(whoami(&mut channel, &text_of_it), 16);
    assert_eq!(environment.send(&refs.basic("ann", &git)).status, 401);
    let told = environment.rows(
        "SELECT actor_name, address, detail FROM audit WHERE action = 'session.open' AND outcome = 'done' \
         AND address IS NOT NULL",
    );
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (told[0]["actor_name"].as_str(), told[0]["detail"].as_str()),
        (Some("ann"), Some("login of ann on laptop"))
    );
}

#[test]
fn who_does_not_know_the_password_learns_nothing_and_has_few_tries() {
    let environment = people();
    let mut channel = Channel::open(&environment);
    let mut said = Vec::new();
    // Wrong, nobody's, of somebody without one, and of somebody who may not log in.
    for (user, password) in [("ann", WRONG), ("nobody-here", PASSWORD), ("bob", PASSWORD), ("cid", PASSWORD)] {
        let answer = log_in(&mut channel, user, password);
        assert_eq!((answer.status(), answer.fault_code().as_str()), (16, "unauthenticated"), "{user}");
        said.push(answer.fault());
    }
    assert!(said.windows(2).all(|two| two[0] == two[1]), "the answers differ");
    assert_eq!(log_in(&mut channel, "ann", "").status(), 3);
    session(&log_in(&mut channel, "ANN", PASSWORD));
    // From where too many were wrong the right one is not looked at either.
    crate::console::limited(&environment);
    let mut channel = Channel::open(&environment);
    let throttled = (0..200).map(|_| log_in(&mut channel, "ann", WRONG)).find(|answer| answer.status() != 16).unwrap();
    assert_eq!(throttled.fault_code(), "rate_limited");
    assert_eq!(log_in(&mut channel, "ann", PASSWORD).fault_code(), "rate_limited");
    environment.stop();
    environment.start();
    let told = environment
        .rows("SELECT detail FROM audit WHERE action = 'session.open' AND outcome = 'refused' ORDER BY detail");
    let told: String = told.iter().map(|row| row["detail"].as_str().unwrap()).collect();
    assert!(told.contains("wrong password for ann") && told.contains("cid") && !told.contains("nobody"), "{told}");
}

struct Device {
    code: String,
    user_code: String,
}

fn begin(channel: &mut Channel, machine: &str) -> Device {
    let message = [field(1, machine.as_bytes()), field(2, b"tok")].concat();
    let answer = channel.call("tok.v1.SessionService/StartDevice", &message, &[]);
    assert_eq!(answer.status(), 0, "{answer:?}");
    let reply = fields(&answer.messages[0]);
    assert!(text(&reply, 3).ends_with("/device"), "{}", text(&reply, 3));
    assert_eq!(text(&reply, 4), format!("{}?user_code={}", text(&reply, 3), text(&reply, 2)));
    assert_eq!((last(&reply, 5), last(&reply, 6)), (b"600".to_vec(), b"5".to_vec()));
    Device { code: text(&reply, 1), user_code: text(&reply, 2) }
}

fn poll(channel: &mut Channel, code: &str) -> Answer {
    channel.call("tok.v1.SessionService/PollDevice", &field(1, code.as_bytes()), &[])
}

fn decide(environment: &Environment, state: &str) {
    environment.execute(&format!(
        "UPDATE device_logins SET state = '{state}', decided_at = now(), user_id = (SELECT id FROM users WHERE name = 'ann')"
    ));
}

#[test]
fn a_device_waits_until_somebody_decides_and_gets_one_session() {
    let environment = people();
    let mut channel = Channel::open(&environment);
    let device = begin(&mut channel, "build-7");
    environment.canaries().register("a device code", &device.code);
    assert_eq!((device.user_code.len(), device.user_code.find('-')), (9, Some(4)), "{}", device.user_code);
    assert_eq!(poll(&mut channel, &device.code).fault_code(), "authorization_pending");
    assert_eq!(poll(&mut channel, &device.code).fault_code(), "slow_down");
    assert_eq!(poll(&mut channel, "x").fault_code(), "invalid_argument");
    assert_eq!(poll(&mut channel, &device.code.replace(&device.code[..1], "!")).fault_code(), "invalid_argument");
    decide(&environment, "approved");
    // Of many who ask at once one gets it.
    let answers: Vec<Answer> = thread::scope(|scope| {
        let asking: Vec<_> =
            (0..64).map(|_| scope.spawn(|| poll(&mut Channel::open(&environment), &device.code))).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let got: Vec<&Answer> = answers.iter().filter(|answer| answer.status() == 0).collect();
    assert_eq!(got.len(), 1);
    assert!(answers.iter().filter(|answer| answer.status() != 0).all(|answer| answer.status() == 3), "{answers:?}");
    assert_eq!(whoami(&mut channel, &session(got[0])), 0);
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE name = 'login of ann on build-7'"), 1);
    assert_eq!(poll(&mut channel, &device.code).fault_code(), "invalid_argument");
}

#[test]
fn a_device_that_is_refused_or_too_late_is_told_so() {
    let environment = people();
    let mut channel = Channel::open(&environment);
    let refused = begin(&mut channel, "a");
    decide(&environment, "denied");
    assert_eq!(poll(&mut channel, &refused.code).fault_code(), "access_denied");
    let late = begin(&mut channel, "b");
    environment.execute("UPDATE device_logins SET created_at = now() - interval '11 minutes', expires_at = now() - interval '1 minute' WHERE machine = 'b'");
    assert_eq!(poll(&mut channel, &late.code).fault_code(), "expired_token");
    // Whoever approved it may not log in any more; or could again, but nobody knows whether it was they who did.
    let other = begin(&mut channel, "c");
    decide(&environment, "approved");
    environment.tok(&["user", "disable", "ann"]).ok();
    assert_eq!(poll(&mut channel, &other.code).fault_code(), "access_denied");
    environment.tok(&["user", "enable", "ann"]).ok();
    assert_eq!(poll(&mut channel, &other.code).fault_code(), "access_denied");
    let stolen = begin(&mut channel, "d");
    decide(&environment, "approved");
    environment.tok(&["user", "passwd", "ann"]).input(format!("{PASSWORD}\n")).ok();
    assert_eq!(poll(&mut channel, &stolen.code).fault_code(), "access_denied");
    // Somebody with a whole network to call from leaves room for others.
    environment.execute(
        "INSERT INTO device_logins SELECT gen_random_uuid(), sha256(n::text::bytea), sha256(('u' || n)::bytea), machine, \
         client, '127.0.0.9', agent, 'pending', NULL, NULL, now(), now() + interval '9 minutes' FROM device_logins, \
         generate_series(1, 300) n WHERE machine = 'a'",
    );
    let start = |channel: &mut Channel| channel.call("tok.v1.SessionService/StartDevice", &field(1, b"e"), &[]);
    assert_eq!(start(&mut channel).fault_code(), "rate_limited");
    environment.execute("UPDATE device_logins SET address = '198.51.100.1' WHERE address = '127.0.0.9'");
    assert_eq!(start(&mut channel).status(), 0);
    environment.execute(
        "INSERT INTO device_logins SELECT gen_random_uuid(), sha256(('d' || n)::bytea), sha256(('v' || n)::bytea), machine, \
         client, '10.' || n / 256 || '.' || n % 256 || '.1', agent, 'pending', NULL, NULL, now(), \
         now() + interval '9 minutes' FROM device_logins, generate_series(1, 9700) n WHERE machine = 'a' AND state = 'denied'",
    );
    assert_eq!(start(&mut channel).fault_code(), "busy");
    environment.execute("DELETE FROM device_logins WHERE address LIKE '10.%'");
    // Not too many from one place.
    let begun = (0..40).map(|_| channel.call("tok.v1.SessionService/StartDevice", &field(1, b"flood"), &[]));
    let stopped = begun.filter(|answer| answer.status() != 0).map(|answer| answer.fault_code()).next().unwrap();
    assert_eq!(stopped, "rate_limited");
}

/// A stream that is told of what ended.
struct Watch {
    body: Incoming,
}

impl Watch {
    fn open(channel: &mut Channel, environment: &Environment, token: &str) -> Self {
        let request = Request::post(format!("http://{}/tok.v1.SessionService/Watch", environment.host()))
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {token}"))
            .body(http_body::Full(Some(vec![0; 5].into())))
            .unwrap();
        let Channel { runtime, sender, .. } = channel;
        Self { body: runtime.block_on(sender.send_request(request)).unwrap().into_body() }
    }

    /// The next number, or the status at the end.
    fn next(&mut self, channel: &Channel) -> Result<u64, String> {
        let body = &mut self.body;
        let frame = channel.runtime.block_on(std::future::poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)));
        match frame.unwrap().unwrap().into_data() {
            Ok(data) if data.len() == 5 => Ok(0),
            Ok(data) => Ok(String::from_utf8(last(&fields(&data[5..]), 1)).unwrap().parse().unwrap()),
            Err(frame) => Err(frame.into_trailers().unwrap()["grpc-status"].to_str().unwrap().to_owned()),
        }
    }
}

#[test]
fn who_watches_is_told_of_what_ends_and_of_the_own_end() {
    let environment = people();
    let mut channel = Channel::open(&environment);
    let mine = session(&log_in(&mut channel, "ann", PASSWORD));
    let other = environment.token("ann", &[]);
    let mut watch = Watch::open(&mut channel, &environment, &mine);
    let first = watch.next(&channel).unwrap();
    let revoke = |token: &str| environment.tok(&["token", "revoke", &token[..11], "--force"]).acting_as("ann").ok();
    revoke(&other);
    let second = watch.next(&channel).unwrap();
    assert!(second > first, "{first} {second}");
    revoke(&mine);
    let mut said = watch.next(&channel);
    while said.is_ok() {
        said = watch.next(&channel);
    }
    assert_eq!(said, Err("16".to_owned()));
    // So many with one token and no more; and none keeps the server from stopping.
    let again = session(&log_in(&mut channel, "ann", PASSWORD));
    let mut watching: Vec<Watch> = (0..16).map(|_| Watch::open(&mut channel, &environment, &again)).collect();
    for watch in &mut watching {
        watch.next(&channel).unwrap();
    }
    let one_more = [("authorization", &*format!("Bearer {again}"))];
    assert_eq!(channel.call("tok.v1.SessionService/Watch", b"", &one_more).fault_code(), "rate_limited");
    kill(Pid::from_raw(environment.pid()), Signal::SIGTERM).unwrap();
    for watch in &mut watching {
        let mut said = watch.next(&channel);
        while said.is_ok() {
            said = watch.next(&channel);
        }
        assert_eq!(said, Err("0".to_owned()));
    }
    drop(channel);
    assert!(environment.take_daemon().wait().success());
}
