//! What an attacker has tried against credential helpers before, S1 to S20, as far as it is the helper's to stop.
//! Which hosts and repositories get a token is the daemon's decision; there the helper must only not blur the question.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::kit::{Daemon, HELPER, REQUEST, Silent, helper, is_root, read_request, run};

#[test]
fn malformed_requests_get_no_answer_and_reach_no_daemon() {
    let silent = Silent::bind();
    let line = |length: usize| format!("protocol=https\nhost=h\npath={}\n", "x".repeat(length));
    let many = format!("protocol=https\nhost=h\n{}", "wwwauth[]=Basic realm=x\n".repeat(20_000));
    let cases: &[(&str, &[u8])] = &[
        ("S1 a second host", b"protocol=https\nhost=git.example.com\nhost=evil.example\n"),
        ("S1 a second protocol", b"protocol=https\nprotocol=http\nhost=h\n"),
        ("S1 a second path", b"protocol=https\nhost=h\npath=a/b\npath=a/c\n"),
        ("S1 a second user name", b"protocol=https\nhost=h\nusername=a\nusername=b\n"),
        ("S1 through url", b"url=https://h/a\nhost=evil.example\n"),
        ("S2 nothing", b""),
        ("S2 a blank line first", b"\nprotocol=https\nhost=h\n"),
        ("S2 no host", b"protocol=https\n"),
        ("S2 an empty host", b"protocol=https\nhost=\n"),
        ("S2 no protocol", b"host=h\n"),
        ("S2 an empty protocol", b"protocol=\nhost=h\n"),
        ("S2 a url without scheme", b"url=git.example.com/a/b\n"),
        ("S2 a certificate", b"protocol=cert\nhost=\npath=/x.pem\n"),
        ("S3 CR in the host", b"protocol=https\nhost=good\rhost=evil\n"),
        ("S3 two CR before LF", b"protocol=https\nhost=h\r\r\n"),
        ("S3 NUL", b"protocol=https\nhost=h\0evil\n"),
        ("S3 escape", b"protocol=https\nhost=h\nusername=\x1b[2J\n"),
        ("S3 DEL", b"protocol=https\nhost=h\npath=a\x7f/b\n"),
        ("S3 in an unknown key", b"protocol=https\nhost=h\nfuture=\x01\n"),
        ("S5 an encoded line break", b"url=https://h%0ahost=evil/a\n"),
        ("S5 an encoded NUL", b"url=https://h/a%00/b\n"),
        ("S6 no key", b"protocol=https\nhost=h\nnonsense\n"),
        ("S6 not UTF-8", b"protocol=https\nhost=\xff\xfe\n"),
        ("S11 a long line", &line(65_536).into_bytes()),
        ("S11 a line longer than everything", &line(300_000).into_bytes()),
        ("S11 many lines", many.as_bytes()),
    ];
    for (name, input) in cases {
        for operation in ["get", "store", "erase"] {
            let outcome = run(helper().env("TOK_SOCKET", silent.path()).arg(operation), input);
            assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""), "{name}");
        }
    }
    assert!(!silent.was_reached());
}

#[test]
fn the_reason_is_told_to_who_asks_for_it_without_the_value() {
    let input = "protocol=https\nhost=sekrit\nhost=sekrit\n";
    let outcome = run(helper().env("TOK_LOG", "debug").arg("get"), input);
    assert_eq!(outcome.stderr, "tok: git's request was refused: the key host came more than once\n");
}

#[test]
fn lines_at_the_limit_are_relayed_whole() {
    // S11: one KiB and 64 KiB were the sizes of other helpers' buffers.
    for length in [1_023, 1_024, 1_025, 8_191, 8_192, 65_529] {
        let daemon = Daemon::answering("");
        let input = format!("protocol=https\nhost=h\nwwwauth[]=x\npath={}\n", "x".repeat(length));
        let outcome = daemon.ask(&["get"], &input);
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
        assert!(daemon.request().contains(&format!("\npath={}\n", "x".repeat(length))), "{length}");
    }
}

#[test]
fn hostile_values_travel_as_values() {
    // S8, S9, S12 to S17: who looks like our host, paths that could be two, words that look like options or shell text,
    // challenges that ask for too much, states that are not ours. All reach the daemon as git said them.
    let input = "protocol=https\nhost=-oProxyCommand=x@git.example.com.:443\npath=o/../r?x=1#f\nusername=--help;$(id)`id`\n\
                 state[]=tok:\nstate[]=other:1\nwwwauth[]=Bearer realm=\"tok\", scope=\"repo:admin all\n";
    let daemon = Daemon::answering("");
    let outcome = daemon.ask(&["get"], input);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    assert!(daemon.request().starts_with(&format!("tok/1 get\n{input}agent=")));
}

