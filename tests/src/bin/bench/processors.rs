//! Processor time: what an answer costs even when others are at the machine.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::statistics::{Series, Unit};

/// How long the threads of a process have been on a processor.
pub(crate) fn time(pid: i32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let statistics = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    let nanoseconds = statistics.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok());
    Duration::from_nanos(nanoseconds.sum())
}

/// Processor time of everybody who takes part in an answer.
#[derive(Clone, Debug)]
pub(crate) struct Spent {
    daemon: Duration,
    /// By process: PostgreSQL starts some and ends them again meanwhile.
    database: BTreeMap<i32, Duration>,
    asking: Duration,
}

impl Spent {
    /// Since they started: this daemon with its embedded PostgreSQL, and this process.
    pub(crate) fn so_far(daemon: i32) -> Self {
        Self {
            daemon: time(daemon),
            database: below(daemon).into_iter().map(|pid| (pid, time(pid))).collect(),
            asking: time(std::process::id().cast_signed()),
        }
    }

    fn of(&self, pid: i32) -> Duration {
        self.database.get(&pid).copied().unwrap_or_default()
    }

    /// Since then. What ended meanwhile took its time along.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            daemon: self.daemon.saturating_sub(earlier.daemon),
            database: self.database.iter().map(|(pid, now)| (*pid, now.saturating_sub(earlier.of(*pid)))).collect(),
            asking: self.asking.saturating_sub(earlier.asking),
        }
    }
}

/// What each answer cost, for each who took part: from what was spent and how many answers there were, round by round.
pub(crate) fn costs(what: &str, rounds: &[(Spent, u32)]) -> Vec<Series> {
    let part = |who: &str, part: fn(&Spent) -> Duration| Series {
        name: format!("{what}: {who}"),
        unit: Unit::ProcessorMicroseconds,
        values: rounds.iter().map(|(spent, answers)| part(spent).as_secs_f64() * 1e6 / f64::from(*answers)).collect(),
    };
    vec![
        part("tokd", |spent| spent.daemon),
        part("PostgreSQL", |spent| spent.database.values().sum()),
        part("the asking", |spent| spent.asking),
    ]
}

/// The processes that this one started, and those that these did.
fn below(pid: i32) -> Vec<i32> {
    let mut all = children(pid);
    let mut next = 0;
    while let Some(child) = all.get(next) {
        all.extend(children(*child));
        next += 1;
    }
    all
}

fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let listed = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    listed.flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}
