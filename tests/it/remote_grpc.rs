//! gRPC on the remote address, as a client speaks it that knows nothing of tok: it reads the services and their
//! messages from reflection, byte by byte.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use hyper::body::Body as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tok_tests::environment::Environment;
use tok_tests::normalise::invented_token;
use tok_tests::{processes, wait};

pub(crate) use tok_tests::grpc::{Answer, Channel, each, field, fields, http_body, last, text, varint};

// ---- reflection ---------------------------------------------------------------------------------------------------------

/// The methods and the messages that a file declares, as `service/method` and full names.
pub(crate) fn declared(file: &[u8]) -> (Vec<(String, [String; 2])>, Vec<String>) {
    let file = fields(file);
    let package = text(&file, 2);
    let mut methods = Vec::new();
    for service in each(&file, 6) {
        let service = fields(&service);
        for method in each(&service, 2) {
            let method = fields(&method);
            let types = [2, 3].map(|number| text(&method, number).trim_start_matches('.').to_owned());
            methods.push((format!("{package}.{}/{}", text(&service, 1), text(&method, 1)), types));
        }
    }
    let messages = each(&file, 4).iter().map(|message| format!("{package}.{}", text(&fields(message), 1))).collect();
    (methods, messages)
}

#[test]
fn a_client_that_knows_nothing_finds_every_service_and_can_call_every_method() {
    let environment = Environment::tls();
    let token = environment.token("root", &["--scopes", "all"]);
    let bearer = format!("Bearer {token}");
    let mut channel = Channel::open(&environment);
    for version in ["v1", "v1alpha"] {
        let listed = channel.reflect(version, &field(7, b""), 6);
        let services: Vec<String> = each(&listed, 1).iter().map(|service| text(&fields(service), 1)).collect();
        for ours in ["Token", "Identity", "Authorization", "Audit", "Session"] {
            assert!(services.contains(&format!("tok.v1.{ours}Service")), "{services:?}");
        }
        assert!(services.contains(&"grpc.health.v1.Health".to_owned()), "{services:?}");

        let mut methods = 0;
        for service in &services {
            // Every service is in a file, and every type that its methods take and give is in one, too.
            let files = channel.reflect(version, &field(4, service.as_bytes()), 4);
            let (found, _) = declared(&last(&files, 1));
            for (method, types) in found.into_iter().filter(|(method, _)| method.starts_with(&format!("{service}/"))) {
                for name in types {
                    let files = channel.reflect(version, &field(4, name.as_bytes()), 4);
                    let (_, messages) = declared(&last(&files, 1));
                    assert!(messages.contains(&name), "{name} is not in the file that declares it: {messages:?}");
                }
                // An empty message is the first thing that such a client sends. No method is missing, and none falls over.
                if service.starts_with("tok.") {
                    // A stream that its server keeps open ends with the deadline.
                    let deadline = if method.ends_with("/Watch") { "200m" } else { "20S" };
                    let answer = channel.call(&method, b"", &[("authorization", &bearer), ("grpc-timeout", deadline)]);
                    let (status, message) = (answer.status(), answer.metadata.get("grpc-message"));
                    let built = message.is_none_or(|message| message != "not%20in%20this%20version");
                    assert!(![2, 13].contains(&status) && (status != 12 || !built), "{method}: {answer:?}");
                    methods += 1;
                }
            }
        }
        assert!(methods > 30, "{methods}");
    }
    // A file by its name, and what does not exist.
    let files = channel.reflect("v1", &field(3, b"tok/v1/tokens.proto"), 4);
    assert!(declared(&last(&files, 1)).0.iter().any(|(method, _)| method == "tok.v1.TokenService/Create"));
    let method = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    assert_eq!(channel.call(method, &field(4, b"tok.v1.NoSuchService"), &[]).status(), 5);
}

#[test]
fn callers_are_known_by_their_tokens_and_failures_carry_their_facts() {
    let environment = Environment::tls();
    environment.users(&["alice"]);
    let (mine, alice) = (environment.token("root", &["--scopes", "all"]), environment.token("alice", &[]));
    let mut channel = Channel::open(&environment);
    let whoami = "tok.v1.IdentityService/Whoami";
    let basic = |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    for presented in [format!("Bearer {alice}"), basic("x", &alice), basic(&alice, ""), basic(&alice, "x-oauth-basic")]
    {
        let answer = channel.call(whoami, b"", &[("authorization", &presented)]);
        assert_eq!(answer.status(), 0, "{answer:?}");
        assert!(String::from_utf8_lossy(&answer.messages[0]).contains("alice"));
    }
    // This machine's root is nobody here without a token; and nobody becomes somebody by asking for it.
    for metadata in [&[][..], &[("tok-as", "alice")], &[("x-forwarded-for", "203.0.113.7")]] {
        let answer = channel.call(whoami, b"", metadata);
        assert_eq!((answer.status(), answer.fault_code().as_str()), (16, "unauthenticated"));
    }
    for bad in [format!("Bearer {}", invented_token()), "Bearer x".to_owned(), "Digest x".to_owned()] {
        assert_eq!(channel.call(whoami, b"", &[("authorization", &bad)]).status(), 16, "{bad}");
    }
    let manager = format!("Bearer {mine}");
    let users = "tok.v1.IdentityService/ListUsers";
    assert_eq!(channel.call(users, b"", &[("authorization", &manager)]).status(), 0);
    let refused = channel.call(users, b"", &[("authorization", &format!("Bearer {alice}"))]);
    assert_eq!((refused.status(), refused.fault_code().as_str()), (7, "forbidden"));
    // The field at fault is named.
    let show = "tok.v1.TokenService/Show";
    let named = "tok.v1.IdentityService/ShowUser";
    let wrong = channel.call(named, &field(1, b".."), &[("authorization", &manager)]);
    assert_eq!((wrong.status(), wrong.fault()[&4].as_slice()), (3, &b"name"[..]));
    // A manager acts as another, with the other's authority; nobody else does.
    let as_alice = |bearer: &str| [("authorization", bearer.to_owned()), ("tok-as", "alice".to_owned())];
    for (bearer, method, status) in [
        (format!("Bearer {mine}"), whoami, 0),
        (format!("Bearer {mine}"), users, 7),
        (format!("Bearer {alice}"), whoami, 0),
    ] {
        let metadata = as_alice(&bearer);
        let metadata: Vec<_> = metadata.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = channel.call(method, b"", &metadata);
        assert_eq!(answer.status(), status, "{method} {answer:?}");
        assert!(status != 0 || String::from_utf8_lossy(&answer.messages[0]).contains("alice"), "{answer:?}");
    }
    let other = [("authorization", format!("Bearer {alice}")), ("tok-as", "root".to_owned())];
    let other: Vec<_> = other.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(channel.call(whoami, b"", &other).status(), 7);
    assert_eq!(channel.call(show, &field(1, b"tokpat_0000"), &[("authorization", &manager)]).status(), 5);
}

