//! Uses of tokens and refused acts, on their way to the audit trail: gathered without holding anybody up, written in
//! batches.
//!
//! What is alike in everything but the moment, within one batch, becomes one line with a count. What cannot be written now
//! is kept and tried again; a clean stop writes everything.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tok_model::audit::{Action, Actor, AuditEvent, Outcome};
use tok_model::clock::Timestamp;
use tok_model::id::{TokenId, UserId};
use tok_model::name::RepoPath;
use tok_store::StoreError;
use tok_store::audit::Use;

use crate::executor::Executor;
use crate::metrics::UseFigures;

/// The most lines that wait while the database is away; beyond it the newest kinds of use are only counted in the log.
const MOST_WAITING: usize = 100_000;
/// Of these, refused acts that are no uses of tokens: anybody on this machine can cause some.
const MOST_REFUSED: usize = 10_000;

/// What lines that become one have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kind<'a> {
    action: Action,
    user: Option<UserId>,
    uid: Option<u32>,
    behind: Option<&'a str>,
    token: Option<TokenId>,
    temporary: Option<&'a str>,
    address: Option<IpAddr>,
    agent: Option<&'a str>,
    repo: Option<&'a RepoPath>,
    command: Option<&'a str>,
    refused: Option<&'a str>,
}

impl<'a> Kind<'a> {
    /// The kind of what this actor did.
    fn new(actor: &'a Actor, action: Action, refused: Option<&'a str>) -> Self {
        Self {
            action,
            user: actor.user.as_ref().map(|(id, _)| *id),
            uid: actor.source.uid,
            behind: actor.source.behind.as_deref(),
            token: actor.token,
            temporary: actor.temporary.as_deref(),
            address: actor.source.address,
            agent: actor.source.agent.as_deref(),
            repo: None,
            command: actor.source.operation.as_deref(),
            refused,
        }
    }

    /// The kind of what waits.
    fn of(event: &'a AuditEvent) -> Self {
        let refused = (event.outcome == Outcome::Refused).then_some(event.detail.as_str());
        let kind = Self::new(&event.actor, event.action, refused);
        Self { repo: event.repo.as_ref(), command: event.command.as_deref(), ..kind }
    }

    fn event(&self, actor: &Actor) -> AuditEvent {
        let mut event = AuditEvent::done(self.action, actor.clone());
        if let (Action::TokenUse, Some(token)) = (self.action, self.token) {
            event = event.token(token, actor.token_prefix.clone().unwrap_or_default());
        }
        if let Some(repo) = self.repo {
            event = event.repo(repo.clone());
        }
        if let Some(why) = self.refused {
            event.outcome = Outcome::Refused;
            event = event.detail(why);
        }
        event.command = self.command.map(str::to_owned);
        event
    }
}

/// Lines that wait, by a hash of their kind: looking for one copies nothing, and nearly all find theirs.
#[derive(Default)]
struct Waiting {
    lines: HashMap<u64, Vec<Use>>,
    count: usize,
    refused: usize,
}

impl Waiting {
    fn alike(&mut self, hash: u64, kind: &Kind<'_>) -> Option<&mut Use> {
        self.lines.get_mut(&hash)?.iter_mut().find(|waits| Kind::of(&waits.event) == *kind)
    }

    fn has_room(&self, kind: &Kind<'_>) -> bool {
        self.count < MOST_WAITING && (kind.action == Action::TokenUse || self.refused < MOST_REFUSED)
    }

    fn add(&mut self, hash: u64, used: Use) {
        self.refused += usize::from(used.event.action != Action::TokenUse);
        self.count += 1;
        self.lines.entry(hash).or_default().push(used);
    }
}

/// Gathers uses and refused acts, and writes them.
#[derive(Default)]
pub struct Uses {
    waiting: Mutex<Waiting>,
    hasher: RandomState,
    // Only one batch is under way at a time, so that a batch put back after a failure cannot overtake another.
    writing: tokio::sync::Mutex<()>,
    /// Presentations of what is no token here, since they were last told of.
    unknown: AtomicU64,
    figures: UseFigures,
}

impl Uses {
    /// Notes a use of a token by git: `refused` says why it came to nothing, if it did.
    pub fn note(&self, actor: &Actor, repo: &RepoPath, command: &str, refused: Option<&str>, at: Timestamp) {
        if actor.token.is_some() || actor.temporary.is_some() {
            let kind = Kind::new(actor, Action::TokenUse, refused);
            self.gather(&Kind { repo: Some(repo), command: Some(command), ..kind }, actor, at);
        }
    }

    /// Notes a call of the API with a token; which call it was is the actor's source to say.
    pub fn note_call(&self, actor: &Actor, refused: Option<&str>, at: Timestamp) {
        if actor.token.is_some() {
            self.gather(&Kind::new(actor, Action::TokenUse, refused), actor, at);
        }
    }

    /// Notes that a temporary token administered the server. What else was done is written down with what was done.
    pub fn note_temporary(&self, actor: &Actor, at: Timestamp) {
        if actor.temporary.is_some() {
            self.gather(&Kind::new(actor, Action::TokenUse, None), actor, at);
        }
    }

