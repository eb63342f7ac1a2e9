//! How long is waited for a server before it is said to be away: short, for somebody waits for git; and longer where the
//! way there is long, or many wait at a time.

use std::time::Duration;

use tok_api::local::helper::MINTING;

/// How long a mint may take in all. Its result is kept even if nobody waits for it any more.
pub(super) const MINT: Duration = Duration::from_secs(10);

/// How long the other machine may take to accept a connection.
const REACH: Duration = Duration::from_millis(700);
/// And to be ready for a call.
const CONNECT: Duration = Duration::from_millis(1_500);
/// A connection on which nothing was heard for so long while a call waits is doubted.
const SILENCE: Duration = Duration::from_millis(400);
/// How long a second connection may take then.
const SECOND: Duration = Duration::from_millis(500);
/// So many at a time are nothing out of the ordinary.
const FEW: usize = 16;

/// How long each thing may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) reach: Duration,
    pub(super) connect: Duration,
    pub(super) silence: Duration,
    pub(super) second: Duration,
    /// Until whoever asked is told that there is no answer yet.
    pub(super) answer: Duration,
}

impl Patience {
    /// With so many who wait at this moment, for a server that took so long to be connected to.
    pub(super) fn new(waiting: usize, dialled: Duration) -> Self {
        // Whoever asks for a hundred tokens at once keeps this machine busy, too, and perhaps the server.
        let crowd = u32::try_from(1 + waiting / FEW).unwrap_or(u32::MAX);
        let times = |time: Duration| time.saturating_mul(crowd).min(MINT);
        // To connect is to go there and back twice, and a call once: what takes as long as that is not silent yet.
        Self {
            reach: times(REACH),
            connect: times(CONNECT),
            silence: times(SILENCE.max(dialled)),
            second: times(SECOND.max(dialled.saturating_mul(2))),
            answer: times(MINTING),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_waits_is_told_within_a_second_and_nobody_far_away_is_taken_for_gone() {
        let usual = Patience::new(1, Duration::from_millis(5));
        assert!(usual.silence + usual.second < Duration::from_secs(1), "{usual:?}");
        // By satellite: 600 ms there and back.
        let trip = Duration::from_millis(600);
        let far = Patience::new(1, trip * 2);
        assert!(far.silence > trip && far.second > trip * 2, "{far:?}");
        let crowd = Patience::new(100, Duration::from_millis(5));
        assert!(crowd.silence > Duration::from_secs(2) && crowd.connect > usual.connect * 4, "{crowd:?}");
        assert!(Patience::new(usize::MAX, Duration::MAX).silence <= MINT);
    }
}
