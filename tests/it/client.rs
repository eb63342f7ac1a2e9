//! `tok-api` as another program uses it: who it says it is, what it makes of failures, and whom it does not speak to.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::{fs, thread};

use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use tok_api::client::{Caller, Client, Place};
use tok_api::convert::{PageAsk, TokenDraft, TokenFilter};
use tok_api::endpoint::Surroundings;
use tok_api::fault::{Fault, FaultCode};

use crate::cli::acme;

fn at(socket: &Path) -> Surroundings {
    Surroundings { explicit: Some(socket.to_owned()), ..Surroundings::default() }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn calls_carry_who_calls_and_answers_come_back() {
    let environment = acme();
    let surroundings = at(&environment.socket());
    let text = environment.token("alice", &["--scopes", "repo:read,token:read,token:write"]);
    now(async {
        let peer = Client::connect(&surroundings, &Caller::default()).await.unwrap().whoami().await.unwrap();

        let as_bob = Caller { act_as: Some("bob".parse().unwrap()), ..Caller::default() };
        let mut client = Client::connect(&surroundings, &as_bob).await.unwrap();
        assert_eq!(client.whoami().await.unwrap().user.as_deref(), Some("bob"), "the caller by itself is {peer:?}");

        let holder = Caller { token: Some(SecretString::from(text.as_str())), act_as: None };
        let mut client = Client::connect(&surroundings, &holder).await.unwrap();
        assert!(!format!("{client:?}{holder:?}").contains(&text[11..]));
        for name in ["one", "two", "three"] {
            let scopes = vec!["repo:read".to_owned()];
            let draft = TokenDraft { name: name.to_owned(), scopes, ..TokenDraft::default() };
            let made = client.create_token(draft).await.unwrap();
            assert_eq!((made.token.name.as_str(), made.token.user.as_deref()), (name, Some("alice")));
            environment.canaries().register("a token of the client", made.secret.expose_secret());
        }
        let mut names = Vec::new();
        let mut cursor = None;
        loop {
            let page = client.list_tokens(TokenFilter::default(), PageAsk { size: Some(2), cursor }).await.unwrap();
            assert!(page.rows.len() <= 2);
            names.extend(page.rows.into_iter().map(|token| token.name));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(names, ["three", "two", "one", "a test's"]);
    });
}

#[test]
fn failures_arrive_as_they_were_sent() {
    let environment = acme();
    let tokens = [environment.token("alice", &[]), environment.token("alice", &[])];
    now(async {
        let mut client = Client::connect(&at(&environment.socket()), &Caller::default()).await.unwrap();
        let fault = client.show_token("tokpat_".to_owned()).await.unwrap_err();
        assert_eq!((fault.code, fault.matches.len()), (FaultCode::Ambiguous, 2), "{fault:?}");
        for text in &tokens {
            assert!(fault.matches.iter().any(|found| found.contains(&text[..11])), "{fault:?}");
        }
        let fault = client.show_token("tokpat_0000".to_owned()).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::NotFound);
        assert!(fault.hint.is_some());

        let draft = TokenDraft { name: String::new(), ..TokenDraft::default() };
        let fault = client.create_token(draft).await.unwrap_err();
        assert_eq!((fault.code, fault.field.as_deref()), (FaultCode::InvalidArgument, Some("name")));

        let dead = Caller { token: Some(SecretString::from(tokens[0].as_str())), act_as: None };
        client.revoke_token(tokens[0][..11].to_owned(), None, false).await.unwrap();
        let mut client = Client::connect(&at(&environment.socket()), &dead).await.unwrap();
        assert_eq!(client.whoami().await.unwrap_err().code, FaultCode::Unauthenticated);
    });
}

#[test]
fn nobody_there_is_unavailable_and_says_where_it_looked() {
    let directory = TempDir::new().unwrap();
    let fault = |socket: &Path| now(Client::connect(&at(socket), &Caller::default())).unwrap_err();
    let missing = fault(&directory.path().join("none.sock"));
    assert_eq!(missing.code, FaultCode::Unavailable);
    assert!(missing.message.contains("none.sock (no such socket)"), "{}", missing.message);

    let dead = directory.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let dead = fault(&dead);
    assert!(dead.message.contains("nobody listens there any more"), "{}", dead.message);
    assert_eq!(fault(&directory.path().join("x".repeat(200))).code, FaultCode::Unavailable);
}

#[test]
fn a_stale_socket_does_not_hide_a_living_one() {
    let environment = acme();
    let [runtime, state] = ["runtime", "state"].map(|name| environment.path(name));
    for directory in [&runtime, &state] {
        fs::create_dir_all(directory.join("tok")).unwrap();
    }
    drop(UnixListener::bind(runtime.join("tok/agent.sock")).unwrap());
    std::os::unix::fs::symlink(environment.socket(), state.join("tok/tokd.sock")).unwrap();
    let surroundings =
        Surroundings { runtime_dir: Some(runtime.clone()), state_home: Some(state.clone()), ..Surroundings::default() };
    now(async {
        // An installed daemon on the machine that runs the test would answer first, and rightly so.
        let client = Client::connect(&surroundings, &Caller::default()).await.unwrap();
        let Place::Socket(socket) = client.place() else { panic!("{:?}", client.place()) };
        assert!(*socket != runtime.join("tok/agent.sock"));
        if socket.starts_with(&state) {
            // git's helper does not look there by itself; and a named socket it always has to be told of.
            assert_eq!(surroundings.unknown_to_helper().await.as_ref(), Some(socket));
        }
        let named = Surroundings { explicit: Some("relative.sock".into()), ..surroundings.clone() };
        assert!(named.unknown_to_helper().await.unwrap().is_absolute());
        let known = Surroundings { explicit: Some("/run/tok/tokd.sock".into()), ..surroundings };
        assert_eq!(known.unknown_to_helper().await, None);
    });
}

#[test]
fn who_hangs_up_or_says_something_else_is_unavailable_and_never_a_refusal() {
    let directory = TempDir::new().unwrap();
    for greeting in [&b""[..], b"quit=1\n\n", b"HTTP/1.1 401 Unauthorized\r\n\r\n"] {
        let socket = directory.path().join(format!("{}.sock", greeting.len()));
        let listener = UnixListener::bind(&socket).unwrap();
        let other = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // What was asked is taken in first: hanging up on unread bytes is another failure.
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(greeting).unwrap();
        });
        let outcome: Result<(), Fault> = now(async {
            let mut client = Client::connect(&at(&socket), &Caller::default()).await?;
            client.list_tokens(TokenFilter::default(), PageAsk::default()).await.map(|_| ())
        });
        let fault = outcome.unwrap_err();
        other.join().unwrap();
        assert_eq!(fault.code, FaultCode::Unavailable, "{greeting:?}: {fault:?}");
    }
}
