//! The small door to slow hashes: what people chose is hashed and verified by argon2id, on two threads of its own.
//!
//! Each hash takes 19 MiB and some 50 ms, so two are made at a time, [`QUEUE`] more may wait, and whoever comes then is told
//! at once that it cannot be said now. However many ask, the memory stays the same; no runtime thread and no store thread
//! ever waits here. To verify a secret costs the same whether somebody of that name exists or not.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::TryRng as _;
use rand::rngs::SysRng;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tok_model::secret::LONGEST_SECRET;
use tokio::sync::oneshot;

use crate::metrics::SlowFigures;
use crate::strength::{self, Weakness};

/// Memory in KiB, passes and lanes: OWASP's first choice for argon2id. To raise them is enough: each secret is hashed anew
/// when it is next found good.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The most memory that a stored hash may ask for, in KiB: one that asks for more was planted.
const MOST_MEMORY: u32 = 4 * MEMORY;
/// The highest cost of bcrypt that is verified: twice the work for each one more, a second at 14.
pub const HIGHEST_BCRYPT_COST: u32 = 13;
/// How many are made at a time.
const THREADS: usize = 2;
/// How many may wait; two seconds of work.
const QUEUE: usize = 64;
/// How long one may take from asking to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// bcrypt takes no more of a password; what lies beyond it has never been verified.
const BCRYPT_BYTES: usize = 72;

/// It cannot be said now: too many ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many secrets are being checked at once")]
pub struct Busy;

/// Which of the hashes a secret is right for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Its place among those that were given.
    pub at: usize,
    /// A hash of today's strength, if that one is weaker.
    pub renewed: Option<String>,
}

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// What a thread works in: kept from one hash to the next while there are more, so that two at a time is all there ever is.
#[derive(Default)]
struct Memory(Vec<Block>);

impl Memory {
    fn of(&mut self, params: &Params) -> &mut [Block] {
        let blocks = params.block_count();
        if self.0.len() < blocks {
            self.0.resize(blocks, Block::default());
        }
        &mut self.0[..blocks]
    }
}

/// The door. Its threads start with the first that comes, and end with it.
#[derive(Default)]
pub struct SlowDoor {
    queue: Arc<Queue>,
    /// How many slow hashes were made, whatever for.
    made: Arc<AtomicU64>,
    figures: SlowFigures,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    threads: usize,
    ended: bool,
}

impl Drop for SlowDoor {
    fn drop(&mut self) {
        self.queue.waiting().ended = true;
        self.queue.more.notify_all();
    }
}

impl Queue {
    // Jobs run without the lock, so a panic cannot leave anything half done behind it.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Self>, job: Job) -> Result<(), Busy> {
        let mut waiting = self.waiting();
        if waiting.jobs.len() >= QUEUE {
            return Err(Busy);
        }
        while waiting.threads < THREADS {
            let queue = Arc::clone(self);
            let name = format!("slow-hash-{}", waiting.threads);
            if let Err(error) = std::thread::Builder::new().name(name).spawn(move || queue.work()) {
                tracing::error!(%error, "A thread for slow hashes could not be started");
                if waiting.threads == 0 {
                    return Err(Busy);
                }
                break;
            }
            waiting.threads += 1;
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.more.notify_one();
        Ok(())
    }

    fn work(&self) {
        let idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.ended;
        let mut memory = Memory::default();
        loop {
            if self.waiting().jobs.is_empty() {
                memory = Memory::default();
            }
            let waiting = self.more.wait_while(self.waiting(), idle);
            let Some(job) = waiting.unwrap_or_else(PoisonError::into_inner).jobs.pop_front() else { return };
            // Whoever waits for a job that panicked sees its channel closed, and is told that it cannot be said now.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut memory))).is_err() {
                tracing::error!("a slow hash panicked");
            }
        }
    }
}

impl SlowDoor {
    /// The hash of a secret that somebody chooses now, if it is strong enough. `about` are words that lie near: their name.
    pub async fn choose(&self, secret: SecretString, about: Vec<String>) -> Result<Result<String, Weakness>, Busy> {
        let made = Arc::clone(&self.made);
        let job = move |memory: &mut Memory| match strength::check(secret.expose_secret(), &about) {
            Ok(()) => hash(&made, memory, secret.expose_secret()).map(Ok),
            Err(weakness) => Ok(Err(weakness)),
        };
        self.run(job).await?
    }

    /// The hash of a secret that was chosen elsewhere, however weak.
    pub async fn keep(&self, secret: SecretString) -> Result<String, Busy> {
        let made = Arc::clone(&self.made);
        self.run(move |memory| hash(&made, memory, secret.expose_secret())).await?
    }

