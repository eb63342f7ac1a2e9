//! One login: what was minted through it. Its connection, and what its server says by itself, are in the files below.
//!
//! A call never waits for a server that is known to be away, and never long for one that has gone silent: then a second
//! connection is tried, and the answer is whichever comes first. The server hands out the same unexpired token to
//! whoever asks twice, so asking twice costs nothing.

mod connection;
mod watch;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tok_api::client::Client;
use tok_api::convert::GitMint;
use tok_api::fault::{Fault, FaultCode};
use tok_api::moment::{Moment, Sleep};
use tok_model::id::TokenId;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::patience::{self, MINT};
use super::tokens::{Kept, Key, Slot, Tokens};
use crate::logins::Login;

/// A login in use.
pub(super) struct Session {
    login: Login,
    tokens: Tokens,
    /// Grows whenever what was minted before should be asked for again.
    generation: AtomicU64,
    state: Mutex<State>,
    /// How many wait for the server.
    waiting: AtomicUsize,
    /// One dials, the others wait for its connection.
    dialling: tokio::sync::Mutex<()>,
    /// Somebody else found the server there again.
    back: Notify,
    /// The machine slept.
    woke: Notify,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    client: Option<Client>,
    /// When the server last answered anything.
    heard: Option<Moment>,
    /// Why it is away, and until when that is believed.
    away: Option<(Fault, Moment)>,
    /// The server's last word was that the session is no good.
    ended: Option<Fault>,
    watched: bool,
    /// How long it took to connect.
    dialled: Duration,
    sleep: Sleep,
}

/// How a session is, for people.
pub(super) struct Health {
    /// `idle`, `connected`, `offline` or `ended`.
    pub(super) state: &'static str,
    /// Why.
    pub(super) detail: Option<String>,
    /// Unexpired git tokens.
    pub(super) tokens: usize,
}

impl Session {
    pub(super) fn new(login: Login) -> Arc<Self> {
        Arc::new(Self {
            login,
            tokens: Tokens::default(),
            generation: AtomicU64::new(0),
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            dialling: tokio::sync::Mutex::default(),
            back: Notify::new(),
            woke: Notify::new(),
            stop: CancellationToken::new(),
        })
    }

    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// Ends the watch and closes the connection. What was minted stays with whoever holds it already.
    pub(super) fn close(&self) {
        self.stop.cancel();
        *self.lock() = State::default();
        self.tokens.clear(Moment::now());
    }

    /// A token for exactly this repository and right, kept or new, with a minute left at least.
    pub(super) async fn token(self: &Arc<Self>, key: Key, failed: Option<TokenId>) -> Result<Kept, Fault> {
        self.notice_sleep();
        let now = Moment::now();
        let slot = self.tokens.slot(&key, now);
        slot.touch(now);
        if let Some(kept) = slot.peek().filter(|kept| self.answers(kept, failed, now)) {
            self.renew(key, &slot, now);
            return Ok(kept);
        }
        // On its own: if whoever asked gives up, the next one finds what came of it.
        let session = Arc::clone(self);
        let asking = tokio::spawn(async move { session.ask(key, &slot, failed).await });
        asking.await.unwrap_or_else(|_| Err(Fault::new(FaultCode::Internal, "the agent failed while it asked")))
    }

    async fn ask(self: &Arc<Self>, key: Key, slot: &Slot, failed: Option<TokenId>) -> Result<Kept, Fault> {
        let mut held = slot.held.lock().await;
        let now = Moment::now();
        if let Some(kept) = held.as_ref().filter(|kept| self.answers(kept, failed, now)) {
            return Ok(kept.clone());
        }
        let failed = failed.or_else(|| slot.refused());
        let mut minted = self.mint(&key, failed).await;
        // The answer may have lain here while the machine slept.
        if minted.as_ref().is_ok_and(|minted| minted.overslept(Moment::now())) {
            minted = self.mint(&key, failed).await;
        }
        match minted {
            Ok(minted) => Ok(slot.fill(&mut held, minted)),
            Err(fault) => match held.as_ref().filter(|kept| kept.lasts(now) && failed != Some(kept.id)) {
                // Something changed at a server that cannot be asked now. If it was about this token, the server says so
                // itself when git comes with it.
                Some(kept) if fault.code == FaultCode::Unavailable => Ok(kept.clone()),
                _ => {
                    *held = None;
                    Err(fault)
                }
            },
        }
    }

    /// Whether a kept token may be given without asking.
    fn answers(&self, kept: &Kept, failed: Option<TokenId>, now: Moment) -> bool {
        kept.lasts(now) && failed != Some(kept.id) && kept.generation == self.generation.load(Ordering::SeqCst)
    }

