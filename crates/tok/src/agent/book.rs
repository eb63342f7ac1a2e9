//! The logins as the agent sees them: the file is read again whenever it changed, and each login in use has its session.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tok_model::id::TokenId;

use super::session::Session;
use crate::logins::{Login, Logins, LoginsFile, Trouble};

/// What tells one version of the file from another.
type Stamp = Option<(u64, u64, i64, i64, i64)>;

/// Every login, and those in use.
pub(crate) struct Book {
    file: Option<LoginsFile>,
    read: Mutex<Option<(Stamp, Arc<Logins>)>>,
    sessions: Mutex<HashMap<TokenId, Arc<Session>>>,
    /// Nothing that is read is kept.
    closed: AtomicBool,
}

impl Book {
    /// Of this user's usual file.
    pub(crate) fn usual() -> Self {
        Self {
            file: LoginsFile::usual(),
            read: Mutex::default(),
            sessions: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// The logins as they are now.
    ///
    /// # Errors
    /// If others can read or change the file, or it makes no sense.
    pub(crate) fn logins(&self) -> Result<Arc<Logins>, Trouble> {
        let Some(file) = &self.file else { return Ok(Arc::default()) };
        let stamp = std::fs::symlink_metadata(file.path())
            .ok()
            .map(|found| (found.dev(), found.ino(), found.size().cast_signed(), found.mtime(), found.ctime_nsec()));
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, logins)) = read.as_ref()
            && *known == stamp
        {
            return Ok(Arc::clone(logins));
        }
        let logins = Arc::new(file.read()?);
        if self.closed.load(Ordering::SeqCst) {
            return Ok(logins);
        }
        *read = Some((stamp, Arc::clone(&logins)));
        drop(read);
        self.keep_only(&logins);
        Ok(logins)
    }

    /// The session of a login; one that is used for the first time begins here.
    pub(super) fn session(&self, login: &Login) -> Arc<Session> {
        let mut sessions = self.lock();
        Arc::clone(sessions.entry(login.session).or_insert_with(|| Session::new(login.clone())))
    }

    /// Those in use.
    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().values().cloned().collect()
    }

    /// The session of this login, if it is in use.
    pub(super) fn in_use(&self, login: &Login) -> Option<Arc<Session>> {
        self.lock().get(&login.session).cloned()
    }

    /// Forgets the file and every session, and keeps nothing until it is opened again; says how many git tokens there
    /// were.
    pub(super) fn close(&self) -> usize {
        self.closed.store(true, Ordering::SeqCst);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let sessions = std::mem::take(&mut *self.lock());
        let forgotten = sessions.values().map(|session| session.forget()).sum();
        for session in sessions.values() {
            session.close();
        }
        forgotten
    }

    /// Keeps what is read again.
    pub(super) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// Closes what was logged out from.
    fn keep_only(&self, logins: &Logins) {
        self.lock().retain(|id, session| {
            let stays = logins.all().iter().any(|login| login.session == *id);
            if !stays {
                session.close();
            }
            stays
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
