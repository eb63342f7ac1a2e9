//! Tokens seen before: a bounded cache of what the database said, so that a verdict usually costs no query.
//!
//! An entry is served for at most [`FRESH`] after it was read, which bounds how long another daemon's revocation can go
//! unseen. This daemon's own changes take effect at once: each one that could take authority away starts a new
//! generation before its call returns, and entries of an earlier generation are not served. What a hit says is decided
//! anew each time (expiry, owner, address); only the facts are cached, never a verdict, and never "no such token".

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use tok_model::decide::OwnerNow;
use tok_model::secret::Digest;
use tok_model::token::Token;

/// How long an entry may be served without asking again.
const FRESH: Duration = Duration::from_secs(5);
/// The most entries, some 600 bytes each.
const MOST: u64 = 100_000;

/// The facts about a presented token.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The token.
    pub token: Arc<Token>,
    /// Its owner, as of when it was read.
    pub owner: OwnerNow,
}

struct Entry {
    facts: Facts,
    read: Instant,
    generation: Generation,
}

/// Counts the changes that could take authority away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

/// The cache.
pub struct Verdicts {
    entries: Cache<Digest, Arc<Entry>>,
    generation: AtomicU64,
}

impl Default for Verdicts {
    fn default() -> Self {
        let entries = Cache::builder().max_capacity(MOST).time_to_live(FRESH).build();
        Self { entries, generation: AtomicU64::new(0) }
    }
}

impl Verdicts {
    /// The generation now. To be taken before the database is asked, and handed to [`Verdicts::remember`].
    pub fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::SeqCst))
    }

    /// Authority may have been taken from somebody: nothing that was read before is served again.
    pub fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// What is known and fresh.
    pub fn known(&self, digest: &Digest) -> Option<Facts> {
        let entry = self.entries.get(digest)?;
        (entry.generation == self.generation() && entry.read.elapsed() < FRESH).then(|| entry.facts.clone())
    }

    /// Keeps what the database said when it was asked in `generation`, at `read`.
    pub fn remember(&self, digest: Digest, facts: Facts, generation: Generation, read: Instant) {
        if generation == self.generation() {
            self.entries.insert(digest, Arc::new(Entry { facts, read, generation }));
        }
    }
}
