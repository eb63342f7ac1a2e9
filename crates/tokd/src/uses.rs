//! Uses of tokens, on their way to the audit trail: gathered without holding anybody up, written in batches.
//!
//! Uses that are alike in everything but the moment, within one batch, become one line with a count. What cannot be
//! written now is kept and tried again; a clean stop writes everything.

use std::collections::HashMap;
use std::sync::Mutex;
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

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    token: TokenId,
    address: Option<std::net::IpAddr>,
    repo: Option<RepoPath>,
    command: &'static str,
    refused: Option<String>,
}

/// Gathers uses and writes them.
#[derive(Default)]
pub struct Uses {
    waiting: Mutex<HashMap<Kind, Use>>,
    // Only one batch is under way at a time, so that a batch put back after a failure cannot overtake another.
    writing: tokio::sync::Mutex<()>,
}

impl Uses {
    /// Notes a use: `refused` says why it came to nothing, if it did.
    pub fn note(
        &self,
        actor: Actor,
        repo: Option<RepoPath>,
        command: &'static str,
        refused: Option<String>,
        at: Timestamp,
    ) {
        let Some(token) = actor.token else { return };
        let kind = Kind { token, address: actor.source.address, repo, command, refused };
        let mut waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = waiting.get_mut(&kind) {
            known.at = at;
            known.times = known.times.saturating_add(1);
        } else if waiting.len() < MOST_WAITING {
            let event = event(&kind, actor);
            waiting.insert(kind, Use { at, times: 1, event });
        } else {
            tracing::error!(token.id = %token, "a use was not recorded: the database has been away too long");
        }
    }

    /// Writes what has gathered. On failure it is kept for the next time.
    pub async fn flush(&self, executor: &Executor) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        let batch = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if batch.is_empty() {
            return Ok(());
        }
        let mut uses: Vec<Use> = batch.values().cloned().collect();
        uses.sort_by_key(|used| used.at);
        let written = executor.run(move |store| store.write(|tx| tok_store::audit::record_uses(tx, &uses))).await;
        if written.is_err() {
            let mut waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (kind, used) in batch {
                waiting
                    .entry(kind)
                    .and_modify(|later| later.times = later.times.saturating_add(used.times))
                    .or_insert(used);
            }
        }
        written
    }
}

fn event(kind: &Kind, actor: Actor) -> AuditEvent {
    let prefix = actor.token_prefix.clone().unwrap_or_default();
    let mut event = AuditEvent::done(Action::TokenUse, actor).token(kind.token, prefix);
    if let Some(repo) = &kind.repo {
        event = event.repo(repo.clone());
    }
    if let Some(why) = &kind.refused {
        event.outcome = Outcome::Refused;
        event = event.detail(why.clone());
    }
    event.command = Some(kind.command.to_owned());
    event
}