    /// Which of these a secret is right for. Without any the work is done all the same: whoever measures the time learns
    /// nothing of who exists.
    pub async fn verify(&self, secret: SecretString, hashes: Vec<String>) -> Result<Option<Match>, Busy> {
        let text = secret.expose_secret();
        // Nothing of this kind was ever hashed.
        if text.len() > LONGEST_SECRET || text.contains('\0') {
            return Ok(None);
        }
        let made = Arc::clone(&self.made);
        let job = move |memory: &mut Memory| {
            let secret = secret.expose_secret();
            if hashes.is_empty() {
                is_right(&made, memory, secret, &nobodys_hash());
                return None;
            }
            let at = hashes.iter().position(|hash| is_right(&made, memory, secret, hash))?;
            // It was right: if it cannot be hashed anew now, then the next time.
            let renewed = if is_weaker(&hashes[at], secret) { hash(&made, memory, secret).ok() } else { None };
            Some(Match { at, renewed })
        };
        self.run(job).await
    }

    /// How it goes.
    pub fn figures(&self) -> &SlowFigures {
        &self.figures
    }

    /// How many wait for a thread.
    pub fn waiting(&self) -> usize {
        self.queue.waiting().jobs.len()
    }

    /// How many slow hashes were made since the start.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T, Busy> {
        let (answer, waiting) = oneshot::channel();
        let asked = Instant::now();
        self.queue
            .add(Box::new(move |memory| {
                // Nobody waits any more: the caller gave up, or its connection is gone.
                if !answer.is_closed() && asked.elapsed() < DEADLINE {
                    let _ = answer.send(job(memory));
                }
            }))
            .inspect_err(|_| self.figures.busy.inc())?;
        match tokio::time::timeout(DEADLINE, waiting).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Busy),
        }
    }
}

fn today() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, LANES, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(made: &AtomicU64, memory: &mut Memory, secret: &str) -> Result<String, Busy> {
    made.fetch_add(1, Ordering::SeqCst);
    let (mut salt, mut out) = ([0_u8; 16], [0_u8; Params::DEFAULT_OUTPUT_LEN]);
    // A generator that fails is a reason to say "not now".
    SysRng.try_fill_bytes(&mut salt).map_err(|_| Busy)?;
    let today = today();
    let memory = memory.of(today.params());
    today.hash_password_into_with_memory(secret.as_bytes(), &salt, &mut out, memory).map_err(|_| Busy)?;
    let (salt, out) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(out));
    Ok(format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${out}"))
}

/// A hash that nothing is right for, of the same cost as the others.
fn nobodys_hash() -> String {
    let (salt, hash) = ("A".repeat(22), "A".repeat(43));
    format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${hash}")
}

fn is_right(made: &AtomicU64, memory: &mut Memory, secret: &str, hash: &str) -> bool {
    made.fetch_add(1, Ordering::SeqCst);
    if hash.starts_with("$2") {
        return bcrypt_cost(hash).is_ok() && bcrypt::verify(secret, hash).unwrap_or(false);
    }
    is_right_by_argon2(memory, secret, hash).unwrap_or_else(|| {
        tracing::error!("A stored hash of a chosen secret cannot be understood; nothing is right for it");
        false
    })
}

/// `None` if the hash is not one that can be verified here.
fn is_right_by_argon2(memory: &mut Memory, secret: &str, hash: &str) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    let params = Params::try_from(&hash).ok().filter(|params| params.m_cost() <= MOST_MEMORY)?;
    if hash.algorithm.as_str() != Algorithm::Argon2id.as_str() || hash.version != Some(Version::V0x13.into()) {
        return None;
    }
    let (salt, expected) = (hash.salt?, hash.hash?);
    let mut out = vec![0; expected.len()];
    let memory = memory.of(&params);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(secret.as_bytes(), &salt, &mut out, memory).ok()?;
    Some(out.as_slice().ct_eq(expected.as_bytes()).into())
}

/// Whether a hash that was found right shall be replaced.
fn is_weaker(hash: &str, secret: &str) -> bool {
    if hash.starts_with("$2") {
        // Of a longer one the end was never verified: to keep it would let somebody choose it.
        return secret.len() < BCRYPT_BYTES;
    }
    let Some(params) = PasswordHash::new(hash).ok().and_then(|hash| Params::try_from(&hash).ok()) else { return false };
    params.m_cost() < MEMORY || params.t_cost() < PASSES
}

