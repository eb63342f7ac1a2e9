//! Those who wait for the same kind of work, and are answered together.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tok_store::StoreError;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The most that one turn answers: what waits longer than that is worth a second statement.
const MOST: usize = 128;

/// Somebody who waits for an answer.
pub(super) struct Asker<Q, A> {
    pub(super) question: Q,
    pub(super) answer: oneshot::Sender<Result<A, StoreError>>,
    pub(super) asked: Instant,
    pub(super) deadline: Duration,
}

impl<Q, A> Asker<Q, A> {
    /// Whether the answer would reach anybody: they did not give up, and their connection is still there.
    pub(super) fn waits(&self) -> bool {
        !self.answer.is_closed() && self.asked.elapsed() < self.deadline
    }
}

/// The line of those who wait. While a turn is under way, who comes waits for it to end, and the next turn takes them all;
/// or for enough others. Who comes alone is answered at once.
pub(super) struct Line<Q, A> {
    pub(super) askers: VecDeque<Asker<Q, A>>,
    turns: usize,
    at_once: usize,
    enough: usize,
}

impl<Q, A> Line<Q, A> {
    /// Of which so many turns may be under way at once, all but the first only if so many wait.
    pub(super) fn new(at_once: usize, enough: usize) -> Self {
        Self { askers: VecDeque::new(), turns: 0, at_once, enough }
    }

    /// One more waits. `true`: a turn is to be taken for them.
    pub(super) fn join(&mut self, asker: Asker<Q, A>) -> bool {
        self.askers.push_back(asker);
        self.claim()
    }

    /// Those whom this turn answers.
    pub(super) fn take(&mut self) -> Vec<Asker<Q, A>> {
        let some = self.askers.len().min(MOST);
        self.askers.drain(..some).collect()
    }

    /// A turn has ended. `true`: another one is to be taken for those who came meanwhile.
    pub(super) fn ended(&mut self) -> bool {
        self.turns -= 1;
        self.claim()
    }

    fn claim(&mut self) -> bool {
        let needed = if self.turns == 0 { 1 } else { self.enough };
        let more = self.askers.len() >= needed && self.turns < self.at_once;
        self.turns += usize::from(more);
        more
    }
}

/// How answers reach those who wait for them.
#[derive(Clone, Default)]
pub(super) struct Delivery(Option<Handle>);

impl Delivery {
    /// Through the runtime that this is called in, if it is called in one: its own threads wake a task for a tenth of what
    /// another thread pays.
    pub(super) fn here() -> Self {
        Self(Handle::try_current().ok())
    }

    fn send<Q: Send + 'static, A: Send + 'static>(&self, answered: Vec<(Asker<Q, A>, Result<A, StoreError>)>) {
        let send = move || {
            for (asker, answer) in answered {
                let _ = asker.answer.send(answer);
            }
        };
        match &self.0 {
            Some(runtime) => _ = runtime.spawn(async move { send() }),
            None => send(),
        }
    }
}

/// Answers those who still wait: all by one call of `all`, whose answers are in the order of the questions. If that fails
/// or panics, each is asked about alone, so that whatever is wrong with one fails only that one.
pub(super) fn answer<Q: Send + 'static, A: Send + 'static>(
    mut askers: Vec<Asker<Q, A>>,
    delivery: &Delivery,
    all: impl Fn(&[&Q]) -> Result<Vec<Result<A, StoreError>>, StoreError>,
    alone: impl Fn(&Q) -> Result<A, StoreError>,
) {
    askers.retain(Asker::waits);
    if askers.len() > 1 {
        let questions: Vec<&Q> = askers.iter().map(|asker| &asker.question).collect();
        match caught(|| all(&questions)) {
            Some(Ok(answers)) if answers.len() == askers.len() => {
                return delivery.send(askers.into_iter().zip(answers).collect());
            }
            Some(Err(error)) => tracing::debug!(%error, askers = askers.len(), "Asked together in vain, so one by one"),
            _ => {}
        }
    }
    let mut outage: Option<StoreError> = None;
    for asker in askers.into_iter().filter(Asker::waits) {
        if let Some(error) = &outage {
            let _ = asker.answer.send(Err(error.again()));
            continue;
        }
        // After a panic nothing is sent: a closed channel says that the store is unavailable.
        let Some(answer) = caught(|| alone(&asker.question)) else { continue };
        outage = answer.as_ref().err().filter(|error| error.no_connection()).map(StoreError::again);
        let _ = asker.answer.send(answer);
    }
}

/// What this gives; `None` if it panics, which ends it and nothing else.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(work));
    if done.is_err() {
        tracing::error!("a store job panicked; its caller was told that the store is unavailable");
    }
    done.ok()
}
