//! The one place where tokd asks what time it is.
//!
//! What ended must not work again because somebody set the clock back, by a wrong time server or on purpose. So within one
//! run of tokd its time never goes back: it is what the clock on the wall says, or, where that was set back, what it would
//! say by now. A clock that is set ahead is believed. Steps of seconds, as time servers make them, are seen by nobody.
//!
//! A run cannot know what the one before it knew, but for what that wrote down: if the audit trail is ahead of the clock,
//! that is said and nothing else, for it may be the trail's clock that was wrong.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tok_api::moment::Moment;
use tok_model::clock::{Clock, Period, Timestamp};

/// Whoever is behind by more than this is told.
const WORTH_A_WORD: TimeDelta = TimeDelta::minutes(1);

static BEGIN: LazyLock<Moment> = LazyLock::new(Moment::now);
static STEADY: Steady = Steady(AtomicI64::new(i64::MIN));
/// The newest moment that was in the trail when this run began, in microseconds since 1970.
static WRITTEN: AtomicI64 = AtomicI64::new(i64::MIN);
static SAID: AtomicBool = AtomicBool::new(false);

/// The system's clock, to the microsecond: what PostgreSQL keeps, so that a time read back equals the one written. It does
/// not go back while tokd runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let wall = wall();
        // After the clock on the wall: a process that stands still between the two has not seen that one jump ahead.
        let passed = i64::try_from(Moment::now().since(*BEGIN).as_micros()).unwrap_or(i64::MAX);
        DateTime::from_timestamp_micros(STEADY.at(wall.timestamp_micros(), passed)).unwrap_or(wall)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock; everybody else is given the time")]
fn wall() -> Timestamp {
    Utc::now().trunc_subsecs(6)
}

/// The latest time that a clock has shown, less what had passed by then; in microseconds.
struct Steady(AtomicI64);

impl Steady {
    /// The time, where so much has passed and this is what the clock shows.
    fn at(&self, shown: i64, passed: i64) -> i64 {
        let (began, known) = (shown.saturating_sub(passed), self.0.load(Ordering::Relaxed));
        // Written only where a clock ran ahead: every verdict asks for the time, and they shall not wait for each other.
        let latest = if began > known { self.0.fetch_max(began, Ordering::Relaxed).max(began) } else { known };
        latest.saturating_add(passed)
    }
}

/// By how much the machine's clock is behind what is known, if that is worth a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// By how much it was set back during this run; tokd does not follow.
    pub set_back: TimeDelta,
    /// By how much the audit trail was ahead when this run began, as far as the clock has not caught up.
    pub written: TimeDelta,
}

impl Behind {
    /// Whole seconds by which the machine's clock is behind at the moment; 0 if it is right.
    pub fn seconds() -> i64 {
        let Self { set_back, written } = Self::now();
        set_back.max(written).num_seconds().max(0)
    }

    fn now() -> Self {
        let wall = wall();
        let written = DateTime::from_timestamp_micros(WRITTEN.load(Ordering::Relaxed));
        Self {
            set_back: SystemClock.now() - wall,
            written: written.map_or(TimeDelta::zero(), |written| written - wall),
        }
    }

    /// What whoever runs this server should know, if the clock is behind by more than a step of a time server.
    pub fn words() -> Option<String> {
        let Self { set_back, written } = Self::now();
        if set_back > WORTH_A_WORD {
            return Some(format!(
                "this machine's clock was set back by {}, and tokd goes on by the time that it knew, so that nothing that \
                 ended works again: if the clock was wrong before and is right now, restart tokd",
                period(set_back)
            ));
        }
        (written > WORTH_A_WORD).then(|| {
            format!(
                "the audit trail has lines that are {} ahead of this machine's clock: if the clock is behind, what ended \
                 since may work again until it is set right",
                period(written)
            )
        })
    }

    /// Says it in the log when it begins, and when it is over.
    pub fn say() {
        let words = Self::words();
        match (&words, SAID.swap(words.is_some(), Ordering::Relaxed)) {
            (Some(words), false) => tracing::warn!(behind_seconds = Self::seconds(), "Look at the clock: {words}"),
            (None, true) => tracing::info!("The clock has caught up"),
            _ => {}
        }
    }
}

/// Remembers the newest moment that is in the trail as this run begins.
pub fn begin_after(newest: Option<Timestamp>) {
    WRITTEN.store(newest.map_or(i64::MIN, |newest| newest.timestamp_micros()), Ordering::Relaxed);
    Behind::say();
}

fn period(time: TimeDelta) -> String {
    Period::from_seconds(time.num_seconds()).map_or_else(|| "a while".to_owned(), |period| period.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn it_follows_a_clock_that_is_set_ahead_and_no_other() {
        let steady = Steady(AtomicI64::new(i64::MIN));
        for (what, shown, passed, time) in [
            ("the beginning", 100 * HOUR, 0, 100 * HOUR),
            ("an hour later", 101 * HOUR, HOUR, 101 * HOUR),
            ("set back by an hour", 101 * HOUR, 2 * HOUR, 102 * HOUR),
            ("an hour on", 102 * HOUR, 3 * HOUR, 103 * HOUR),
            ("set right", 104 * HOUR, 4 * HOUR, 104 * HOUR),
            ("set ahead", 110 * HOUR, 5 * HOUR, 110 * HOUR),
            ("and back", 106 * HOUR, 6 * HOUR, 111 * HOUR),
            ("far back", -HOUR, 7 * HOUR, 112 * HOUR),
        ] {
            assert_eq!(steady.at(shown, passed), time, "{what}");
        }
    }

    #[test]
    fn it_goes_with_the_system_and_is_not_behind() {
        let times: Vec<Timestamp> = (0..1000).map(|_| SystemClock.now()).collect();
        assert!(times.is_sorted() && times.iter().all(|time| time.timestamp_subsec_nanos() % 1000 == 0));
        assert!((times[0] - wall()).abs() < TimeDelta::minutes(1));
        assert_eq!((Behind::words(), Behind::seconds()), (None, 0));
    }
}
