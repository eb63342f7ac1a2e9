//! The local socket's own language, spoken by nobody's helper: made-up bytes to a running daemon and a running agent.
//!
//! The bytes, and what must come of them, are those of the helper's own tests.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use tok_model::credential::RelayedAnswer;
use tok_tests::chance::{self, Chance};
use tok_tests::environment::Environment;
use tok_tests::secrets::tokens_in;

#[expect(dead_code, reason = "the other doors are the helper's own")]
mod doors;
#[path = "../../../crates/git-credential-tok/tests/it/fuzz/inputs.rs"]
mod inputs;
#[expect(dead_code, reason = "what a token is like is looked at where all is in one process")]
#[path = "../../../crates/git-credential-tok/tests/it/fuzz/naive.rs"]
mod naive;

use doors::Door;
use naive::Expected;

/// How many inputs there are.
const COUNT: u64 = 3_000;
/// So much more may be in use afterwards, in KiB.
const MOST_GROWTH: u64 = 48 * 1024;

/// What a socket answers to these bytes.
fn said(socket: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // Who has seen enough closes before all is written, and may have answered already.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// The most that a process ever had in use, in KiB.
fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Throws them, with these bytes of ours among them now and then; how many were answered with something, and how many had to
/// be refused.
fn thrown(environment: &Environment, socket: &Path, pid: i32, ours: &str) -> (u32, u32) {
    let seed = std::env::var("TOK_FUZZ_SEED").map_or_else(|_| chance::seed(), |text| text.parse().unwrap());
    let before = peak(pid);
    let (mut answered, mut refused) = (0, 0);
    for number in 0..COUNT {
        if number % 5 == 0 {
            environment.canaries().register_shown(&said(socket, ours.as_bytes()));
        }
        let mut chance = Chance::seeded(seed.wrapping_add(number));
        let bytes = inputs::of(&mut chance, Door::Socket);
        // What begins like another language is another door's.
        if !bytes.starts_with(b"tok/1 ") {
            continue;
        }
        let answer = said(socket, &bytes);
        environment.canaries().register_shown(&answer);
        let shown =
            || format!("TOK_FUZZ_SEED={seed}, input {number}: b\"{}\"", bytes[..bytes.len().min(2_000)].escape_ascii());
        let read = RelayedAnswer::parse(&answer).unwrap_or_else(|why| panic!("{why}: {}", shown()));
        answered += u32::from(!answer.is_empty());
        match naive::expect(Door::Socket, &bytes) {
            Expected::Refused(_) => {
                assert!(answer.is_empty(), "{}", shown());
                refused += 1;
            }
            // In whose name, the helper's own line says before the URL does.
            Expected::Nothing("no token") if bytes.windows(4).any(|line| line == b"\nas=") => {}
            Expected::Nothing(_) => assert!(tokens_in(read.for_git()).is_empty(), "{}", shown()),
            Expected::Token { .. } | Expected::Passed { .. } => {}
        }
    }
    let growth = peak(pid).saturating_sub(before);
    assert!(growth < MOST_GROWTH, "{growth} KiB more after {COUNT} inputs");
    (answered, refused)
}

#[test]
fn the_daemon_answers_nothing_malformed_and_goes_on() {
    let environment = Environment::new();
    let recipe = environment.serve_recipe("[server]\npublic_url = \"https://git.example.com\"\n");
    environment.start_with(&recipe);
    environment.users(&["ann", "bob"]).workspace("acme", &[("ann", "writer"), ("bob", "reader")]);
    let right = "tok/1 get\nprotocol=https\nhost=git.example.com\npath=acme/app.git\nas=ann\n\n";
    let (answered, refused) = thrown(&environment, &environment.socket(), environment.pid(), right);
    assert!(answered > 20 && refused > 200, "{answered} answered, {refused} refused");
    let answer = said(&environment.socket(), right.as_bytes());
    environment.canaries().register_shown(&answer);
    assert_eq!(tokens_in(&answer).len(), 1, "it still answers");
}

#[test]
fn the_agent_answers_nothing_malformed_and_goes_on() {
    let environment = Environment::new();
    let configuration = environment.canaries().exempt().join("configuration/tok");
    fs::create_dir_all(&configuration).unwrap();
    fs::write(configuration.join("config.toml"), "[agent]\nremember = \"memory\"\n").unwrap();
    // Of the tests' own user: it lets nobody else in.
    environment.through_agent(&[]);
    let socket = environment.home().join("run/tok/agent.sock");
    let peer = socket_peercred(UnixStream::connect(&socket).unwrap()).unwrap();
    // Of one server it remembers something, until that is erased.
    let store = "tok/1 store\nprotocol=https\nhost=git.example.com\npath=acme/app.git\nusername=ann\npassword=something-for-it\n\n";
    let (_, refused) = thrown(&environment, &socket, peer.pid.as_raw_nonzero().get(), store);
    assert!(refused > 200, "{refused} refused");
    assert!(said(&socket, store.as_bytes()).is_empty());
    let answer = said(&socket, b"tok/1 get\nprotocol=https\nhost=git.example.com\nusername=ann\n\n");
    assert!(answer.ends_with(b"password=something-for-it\n"), "{}", answer.escape_ascii());
}
