//! The one doorway to the store: as many threads as connections, a bounded queue, a deadline for each job.
//!
//! Nothing else in tokd blocks a runtime thread on the database. A queue that is full answers at once instead of
//! letting everybody wait until nobody is served.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tok_store::{Store, StoreError};
use tokio::sync::oneshot;

/// Jobs that may wait for a thread; a thousand lookups are some 100 ms of work.
const QUEUE: usize = 1024;
/// How long a job may take from asking to answer.
const DEADLINE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce(&Store) + Send>;

/// Runs work on the store's threads. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    queue: mpsc::SyncSender<Job>,
}

impl Executor {
    /// Starts one thread a connection. They end when the last clone is dropped and the queue is empty.
    pub fn start(store: &Store, connections: u32) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::sync_channel::<Job>(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..connections {
            let (jobs, store) = (Arc::clone(&jobs), store.clone());
            std::thread::Builder::new().name(format!("store-{number}")).spawn(move || work(&jobs, &store))?;
        }
        Ok(Self { queue })
    }

    /// Runs `job` on a store thread and waits for its answer, at most [`DEADLINE`].
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, waiting) = oneshot::channel();
        let asked = Instant::now();
        let boxed: Job = Box::new(move |store| {
            // Nobody waits any more: the caller gave up, or its connection is gone.
            if !answer.is_closed() && asked.elapsed() < DEADLINE {
                let _ = answer.send(job(store));
            }
        });
        self.queue.try_send(boxed).map_err(|_| unavailable("too many requests wait for it"))?;
        match tokio::time::timeout(DEADLINE, waiting).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("the request was given up")),
            Err(_) => Err(unavailable("no answer within 10 s")),
        }
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable { what: what.to_owned(), source: None }
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>, store: &Store) {
    loop {
        // A poisoned lock only says that another worker panicked while waiting, which leaves the receiver whole.
        let next = jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // A panic in one job ends that job: its caller sees a closed channel, and the thread goes on.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(store))).is_err() {
            tracing::error!("a store job panicked; its caller was told that the store is unavailable");
        }
    }
}
