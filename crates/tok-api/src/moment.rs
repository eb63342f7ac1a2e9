//! How much time went by, sleep of the machine included: for whoever must not believe something for too long.
//!
//! [`std::time::Instant`] stands still while a machine sleeps, and so do timers. What has to end then is measured here. A
//! machine may also be one that is paused from outside: none of its clocks goes on then, and the one on the wall is set
//! right later, by whoever keeps it right.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Clocks that went apart by more than this have seen different things.
const NAP: Duration = Duration::from_secs(2);

/// A moment since the machine was booted, sleep included: a token does not live longer because the lid was shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self(read(ClockId::Boottime))
    }

    /// How long ago that was; nothing for what is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// So much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// Whole seconds, for what counts in them.
    pub fn seconds(self) -> u64 {
        self.0.as_secs()
    }
}

/// When something was found to be so.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    boot: Moment,
    wall: Duration,
}

impl Found {
    /// At this moment.
    pub fn now() -> Self {
        Self { boot: Moment::now(), wall: read(ClockId::Realtime) }
    }

    /// How old it is, by whichever clock makes it older.
    pub fn age(self) -> Duration {
        let now = Self::now();
        now.boot.since(self.boot).max(now.wall.saturating_sub(self.wall))
    }
}

/// Tells whether the machine slept: clocks that go on meanwhile are further ahead of the one that does not.
#[derive(Debug, Clone, Copy)]
pub struct Sleep {
    boot: Duration,
    wall: Duration,
}

impl Default for Sleep {
    /// Awake at this moment.
    fn default() -> Self {
        let Found { boot, wall } = Found::now();
        let steady = read(ClockId::Monotonic);
        Self { boot: boot.0.saturating_sub(steady), wall: wall.saturating_sub(steady) }
    }
}

impl Sleep {
    /// Whether the machine slept since this was asked last, or may have: somebody set its clock ahead.
    pub fn ended(&mut self) -> bool {
        let before = std::mem::take(self);
        self.boot.saturating_sub(before.boot).max(self.wall.saturating_sub(before.wall)) > NAP
    }
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn it_is_the_clock_that_goes_on_while_the_machine_sleeps() {
        let before = read(ClockId::Boottime);
        let now = Moment::now();
        assert!(before <= now.0 && now.0 <= read(ClockId::Boottime));
        assert_eq!(Moment(before).since(now), Duration::ZERO);
        assert_eq!(now.after(Duration::from_secs(9)).since(now), Duration::from_secs(9));
    }

    #[test]
    fn what_was_found_is_as_old_as_any_clock_says() {
        let now = Found::now();
        assert!(now.age() < HOUR);
        assert!(Found { wall: now.wall.saturating_sub(HOUR), ..now }.age() >= HOUR, "the clock was set ahead");
        assert!(Found { wall: now.wall + HOUR, ..now }.age() < HOUR, "the clock was set back");
        assert!(Found { boot: Moment(Duration::ZERO), ..now }.age() >= now.boot.since(Moment(Duration::ZERO)));
    }

    #[test]
    fn sleep_is_seen_once_and_a_clock_that_is_set_back_is_none() {
        let mut awake = Sleep::default();
        assert!(!awake.ended());
        let mut woken = Sleep { boot: awake.boot.saturating_sub(HOUR), ..awake };
        // A machine that has just been booted cannot have slept for an hour.
        assert_eq!(woken.ended(), awake.boot > NAP);
        assert!(!woken.ended());
        let mut paused = Sleep { wall: awake.wall.saturating_sub(HOUR), ..awake };
        assert!(paused.ended() && !paused.ended());
        let mut set_back = Sleep { wall: awake.wall + HOUR, ..awake };
        assert!(!set_back.ended() && !set_back.ended());
    }
}
