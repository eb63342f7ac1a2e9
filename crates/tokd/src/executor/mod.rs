//! The one doorway to the store: as many threads as connections, a bounded queue, a deadline for each job.
//!
//! Nothing else in tokd blocks a runtime thread on the database. A queue that is full answers at once instead of
//! letting everybody wait until nobody is served.
//!
//! Look-ups of tokens that wait are answered together, by one query for all of them, and tokens that wait to be made are
//! made with one commit. Whoever comes alone is served at once and waits for nobody. An answer is always read after it
//! was asked for: nobody joins a query that is under way, since it may have begun before a revocation that they know of.

mod queue;
#[cfg(test)]
mod tests;
mod together;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tok_model::secret::Digest;
use tok_model::token::Token;
use tok_store::audit::Tally;
use tok_store::tokens::{Found, Mint};
use tok_store::{Connections, Store, StoreError};
use tokio::sync::oneshot;

use queue::{Job, Queue, Turn};
use together::{Asker, Delivery, answer, caught};

use crate::metrics::QueueFigures;

/// How long a job may take from asking to answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Runs work on the store's threads. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    queue: Arc<Queue>,
    /// Not to be waited for: only what it says at once is asked here.
    store: Option<Store>,
    // Says that no more will come, once the last clone is gone.
    _end: Arc<End>,
}

struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Executor {
    /// Starts one thread a connection, in the runtime where answers are waited for. They end when the last clone is dropped and the queue is empty.
    pub fn start(store: &Store, connections: u32) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new());
        let delivery = Delivery::here();
        for number in 0..connections {
            let (queue, store, delivery) = (Arc::clone(&queue), store.clone(), delivery.clone());
            let work = move || work(&queue, &store, &delivery);
            std::thread::Builder::new().name(format!("store-{number}")).spawn(work)?;
        }
        Ok(Self { _end: Arc::new(End(Arc::clone(&queue))), queue, store: Some(store.clone()) })
    }

    /// How long things wait here, and how many are answered together.
    pub fn figures(&self) -> &QueueFigures {
        &self.queue.figures
    }

    /// How much waits now.
    pub fn waiting(&self) -> usize {
        self.queue.length()
    }

    /// The state of the database's connections. Asks nobody.
    pub fn connections(&self) -> Connections {
        self.store.as_ref().map(Store::connections).unwrap_or_default()
    }

    /// What this run has written to the trail.
    pub fn tally(&self) -> Option<&Tally> {
        self.store.as_ref()?.trail().ok().map(tok_store::audit::Trail::tally)
    }

    /// Runs `job` on a store thread and waits for its answer, at most [`DEADLINE`].
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_within(DEADLINE, job).await
    }

    /// The same with another deadline, for the few jobs that are known to be long.
    pub async fn run_within<T: Send + 'static>(
        &self,
        deadline: Duration,
        job: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(deadline, job, |asker| {
            let waits = self.queue.figures.waits.clone();
            let boxed: Job = Box::new(move |store| {
                waits.observe(asker.asked.elapsed().as_secs_f64());
                // Nobody waits any more: the caller gave up, or its connection is gone.
                if asker.waits() {
                    let Asker { question: job, answer, .. } = asker;
                    let _ = answer.send(job(store));
                }
            });
            self.queue.add(boxed)
        })
        .await
    }

    /// The token with one of these digests (its text under each pepper) and its owner, as of now; `None` if there is
    /// none. Together with all others that wait to know such a thing.
    pub async fn look_up(&self, digests: Vec<Digest>) -> Result<Option<Found>, StoreError> {
        self.ask(DEADLINE, digests, |asker| self.queue.look_up(asker)).await
    }

    /// Makes a token and writes that down, committed together with all others that wait to be made.
    pub async fn mint(&self, mint: Mint) -> Result<Token, StoreError> {
        self.ask(DEADLINE, mint, |asker| self.queue.mint(asker)).await
    }

    /// Puts the question somewhere, if there is room, and waits for its answer.
    async fn ask<Q, A>(
        &self,
        deadline: Duration,
        question: Q,
        put: impl FnOnce(Asker<Q, A>) -> bool,
    ) -> Result<A, StoreError> {
        let (answer, waiting) = oneshot::channel();
        if !put(Asker { question, answer, asked: Instant::now(), deadline }) {
            self.queue.figures.full();
            return Err(StoreError::Busy { what: "too many requests wait for its database" });
        }
        match tokio::time::timeout(deadline, waiting).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("the request was given up")),
            Err(_) => {
                self.queue.figures.late();
                Err(unavailable(&format!("no answer within {} s", deadline.as_secs())))
            }
        }
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable { what: what.to_owned(), source: None }
}

fn work(queue: &Queue, store: &Store, delivery: &Delivery) {
    while let Some(turn) = queue.next() {
        // A panic ends what it happened in: its caller sees a closed channel, and the thread goes on.
        match turn {
            Turn::Job(job) => _ = caught(|| job(store)),
            Turn::LookUps(askers) => {
                queue.count(&askers, &queue.figures.look_ups);
                let (all, alone) = (|asked: &[&_]| look_up(store, asked), |asked: &Vec<_>| look_up_alone(store, asked));
                let _ = caught(|| answer(askers, delivery, all, alone));
                queue.looked_up();
            }
            Turn::Mints(askers) => {
                queue.count(&askers, &queue.figures.mints);
                let (all, alone) = (|mints: &[&_]| store.mint_together(mints), |mint: &_| store.mint(mint));
                let _ = caught(|| answer(askers, delivery, all, alone));
                queue.minted();
            }
        }
    }
}

/// One query for all; each gets what is there under one of its digests.
fn look_up(store: &Store, asked: &[&Vec<Digest>]) -> Result<Vec<Result<Option<Found>, StoreError>>, StoreError> {
    let digests: Vec<Digest> = asked.iter().flat_map(|digests| digests.iter().copied()).collect();
    let found = store.read(|tx| tok_store::tokens::look_up(tx, &digests))?;
    Ok(asked.iter().map(|digests| among(&found, digests)).collect())
}

fn look_up_alone(store: &Store, digests: &[Digest]) -> Result<Option<Found>, StoreError> {
    among(&store.read(|tx| tok_store::tokens::look_up(tx, digests))?, digests)
}

fn among(found: &HashMap<Digest, Result<Found, StoreError>>, digests: &[Digest]) -> Result<Option<Found>, StoreError> {
    let found = digests.iter().find_map(|digest| found.get(digest));
    found.map(|found| found.as_ref().cloned().map_err(StoreError::again)).transpose()
}
