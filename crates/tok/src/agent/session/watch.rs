//! What the server says by itself: that something should be asked for again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tok_api::fault::{Fault, FaultCode};
use tok_api::moment::Moment;
use tokio::time::{sleep, timeout};

use super::Session;

/// A server says something every 15 s; one that says nothing for so long is not there any more.
const QUIET: Duration = Duration::from_secs(40);
/// Between two tries to watch.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Session {
    /// Watches, for as long as the session is in use.
    pub(super) fn start_watch(self: &Arc<Self>) {
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
}
