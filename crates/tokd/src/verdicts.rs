//! Tokens and local users seen before: bounded caches of what the database said, so that a verdict usually costs no query.
//!
//! An entry is served for at most [`FRESH`] after it was read, sleep of the machine included, which bounds how long another
//! daemon's revocation can go unseen. This daemon's own changes take effect at once: each one that could take authority away starts a new
//! generation before its call returns, and entries of an earlier generation are not served. What a hit says is decided
//! anew each time (expiry, owner, address); only the facts are cached, never a verdict, and never "no such token".

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use tok_api::moment::Found;
use tok_model::decide::{OwnerNow, UserNow};
use tok_model::name::UserName;
use tok_model::secret::Digest;
use tok_model::token::Token;

use crate::metrics::CacheFigures;

/// How long an entry may be served without asking again.
pub const FRESH: Duration = Duration::from_secs(5);
/// The most tokens kept, some 600 bytes each.
const MOST_TOKENS: usize = 100_000;
/// The most local users kept.
const MOST_PEERS: usize = 10_000;

/// The facts about a presented token.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The token.
    pub token: Arc<Token>,
    /// Its owner, as of when it was read.
    pub owner: OwnerNow,
}

/// Whom a local peer asked to be: its user ID, and the user it named, if it named one.
pub type PeerKey = (u32, Option<UserName>);

/// The facts about a local peer.
#[derive(Debug, Clone)]
pub struct PeerFacts {
    /// The tok user that it is or acts as.
    pub user: Arc<UserNow>,
    /// The tok user that its system name stands for, if it could be one's.
    pub own: Option<UserName>,
}

/// When the database was asked. What it answers is kept only if nothing changed since.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    generation: u64,
    at: Found,
}

struct Entry<F> {
    facts: F,
    asked: Asked,
}

/// The caches.
pub struct Verdicts {
    tokens: Cache<Digest, Arc<Entry<Facts>>>,
    peers: Cache<PeerKey, Arc<Entry<PeerFacts>>>,
    generation: AtomicU64,
    figures: CacheFigures,
}

impl Default for Verdicts {
    fn default() -> Self {
        Self {
            tokens: Cache::new(MOST_TOKENS),
            peers: Cache::new(MOST_PEERS),
            generation: AtomicU64::new(0),
            figures: CacheFigures::default(),
        }
    }
}

impl Verdicts {
    /// To be taken before the database is asked, and handed in with its answer.
    pub fn asking(&self) -> Asked {
        Asked { generation: self.generation.load(Ordering::SeqCst), at: Found::now() }
    }

    /// Authority may have been taken from somebody: nothing that was read before is served again.
    pub fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// What is known and fresh of a token.
    pub fn token(&self, digest: &Digest) -> Option<Facts> {
        let held = self.tokens.get(digest).filter(|entry| self.holds(entry.asked));
        self.figures.seen(held).map(|entry| entry.facts.clone())
    }

    /// Keeps what the database said of a token.
    pub fn remember_token(&self, digest: Digest, facts: Facts, asked: Asked) {
        if self.holds(asked) {
            self.tokens.insert(digest, Arc::new(Entry { facts, asked }));
        }
    }

    /// What is known and fresh of a local peer.
    pub fn peer(&self, key: &PeerKey) -> Option<PeerFacts> {
        let held = self.peers.get(key).filter(|entry| self.holds(entry.asked));
        self.figures.seen(held).map(|entry| entry.facts.clone())
    }

    /// Keeps what the database said of a local peer.
    pub fn remember_peer(&self, key: PeerKey, facts: PeerFacts, asked: Asked) {
        if self.holds(asked) {
            self.peers.insert(key, Arc::new(Entry { facts, asked }));
        }
    }

    /// How often what was asked about was known.
    pub fn figures(&self) -> &CacheFigures {
        &self.figures
    }

    /// How many tokens and local users are remembered.
    pub fn sizes(&self) -> (u64, u64) {
        let count = |entries: usize| u64::try_from(entries).unwrap_or(u64::MAX);
        (count(self.tokens.len()), count(self.peers.len()))
    }

    /// Gives back the room of what is served no more.
    pub fn sweep(&self) {
        self.tokens.retain(|_, entry| self.holds(entry.asked));
        self.peers.retain(|_, entry| self.holds(entry.asked));
    }

    /// Whether what was said then still counts.
    pub fn holds(&self, asked: Asked) -> bool {
        asked.generation == self.generation.load(Ordering::SeqCst) && asked.at.age() < FRESH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_before_a_change_is_neither_kept_nor_served() {
        let verdicts = Verdicts::default();
        let key: PeerKey = (7, None);
        let id = tok_model::id::UserId::random(&mut rand::rand_core::UnwrapErr(rand::rngs::SysRng));
        let user = UserNow {
            id,
            name: "ann".parse().unwrap(),
            enabled: true,
            manager: false,
            memberships: std::collections::BTreeMap::new(),
        };
        let facts = PeerFacts { user: Arc::new(user), own: None };
        let before = verdicts.asking();
        verdicts.remember_peer(key.clone(), facts.clone(), before);
        assert!(verdicts.peer(&key).is_some());
        verdicts.forget_all();
        assert!(verdicts.peer(&key).is_none());
        // The answer to a question that was asked before the change comes after it: too late.
        verdicts.remember_peer(key.clone(), facts.clone(), before);
        assert!(verdicts.peer(&key).is_none());
        verdicts.remember_peer(key.clone(), facts, verdicts.asking());
        assert!(verdicts.peer(&key).is_some());
    }
}