#[test]
fn a_broken_answer_is_not_passed_on() {
    let huge = format!("username=ann\npassword={}\n", "x".repeat(66_000));
    for answer in [
        "username=ann\npassword=tokgit_x",
        "username=ann\npassword=tokgit_x\noops\n",
        "username=ann\npassword=a\rb\n",
        "password=a\npassword=b\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\0\0\u{12}\u{4}\0\0\0\0\0",
        &huge,
    ] {
        let outcome = Daemon::answering(answer).ask(&["get"], REQUEST);
        assert_eq!(outcome.stdout, "", "{answer:.60}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        assert!(!outcome.stderr.contains("tokgit_x"), "{outcome:?}");
    }
}

#[test]
fn a_message_cannot_drive_the_terminal() {
    // S10: C1 control characters are legal UTF-8, and some terminals obey them.
    let outcome = Daemon::answering("message=a\u{9b}2Jb\n").ask(&["get"], REQUEST);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", "tok: a\\u{9b}2Jb\n"));
}

#[test]
fn a_daemon_that_hangs_up_leaves_nothing_on_stdout() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        // Closing with unread input resets the connection, whatever was written before.
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"username=ann\npassword=tok").unwrap();
        drop(stream);
    });
    let outcome = run(helper().env("TOK_SOCKET", &path).arg("get"), REQUEST);
    server.join().unwrap();
    assert_eq!(outcome.stdout, "");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
}

/// Copies a program. Not with a descriptor of this process's: what other tests start at the same moment would hold it open
/// for a while, and a program that is written to cannot be run.
fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().unwrap().success());
}

/// The helper as another user, copied to where that user may read it. Only root can play other users.
fn as_nobody(directory: &TempDir) -> Command {
    let copy = directory.path().join("git-credential-tok");
    copy_program(Path::new(HELPER), &copy);
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(copy);
    command.env_clear();
    if is_root() {
        command.uid(65_534);
    }
    command
}

#[test]
fn a_chosen_socket_that_keeps_us_out_is_worth_one_line() {
    let (directory, silent) = (TempDir::new().unwrap(), Silent::bind());
    std::fs::set_permissions(silent.path(), Permissions::from_mode(0o000)).unwrap();
    let outcome = run(as_nobody(&directory).env("TOK_SOCKET", silent.path()).arg("get"), REQUEST);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.starts_with("tok: not allowed to connect to "), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1);
}

#[test]
fn roots_socket_is_trusted_and_the_process_cannot_be_dumped() {
    // S18, S19. Without root the daemon is the user's own, which is as good.
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        let peer = rustix::net::sockopt::socket_peercred(&stream).unwrap();
        // The kernel gives the files of a process that must not be dumped to root.
        let owner = std::fs::metadata(format!("/proc/{}/environ", peer.pid)).unwrap().uid();
        stream.write_all(b"username=ann\npassword=tokgit_x\n").unwrap();
        owner
    });
    let outcome = run(as_nobody(&directory).env("TOK_SOCKET", &path).arg("get"), REQUEST);
    assert_eq!(outcome.stdout, "username=ann\npassword=tokgit_x\n");
    assert_eq!(server.join().unwrap(), 0);
}

/// Not a test of its own: what the next one starts as another user.
#[test]
fn strangers_daemon() {
    let Some(path) = std::env::var_os("STRANGERS_SOCKET") else { return };
    let listener = UnixListener::bind(path).unwrap();
    println!("STRANGER-LISTENS");
    let (mut stream, _) = listener.accept().unwrap();
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line).unwrap();
    println!("STRANGER-HEARD {line:?}");
}

#[test]
fn nothing_is_written_to_a_stranger() {
    if !is_root() {
        // Playing a stranger takes root; the rule itself is a unit test of sockets.rs.
        return;
    }
    let directory = TempDir::new().unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let copy = directory.path().join("it");
    copy_program(&std::env::current_exe().unwrap(), &copy);
    let path = directory.path().join("s");
    let mut stranger = Command::new(copy)
        .args(["--exact", "hostile::strangers_daemon", "--nocapture"])
        .env("STRANGERS_SOCKET", &path)
        .current_dir(directory.path())
        .uid(65_534)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(stranger.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("STRANGER-LISTENS")));

    let outcome = run(helper().env("TOK_SOCKET", &path).arg("get"), REQUEST);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("uid 65534 listens there"), "{outcome:?}");
    assert!(lines.any(|line| line.contains("STRANGER-HEARD \"\"")), "the stranger heard something");
    stranger.wait().unwrap();
}
