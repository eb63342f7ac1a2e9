//! A reply can be lost. Whoever asks again under the same key has one live token in the end, and knows its text.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use serde_json::Value;
use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::proxy::Proxy;
use tok_tests::wait;

use crate::authority::{READ, acme, asked};
use crate::remote_grpc::{Channel, field, fields, text};
use crate::rotation::secret;

fn status(environment: &Environment, token: &str) -> u16 {
    asked(environment, "acme/app", READ, token).status
}

fn live(environment: &Environment) -> i64 {
    environment.count(
        "SELECT count(*) AS count FROM tokens WHERE revoked_at IS NULL AND rotated_at IS NULL AND kind = 'personal'",
    )
}

fn create(environment: &Environment, name: &str, key: &str) -> tok_tests::call::Call {
    environment.tok(&["token", "create", name, "--idempotency-key", key]).acting_as("will")
}

#[test]
fn the_same_key_and_request_again_leaves_one_live_token() {
    let environment = acme();
    let before = live(&environment);
    let first = create(&environment, "CI", "k1").ok().line().to_owned();
    let second = create(&environment, "CI", "k1").ok().line().to_owned();
    assert_ne!(first, second);
    assert_eq!(live(&environment), before + 1);
    let shown = environment.tok(&["token", "show", "--output", "json", &first[..11]]).ok().json();
    assert_eq!(shown["revoke_reason"], "replaced by a retry");
    assert_eq!([status(&environment, &first), status(&environment, &second)], [401, 200]);

    // Once somebody has used it, its text has arrived.
    let used = create(&environment, "CI", "k1").fails(1);
    used.says(&["has been used", &second[..11], "fresh key"]);
    let other = create(&environment, "another", "k1").fails(1);
    other.says(&["idempotency key was used for another request"]);
    assert_eq!((live(&environment), status(&environment, &second)), (before + 1, 200));
    // Keys are each caller's own.
    environment.tok(&["token", "create", "CI", "--idempotency-key", "k1"]).acting_as("rita").ok();

    let third = create(&environment, "CI", "k2").ok().line().to_owned();
    environment.tok(&["token", "revoke", "--force", &third[..11]]).acting_as("will").ok();
    create(&environment, "CI", "k2").fails(1).says(&["has ended since"]);
    // A day later the key is nobody's.
    environment.execute("UPDATE idempotency SET created_at = created_at - interval '25 hours'");
    create(&environment, "another", "k2").ok();
    // The others go with the upkeep, whether or not anybody comes with a key again.
    let keys = || environment.count("SELECT count(*) AS count FROM idempotency");
    assert!(keys() > 1);
    environment.stop();
    environment.start();
    wait::until_true("the old keys are forgotten", || keys() == 1);
}

#[test]
fn sixteen_at_once_under_one_key_leave_one_live_token() {
    let environment = acme();
    let before = live(&environment);
    let calls: Vec<_> = (0..16).map(|_| create(&environment, "CI", "together").start()).collect();
    let texts: Vec<String> = calls.into_iter().map(|call| call.wait().expect_code(0).line().to_owned()).collect();
    assert_eq!(live(&environment), before + 1);
    let good = texts.iter().filter(|text| status(&environment, text) == 200).count();
    assert_eq!(good, 1);
}

/// A local socket in front of the daemon's that passes on what is asked and keeps the answers to itself, until it is
/// told to hang up.
struct Deaf {
    path: std::path::PathBuf,
    connections: std::sync::mpsc::Receiver<(UnixStream, UnixStream)>,
}

