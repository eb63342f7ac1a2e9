//! The connection of a login, and what is known of the server behind it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tok_api::client::{Caller, Client, RemoteOptions};
use tok_api::fault::{Fault, FaultCode};
use tok_api::moment::Moment;

use super::Session;
use crate::agent::patience::{self, MINT, Patience};

/// How long a server that was found to be away is not asked again.
const AWAY: Duration = Duration::from_secs(2);

impl Session {
    /// The connection, for a call of somebody else's.
    pub(in crate::agent) async fn connection(self: &Arc<Self>) -> Result<Client, Fault> {
        self.client().await.map_err(|fault| self.note(fault))
    }

    /// The connection for somebody who waits for git: it is made to the end even if they are told before that there is
    /// none, so that who comes next has it.
    pub(super) async fn client_soon(self: &Arc<Self>) -> Result<Client, Fault> {
        self.notice_sleep();
        if let Some(client) = self.connected() {
            return Ok(client);
        }
        if let Some(fault) = self.away() {
            return Err(fault);
        }
        let patience = self.patience(patience::running()).soon;
        let session = Arc::clone(self);
        let making = tokio::spawn(async move { session.client().await });
        match tokio::time::timeout(patience, making).await {
            Ok(made) => {
                made.unwrap_or_else(|_| Err(Fault::new(FaultCode::Internal, "the agent failed while it connected")))
            }
            Err(_) => Err(self.silent()),
        }
    }

    fn connected(&self) -> Option<Client> {
        self.lock().client.clone()
    }

    /// The connection; made now if there is none.
    pub(super) async fn client(self: &Arc<Self>) -> Result<Client, Fault> {
        self.notice_sleep();
        if let Some(client) = self.connected() {
            return Ok(client);
        }
        let _alone = self.dialling.lock().await;
        if let Some(client) = self.connected() {
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

    pub(super) async fn dial(&self) -> Result<Client, Fault> {
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

    /// Why the server need not be asked now.
    pub(super) fn away(&self) -> Option<Fault> {
        let state = self.lock();
        state.away.as_ref().filter(|(_, until)| *until > Moment::now()).map(|(fault, _)| fault.clone())
    }

    /// After sleep nothing is known to be as it was: what was minted is asked for again before it is used, and the server
    /// by another connection, for nobody said goodbye on this one. The watch, whose timers slept, too, begins anew.
    pub(super) fn notice_sleep(&self) {
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

    pub(super) fn heard_since(&self, moment: Moment, silence: Duration) -> bool {
        let now = Moment::now();
        self.lock().heard.is_some_and(|heard| heard > moment && now.since(heard) < silence)
    }

    /// How long things may take at this moment.
    pub(super) fn patience(&self, running: usize) -> Patience {
        Patience::new(self.waiting.load(Ordering::Relaxed), self.lock().dialled, running)
    }

    /// Remembers what a failure says about the server, and says it as its user has to hear it.
    pub(super) fn note(&self, fault: Fault) -> Fault {
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
                let ended = self.ended(&fault);
                state.ended = Some(ended.clone());
                state.away = None;
                ended
            }
            _ => fault,
        }
    }

    fn ended(&self, why: &Fault) -> Fault {
        let server = &self.login.server;
        // Who is not let in by anybody's login is not to try one.
        if why.no_login_mends_it {
            return Fault {
                message: format!("your login at {server} is not taken now: {}", why.message),
                ..why.clone()
            };
        }
        let message = format!("your login at {server} ended ({})", why.message);
        Fault::new(FaultCode::Unauthenticated, message).hint(format!("run `{}`", self.login.login_command()))
    }

    pub(super) fn silent(&self) -> Fault {
        Fault::new(FaultCode::Unavailable, format!("{} does not answer", self.login.server))
            .hint("is this machine online? `tok agent status` shows what the agent sees")
    }
}
