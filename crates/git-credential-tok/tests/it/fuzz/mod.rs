//! What the helper, the daemon and the agent read, thrown at with made-up bytes: nothing panics, nothing malformed gets an
//! answer, and memory stays bounded.
//!
//! Each input goes through one of four [`doors`], and a [`naive`] reader says beforehand what must come of it: which rules
//! the input breaks or, if it breaks none, whether there is a token for it and for which repository. The two have to agree.
//! An input follows from the seed and its number alone, so that one that fails can be made again.
//!
//! `just fuzz [COUNT [SEED]]` runs it optimised, ten million times if it is not told otherwise.

mod binary;
#[path = "../../../../../tests/src/chance.rs"]
mod chance;
mod doors;
mod inputs;
mod naive;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chance::Chance;
use doors::{DOORS, Door};

/// How many inputs there are in the suite, where nothing is optimised.
const COUNT: u64 = 100_000;
/// From so many on, what is rare has to be among them, too.
const MANY: u64 = 3_000_000;
const RARE: [&str; 2] = ["too large", "a long line"];
/// So much may be in use more than before, in KiB: some inputs of the largest size, and what the allocator keeps.
const MOST_GROWTH: u64 = 24 * 1024;
/// As much of an input as is shown.
const MOST_SHOWN: usize = 2_000;

/// A number out of the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| text.parse().unwrap())
}

/// The door and the bytes of an input.
fn input(seed: u64, number: u64) -> (Door, Vec<u8>) {
    let mut chance = Chance::seeded(seed.wrapping_add(number.wrapping_mul(0xd134_2543_de82_ef95)));
    let door = DOORS[[0, 0, 0, 0, 0, 0, 1, 1, 2, 3][chance.below(10)]];
    (door, inputs::of(&mut chance, door))
}

/// What came of it, or how the two disagree.
fn judge(door: Door, bytes: &[u8]) -> Result<&'static str, String> {
    let expected = naive::expect(door, bytes);
    let seen = catch_unwind(AssertUnwindSafe(|| doors::enter(door, bytes))).map_err(|_| "it panicked".to_owned())?;
    expected.meets(&seen?)
}

/// The shortest that cutting pieces out finds to fail as well.
fn shortened(door: Door, mut bytes: Vec<u8>) -> Vec<u8> {
    let mut piece = bytes.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + piece).min(bytes.len());
            let shorter = [&bytes[..at], &bytes[end..]].concat();
            if judge(door, &shorter).is_err() {
                bytes = shorter;
            } else {
                at = end;
            }
        }
        piece /= 2;
    }
    bytes
}

/// A line of `/proc/self/status`, in KiB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn nothing_malformed_gets_an_answer_and_nothing_panics() {
    let count = number("TOK_FUZZ_COUNT").unwrap_or(COUNT);
    let first = number("TOK_FUZZ_FIRST").unwrap_or(0);
    let seed = number("TOK_FUZZ_SEED").unwrap_or_else(chance::seed);
    println!("seed {seed}, {count} inputs");
    // Counted from here on, if the kernel lets us.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = memory("VmRSS");
    let mut outcomes: BTreeMap<(Door, &str), u64> = BTreeMap::new();
    let mut bytes = 0;
    for number in first..first.saturating_add(count) {
        let (door, input) = input(seed, number);
        bytes += input.len();
        match judge(door, &input) {
            Ok(outcome) => *outcomes.entry((door, outcome)).or_default() += 1,
            Err(_) => {
                // What it says of itself while it is shortened is of no interest.
                std::panic::set_hook(Box::new(|_| {}));
                let short = shortened(door, input);
                let why = judge(door, &short).unwrap_err();
                let _ = std::panic::take_hook();
                let shown = &short[..short.len().min(MOST_SHOWN)];
                panic!(
                    "{why}\nat {door:?} with {} bytes:\nb\"{}\"\nTOK_FUZZ_SEED={seed} TOK_FUZZ_FIRST={number} TOK_FUZZ_COUNT=1 makes it again",
                    short.len(),
                    shown.escape_ascii()
                );
            }
        }
    }
    let (after, peak) = (memory("VmRSS"), memory("VmHWM"));
    for ((door, outcome), number) in &outcomes {
        println!("{:<10} {number:>9}  {outcome}", format!("{door:?}"));
    }
    println!("{bytes} bytes in all; in memory {before} KiB before, {peak} KiB at most, {after} KiB after");
    assert!(peak.saturating_sub(before) < MOST_GROWTH, "memory grew from {before} KiB to {peak} KiB");
    // Whoever refuses all, or takes all, was not asked anything.
    if count >= COUNT {
        for door in DOORS {
            for outcome in doors::outcomes(door).into_iter().filter(|name| count >= MANY || !RARE.contains(name)) {
                assert!(outcomes.contains_key(&(door, outcome)), "no input at {door:?} was {outcome}: {outcomes:?}");
            }
        }
    }
}
