//! One login: the connection that is made with it, what was minted through it, and whether its server is there.
//!
//! A call never waits for a server that is known to be away, and never long for one that has gone silent: then a second
//! connection is tried, and the answer is whichever comes first. The server hands out the same unexpired token to
//! whoever asks twice, so asking twice costs nothing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tok_api::client::{Caller, Client, RemoteOptions};
use tok_api::convert::GitMint;
use tok_api::fault::{Fault, FaultCode};
use tok_api::moment::{Moment, Sleep};
use tok_model::id::TokenId;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::patience::{self, MINT, Patience};
use super::tokens::{Kept, Key, Slot, Tokens};
use crate::logins::Login;

/// How long a server that was found to be away is not asked again.
const AWAY: Duration = Duration::from_secs(2);
/// A server says something every 15 s; one that says nothing for so long is not there any more.
const QUIET: Duration = Duration::from_secs(40);
/// Between two tries to watch.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
        let mut minted = self.mint(&key, failed).await;
        // The answer may have lain here while the machine slept.
        if minted.as_ref().is_ok_and(|minted| minted.overslept(Moment::now())) {
            minted = self.mint(&key, failed).await;
        }
        match minted {
            Ok(minted) => Ok(held.insert(minted).clone()),
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
            Ok(minted) => *slot.held.lock().await = Some(minted),
            Err(fault) => tracing::debug!(%fault, "A git token was not renewed ahead of need"),
        }
        slot.renewed();
    }

    /// After sleep nothing is known to be as it was: what was minted is asked for again before it is used, and the server
    /// by another connection, for nobody said goodbye on this one. The watch, whose timers slept, too, begins anew.
    fn notice_sleep(&self) {
        let mut state = self.lock();
        if !state.sleep.ended() {
            return;
        }
        tracing::debug!(server = %self.login.server, "The machine slept");
        self.generation.fetch_add(1, Ordering::SeqCst);
        (state.client, state.away) = (None, None);
        if state.watched {
            self.woke.notify_one();
        }
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
        let mut client = self.client().await.map_err(|fault| (fault, Heard::Yes))?;
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

    /// Remembers what a failure says about the server, and says it as its user has to hear it.
    fn note(&self, fault: Fault) -> Fault {
        let mut state = self.lock();
        match fault.code {
            FaultCode::Unavailable => {
                let server = self.login.server.to_string();
                // What broke under a call does not know where it led to.
                let fault = if fault.message.contains(&server) {
                    fault
                } else {
                    Fault { message: format!("{server} cannot be asked: {}", fault.message), ..fault }
                };
                state.client = None;
                let now = Moment::now();
                // Whoever was only told so does not make it last longer.
                if state.away.as_ref().is_none_or(|(_, until)| *until <= now) {
                    state.away = Some((fault.clone(), now.after(AWAY)));
                }
                fault
            }
            FaultCode::Unauthenticated => {
                let ended = self.ended(&fault.message);
                state.ended = Some(ended.clone());
                state.away = None;
                ended
            }
            _ => fault,
        }
    }

    fn ended(&self, why: &str) -> Fault {
        let message = format!("your login at {} ended ({why})", self.login.server);
        Fault::new(FaultCode::Unauthenticated, message).hint(format!("run `{}`", self.login.login_command()))
    }

    fn silent(&self) -> Fault {
        Fault::new(FaultCode::Unavailable, format!("{} does not answer", self.login.server))
            .hint("is this machine online? `tok agent status` shows what the agent sees")
    }

    /// Why the server need not be asked now.
    fn away(&self) -> Option<Fault> {
        let state = self.lock();
        state.away.as_ref().filter(|(_, until)| *until > Moment::now()).map(|(fault, _)| fault.clone())
    }

    fn heard_since(&self, moment: Moment, silence: Duration) -> bool {
        let now = Moment::now();
        self.lock().heard.is_some_and(|heard| heard > moment && now.since(heard) < silence)
    }

    /// How long things may take at this moment.
    fn patience(&self, running: usize) -> Patience {
        Patience::new(self.waiting.load(Ordering::Relaxed), self.lock().dialled, running)
    }

    /// The connection, for a call of somebody else's.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<Client, Fault> {
        self.client().await.map_err(|fault| self.note(fault))
    }

    /// The connection; made now if there is none.
    async fn client(self: &Arc<Self>) -> Result<Client, Fault> {
        self.notice_sleep();
        let connected = || self.lock().client.clone();
        if let Some(client) = connected() {
            return Ok(client);
        }
        let _alone = self.dialling.lock().await;
        if let Some(client) = connected() {
            return Ok(client);
        }
        if let Some(fault) = self.away() {
            return Err(fault);
        }
        if self.login.expired(crate::context::now()) {
            let end = self.login.expires_at.map(|end| end.format("%Y-%m-%d %H:%M UTC").to_string());
            return Err(Fault::new(FaultCode::Unauthenticated, format!("it expired on {}", end.unwrap_or_default())));
        }
        let client = self.dial().await?;
        let mut state = self.lock();
        state.client = Some(client.clone());
        state.away = None;
        let watched = std::mem::replace(&mut state.watched, true);
        drop(state);
        if !watched {
            self.start_watch();
        }
        self.back.notify_waiters();
        Ok(client)
    }

    async fn dial(&self) -> Result<Client, Fault> {
        let secret = self.login.secret().await.map_err(|trouble| {
            // Not that it ended: it may only be locked away.
            Fault::new(FaultCode::Forbidden, trouble.message).hint(trouble.hint)
        })?;
        let caller = Caller { token: Some(secret), act_as: None };
        let patience = self.patience(patience::running());
        let options = RemoteOptions {
            reach_deadline: patience.reach,
            connect_deadline: patience.connect,
            call_deadline: MINT,
            ..RemoteOptions::default()
        };
        let begin = Moment::now();
        let client = Client::remote(&self.login.server, &caller, &options).await?;
        self.lock().dialled = Moment::now().since(begin);
        Ok(client)
    }

    fn start_watch(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(self).watch());
    }

    /// Follows the server's word on what should be asked for again, for as long as the session is in use.
    async fn watch(self: Arc<Self>) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let begin = Moment::now();
            let fault = tokio::select! {
                fault = self.follow() => fault,
                () = self.woke.notified() => {
                    pause = SHORTEST_PAUSE;
                    continue;
                }
                () = self.stop.cancelled() => return,
            };
            tracing::debug!(server = %self.login.server, %fault, "The watch ended");
            self.note(fault);
            if Moment::now().since(begin) > LONGEST_PAUSE {
                pause = SHORTEST_PAUSE;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.back.notified() => {}
                () = self.woke.notified() => pause = SHORTEST_PAUSE,
                () = self.stop.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            // Whoever waits out a pause would otherwise find what it believes to be away.
            if self.lock().ended.is_none() {
                self.lock().away = None;
            }
        }
    }

    async fn follow(self: &Arc<Self>) -> Fault {
        let following = async {
            let mut stream = self.client().await?.watch().await?;
            // What happened while nobody watched is not known: the first word always says to ask again.
            let mut last = None;
            while let Some(said) =
                timeout(QUIET, stream.message()).await.map_err(|_| self.silent())?.map_err(Fault::from)?
            {
                if last.replace(said.generation) != Some(said.generation) {
                    tracing::debug!(server = %self.login.server, said.generation, "What was minted is asked for again");
                    self.generation.fetch_add(1, Ordering::SeqCst);
                }
                let mut state = self.lock();
                state.heard = Some(Moment::now());
                state.ended = None;
            }
            Ok::<(), Fault>(())
        };
        match following.await {
            Ok(()) => Fault::new(FaultCode::Unavailable, format!("{} ended the connection", self.login.server)),
            Err(fault) => fault,
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