#[test]
fn limits_hold_for_strangers() {
    let environment = Environment::tls();
    let token = environment.token("root", &["--scopes", "all"]);
    let bearer = format!("Bearer {token}");
    let mut channel = Channel::open(&environment);
    // A message beyond 64 KiB is refused by its size. (The token service takes more, for what is imported.)
    let large = field(1, &vec![b'x'; 70_000]);
    let answer = channel.call("tok.v1.IdentityService/ShowUser", &large, &[("authorization", &bearer)]);
    assert!([8, 11].contains(&answer.status()), "{answer:?}");
    // A deadline that has passed is one.
    let late =
        channel.call("tok.v1.IdentityService/ServerStatus", b"", &[("authorization", &bearer), ("grpc-timeout", "1n")]);
    assert_eq!((late.status(), late.fault_code().as_str()), (4, "unavailable"));
    // What is no service, and what is no gRPC.
    assert_eq!(channel.call("tok.v1.NoService/No", b"", &[]).status(), 12);
    let request = |kind: &str| {
        let request = tok_tests::http::Request::post("/tok.v1.IdentityService/Whoami", kind, Vec::new());
        environment.send(&request)
    };
    assert_eq!(request("application/grpc").status, 505);
    assert_eq!(request("application/grpc-web+proto").status, 415);
    // Headers as large as nobody needs.
    let long = "x".repeat(40_000);
    let refused = channel.call("tok.v1.IdentityService/Whoami", b"", &[("x-long", &long)]);
    assert_eq!(refused.http, 431, "{refused:?}");
}

#[test]
fn health_follows_the_database_also_in_the_clear() {
    let environment = Environment::dev();
    let mut channel = Channel::open(&environment);
    let check = "grpc.health.v1.Health/Check";
    let serving = |answer: &Answer| text(&fields(&answer.messages[0]), 1);
    for service in ["", "tok.v1.TokenService", "tok.v1.AuditService"] {
        let answer = channel.call(check, &field(1, service.as_bytes()), &[]);
        assert_eq!((answer.status(), serving(&answer).as_str()), (0, "1"), "{service}");
    }
    assert_eq!(channel.call(check, &field(1, b"tok.v1.Nothing"), &[]).status(), 5);
    // The database falls silent, and comes back.
    let database: Vec<_> =
        processes::tree(environment.pid()).into_iter().filter(|process| process.pid != environment.pid()).collect();
    assert!(database.len() > 1, "{database:?}");
    let signal = |signal| {
        for process in &database {
            // One that has ended since needs no signal.
            let _ = kill(Pid::from_raw(process.pid), signal);
        }
    };
    signal(Signal::SIGSTOP);
    wait::until_true("health notices that the database is silent", || serving(&channel.call(check, b"", &[])) == "2");
    signal(Signal::SIGCONT);
    wait::until_true("health notices that it is back", || serving(&channel.call(check, b"", &[])) == "1");
}

#[test]
fn a_watcher_of_health_is_told_at_once_and_does_not_keep_the_server_from_stopping() {
    let environment = Environment::dev();
    let mut channel = Channel::open(&environment);
    let request = Request::post(format!("http://{}/grpc.health.v1.Health/Watch", environment.host()))
        .header("content-type", "application/grpc")
        .body(http_body::Full(Some(vec![0; 5].into())))
        .unwrap();
    let Channel { runtime, sender, .. } = &mut channel;
    let mut response = runtime.block_on(sender.send_request(request)).unwrap();
    let mut told = || {
        let body = response.body_mut();
        runtime.block_on(std::future::poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)))
    };
    let serving = [0, 0, 0, 0, 2, 8, 1];
    assert_eq!(told().unwrap().unwrap().into_data().unwrap(), &serving[..]);
    let began = Instant::now();
    kill(Pid::from_raw(environment.pid()), Signal::SIGTERM).unwrap();
    assert_eq!(told().unwrap().unwrap().into_data().unwrap(), &[0, 0, 0, 0, 2, 8, 2][..], "it is told of the end");
    drop(told());
    drop(channel);
    assert!(environment.take_daemon().wait().success());
    assert!(began.elapsed() < Duration::from_secs(25), "it waited for its watcher");
}