/// The cost of a hash in bcrypt's form (`$2a$`, `$2b$`, `$2x$`, `$2y$`), or why it is not taken.
pub fn bcrypt_cost(hash: &str) -> Result<u32, String> {
    let parts: bcrypt::HashParts =
        hash.parse().map_err(|_| "it is no whole bcrypt hash: $2y$, the cost, and 53 characters".to_owned())?;
    match parts.get_cost() {
        cost @ 4..=HIGHEST_BCRYPT_COST => Ok(cost),
        cost => Err(format!("its bcrypt cost is {cost}; up to {HIGHEST_BCRYPT_COST} can be verified in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "hunter2-hunter2" under bcrypt, cost 4.
    fn bcrypted(text: &str) -> String {
        bcrypt::hash(text, 4).unwrap()
    }

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn what_was_chosen_is_right_and_nothing_else() {
        let door = SlowDoor::default();
        let hash = door.choose(secret("violet-tractor-97-moon"), vec!["ann".to_owned()]).await.unwrap().unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let found = door.verify(secret("violet-tractor-97-moon"), vec![nobodys_hash(), hash.clone()]).await.unwrap();
        assert_eq!(found, Some(Match { at: 1, renewed: None }));
        assert_eq!(door.verify(secret("violet-tractor-97-moom"), vec![hash]).await.unwrap(), None);
        assert!(door.choose(secret("password1234"), Vec::new()).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn nobody_costs_as_much_as_somebody() {
        let door = SlowDoor::default();
        let hash = door.keep(secret("a secret")).await.unwrap();
        for hashes in [vec![hash], Vec::new()] {
            let before = door.made();
            assert_eq!(door.verify(secret("wrong"), hashes).await.unwrap(), None);
            assert_eq!(door.made() - before, 1);
        }
        // What cannot be a secret costs nobody anything.
        let before = door.made();
        assert_eq!(door.verify(secret(&"x".repeat(LONGEST_SECRET + 1)), Vec::new()).await.unwrap(), None);
        assert_eq!(door.verify(secret("a\0b"), Vec::new()).await.unwrap(), None);
        assert_eq!(door.made(), before);
        assert!(PasswordHash::new(&nobodys_hash()).is_ok());
    }

    #[tokio::test]
    async fn weaker_hashes_are_renewed_when_the_secret_is_there() {
        let door = SlowDoor::default();
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
        let weak = argon2::PasswordHasher::<PasswordHash>::hash_password_with_salt(
            &weak,
            b"an old secret",
            b"0123456789abcdef",
        )
        .unwrap()
        .to_string();
        for old in [weak, bcrypted("an old secret")] {
            let found = door.verify(secret("an old secret"), vec![old]).await.unwrap().unwrap();
            let renewed = found.renewed.unwrap();
            assert!(renewed.contains("m=19456,t=2"), "{renewed}");
            let again = door.verify(secret("an old secret"), vec![renewed]).await.unwrap();
            assert_eq!(again, Some(Match { at: 0, renewed: None }));
        }
        // bcrypt saw 72 bytes only: what else is presented must not become the secret.
        let long = format!("{}{}", "x".repeat(72), "right");
        let found = door.verify(secret(&format!("{}wrong", "x".repeat(72))), vec![bcrypted(&long)]).await.unwrap();
        assert_eq!(found, Some(Match { at: 0, renewed: None }));
    }

    #[tokio::test]
    async fn what_cannot_be_understood_or_paid_is_right_for_nothing() {
        let door = SlowDoor::default();
        let greedy = nobodys_hash().replace("m=19456", "m=4194304");
        for planted in ["", "$1$abc$def", "plain", "$2y$31$short", &greedy] {
            assert_eq!(door.verify(secret("plain"), vec![planted.to_owned()]).await.unwrap(), None, "{planted}");
        }
        assert!(bcrypt_cost(&bcrypted("x").replace("$04$", "$15$")).unwrap_err().contains("15"));
        assert_eq!(bcrypt_cost(&bcrypted("x")), Ok(4));
    }

    #[tokio::test]
    async fn who_comes_to_a_full_queue_is_told_at_once() {
        let door = Arc::new(SlowDoor::default());
        let asked: Vec<_> = (0..200)
            .map(|_| {
                let door = Arc::clone(&door);
                tokio::spawn(async move { door.verify(secret("wrong"), Vec::new()).await })
            })
            .collect();
        let (mut answered, mut busy) = (0, 0);
        for one in asked {
            match one.await.unwrap() {
                Ok(None) => answered += 1,
                Ok(Some(_)) => panic!("right for nobody"),
                Err(Busy) => busy += 1,
            }
        }
        assert!(answered >= 1 && busy >= 200 - QUEUE - 2 * THREADS - 100, "{answered} answered, {busy} busy");
        assert_eq!(answered + busy, 200);
        assert!(door.made() <= answered as u64 + THREADS as u64);
    }
}
