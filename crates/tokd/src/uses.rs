//! Uses of tokens, on their way to the audit trail: gathered without holding anybody up, written in batches.
//!
//! Uses that are alike in everything but the moment, within one batch, become one line with a count. What cannot be
//! written now is kept and tried again; a clean stop writes everything.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tok_model::audit::{Action, Actor, AuditEvent, Outcome};
use tok_model::clock::Timestamp;
use tok_model::id::TokenId;
use tok_model::name::RepoPath;
use tok_store::StoreError;
use tok_store::audit::Use;

use crate::executor::Executor;

/// How often a batch is written.
pub const EVERY: Duration = Duration::from_secs(1);
/// The most lines that wait while the database is away; beyond it the newest kinds of use are only counted in the log.
const MOST_WAITING: usize = 100_000;

/// What was presented.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Who<'a> {
    Token(TokenId),
    /// A temporary token, by its name.
    Temporary(&'a str),
}

impl<'a> Who<'a> {
    fn of(actor: &'a Actor) -> Option<Self> {
        actor.token.map(Self::Token).or_else(|| actor.temporary.as_deref().map(Self::Temporary))
    }
}

/// What uses that share a line have in common.
#[derive(PartialEq, Eq, Hash)]
struct Kind<'a> {
    who: Who<'a>,
    address: Option<IpAddr>,
    repo: Option<&'a RepoPath>,
    command: &'a str,
    refused: Option<&'a str>,
}

impl<'a> Kind<'a> {
    /// The kind of a use that waits.
    fn of(event: &'a AuditEvent) -> Option<Self> {
        Some(Self {
            who: Who::of(&event.actor)?,
            address: event.actor.source.address,
            repo: event.repo.as_ref(),
            command: event.command.as_deref()?,
            refused: (event.outcome == Outcome::Refused).then_some(&event.detail),
        })
    }
}

/// Uses that wait, by a hash of their kind: looking for one copies nothing, and nearly all find theirs.
#[derive(Default)]
struct Waiting {
    lines: HashMap<u64, Vec<Use>>,
    count: usize,
}

impl Waiting {
    fn alike(&mut self, hash: u64, kind: &Kind<'_>) -> Option<&mut Use> {
        self.lines.get_mut(&hash)?.iter_mut().find(|waits| Kind::of(&waits.event).as_ref() == Some(kind))
    }

    fn add(&mut self, hash: u64, used: Use) {
        self.lines.entry(hash).or_default().push(used);
        self.count += 1;
    }
}

/// Gathers uses and writes them.
#[derive(Default)]
pub struct Uses {
    waiting: Mutex<Waiting>,
    hasher: RandomState,
    // Only one batch is under way at a time, so that a batch put back after a failure cannot overtake another.
    writing: tokio::sync::Mutex<()>,
}

impl Uses {
    /// Notes a use: `refused` says why it came to nothing, if it did.
    pub fn note(&self, actor: &Actor, repo: &RepoPath, command: &str, refused: Option<&str>, at: Timestamp) {
        let Some(who) = Who::of(actor) else { return };
        self.add(&Kind { who, address: actor.source.address, repo: Some(repo), command, refused }, actor, at);
    }

    /// Notes that a temporary token administered the server. What else was done is written down with what was done.
    pub fn note_temporary(&self, actor: &Actor, at: Timestamp) {
        let Some(name) = actor.temporary.as_deref() else { return };
        let who = Who::Temporary(name);
        self.add(&Kind { who, address: actor.source.address, repo: None, command: "api", refused: None }, actor, at);
    }

    fn add(&self, kind: &Kind<'_>, actor: &Actor, at: Timestamp) {
        let hash = self.hasher.hash_one(kind);
        let mut waiting = self.waiting();
        if let Some(known) = waiting.alike(hash, kind) {
            known.at = at;
            known.times = known.times.saturating_add(1);
        } else if waiting.count < MOST_WAITING {
            if let Who::Temporary(name) = kind.who {
                tracing::warn!(from = %actor.source.describe(), "The temporary token {name:?} was used: {}", kind.command);
            }
            waiting.add(hash, Use { at, times: 1, event: event(kind, actor) });
        } else {
            tracing::error!(actor = %actor.describe(), "a use was not recorded: the database has been away too long");
        }
    }

