//! One function per operation: who is calling, may they, do it, record it. The doors only translate.

mod audit;
mod caller;
mod git;
mod identity;
mod import;
mod leave;
mod passwords;
mod refused;
mod server;
mod sessions;
mod strangers;
mod tokens;
mod trust;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use tok_api::fault::Fault;
use tok_model::clock::{Clock, Timestamp};
use tok_model::decide::{Caller, Need, Permit, Refusal, decide};
use tok_model::secret::Peppers;
use tok_model::token::Token;
use tok_model::url::Origin;
use tok_store::tokens::Mint;
use tok_store::{Store, StoreError};

use crate::config::{Tokens, Told};
use crate::door::gateway::repositories::Repositories;
use crate::executor::Executor;
use crate::failures::Failures;
use crate::fault::IntoFault;
use crate::metrics::{Metrics, Now, Parts, Requests};
use crate::uses::Uses;
use crate::verdicts::Verdicts;

pub use caller::{Presented, authorization};
pub use git::{GitWish, username};
pub use leave::Leave;
pub use sessions::{BrowserSession, Watching};
pub use strangers::presented_text;
pub use tokens::{effective_scopes, policy};

/// What the operations need. One for the daemon, shared by all doors.
pub struct Service {
    executor: Executor,
    peppers: Arc<Peppers>,
    clock: Box<dyn Clock>,
    policy: Tokens,
    verdicts: Verdicts,
    minted: git::MintedTokens,
    strangers: strangers::Strangers,
    uses: Uses,
    failures: Failures,
    metrics: Metrics,
    device_logins: sessions::DeviceLogins,
    watchers: sessions::Watchers,
    issuers: trust::Issuers,
    place: Place,
}

/// Where the daemon is and what it serves: what status shows and the helper is matched against.
pub struct Place {
    /// What people clone from.
    pub public_url: Origin,
    /// Every URL that is this server, the public one first.
    pub origins: Vec<Origin>,
    /// The local socket.
    pub socket: PathBuf,
    /// `embedded` or `postgres`.
    pub store: &'static str,
    /// The repositories, if the gateway is on.
    pub repositories: Option<Repositories>,
    /// git's version, if the gateway is on.
    pub git_version: Option<String>,
    /// Whether a push may make a repository.
    pub create_on_push: bool,
    /// Whether a system user is the tok user of the same name.
    pub map_system_users: bool,
    /// The daemon's own user ID.
    pub own_uid: u32,
    /// What of its configuration it tells.
    pub settings: Vec<Told>,
    /// When it started.
    pub started: Instant,
}

impl Service {
    /// A service on this store.
    pub fn new(executor: Executor, peppers: Arc<Peppers>, clock: Box<dyn Clock>, policy: Tokens, place: Place) -> Self {
        let (verdicts, uses, failures) = (Verdicts::default(), Uses::default(), Failures::new(None));
        let strangers = strangers::Strangers::default();
        let issuers = trust::Issuers::default();
        let metrics = Metrics::new(&Parts {
            queue: executor.figures(),
            cache: verdicts.figures(),
            failures: failures.figures(),
            uses: uses.figures(),
            slow: strangers.slow.figures(),
            trust: issuers.figures(),
        });
        Self {
            executor,
            peppers,
            clock,
            policy,
            verdicts,
            minted: git::MintedTokens::default(),
            strangers,
            uses,
            failures,
            metrics,
            device_logins: sessions::DeviceLogins::default(),
            watchers: sessions::Watchers::default(),
            issuers,
            place,
        }
    }

    /// The same, taking only so many wrong tokens and secrets a minute from one source.
    #[must_use]
    pub fn with_failures_limited_to(self, limit: Option<NonZeroU32>) -> Self {
        Self { failures: self.failures.limited_to(limit), ..self }
    }

    /// Where the daemon is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The figures of the doors, to be counted up there.
    pub fn requests(&self) -> &Requests {
        &self.metrics.requests
    }

    /// All figures as they are now, in Prometheus' text format. Asks no database.
    pub fn figures(&self) -> String {
        let slow = &self.strangers.slow;
        self.metrics.text(&Now {
            queue_waiting: self.executor.waiting(),
            cached: self.verdicts.sizes(),
            lines_waiting: self.uses.lines_waiting(),
            slow: (slow.waiting(), slow.made()),
            connections: self.executor.connections(),
            tally: self.executor.tally(),
        })
    }

    /// Gives back the room of what is remembered and served no more.
    pub fn give_back_room(&self) {
        self.verdicts.sweep();
    }

    /// Whether the database answers.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.executor.run(Store::ping).await
    }

    /// Writes the uses that have gathered.
    pub async fn flush_uses(&self) -> Result<(), StoreError> {
        self.uses.flush(&self.executor).await
    }

    /// Whether a caller administers this server.
    pub fn manages(&self, caller: &Caller) -> bool {
        decide(caller, Need::Server, self.now()).is_ok()
    }

    /// The same, with the reason if not; a "no" is written down.
    pub fn administers(&self, caller: &Caller) -> Result<(), Refusal> {
        decide(caller, Need::Server, self.now()).map(drop).inspect_err(|refusal| {
            self.note_refusal(caller, &Need::Server, refusal);
        })
    }

    /// Whether a caller is somebody at all: what a door asks before it reads on.
    pub fn recognise(&self, caller: &Caller) -> Result<(), Fault> {
        self.permit(caller, Need::Identity).map(drop)
    }

    /// The time, by the clock that everything here goes by.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asks the one decision, for an operation that answers with a [`Fault`]. A "no" is written down: ask only for what is
    /// the answer, and [`may`](Self::may) where it is not.
    fn permit(&self, caller: &Caller, need: Need) -> Result<Permit, Fault> {
        let wanted = need.clone();
        let permit = decide(caller, need, self.now()).map_err(|refusal| {
            self.note_refusal(caller, &wanted, &refusal);
            refusal.into_fault()
        })?;
        self.uses.note_temporary(permit.actor(), permit.at());
        Ok(permit)
    }

    /// The same for an operation that has another way if the answer is no.
    fn may(&self, caller: &Caller, need: Need) -> Option<Permit> {
        decide(caller, need, self.now()).ok()
    }

    /// Makes a token, with its line in the trail.
    async fn mint(&self, mint: Mint) -> Result<Token, Fault> {
        self.executor.mint(mint).await.map_err(IntoFault::into_fault)
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        self.executor.run(job).await.map_err(IntoFault::into_fault)
    }

    /// Nothing that was read before is served again.
    fn forget_all(&self) {
        self.verdicts.forget_all();
        self.minted.forget_all();
    }

    /// Like [`Service::run`], for a change that may take authority away: nothing read before is served after it.
    async fn run_and_forget<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        let done = self.executor.run(job).await;
        // Also after a failure: a commit whose answer was lost may have happened.
        self.forget_all();
        done.map_err(IntoFault::into_fault)
    }

    /// The same for what may touch very many tokens.
    async fn run_long_and_forget<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        let done = self.executor.run_within(LONG, job).await;
        self.verdicts.forget_all();
        self.minted.forget_all();
        done.map_err(IntoFault::into_fault)
    }
}

/// How long a change of very many tokens may take.
const LONG: Duration = Duration::from_secs(60);

/// Secrets come straight from the operating system's generator; a failing one is no reason to go on.
pub(crate) fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
