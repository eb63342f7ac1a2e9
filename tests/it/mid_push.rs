//! A push that is under way when what it was allowed by is taken away: not a byte of it lands.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tok_tests::environment::Environment;
use tok_tests::suspend::{Clocks, Stopped};
use tok_tests::wait;

/// What `git` says, byte by byte.
fn git(directory: &Path, arguments: &[&str], input: &str) -> Vec<u8> {
    let mut git = Command::new("git")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    git.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    output.stdout
}

/// A push by hand, held back before its last bytes.
struct Held {
    connection: TcpStream,
    rest: Vec<u8>,
}

impl Held {
    /// Pushes `HEAD` to this new branch of `acme/app`.
    fn begin(environment: &Environment, work: &Path, branch: &str, token: &str) -> Self {
        let head = String::from_utf8(git(work, &["rev-parse", "HEAD"], "")).unwrap();
        let line = format!("{} {} refs/heads/{branch}\0 report-status", "0".repeat(40), head.trim());
        let mut body = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
        body.extend(git(work, &["pack-objects", "--revs", "--stdout", "-q"], &head));
        let rest = body.split_off(body.len() - 10);
        let mut connection = TcpStream::connect(environment.address()).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let credential = STANDARD.encode(format!("git:{token}"));
        write!(
            connection,
            "POST /acme/app.git/git-receive-pack HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {credential}\r\n\
             Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            environment.host(),
            body.len() + rest.len()
        )
        .unwrap();
        connection.write_all(&body).unwrap();
        // It was let in, and git has taken what came, once the trail has its line.
        wait::until_true("the push is under way", || {
            let lines = "SELECT count(*) AS count FROM audit WHERE command = 'receive-pack' AND agent IS NULL";
            environment.count(lines) > 0
        });
        environment.execute("UPDATE audit SET agent = 'seen' WHERE command = 'receive-pack' AND agent IS NULL");
        Self { connection, rest }
    }

    /// Sends the rest, and what came of it.
    fn end(mut self) -> String {
        // Perhaps nobody listens any more.
        let _ = self.connection.write_all(&self.rest);
        let mut answer = Vec::new();
        let _ = self.connection.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn acme() -> (Environment, std::path::PathBuf) {
    let environment = Environment::dev();
    environment.users(&["alice", "bob"]).workspace("acme", &[("alice", "writer"), ("bob", "writer")]);
    let work = environment.pushed("alice", "acme/app");
    (environment, work)
}

fn branches(environment: &Environment) -> String {
    String::from_utf8(git(&environment.on_server("acme/app"), &["for-each-ref", "--format=%(refname:short)"], ""))
        .unwrap()
}

#[test]
fn a_push_whose_token_is_revoked_before_its_last_byte_does_not_land() {
    let (environment, work) = acme();
    let token = environment.token("alice", &["--scopes", "repo:write"]);
    let held = Held::begin(&environment, &work, "late", &token);
    environment.tok(&["token", "revoke", "--stdin", "--force"]).input(format!("{token}\n")).acting_as("alice").ok();
    let answer = held.end();
    assert!(!answer.contains("ok refs/heads/late"), "{answer}");
    assert_eq!(branches(&environment), "main\n");

    // The same of whoever was put out of the workspace, also with the last use of a token.
    for (branch, more) in [("later", &[][..]), ("latest", &["--max-uses", "1"])] {
        let token = environment.token("bob", &[&["--scopes", "repo:write"], more].concat());
        let held = Held::begin(&environment, &work, branch, &token);
        environment.tok(&["workspace", "member", "remove", "acme", "bob"]).ok();
        let answer = held.end();
        assert!(!answer.contains(&format!("ok refs/heads/{branch}")), "{answer}");
        assert_eq!(branches(&environment), "main\n");
        environment.tok(&["workspace", "member", "add", "acme", "bob", "--role", "writer"]).ok();
    }
}

#[test]
fn a_push_that_tokd_is_killed_under_leaves_no_git_that_waits_for_the_rest() {
    let (environment, work) = acme();
    let token = environment.token("alice", &["--scopes", "repo:write"]);
    let held = Held::begin(&environment, &work, "late", &token);
    // Waits until everything that it started has ended, too.
    environment.kill();
    held.end();
    environment.start();
    assert_eq!(branches(&environment), "main\n");
}

#[test]
fn a_push_that_a_server_slept_through_does_not_land_if_its_token_was_revoked_meanwhile() {
    let (environment, work) = acme();
    let clocks = Clocks::new(&environment, "server");
    environment.stop();
    environment.start_with(&clocks.on_server(environment.usual_recipe()));
    let token = environment.token("alice", &["--scopes", "repo:write"]);
    let held = Held::begin(&environment, &work, "slept", &token);
    let stopped = Stopped::new(environment.pid());
    // By another daemon, so that this one does not hear of it.
    environment.execute("UPDATE tokens SET revoked_at = now(), revoked_by = 'another daemon' WHERE kind = 'personal'");
    clocks.sleep(Duration::from_secs(600));
    drop(stopped);
    let answer = held.end();
    assert!(!answer.contains("ok refs/heads/slept"), "{answer}");
    assert_eq!(branches(&environment), "main\n");
}

#[test]
fn a_push_goes_on_while_others_lose_their_tokens_and_with_the_last_use_of_its_own() {
    let (environment, work) = acme();
    for (branch, more) in [("one", &[][..]), ("two", &["--max-uses", "1"])] {
        let token = environment.token("alice", &[&["--scopes", "repo:write"], more].concat());
        let held = Held::begin(&environment, &work, branch, &token);
        let others = environment.token("bob", &["--scopes", "repo:write"]);
        environment.tok(&["token", "revoke", "--stdin", "--force"]).input(format!("{others}\n")).acting_as("bob").ok();
        let answer = held.end();
        assert!(answer.contains(&format!("ok refs/heads/{branch}")), "{answer}");
    }
    assert_eq!(branches(&environment), "main\none\ntwo\n");
}
