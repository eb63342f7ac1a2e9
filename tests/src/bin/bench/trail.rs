//! Waiting for the trail: what a round left to be written down is not to disturb the next one, nor to be free.

use std::time::{Duration, Instant};

use tok_tests::environment::Environment;
use tok_tests::wait;

/// tokd writes and seals each second.
const BEGINS_WITHIN: Duration = Duration::from_millis(1200);
/// None of these reads the lines themselves.
const QUIET: &str = "
    SELECT (SELECT last_value FROM audit_line) AS written,
           (SELECT coalesce(sum(lines), 0)::bigint FROM audit_seals) AS sealed,
           (SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active') AS working";

/// The trail of a daemon.
pub(crate) struct Trail<'e> {
    environment: &'e Environment,
}

impl<'e> Trail<'e> {
    /// Of this daemon.
    pub(crate) fn of(environment: &'e Environment) -> Self {
        Self { environment }
    }

    /// Waits until every line is written and sealed: until nobody works and nothing is added for as long as tokd may take
    /// to begin with either.
    pub(crate) fn catch_up(&self) {
        let (mut seen, mut since) = (Vec::new(), Instant::now());
        wait::until_true("every line of the trail is written and sealed", || {
            let now = self.environment.rows(QUIET);
            if now != seen || now.iter().any(|row| row["working"] != 0) {
                (seen, since) = (now, Instant::now());
            }
            since.elapsed() > BEGINS_WITHIN
        });
    }
}
