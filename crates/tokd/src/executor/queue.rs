//! What waits for a thread of the store.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tok_model::secret::Digest;
use tok_model::token::Token;
use tok_store::Store;
use tok_store::tokens::{Found, Mint};

use super::together::{Asker, Line};
use crate::metrics::QueueFigures;

/// How much may wait for a thread; a thousand jobs are some 100 ms of work.
pub(super) const MOST_WAITING: usize = 1024;
/// Turns of one kind that may be under way at once: while one waits for the database, another is made ready. With more of
/// them each would be smaller, and all of them together slower.
const TURNS_AT_ONCE: usize = 2;
/// How many must wait for another turn of look-ups while one is under way: to answer a few costs the database nearly what
/// it costs to answer many, and one turn is soon over. (64 clients: 49,000 a second, and 39,000 when none waited for more.)
const ENOUGH_LOOK_UPS: usize = 48;
/// The same of mints, each turn of which waits for the disk. (64 clients: 13,500 a second, and 10,200 with one at a time.)
const ENOUGH_MINTS: usize = 16;

/// Work of any kind.
pub(super) type Job = Box<dyn FnOnce(&Store) + Send>;
/// Somebody who asks about a token, by its digest under each pepper.
pub(super) type LookUp = Asker<Vec<Digest>, Option<Found>>;
/// Somebody who wants a token made.
pub(super) type MintAsker = Asker<Mint, Token>;

/// What a thread does next.
pub(super) enum Turn {
    Job(Job),
    /// Those who ask about tokens.
    LookUps(Vec<LookUp>),
    /// Those who want tokens made.
    Mints(Vec<MintAsker>),
}

enum Place {
    Job(Job),
    LookUps,
    Mints,
}

/// What waits, in the order in which it came. Each thing wakes one thread, and no thread ever waits for another to take
/// one.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
    pub(super) figures: QueueFigures,
}

struct Waiting {
    /// Look-ups and mints have one place for all that wait, or two.
    places: VecDeque<Place>,
    look_ups: Line<Vec<Digest>, Option<Found>>,
    mints: Line<Mint, Token>,
    ended: bool,
}

impl Waiting {
    fn full(&self) -> bool {
        self.length() >= MOST_WAITING
    }

    fn length(&self) -> usize {
        self.places.len() + self.look_ups.askers.len() + self.mints.askers.len()
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        let look_ups = Line::new(TURNS_AT_ONCE, ENOUGH_LOOK_UPS);
        let mints = Line::new(TURNS_AT_ONCE, ENOUGH_MINTS);
        let waiting = Waiting { places: VecDeque::new(), look_ups, mints, ended: false };
        Self { waiting: Mutex::new(waiting), more: Condvar::new(), figures: QueueFigures::default() }
    }

    // Work is done without the lock, so a panic cannot leave anything half done behind it.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much waits.
    pub(super) fn length(&self) -> usize {
        self.waiting().length()
    }

    /// Counts a turn, by how many it answers, and how long each of them waited for it.
    pub(super) fn count<Q, A>(&self, askers: &[Asker<Q, A>], turn: &prometheus::Histogram) {
        // A number that one statement answers is small.
        turn.observe(u32::try_from(askers.len()).unwrap_or(u32::MAX).into());
        for asker in askers {
            self.figures.waits.observe(asker.asked.elapsed().as_secs_f64());
        }
    }

    /// `false` if too much waits.
    pub(super) fn add(&self, job: Job) -> bool {
        self.put(|waiting| {
            waiting.places.push_back(Place::Job(job));
            true
        })
    }

    /// `false` if too much waits.
    pub(super) fn look_up(&self, asker: LookUp) -> bool {
        self.put(|waiting| {
            let turn = waiting.look_ups.join(asker);
            if turn {
                waiting.places.push_back(Place::LookUps);
            }
            turn
        })
    }

    /// `false` if too much waits.
    pub(super) fn mint(&self, asker: MintAsker) -> bool {
        self.put(|waiting| {
            let turn = waiting.mints.join(asker);
            if turn {
                waiting.places.push_back(Place::Mints);
            }
            turn
        })
    }

    /// `put` says whether a thread is needed for it.
    fn put(&self, put: impl FnOnce(&mut Waiting) -> bool) -> bool {
        let mut waiting = self.waiting();
        if waiting.full() {
            return false;
        }
        let thread_needed = put(&mut waiting);
        drop(waiting);
        if thread_needed {
            self.more.notify_one();
        }
        true
    }

    /// The next turn, `None` when no more will come.
    pub(super) fn next(&self) -> Option<Turn> {
        let idle = |waiting: &mut Waiting| waiting.places.is_empty() && !waiting.ended;
        let mut waiting = self.more.wait_while(self.waiting(), idle).unwrap_or_else(PoisonError::into_inner);
        Some(match waiting.places.pop_front()? {
            Place::Job(job) => Turn::Job(job),
            Place::LookUps => Turn::LookUps(waiting.look_ups.take()),
            Place::Mints => Turn::Mints(waiting.mints.take()),
        })
    }

    /// A turn of look-ups has ended. The thread that says so takes the next turn, so none is woken.
    pub(super) fn looked_up(&self) {
        let mut waiting = self.waiting();
        if waiting.look_ups.ended() {
            waiting.places.push_back(Place::LookUps);
        }
    }

    /// A turn of mints has ended.
    pub(super) fn minted(&self) {
        let mut waiting = self.waiting();
        if waiting.mints.ended() {
            waiting.places.push_back(Place::Mints);
        }
    }

    /// No more will come.
    pub(super) fn end(&self) {
        self.waiting().ended = true;
        self.more.notify_all();
    }
}
