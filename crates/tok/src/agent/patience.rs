//! How long is waited for a server before it is said to be away: short, for somebody waits for git; and longer where the
//! way there is long, many wait at a time, or this machine is busy with something else.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How long a mint may take in all. Its result is kept even if nobody waits for it any more.
pub(super) const MINT: Duration = Duration::from_secs(10);

/// How long the other machine may take to accept a connection.
const REACH: Duration = Duration::from_millis(700);
/// And to be ready for a call.
const CONNECT: Duration = Duration::from_millis(1_500);
/// Whoever waits for git waits no longer than this for a server that was connected to before. (One that never was may be
/// far away.)
const SOON: Duration = Duration::from_millis(900);
/// A connection on which nothing was heard for so long while a call waits is doubted.
const SILENCE: Duration = Duration::from_millis(400);
/// How long a second connection may take then.
const SECOND: Duration = Duration::from_millis(500);
/// So many at a time are nothing out of the ordinary.
const FEW: usize = 16;
/// Nor are so many that want to run, for each processor.
const FEW_RUNNING: usize = 8;

/// How long each thing may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) reach: Duration,
    pub(super) connect: Duration,
    pub(super) soon: Duration,
    pub(super) silence: Duration,
    pub(super) second: Duration,
}

impl Patience {
    /// With so many who wait at this moment, for a server that took so long to be connected to, on a machine where so many
    /// want to run for each of its processors.
    pub(super) fn new(waiting: usize, dialled: Duration, running: usize) -> Self {
        // Whoever asks for a hundred tokens at once keeps this machine busy, too, and perhaps the server.
        let crowd = u32::try_from(1 + waiting / FEW + running / FEW_RUNNING).unwrap_or(u32::MAX);
        let times = |time: Duration| time.saturating_mul(crowd).min(MINT);
        // To connect is to go there and back twice, and a call once: what takes as long as that is not silent yet.
        Self {
            reach: times(REACH),
            connect: times(CONNECT),
            soon: times(if dialled.is_zero() { CONNECT } else { SOON.max(dialled.saturating_mul(2)) }),
            silence: times(SILENCE.max(dialled)),
            second: times(SECOND.max(dialled.saturating_mul(2))),
        }
    }
}

/// How many processes of this machine want to run, for each of its processors; as far as the system says so.
pub(super) fn running() -> usize {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    wanting(&load).unwrap_or_default() / processors
}

/// The fourth field of `/proc/loadavg` is `running/all` (proc(5)).
fn wanting(load: &str) -> Option<usize> {
    load.split(' ').nth(3)?.split_once('/')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_waits_is_told_within_a_second_and_nobody_far_away_is_taken_for_gone() {
        let usual = Patience::new(1, Duration::from_millis(5), 2);
        assert!(usual.silence + usual.second < Duration::from_secs(1), "{usual:?}");
        assert!(usual.soon < Duration::from_secs(1), "{usual:?}");
        // By satellite: 600 ms there and back.
        let trip = Duration::from_millis(600);
        let far = Patience::new(1, trip * 2, 0);
        assert!(far.silence > trip && far.second > trip * 2 && far.soon > trip * 2, "{far:?}");
        assert!(Patience::new(1, Duration::ZERO, 0).soon > trip * 2, "nobody knows yet how far it is");
        let crowd = Patience::new(100, Duration::from_millis(5), 0);
        assert!(crowd.silence > Duration::from_secs(2) && crowd.connect > usual.connect * 4, "{crowd:?}");
        let busy = Patience::new(1, Duration::from_millis(5), 40);
        assert!(busy.silence > Duration::from_secs(2), "{busy:?}");
        assert!(Patience::new(usize::MAX / 2, Duration::MAX, usize::MAX / 2).silence <= MINT);
    }

    #[test]
    fn the_system_says_how_many_want_to_run() {
        assert_eq!(wanting("10.91 9.02 7.33 27/811 14673\n"), Some(27));
        for other in ["", "0.00 0.00 0.00", "0.00 0.00 0.00 x/1 7", "0.00 0.00 0.00 3 7"] {
            assert_eq!(wanting(other), None, "{other:?}");
        }
        assert!(running() < 100_000);
    }
}
