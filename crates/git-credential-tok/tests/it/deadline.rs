//! Git must never wait for longer than `TOK_TIMEOUT_MS`, whatever the other side does.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::kit::{Outcome, REQUEST, Silent, helper, read_request, run};

/// Long enough for a loaded machine to start a process, far below the 2 s that stand without the variable.
const LIMIT: Duration = Duration::from_millis(300);
/// What nobody would call "at the deadline" any more.
const FAR_TOO_LONG: Duration = Duration::from_secs(30);

fn impatient(silent: &Silent) -> Command {
    let mut command = helper();
    command.env("TOK_SOCKET", silent.path()).env("TOK_TIMEOUT_MS", LIMIT.as_millis().to_string());
    command
}

/// Nothing for git, one line for the person, not before the deadline and not long after.
fn assert_gave_up(start: Instant, outcome: &Outcome) {
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.starts_with("tok: no answer within 300 ms"), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1);
    assert!((LIMIT..FAR_TOO_LONG).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn a_daemon_that_never_accepts() {
    let (silent, start) = (Silent::bind(), Instant::now());
    let outcome = run(impatient(&silent).arg("get"), REQUEST);
    assert_gave_up(start, &outcome);
}

#[test]
fn a_daemon_with_a_full_queue() {
    let silent = Silent::bind();
    rustix::net::listen(silent.listener(), 0).unwrap();
    let address = rustix::net::SocketAddrUnix::new(silent.path()).unwrap();
    let mut waiting = Vec::new();
    loop {
        let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM);
        let socket = rustix::net::socket_with(family, kind, rustix::net::SocketFlags::NONBLOCK, None).unwrap();
        match rustix::net::connect(&socket, &address) {
            Ok(()) => waiting.push(socket),
            Err(error) => {
                assert_eq!(error, rustix::io::Errno::AGAIN);
                break;
            }
        }
    }
    let start = Instant::now();
    let outcome = run(impatient(&silent).arg("get"), REQUEST);
    assert_gave_up(start, &outcome);
}

#[test]
fn a_daemon_that_stops_in_the_middle() {
    let (silent, start) = (Silent::bind(), Instant::now());
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = silent.listener().accept().unwrap();
            read_request(&mut stream);
            stream.write_all(b"username=ann\npassword=tokgit_x\n").unwrap();
            // No end of file until the helper has hung up: asking for no event leaves only that one.
            poll(&mut [PollFd::new(&stream, PollFlags::empty())], None).unwrap();
        });
        run(impatient(&silent).arg("get"), REQUEST)
    });
    assert_gave_up(start, &outcome);
}

#[test]
fn a_daemon_that_never_stops() {
    let silent = Silent::bind();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = silent.listener().accept().unwrap();
            read_request(&mut stream);
            while stream.write_all(b"username=ann\n").is_ok() {}
        });
        run(helper().env("TOK_SOCKET", silent.path()).env("TOK_TIMEOUT_MS", "60000").arg("get"), REQUEST)
    });
    assert_eq!(outcome.stdout, "");
    assert_eq!(outcome.stderr, "tok: tokd's answer was not used: more than 65536 bytes in all; see `tok status`\n");
}

#[test]
fn a_git_that_never_ends_its_request() {
    let (silent, start) = (Silent::bind(), Instant::now());
    let mut command = impatient(&silent);
    let mut child =
        command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(REQUEST.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert!(output.status.success());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert_gave_up(start, &Outcome { stdout: text(output.stdout), stderr: text(output.stderr) });
    assert!(!silent.was_reached());
}

#[test]
fn storing_for_another_server_does_not_hang_either() {
    let (silent, start) = (Silent::bind(), Instant::now());
    let outcome = run(impatient(&silent).arg("store"), "protocol=https\nhost=h\nusername=a\npassword=b\n");
    assert_gave_up(start, &outcome);
}