impl Deaf {
    fn before(environment: &Environment) -> Self {
        let (path, target) = (environment.path("deaf.sock"), environment.socket());
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let (accepted, connections) = std::sync::mpsc::channel();
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let mut server = UnixStream::connect(&target).unwrap();
                let _ = accepted.send((client.try_clone().unwrap(), server.try_clone().unwrap()));
                thread::spawn(move || {
                    let mut chunk = [0; 4096];
                    while let Ok(count @ 1..) = client.read(&mut chunk) {
                        if server.write_all(&chunk[..count]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { path, connections }
    }

    /// Ends what there is; meanwhile nobody comes in.
    fn hang_up(&self) {
        std::fs::rename(&self.path, self.aside()).unwrap();
        for (client, server) in self.connections.try_iter() {
            let _ = client.shutdown(std::net::Shutdown::Both);
            let _ = server.shutdown(std::net::Shutdown::Both);
        }
    }

    fn aside(&self) -> std::path::PathBuf {
        self.path.with_extension("aside")
    }

    /// Runs `tok` until what it asked for has happened, and lets it never know.
    fn lose_reply(&self, environment: &Environment, call: tok_tests::call::Call, happened: &str) {
        let call = call.variable("TOK_SOCKET", self.path.to_str().unwrap()).start();
        wait::until_true("it happened", || environment.count(happened) == 1);
        self.hang_up();
        let lost = call.wait();
        std::fs::rename(self.aside(), &self.path).unwrap();
        assert_ne!(lost.code, Some(0));
        assert_eq!(lost.text(), "");
    }
}

#[test]
fn a_create_whose_reply_was_lost_is_repeated_and_leaves_one_live_token() {
    let environment = acme();
    let before = live(&environment);
    let deaf = Deaf::before(&environment);
    deaf.lose_reply(&environment, create(&environment, "CI", "lost"), "SELECT count(*) AS count FROM idempotency");
    let text = create(&environment, "CI", "lost").ok().line().to_owned();
    assert_eq!((live(&environment), status(&environment, &text)), (before + 1, 200));
}

#[test]
fn a_rotation_whose_reply_was_lost_is_repeated_and_leaves_one_live_token() {
    let environment = acme();
    let before = live(&environment);
    let deaf = Deaf::before(&environment);
    for grace in ["0", "1h"] {
        let old = environment.token("will", &["--scopes", "repo:read,token:write"]);
        let key = format!("rotation-{grace}");
        // The token rotates itself: after the first try it is given up, and is all that its holder has.
        let call = |key: &str| {
            let call = environment.tok(&["token", "rotate", "--output", "json", &old[..11], "--grace", grace]);
            call.arguments(["--idempotency-key", key]).variable("TOK_TOKEN", old.clone())
        };
        let happened = format!("SELECT count(*) AS count FROM idempotency WHERE key = '{key}'");
        deaf.lose_reply(&environment, call(&key), &happened);
        let answer = call(&key).ok().json();
        let again = call(&key).ok().json();
        assert_eq!(environment.count("SELECT count(*) AS count FROM audit WHERE action = 'token.reuse'"), 0);
        let (first, second) = (secret(&answer), secret(&again));
        assert_eq!([status(&environment, &first), status(&environment, &second)], [401, 200]);
        assert_eq!(again["predecessor"]["successor_id"], again["token"]["id"]);
        assert_eq!(again["predecessor"]["grace_ends_at"], answer["predecessor"]["grace_ends_at"], "the terms stand");
        assert_eq!(again["token"]["family_id"], again["predecessor"]["id"]);
        environment.tok(&["token", "revoke", "--force", &second[..11]]).acting_as("will").ok();
    }
    assert_eq!(live(&environment), before);
}

#[test]
fn a_key_is_no_way_around_the_alarm() {
    let environment = acme();
    let old = environment.token("will", &["--scopes", "repo:read,token:write"]);
    let rotate = |key: &str| {
        let call = environment.tok(&["token", "rotate", "--output", "json", &old[..11], "--idempotency-key", key]);
        call.variable("TOK_TOKEN", old.clone())
    };
    let alarms = || environment.count("SELECT count(*) AS count FROM audit WHERE action = 'token.reuse'");
    let first = rotate("mine").ok().json();
    // The key lets it in to rotate, and to nothing else.
    let new = secret(&first);
    assert_eq!(first["token"]["state"], Value::from("active"));
    assert_eq!((status(&environment, &new), alarms()), (200, 0));
    // The successor is used: whoever repeats this now is somebody else.
    rotate("mine").fails(3);
    assert_eq!((status(&environment, &new), alarms()), (401, 1));

    let old = environment.token("will", &["--scopes", "repo:read,token:write"]);
    let rotate = |key: &str| {
        let call = environment.tok(&["token", "rotate", "--output", "json", &old[..11], "--idempotency-key", key]);
        call.variable("TOK_TOKEN", old.clone())
    };
    rotate("theirs").ok();
    rotate("another").fails(3);
    assert_eq!(alarms(), 2);
}

/// Lets somebody ask whose connection is cut when what they asked for under such a key has been done, and before they are
/// told.
fn cut(environment: &Environment, proxy: &Proxy, key: &str, ask: impl FnOnce() -> bool + Send) {
    proxy.swallow();
    thread::scope(|scope| {
        let asking = scope.spawn(ask);
        let done = format!("SELECT count(*) AS count FROM idempotency WHERE key ~ '^{key}$'");
        wait::until_true("it is done", || environment.count(&done) == 1);
        proxy.hang_up();
        assert!(asking.join().unwrap(), "no answer came");
    });
}

#[test]
fn a_rotation_cut_off_between_request_and_reply_is_repeated_by_every_remote_door() {
    let environment = acme();
    let before = live(&environment);
    let proxy = Proxy::start(environment.address());
    let old = || environment.token("will", &["--scopes", "repo:read,token:write"]);
    let alarms = || environment.count("SELECT count(*) AS count FROM audit WHERE action = 'token.reuse'");
    let ends_well = |door: &str, raised: i64, old: &str, new: &str| {
        assert_eq!((live(&environment), alarms()), (before + 1, raised), "{door}: one live token, and no alarm");
        assert_eq!([status(&environment, new), status(&environment, new)], [200, 200], "{door}");
        // Who presents what was given up raises the alarm, which ends the new one, too.
        assert_eq!([status(&environment, old), status(&environment, new)], [401, 401], "{door}");
        assert_eq!((live(&environment), alarms()), (before, raised + 1), "{door}");
    };

    let token = old();
    let target = format!("/v1/tokens/{}/rotate", &token[..11]);
    let rotate = Request::json("POST", target, &serde_json::json!({})).bearer(&token).header("Idempotency-Key", "http");
    cut(&environment, &proxy, "http", || rotate.attempt(proxy.address()).is_none());
    let reply = rotate.send(proxy.address());
    assert_eq!(reply.status, 201, "{}", reply.text());
    ends_well("HTTP", 0, &token, &secret(&reply.json()));

    let token = old();
    let message = [field(1, &token.as_bytes()[..11]), field(4, b"grpc")].concat();
    let bearer = format!("Bearer {token}");
    let rotate = || {
        let mut channel = Channel::through(&environment, proxy.address());
        channel.attempt("tok.v1.TokenService/Rotate", &message, &[("authorization", &bearer)])
    };
    cut(&environment, &proxy, "grpc", || rotate().is_none());
    let answer = rotate().unwrap();
    assert_eq!(answer.status(), 0, "{answer:?}");
    ends_well("gRPC", 1, &token, &text(&fields(&answer.messages[0]), 1));

    // Typed once, without a key: the command line has one of its own, and asks again by itself.
    for (raised, key) in [(2, "cli"), (3, "[0-9a-f]{32}")] {
        let token = old();
        let call = environment.tok(&["token", "rotate", &token[..11]]).without("TOK_SOCKET");
        let call =
            call.variable("TOK_SERVER", format!("http://{}", proxy.address())).variable("TOK_TOKEN", token.clone());
        let call = if key == "cli" { call.variable("TOK_IDEMPOTENCY_KEY", key) } else { call };
        let mut new = String::new();
        cut(&environment, &proxy, key, || {
            call.ok().line().clone_into(&mut new);
            true
        });
        ends_well("the command line", raised, &token, &new);
    }
}
