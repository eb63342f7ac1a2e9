//! The one doorway to the store: as many threads as connections, a bounded queue, a deadline for each job.
//!
//! Nothing else in tokd blocks a runtime thread on the database. A queue that is full answers at once instead of
//! letting everybody wait until nobody is served.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    queue: Arc<Queue>,
    // Says that no more will come, once the last clone is gone.
    _end: Arc<End>,
}

/// Jobs that wait. A job wakes one thread, and no thread ever waits for another to take one.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    ended: bool,
}

struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.waiting().ended = true;
        self.0.more.notify_all();
    }
}

impl Queue {
    // Jobs run without the lock, so a panic cannot leave anything half done behind it.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` if too many wait.
    fn add(&self, job: Job) -> bool {
        let mut waiting = self.waiting();
        if waiting.jobs.len() >= QUEUE {
            return false;
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.more.notify_one();
        true
    }

    /// The next job, `None` when no more will come.
    fn next(&self) -> Option<Job> {
        let idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.ended;
        let waiting = self.more.wait_while(self.waiting(), idle);
        waiting.unwrap_or_else(PoisonError::into_inner).jobs.pop_front()
    }
}

impl Executor {
    /// Starts one thread a connection. They end when the last clone is dropped and the queue is empty.
    pub fn start(store: &Store, connections: u32) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        for number in 0..connections {
            let (queue, store) = (Arc::clone(&queue), store.clone());
            std::thread::Builder::new().name(format!("store-{number}")).spawn(move || work(&queue, &store))?;
        }
        Ok(Self { _end: Arc::new(End(Arc::clone(&queue))), queue })
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
        let (answer, waiting) = oneshot::channel();
        let asked = Instant::now();
        let boxed: Job = Box::new(move |store| {
            // Nobody waits any more: the caller gave up, or its connection is gone.
            if !answer.is_closed() && asked.elapsed() < deadline {
                let _ = answer.send(job(store));
            }
        });
        if !self.queue.add(boxed) {
            return Err(unavailable("too many requests wait for it"));
        }
        match tokio::time::timeout(deadline, waiting).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("the request was given up")),
            Err(_) => Err(unavailable(&format!("no answer within {} s", deadline.as_secs()))),
        }
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable { what: what.to_owned(), source: None }
}

fn work(queue: &Queue, store: &Store) {
    while let Some(job) = queue.next() {
        // A panic in one job ends that job: its caller sees a closed channel, and the thread goes on.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(store))).is_err() {
            tracing::error!("a store job panicked; its caller was told that the store is unavailable");
        }
    }
}
