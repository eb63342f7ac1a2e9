//! Time that goes on while the machine sleeps.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment since the machine was booted, suspension included: a token does not live longer because the lid was shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(Duration);

impl Moment {
    pub(super) fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        Self(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    /// How long ago that was; nothing for what is still to come.
    pub(super) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub(super) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// Whole seconds, for what counts in them.
    pub(super) fn seconds(self) -> u64 {
        self.0.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_clock_that_goes_on_while_the_machine_sleeps() {
        let read = |clock| {
            let time = clock_gettime(clock);
            Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
        };
        let before = read(ClockId::Boottime);
        let now = Moment::now();
        assert!(before <= now.0 && now.0 <= read(ClockId::Boottime));
        assert_eq!(Moment(before).since(now), Duration::ZERO);
        assert_eq!(now.after(Duration::from_secs(9)).since(now), Duration::from_secs(9));
    }
}
