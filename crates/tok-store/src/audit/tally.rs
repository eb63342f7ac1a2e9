//! How many lines this run has written to the trail, by what they say: for the daemon's figures.

use std::sync::atomic::{AtomicU64, Ordering};

use tok_model::audit::{Action, AuditEvent, Outcome};

/// One counter for each action and outcome. Counting costs one atomic addition.
pub struct Tally(Vec<AtomicU64>);

impl Default for Tally {
    fn default() -> Self {
        Self(kinds().map(|_| AtomicU64::new(0)).collect())
    }
}

impl Tally {
    /// Counts a line that was committed, which stands for so many acts.
    pub(crate) fn count(&self, event: &AuditEvent, times: i32) {
        let place = kinds().position(|kind| kind == (event.action, event.outcome));
        if let Some(counter) = place.and_then(|place| self.0.get(place)) {
            counter.fetch_add(u64::try_from(times).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub fn so_far(&self) -> impl Iterator<Item = (Action, Outcome, u64)> {
        kinds().zip(&self.0).map(|((action, outcome), counter)| (action, outcome, counter.load(Ordering::Relaxed)))
    }
}

fn kinds() -> impl Iterator<Item = (Action, Outcome)> {
    Action::every().flat_map(|action| Outcome::every().map(move |outcome| (action, outcome)))
}

#[cfg(test)]
mod tests {
    use tok_model::audit::Actor;

    use super::*;

    #[test]
    fn each_kind_of_line_has_its_own_count() {
        let tally = Tally::default();
        let event = AuditEvent::done(Action::TokenUse, Actor::daemon());
        tally.count(&event, 3);
        tally.count(&AuditEvent { outcome: Outcome::Refused, ..event }, 1);
        let counted: Vec<_> = tally.so_far().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(counted, [(Action::TokenUse, Outcome::Done, 3), (Action::TokenUse, Outcome::Refused, 1)]);
    }
}
