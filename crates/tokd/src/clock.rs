//! The one place where tokd asks what time it is.

use chrono::{SubsecRound, Utc};
use tok_model::clock::{Clock, Timestamp};

/// The system's clock, to the microsecond: what PostgreSQL keeps, so that a time read back equals the one written.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock; everybody else is given the time")]
    fn now(&self) -> Timestamp {
        Utc::now().trunc_subsecs(6)
    }
}
