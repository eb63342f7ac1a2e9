//! Accepting connections without ever spinning: only as many as there are places, and slowly while the machine is out
//! of descriptors or memory.

use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

/// Between two tries to accept while the process or the machine is out of descriptors or memory.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The same trouble is logged this often at most.
const REMINDER: Duration = Duration::from_secs(60);

/// How a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were not done when the time was up, and were cut.
    pub cut: usize,
}

/// Lets connections in, one for each free place.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    pause: Duration,
    reminder: Reminder,
}

impl Gate {
    /// With so many places.
    pub fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), pause: SHORTEST_PAUSE, reminder: Reminder::default() }
    }

    /// The next connection, as soon as there is one, a place for it, and a descriptor.
    pub async fn take<T, F>(&mut self, accept: impl Fn() -> F) -> (T, OwnedSemaphorePermit)
    where
        F: Future<Output = Result<T, Error>>,
    {
        let place = self.place().await;
        loop {
            match accept().await {
                Ok(accepted) => {
                    self.pause = SHORTEST_PAUSE;
                    return (accepted, place);
                }
                // The client gave up between its connect and our accept.
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    let say = || tracing::error!(%error, "No connection can be accepted; those that exist are served");
                    self.reminder.at_most(say);
                    sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn place(&mut self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return place;
            }
            self.reminder.at_most(|| tracing::warn!("All connections are taken; new ones wait until one ends"));
            if let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
                return place;
            }
        }
    }
}

fn is_of_the_client(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

/// Says something now and then, however often it happens.
#[derive(Debug, Default)]
pub struct Reminder(Option<Instant>);

impl Reminder {
    /// Says it now, unless something was said less than a minute ago.
    pub fn at_most(&mut self, say: impl FnOnce()) {
        if self.0.is_none_or(|said| said.elapsed() >= REMINDER) {
            say();
            self.0 = Some(Instant::now());
        }
    }
}