    /// Renews what is about to end, in the background.
    fn renew(self: &Arc<Self>, key: Key, slot: &Arc<Slot>, now: Moment) {
        let Some(old) = slot.due(now) else { return };
        let (session, slot) = (Arc::clone(self), Arc::clone(slot));
        tokio::spawn(async move { session.renew_now(key, &slot, old).await });
    }

    async fn renew_now(self: &Arc<Self>, key: Key, slot: &Slot, old: TokenId) {
        match self.mint(&key, Some(old)).await {
            Ok(minted) => drop(slot.fill(&mut *slot.held.lock().await, minted)),
            Err(fault) => tracing::debug!(%fault, "A git token was not renewed ahead of need"),
        }
        slot.renewed();
    }

    /// Renews whatever is due; called now and then.
    pub(super) fn renew_due(self: &Arc<Self>) {
        self.notice_sleep();
        for (key, slot, old) in self.tokens.due(Moment::now()) {
            let session = Arc::clone(self);
            tokio::spawn(async move { session.renew_now(key, &slot, old).await });
        }
    }

    /// Drops the token with this text.
    pub(super) fn drop_text(&self, text: &str) -> bool {
        self.tokens.drop_text(text)
    }

    /// Drops every token; says how many.
    pub(super) fn forget(&self) -> usize {
        self.tokens.clear(Moment::now())
    }

    async fn mint(self: &Arc<Self>, (repo, permission): &Key, failed: Option<TokenId>) -> Result<Kept, Fault> {
        let wish = GitMint { repository: repo.clone(), permission: *permission, failed };
        let _waiting = Waiting::begin(&self.waiting);
        let result = match timeout(MINT, self.mint_once(wish.clone())).await {
            // A connection that broke under the call: the server may have been started again meanwhile.
            Ok(Err((fault, Heard::No))) if fault.code == FaultCode::Unavailable && self.away().is_none() => {
                self.lock().client = None;
                timeout(MINT, self.mint_once(wish)).await
            }
            other => other,
        };
        match result {
            Ok(Ok(kept)) => {
                let mut state = self.lock();
                (state.away, state.ended) = (None, None);
                Ok(kept)
            }
            Ok(Err((fault, _))) => Err(self.note(fault)),
            Err(_) => Err(self.note(self.silent())),
        }
    }

    /// Asks once; says whether the server said anything.
    async fn mint_once(self: &Arc<Self>, wish: GitMint) -> Result<Kept, (Fault, Heard)> {
        let mut client = self.client_soon().await.map_err(|fault| (fault, Heard::Yes))?;
        let asked = (Moment::now(), crate::context::now());
        let generation = self.generation.load(Ordering::SeqCst);
        let first = client.mint_git_timed(wish.clone());
        tokio::pin!(first);
        let (reply, asked) = loop {
            tokio::select! {
                reply = &mut first => break (reply, asked),
                () = sleep(self.patience(0).silence) => {
                    // The silence may have been sleep, after which no connection is kept but what is made from now on.
                    self.notice_sleep();
                    let patience = self.patience(patience::running());
                    let waited = Moment::now().since(asked.0);
                    if waited < patience.silence || self.heard_since(asked.0, patience.silence) {
                        continue;
                    }
                    // Nothing was heard of the server while this call waited: is it the way there, or the server?
                    let mut second = match timeout(patience.second, self.dial()).await {
                        Ok(Ok(fresh)) => fresh,
                        Ok(Err(fault)) => return Err((fault, Heard::Yes)),
                        Err(_) => return Err((self.silent(), Heard::Yes)),
                    };
                    let again = (Moment::now(), crate::context::now());
                    tokio::select! {
                        reply = &mut first => break (reply, asked),
                        reply = second.mint_git_timed(wish) => {
                            self.lock().client = Some(second.clone());
                            break (reply, again);
                        }
                    }
                }
            }
        };
        match reply {
            Ok((minted, date)) => {
                self.lock().heard = Some(Moment::now());
                Ok(Kept::new(minted, date, asked, generation))
            }
            Err(fault) if matches!(fault.code, FaultCode::Unavailable) => Err((fault, Heard::No)),
            Err(fault) => {
                self.lock().heard = Some(Moment::now());
                Err((fault, Heard::Yes))
            }
        }
    }

    /// How it is.
    pub(super) fn health(&self) -> Health {
        self.notice_sleep();
        let tokens = self.tokens.count(Moment::now());
        let state = self.lock();
        let (name, detail) = match (&state.ended, &state.away, &state.client) {
            (Some(fault), _, _) => ("ended", Some(fault.sentence())),
            (None, Some((fault, _)), _) => ("offline", Some(fault.sentence())),
            (None, None, Some(_)) => ("connected", None),
            (None, None, None) => ("idle", None),
        };
        Health { state: name, detail, tokens }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for the server, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a failure came from somebody who was asked, or the way there broke under the call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Yes,
    No,
}
