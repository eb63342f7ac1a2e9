//! The same bytes into the very program that is built, with little memory: it is told what is malformed in no way, and what
//! never ends it does not read to its end.

use std::io::{ErrorKind, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::chance::{Chance, seed};
use super::doors::Door;
use super::naive::{Expected, expect};
use super::{inputs, number};
use crate::kit::{Daemon, Silent, helper};

/// How many inputs there are.
const COUNT: u64 = 2_000;
/// All the memory that the program may ever ask for, its code and its libraries included: a limit of the kernel's.
const ADDRESSES: u64 = 32 << 20;
/// As much as it may have in use at most, in KiB.
const MOST_IN_USE: u64 = 8 * 1024;
/// What an endless writer has ready.
const ENDLESS: u64 = 1 << 30;

/// The program, waiting for its input under the limit.
fn limited(command: &mut Command) -> Child {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let limit = Rlimit { current: Some(ADDRESSES), maximum: Some(ADDRESSES) };
    prlimit(Pid::from_raw(child.id().cast_signed()), Resource::As, limit).unwrap();
    child
}

/// What it wrote until it ended, which has to be well.
fn ended(mut child: Child) -> (Vec<u8>, String) {
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (output.stdout, String::from_utf8(output.stderr).unwrap())
}

/// Writes until all is written or nobody reads any more; how many bytes were taken.
fn pour(child: &mut Child, mut piece: impl FnMut() -> Option<Vec<u8>>) -> u64 {
    let stdin = child.stdin.as_mut().unwrap();
    let mut taken = 0;
    while let Some(bytes) = piece() {
        match stdin.write_all(&bytes) {
            Ok(()) => taken += bytes.len() as u64,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                break;
            }
        }
    }
    taken
}

#[test]
fn the_program_says_nothing_to_what_is_malformed_whatever_it_is() {
    let count = number("TOK_FUZZ_RUNS").unwrap_or(COUNT);
    let seed = number("TOK_FUZZ_SEED").unwrap_or_else(seed);
    println!("seed {seed}, {count} runs");
    let said = "username=ann\npassword=tokgit_x\n";
    let (daemon, silent) = (Daemon::answering(said), Silent::bind());
    let (mut answered, mut refused) = (0, 0);
    for number in 0..count {
        let mut chance = Chance::seeded(seed.wrapping_add(number));
        let input = inputs::of(&mut chance, Door::Git);
        let malformed = matches!(expect(Door::Git, &input), Expected::Refused(_));
        let socket = if malformed { silent.path() } else { daemon.path().to_owned() };
        let mut child = limited(helper().env("TOK_SOCKET", socket).arg("get"));
        let mut whole = Some(input.clone());
        pour(&mut child, || whole.take());
        let (stdout, stderr) = ended(child);
        let shown = input[..input.len().min(2_000)].escape_ascii().to_string();
        if malformed {
            assert_eq!((stdout.as_slice(), stderr.as_str()), (&b""[..], ""), "TOK_FUZZ_SEED={seed}\n{shown}");
            refused += 1;
        } else {
            assert_eq!((stdout.as_slice(), stderr.as_str()), (said.as_bytes(), ""), "TOK_FUZZ_SEED={seed}\n{shown}");
            assert!(daemon.request().starts_with("tok/1 get\n"));
            answered += 1;
        }
    }
    assert!(!silent.was_reached(), "TOK_FUZZ_SEED={seed}: what is malformed was passed on");
    println!("{answered} answered, {refused} refused");
    assert!(count < COUNT || (answered > COUNT / 10 && refused > COUNT / 10), "{answered} answered, {refused} refused");
}

#[test]
fn what_never_ends_is_read_no_further_than_a_request_can_be_long() {
    let silent = Silent::bind();
    for (name, begin, endless) in [
        ("zeros", "", "\0"),
        ("one line", "protocol=https\nhost=h\npath=", "x"),
        ("one key", "", "k"),
        ("many lines", "protocol=https\nhost=h\n", "wwwauth[]=Basic realm=\"x\"\n"),
        ("one key again and again", "protocol=https\n", "host=h\n"),
        ("empty lists", "protocol=https\nhost=h\n", "state[]=\n"),
        ("line ends of others", "protocol=https\nhost=h\n", "\r"),
    ] {
        for operation in ["get", "store", "erase"] {
            let mut child = limited(helper().env("TOK_SOCKET", silent.path()).arg(operation));
            let block = endless.repeat((64 << 10) / endless.len()).into_bytes();
            let mut first = Some(begin.as_bytes().to_vec());
            let mut left = ENDLESS / block.len() as u64;
            let taken = pour(&mut child, || {
                first.take().or_else(|| {
                    left = left.checked_sub(1)?;
                    Some(block.clone())
                })
            });
            // What it had not read when it left is in the pipe.
            assert!(taken < 1 << 20, "{name}: {taken} bytes were taken");
            let (stdout, stderr) = ended(child);
            assert_eq!((stdout.as_slice(), stderr.as_str()), (&b""[..], ""), "{name}");
        }
    }
    assert!(!silent.was_reached());
}

#[test]
fn the_largest_request_fits_into_little_memory() {
    let daemon = Daemon::answering("username=ann\npassword=tokgit_x\n");
    let mut child = limited(helper().env("TOK_SOCKET", daemon.path()).arg("get"));
    let mut request = b"protocol=https\nhost=h\n".to_vec();
    while request.len() + 65_535 < 262_144 {
        request.extend_from_slice(b"wwwauth[]=");
        request.extend_from_slice(&vec![b'x'; 65_524]);
        request.push(b'\n');
    }
    // So many lists of one byte as fit: what is kept of each is more than its line.
    while request.len() + 11 < 262_144 {
        request.extend_from_slice(b"state[]=xx\n");
    }
    let mut whole = Some(request);
    pour(&mut child, || whole.take());
    let stdin = child.stdin.as_ref().unwrap();
    let pid = child.id();
    // All is read and nothing is over: its end is not there yet.
    while ioctl_fionread(stdin).unwrap() > 0 {
        std::thread::yield_now();
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{peak} KiB while it waits for the end of a request of 256 KiB");
    assert!(peak < MOST_IN_USE, "{peak} KiB");
    drop(child.stdin.take());
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(stdout, "username=ann\npassword=tokgit_x\n");
    assert!(child.wait().unwrap().success());
    assert!(daemon.request().len() > 250_000);
}