    /// Notes an act that a rule refused to somebody who is known.
    pub fn note_refused(&self, actor: &Actor, action: Action, repo: Option<&RepoPath>, why: &str, at: Timestamp) {
        self.gather(&Kind { repo, ..Kind::new(actor, action, Some(why)) }, actor, at);
    }

    /// Counts that something was presented that is no token here. Nobody is behind it, so the trail has no line for it.
    pub fn count_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// How it goes.
    pub fn figures(&self) -> &UseFigures {
        &self.figures
    }

    /// How many lines wait.
    pub fn lines_waiting(&self) -> usize {
        self.waiting().count
    }

    fn gather(&self, kind: &Kind<'_>, actor: &Actor, at: Timestamp) {
        let hash = self.hasher.hash_one(kind);
        let mut waiting = self.waiting();
        if let Some(known) = waiting.alike(hash, kind) {
            known.at = at;
            known.times = known.times.saturating_add(1);
        } else if waiting.has_room(kind) {
            if let Some(name) = kind.temporary {
                let command = kind.command.unwrap_or("a call");
                tracing::warn!(from = %actor.source.describe(), "The temporary token {name:?} was used: {command}");
            }
            waiting.add(hash, Use { at, times: 1, event: kind.event(actor) });
        } else {
            self.figures.dropped.inc();
            let action = kind.action.as_str();
            tracing::error!(action, actor = %actor.describe(), "{action} by {} was not recorded: too much waits for the database", actor.describe());
        }
    }

    /// Writes what has gathered. On failure it is kept for the next time.
    pub async fn flush(&self, executor: &Executor) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        let unknown = self.unknown.swap(0, Ordering::Relaxed);
        if unknown > 0 {
            tracing::info!(unknown, "Credentials that are no tokens here were presented: {unknown}");
        }
        let batch = std::mem::take(&mut *self.waiting());
        let mut uses: Vec<Use> = batch.lines.into_values().flatten().collect();
        if uses.is_empty() {
            return Ok(());
        }
        uses.sort_by_key(|used| used.at);
        let uses = Arc::new(uses);
        let writing = Arc::clone(&uses);
        let written = executor.run(move |store| store.write(|tx| tok_store::audit::record_uses(tx, &writing))).await;
        if written.is_err() {
            self.figures.failed.inc();
            self.put_back(Arc::unwrap_or_clone(uses));
        } else {
            self.figures.written.inc_by(uses.len().try_into().unwrap_or(u64::MAX));
        }
        written
    }

    fn put_back(&self, uses: Vec<Use>) {
        let mut waiting = self.waiting();
        for used in uses {
            let kind = Kind::of(&used.event);
            let hash = self.hasher.hash_one(kind);
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

#[cfg(test)]
mod tests {
    use tok_model::audit::Source;

    use super::*;

    fn actor(token: TokenId, address: &str) -> Actor {
        let agent = Some("git/2".to_owned());
        let source = Source { address: Some(address.parse().unwrap()), agent, ..Source::default() };
        Actor {
            user: None,
            workspace: None,
            token: Some(token),
            parent: None,
            token_prefix: Some("tokgit_a1b2".to_owned()),
            temporary: None,
            trust: None,
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
            let mut called = actor(one, "192.0.2.1");
            called.source.operation = Some("TokenService/List".to_owned());
            uses.note_call(&called, None, at);
            uses.note_call(&called, Some("no"), at);
            called.source.agent = Some("tok/1".to_owned());
            uses.note_call(&called, None, at);
            uses.note_refused(&called, Action::TokenCreate, None, "no", at);
        };
        let times = || {
            let mut times: Vec<i32> = uses.waiting().lines.values().flatten().map(|used| used.times).collect();
            times.sort_unstable();
            times
        };
        fill();
        assert_eq!(times(), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3]);
        // A batch that could not be written comes back after others of its kinds have gathered.
        let batch: Vec<Use> = std::mem::take(&mut *uses.waiting()).lines.into_values().flatten().collect();
        fill();
        uses.put_back(batch);
        assert_eq!(times(), [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 6]);
        let waiting = uses.waiting();
        assert_eq!((waiting.count, waiting.refused), (11, 1));
    }

    #[test]
    fn refused_acts_have_a_bound_of_their_own_and_take_no_room_from_uses() {
        let (uses, mut rng) = (Uses::default(), rand::rand_core::UnwrapErr(rand::rngs::SysRng));
        let at = Timestamp::UNIX_EPOCH;
        let nobody = Actor::daemon();
        for number in 0..MOST_REFUSED + 5 {
            uses.note_refused(&nobody, Action::UserCreate, None, &number.to_string(), at);
        }
        assert_eq!(uses.waiting().count, MOST_REFUSED);
        let app: RepoPath = "acme/app".parse().unwrap();
        uses.note(&actor(TokenId::random(&mut rng), "192.0.2.1"), &app, "upload-pack", None, at);
        assert_eq!(uses.waiting().count, MOST_REFUSED + 1);
        // Nobody's token is nobody's use.
        uses.note(&nobody, &app, "upload-pack", None, at);
        uses.note_call(&nobody, None, at);
        assert_eq!(uses.waiting().count, MOST_REFUSED + 1);
    }
}
