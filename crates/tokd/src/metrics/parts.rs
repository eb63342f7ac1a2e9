//! The figures of parts of the daemon that count by themselves.

use prometheus::{Histogram, IntCounterVec};

use super::{Collectors, IntCounter, counter, counters, histogram, kept};

/// From 50 µs to the executor's deadline, in seconds.
const WAITS: [f64; 12] = [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.25, 1.0, 10.0];
/// How many one statement answered.
const TURNS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

const FULL: &str = "full";
const LATE: &str = "late";

/// The doorway to the store.
pub struct QueueFigures {
    /// How long what waited waited, in seconds.
    pub waits: Histogram,
    /// How many look-ups one query answered.
    pub look_ups: Histogram,
    /// How many tokens one commit made.
    pub mints: Histogram,
    refused: IntCounterVec,
}

impl Default for QueueFigures {
    fn default() -> Self {
        let refused = counters(
            "tok_store_refused_total",
            "What the doorway to the database refused: full is too much waiting, late is no answer within the deadline.",
            &["reason"],
        );
        // What never happened is 0, and not missing.
        for reason in [FULL, LATE] {
            refused.with_label_values(&[reason]);
        }
        let turns = "How many waited together and were answered by one statement: look-ups of tokens, or mints.";
        Self {
            waits: histogram(
                "tok_store_wait_seconds",
                "How long jobs, look-ups and mints waited for a database connection.",
                &WAITS,
                None,
            ),
            look_ups: histogram("tok_store_turn_size", turns, &TURNS, Some(("kind", "look_up"))),
            mints: histogram("tok_store_turn_size", turns, &TURNS, Some(("kind", "mint"))),
            refused,
        }
    }
}

impl QueueFigures {
    /// Too much waited.
    pub fn full(&self) {
        self.refused.with_label_values(&[FULL]).inc();
    }

    /// There was no answer in time.
    pub fn late(&self) {
        self.refused.with_label_values(&[LATE]).inc();
    }

    pub(super) fn collectors(&self) -> Collectors {
        let mut all: Collectors = [&self.waits, &self.look_ups, &self.mints].map(kept).into();
        all.push(kept(&self.refused));
        all
    }
}

/// The cache of what is known about tokens and local users.
#[derive(Clone)]
pub struct CacheFigures {
    /// Answered from the cache.
    pub hits: IntCounter,
    /// Not in it, or not fresh.
    pub misses: IntCounter,
}

impl Default for CacheFigures {
    fn default() -> Self {
        Self {
            hits: counter(
                "tok_verdict_cache_hits_total",
                "Tokens and local users that were remembered when they called.",
            ),
            misses: counter("tok_verdict_cache_misses_total", "Those that had to be looked up in the database."),
        }
    }
}

impl CacheFigures {
    /// Counts a question, and passes its answer on.
    pub fn seen<T>(&self, found: Option<T>) -> Option<T> {
        if found.is_some() {
            self.hits.inc();
        } else {
            self.misses.inc();
        }
        found
    }

    pub(super) fn collectors(&self) -> Collectors {
        vec![kept(&self.hits), kept(&self.misses)]
    }
}

/// Failures of sources.
#[derive(Clone)]
pub struct FailureFigures {
    /// Wrong tokens and secrets.
    pub failed: IntCounter,
    /// Answered "too many".
    pub limited: IntCounter,
}

impl Default for FailureFigures {
    fn default() -> Self {
        Self {
            failed: counter("tok_failures_total", "Unknown tokens and wrong secrets that were presented."),
            limited: counter(
                "tok_failures_limited_total",
                "Requests that were answered \"too many\", since too many failures came from their source.",
            ),
        }
    }
}

impl FailureFigures {
    pub(super) fn collectors(&self) -> Collectors {
        vec![kept(&self.failed), kept(&self.limited)]
    }
}

/// Uses on their way to the trail.
pub struct UseFigures {
    /// Lines written.
    pub written: IntCounter,
    /// Batches that could not be written, and are tried again.
    pub failed: IntCounter,
    /// Lines that were dropped, since too much waited.
    pub dropped: IntCounter,
}

impl Default for UseFigures {
    fn default() -> Self {
        Self {
            written: counter(
                "tok_audit_lines_flushed_total",
                "Lines of uses and refusals written to the audit trail in batches.",
            ),
            failed: counter(
                "tok_audit_flushes_failed_total",
                "Batches that could not be written; they are kept and tried again.",
            ),
            dropped: counter(
                "tok_audit_lines_dropped_total",
                "Uses and refusals that were not recorded, since too much waited already.",
            ),
        }
    }
}

impl UseFigures {
    pub(super) fn collectors(&self) -> Collectors {
        [&self.written, &self.failed, &self.dropped].map(kept).into()
    }
}

/// Slow hashes.
#[derive(Clone)]
pub struct SlowFigures {
    /// Sent away, since too many wait.
    pub busy: IntCounter,
}

impl Default for SlowFigures {
    fn default() -> Self {
        Self { busy: counter("tok_slow_hashes_refused_total", "Slow hashes that were refused, since too many waited.") }
    }
}

impl SlowFigures {
    pub(super) fn collectors(&self) -> Collectors {
        vec![kept(&self.busy)]
    }
}

/// Trust rules.
#[derive(Clone)]
pub struct TrustFigures {
    /// Identity tokens of issuers no rule for which can be read.
    pub unreadable: IntCounter,
}

impl Default for TrustFigures {
    fn default() -> Self {
        Self {
            unreadable: counter(
                "tok_trust_unreadable_total",
                "Identity tokens that were not believed since no trust rule for their issuer can be read by this version of tokd.",
            ),
        }
    }
}

impl TrustFigures {
    pub(super) fn collectors(&self) -> Collectors {
        vec![kept(&self.unreadable)]
    }
}
