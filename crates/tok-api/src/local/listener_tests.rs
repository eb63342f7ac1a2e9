//! The local socket as its clients see it.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;

const SOON: Duration = Duration::from_millis(150);
const NEVER: Duration = Duration::from_secs(30);

struct Server {
    _directory: TempDir,
    path: PathBuf,
    stop: CancellationToken,
    done: JoinHandle<Drained>,
}

/// Answers with the language it saw and the peer, then with all it was sent.
async fn echo(connection: LocalConnection, peer: PeerCredentials) {
    let (name, mut stream) = match connection {
        LocalConnection::Grpc(stream) => ("grpc", stream),
        LocalConnection::Helper(stream) => ("helper", stream),
        LocalConnection::Unknown(stream) => ("unknown", stream),
    };
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    let answer = format!("{name} {} {} {:?}: {all}", peer.uid, peer.gid, peer.pid);
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

async fn start(limits: SocketLimits, drain: Duration) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = LocalListener::bind(&path, 0o666, limits).await.unwrap();
    let stop = CancellationToken::new();
    let done = tokio::spawn(listener.serve(echo, stop.clone(), drain));
    Server { _directory: directory, path, stop, done }
}

async fn say(stream: &mut UnixStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    rest(stream).await
}

async fn rest(stream: &mut UnixStream) -> String {
    let mut all = Vec::new();
    let reading = async { while let Ok(1..) = stream.read_buf(&mut all).await {} };
    timeout(NEVER, reading).await.expect("the server closes the connection");
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn both_languages_are_told_apart_and_the_peer_is_known() {
    let server = start(SocketLimits::default(), NEVER).await;
    let (uid, gid, pid) = (nix::unistd::geteuid(), nix::unistd::getegid(), std::process::id());
    for (sent, name) in [
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes", "grpc"),
        ("tok/1 get\nhost=x\n\n", "helper"),
        ("tok/2 get\n", "unknown"),
        ("GET / HTTP/1.1\r\n\r\n", "unknown"),
    ] {
        let mut stream = UnixStream::connect(&server.path).await.unwrap();
        assert_eq!(say(&mut stream, sent).await, format!("{name} {uid} {gid} Some({pid}): {sent}"));
    }
}

#[tokio::test]
async fn who_says_nothing_is_closed_and_hinders_nobody() {
    let server = start(SocketLimits { first_bytes: SOON, ..SocketLimits::default() }, NEVER).await;
    let mut silent = UnixStream::connect(&server.path).await.unwrap();
    let mut dribbling = UnixStream::connect(&server.path).await.unwrap();
    dribbling.write_all(b"tok").await.unwrap();
    let mut quick = UnixStream::connect(&server.path).await.unwrap();
    assert!(say(&mut quick, "tok/1 get\n").await.starts_with("helper"));
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut dribbling).await, "");
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_gets_a_place_back() {
    let mut users = Users { limit: 2, ..Users::default() };
    let peer = |uid| PeerCredentials { uid, gid: 1, pid: None };
    let first = users.enter(peer(1000)).unwrap();
    let _second = users.enter(peer(1000)).unwrap();
    assert!(users.enter(peer(1000)).is_none());
    // Neither another user nor root is affected.
    assert!(users.enter(peer(1001)).is_some());
    let roots: Vec<User> = (0..9).filter_map(|_| users.enter(peer(0))).collect();
    assert_eq!(roots.len(), 9);
    drop(first);
    assert!(users.enter(peer(1000)).is_some());
}

#[tokio::test]
async fn at_the_cap_new_connections_wait() {
    let server = start(SocketLimits { connections: 1, ..SocketLimits::default() }, NEVER).await;
    let mut first = UnixStream::connect(&server.path).await.unwrap();
    let mut second = UnixStream::connect(&server.path).await.unwrap();
    second.write_all(b"tok/1 get\n").await.unwrap();
    second.shutdown().await.unwrap();
    assert!(timeout(SOON, second.read_u8()).await.is_err(), "the second is served beside the first");
    assert!(say(&mut first, "tok/1 store\n").await.starts_with("helper"));
    assert!(rest(&mut second).await.starts_with("helper"));
}

#[tokio::test]
async fn stopping_removes_the_socket_and_lets_conversations_finish() {
    let server = start(SocketLimits::default(), NEVER).await;
    let mut held = UnixStream::connect(&server.path).await.unwrap();
    held.write_all(b"tok/1 get\n").await.unwrap();
    let _silent = UnixStream::connect(&server.path).await.unwrap();
    // Connections are taken in order: once this one is answered, the first is being handled.
    let mut probe = UnixStream::connect(&server.path).await.unwrap();
    assert!(say(&mut probe, "tok/1 get\n").await.starts_with("helper"));
    server.stop.cancel();
    while server.path.exists() {
        tokio::task::yield_now().await;
    }
    assert!(say(&mut held, "more").await.ends_with("tok/1 get\nmore"));
    assert_eq!(timeout(NEVER, server.done).await.unwrap().unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn who_does_not_finish_in_time_is_cut() {
    let server = start(SocketLimits::default(), SOON).await;
    let mut held = UnixStream::connect(&server.path).await.unwrap();
    held.write_all(b"tok/1 get\n").await.unwrap();
    let mut probe = UnixStream::connect(&server.path).await.unwrap();
    assert!(say(&mut probe, "tok/1 get\n").await.starts_with("helper"));
    server.stop.cancel();
    assert_eq!(timeout(NEVER, server.done).await.unwrap().unwrap(), Drained { cut: 1 });
    assert_eq!(rest(&mut held).await, "");
}

#[tokio::test]
async fn a_socket_passed_by_systemd_is_served_and_left_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let passed = UnixListener::bind(&path).unwrap();
    let listener = LocalListener::inherited(passed, SocketLimits::default()).unwrap();
    let stop = CancellationToken::new();
    let done = tokio::spawn(listener.serve(echo, stop.clone(), NEVER));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert!(say(&mut stream, "tok/1 get\n").await.starts_with("helper"));
    stop.cancel();
    done.await.unwrap();
    assert!(path.exists() && !directory.path().join("s.lock").exists());
}
