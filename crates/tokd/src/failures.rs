//! How often each source has presented what is no token: what comes too often is answered "too many" instead of "unknown".
//!
//! Only failures are counted, by where they came from and never by whose account was tried, so nobody can lock somebody
//! else out, and a good token from the same source works all the while. Tokens that tok made cannot be guessed; what this
//! stops is the cost of a flood, and guessing where a person chose the secret ([`Failures::spent`]).

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use moka::ops::compute::Op;
use moka::sync::Cache;
use tok_model::audit::Source;

use crate::metrics::FailureFigures;

/// The time over which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// The most sources remembered, some 100 bytes each. Beyond that the least active are forgotten.
const MOST_SOURCES: u64 = 65_536;

/// From where. A client of IPv6 has a whole /64 to choose its address from, so that is one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    V4(Ipv4Addr),
    V6([u8; 8]),
    Uid(u32),
    /// Those of whom nothing is known are one.
    Unknown,
}

impl Origin {
    fn of(source: &Source) -> Self {
        match (source.address, source.uid) {
            (Some(IpAddr::V4(address)), _) => Self::V4(address),
            (Some(IpAddr::V6(address)), _) => {
                let [network @ .., _, _, _, _, _, _, _, _] = address.octets();
                Self::V6(network)
            }
            (None, Some(uid)) => Self::Uid(uid),
            (None, None) => Self::Unknown,
        }
    }
}

/// The failures of the last minute.
///
/// The generic cell rate algorithm: one number for each source, the moment at which all its failures are forgiven. Each
/// failure moves it ahead by [`WINDOW`] / `limit`; further ahead than [`WINDOW`] it never is.
pub struct Failures {
    limit: Option<NonZeroU32>,
    start: Instant,
    forgiven: Cache<Origin, Duration>,
    figures: FailureFigures,
}

impl Failures {
    /// So many a minute from one source; `None` is any number.
    pub fn new(limit: Option<NonZeroU32>) -> Self {
        // What was written a whole window ago is forgiven, and may be forgotten.
        let forgiven = Cache::builder().max_capacity(MOST_SOURCES).time_to_live(2 * WINDOW).build();
        Self { limit, start: Instant::now(), forgiven, figures: FailureFigures::default() }
    }

    /// The same with another limit.
    #[must_use]
    pub fn limited_to(self, limit: Option<NonZeroU32>) -> Self {
        Self { limit, ..self }
    }

    /// How many there were.
    pub fn figures(&self) -> &FailureFigures {
        &self.figures
    }

    /// Notes a failure. `Some` if it is one too many: after so many seconds the next one is not.
    pub fn note(&self, source: &Source, now: Instant) -> Option<u32> {
        self.figures.failed.inc();
        let cost = self.cost()?;
        let now = now.saturating_duration_since(self.start);
        let mut wait = None;
        self.forgiven.entry(Origin::of(source)).and_compute_with(|entry| {
            let then = entry.map_or(now, |entry| entry.into_value().max(now)) + cost;
            wait = then.saturating_sub(now).checked_sub(WINDOW).filter(|over| !over.is_zero());
            if wait.is_some() { Op::Nop } else { Op::Put(then) }
        });
        self.limited(wait.map(seconds))
    }

    /// Whether a source has no failure left, and for how many seconds. Asked before anything that a person may have
    /// chosen is looked at: there each try counts, the right one too, or trying on would pay.
    pub fn spent(&self, source: &Source, now: Instant) -> Option<u32> {
        let cost = self.cost()?;
        let now = now.saturating_duration_since(self.start);
        let then = self.forgiven.get(&Origin::of(source))? + cost;
        self.limited(then.checked_sub(now)?.checked_sub(WINDOW).filter(|over| !over.is_zero()).map(seconds))
    }

    fn limited(&self, wait: Option<u32>) -> Option<u32> {
        if wait.is_some() {
            self.figures.limited.inc();
        }
        wait
    }

    fn cost(&self) -> Option<Duration> {
        Some(WINDOW / self.limit?.get())
    }
}

/// Rounded up, so that who waits as told does not come too early.
fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Source {
        Source { address: Some(address.parse().unwrap()), ..Source::default() }
    }

    fn failures(limit: u32) -> Failures {
        Failures::new(NonZeroU32::new(limit))
    }

    #[test]
    fn so_many_a_minute_and_then_at_that_pace() {
        let failures = failures(6);
        let source = from("192.0.2.7");
        let start = failures.start;
        for _ in 0..6 {
            assert_eq!(failures.spent(&source, start), None);
            assert_eq!(failures.note(&source, start), None);
        }
        assert_eq!(failures.spent(&source, start), Some(10));
        assert_eq!(failures.note(&source, start), Some(10));
        // What was refused did not make it worse.
        let later = start + Duration::from_secs(10);
        assert_eq!(failures.spent(&source, later), None);
        assert_eq!(failures.note(&source, later), None);
        assert_eq!(failures.note(&source, later), Some(10));
        let much_later = start + 2 * WINDOW;
        assert!((0..6).all(|_| failures.note(&source, much_later).is_none()));
    }

    #[test]
    fn sources_are_addresses_networks_and_local_users() {
        let failures = failures(1);
        let now = failures.start;
        assert_eq!(failures.note(&from("2001:db8::1"), now), None);
        assert!(failures.note(&from("2001:db8::ffff:2"), now).is_some());
        assert_eq!(failures.note(&from("2001:db8:0:1::1"), now), None);
        assert_eq!(failures.note(&from("192.0.2.1"), now), None);
        assert_eq!(failures.note(&from("192.0.2.2"), now), None);
        let uid = |uid| Source { uid: Some(uid), ..Source::default() };
        assert_eq!(failures.note(&uid(1), now), None);
        assert_eq!(failures.note(&uid(2), now), None);
        assert!(failures.note(&uid(1), now).is_some());
    }

    #[test]
    fn what_is_remembered_of_a_flood_is_bounded() {
        let failures = failures(1);
        for number in 0..2 * u32::try_from(MOST_SOURCES).unwrap() {
            let source = Source { address: Some(IpAddr::V4(Ipv4Addr::from(number))), ..Source::default() };
            failures.note(&source, failures.start);
        }
        failures.forgiven.run_pending_tasks();
        assert!(failures.forgiven.entry_count() <= MOST_SOURCES);
        assert_eq!(Failures::new(None).note(&from("192.0.2.1"), Instant::now()), None);
    }
}
