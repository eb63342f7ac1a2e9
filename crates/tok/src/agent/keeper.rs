//! What the agent holds, and what it may say about it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tok_api::convert::{AgentLogin, AgentStatus};
use tok_api::moment::Moment;
use tok_model::clock::Timestamp;
use tok_model::credential::Memory;

use super::book::Book;
use super::latch::Latch;
use crate::logins::Trouble;

/// How the agent was told to be.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// It ends after so long without work.
    pub(crate) idle: Option<Duration>,
    /// It keeps what other servers' credentials are.
    pub(crate) remember: bool,
}

/// Everything the agent holds.
pub(super) struct Keeper {
    pub(super) book: Book,
    memory: Mutex<Memory>,
    settings: Settings,
    locked: AtomicBool,
    /// That the next agent is locked, too. Held while somebody locks or unlocks.
    latch: Mutex<Latch>,
    /// Second of the last piece of work.
    used: AtomicU64,
    started_at: Timestamp,
    socket: String,
    memory_locked: bool,
}

impl Keeper {
    /// Locked, if the one before it was locked and nobody unlocked it.
    pub(super) fn new(settings: Settings, socket: &Path, memory_locked: bool) -> Self {
        let (book, latch) = (Book::usual(), Latch::beside(socket));
        let locked = latch.is_on();
        if locked {
            tracing::info!("Locked, as the agent before was: `tok agent unlock` ends it");
            book.close();
        }
        Self {
            book,
            memory: Mutex::default(),
            settings,
            locked: AtomicBool::new(locked),
            latch: Mutex::new(latch),
            used: AtomicU64::new(Moment::now().seconds()),
            started_at: crate::context::now(),
            socket: socket.display().to_string(),
            memory_locked,
        }
    }

    /// Notes that there was work.
    pub(super) fn touch(&self) {
        self.used.store(Moment::now().seconds(), Ordering::Relaxed);
    }

    /// Whether there has been no work for so long that it may end. A locked agent stays, and says so at
    /// once.
    pub(super) fn is_idle(&self) -> bool {
        let quiet = Moment::now().seconds().saturating_sub(self.used.load(Ordering::Relaxed));
        !self.is_locked() && self.settings.idle.is_some_and(|idle| quiet >= idle.as_secs())
    }

    /// How long to wait until it is looked again whether it is idle: sooner, if it is to end soon.
    pub(super) fn tick(&self, usual: Duration) -> Duration {
        self.settings.idle.map_or(usual, |idle| usual.min(idle / 4)).max(Duration::from_millis(100))
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked.load(Ordering::SeqCst)
    }

    /// The credentials of other servers, if they are kept.
    pub(super) fn memory(&self) -> Option<MutexGuard<'_, Memory>> {
        (self.settings.remember && !self.is_locked()).then(|| self.all_memory())
    }

    fn all_memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets every secret and answers nobody from now on, nor does the next agent; says how many there were.
    ///
    /// # Errors
    /// If the next one could not be told; this one is locked all the same.
    pub(super) fn lock(&self) -> Result<usize, Trouble> {
        let latch = self.latch();
        let forgotten = self.close();
        latch.put_on().map(|()| forgotten)
    }

    /// The same for this agent alone.
    pub(super) fn close(&self) -> usize {
        self.locked.store(true, Ordering::SeqCst);
        self.book.close() + self.all_memory().clear()
    }

    /// Reads the logins again; says how many there are.
    pub(super) fn unlock(&self) -> Result<usize, Trouble> {
        let latch = self.latch();
        let logins = self.book.logins()?;
        latch.take_off()?;
        self.book.open();
        self.locked.store(false, Ordering::SeqCst);
        self.touch();
        Ok(logins.all().len())
    }

    fn latch(&self) -> MutexGuard<'_, Latch> {
        self.latch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the git tokens of one server, or of all.
    pub(super) fn forget(&self, server: Option<&tok_model::url::Origin>) -> usize {
        let sessions = self.book.sessions();
        let meant = sessions.iter().filter(|session| server.is_none_or(|server| session.login().server == *server));
        meant.map(|session| session.forget()).sum()
    }

    pub(super) fn status(&self) -> AgentStatus {
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (logins, logins_fault) = match self.book.logins() {
            Ok(logins) => (logins.all().iter().map(|login| self.login(login)).collect(), None),
            Err(trouble) => (Vec::new(), Some(format!("{}; {}", trouble.message, trouble.hint))),
        };
        AgentStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            socket: self.socket.clone(),
            locked: self.is_locked(),
            memory_locked: self.memory_locked,
            idle_seconds: self.settings.idle.map(|idle| idle.as_secs()),
            remembers: self.settings.remember,
            remembered: small(self.all_memory().count(Moment::now().seconds())),
            logins,
            logins_fault,
        }
    }

    fn login(&self, login: &crate::logins::Login) -> AgentLogin {
        let health = self.book.in_use(login).map(|session| session.health());
        let expired = login.expired(crate::context::now());
        let (state, detail, tokens) = match health {
            _ if expired => ("ended", Some(format!("it expired; run `{}`", login.login_command())), 0),
            Some(health) => (health.state, health.detail, health.tokens),
            None => ("idle", None, 0),
        };
        AgentLogin {
            server: login.server.to_string(),
            user: login.user.to_string(),
            profile: login.profile.as_ref().map(ToString::to_string),
            expires_at: login.expires_at,
            state: state.to_owned(),
            detail,
            tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
        }
    }
}