    /// Writes what has gathered. On failure it is kept for the next time.
    pub async fn flush(&self, executor: &Executor) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        let batch = std::mem::take(&mut *self.waiting());
        let mut uses: Vec<Use> = batch.lines.into_values().flatten().collect();
        if uses.is_empty() {
            return Ok(());
        }
        uses.sort_by_key(|used| used.at);
        let writing = uses.clone();
        let written = executor.run(move |store| store.write(|tx| tok_store::audit::record_uses(tx, &writing))).await;
        if written.is_err() {
            self.put_back(uses);
        }
        written
    }

    fn put_back(&self, uses: Vec<Use>) {
        let mut waiting = self.waiting();
        for used in uses {
            let Some(kind) = Kind::of(&used.event) else { continue };
            let hash = self.hasher.hash_one(&kind);
            match waiting.alike(hash, &kind) {
                Some(later) => later.times = later.times.saturating_add(used.times),
                None => waiting.add(hash, used),
            }
        }
    }

    // What a panic elsewhere could leave behind is at worst a count too low by one.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(kind: &Kind<'_>, actor: &Actor) -> AuditEvent {
    let mut event = AuditEvent::done(Action::TokenUse, actor.clone());
    if let Who::Token(token) = kind.who {
        event = event.token(token, actor.token_prefix.clone().unwrap_or_default());
    }
    if let Some(repo) = kind.repo {
        event = event.repo(repo.clone());
    }
    if let Some(why) = kind.refused {
        event.outcome = Outcome::Refused;
        event = event.detail(why);
    }
    event.command = Some(kind.command.to_owned());
    event
}

#[cfg(test)]
mod tests {
    use tok_model::audit::Source;

    use super::*;

    fn actor(token: TokenId, address: &str) -> Actor {
        let source = Source { address: Some(address.parse().unwrap()), uid: None, agent: Some("git/2".to_owned()) };
        Actor {
            user: None,
            token: Some(token),
            parent: None,
            token_prefix: Some("tokgit_a1b2".to_owned()),
            temporary: None,
            source,
        }
    }

    #[test]
    fn alike_uses_share_a_line_and_lose_no_count_when_put_back() {
        let (uses, mut rng) = (Uses::default(), rand::rand_core::UnwrapErr(rand::rngs::SysRng));
        let (one, other) = (TokenId::random(&mut rng), TokenId::random(&mut rng));
        let (app, lib): (RepoPath, RepoPath) = ("acme/app".parse().unwrap(), "acme/lib".parse().unwrap());
        let at = Timestamp::UNIX_EPOCH;
        let fill = || {
            for _ in 0..3 {
                uses.note(&actor(one, "192.0.2.1"), &app, "upload-pack", None, at);
            }
            uses.note(&actor(other, "192.0.2.1"), &app, "upload-pack", None, at);
            uses.note(&actor(one, "192.0.2.2"), &app, "upload-pack", None, at);
            uses.note(&actor(one, "192.0.2.1"), &lib, "upload-pack", None, at);
            uses.note(&actor(one, "192.0.2.1"), &app, "receive-pack", None, at);
            uses.note(&actor(one, "192.0.2.1"), &app, "upload-pack", Some("no"), at);
            uses.note(&actor(one, "192.0.2.1"), &app, "upload-pack", Some("never"), at);
        };
        let times = || {
            let mut times: Vec<i32> = uses.waiting().lines.values().flatten().map(|used| used.times).collect();
            times.sort_unstable();
            times
        };
        fill();
        assert_eq!(times(), [1, 1, 1, 1, 1, 1, 3]);
        // A batch that could not be written comes back after others of its kinds have gathered.
        let batch: Vec<Use> = std::mem::take(&mut *uses.waiting()).lines.into_values().flatten().collect();
        fill();
        uses.put_back(batch);
        assert_eq!(times(), [2, 2, 2, 2, 2, 2, 6]);
        assert_eq!(uses.waiting().count, 7);
    }
}
