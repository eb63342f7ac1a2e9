//! What is presented and is no text of ours: temporary tokens, chosen secrets with their names, secrets of other systems.
//!
//! Asked in this order, the cheapest first. Nothing here asks the database unless there is such a token at all, and a slow
//! hash is made only for a name with a password, while there are chosen secrets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tok_model::audit::{Action, AuditEvent, Source};
use tok_model::decide::{Bearer, Caller, Need, OwnerNow, Refusal, Rule, decide};
use tok_model::id::TokenId;
use tok_model::import::FOREIGN_PREFIXES;
use tok_model::secret::{Digest, ForeignSecret, LEAST_FOREIGN, LONGEST_SECRET, PairOf, Pepper, Plaintext};
use tok_store::StoreError;
use tok_store::tokens::{Present, Stored};

use super::caller::{Found, Missing};
use super::{Presented, Service};
use crate::slow_hash::{Busy, SlowDoor};
use crate::temporary::TemporaryTokens;
use crate::verdicts::{Asked, Facts};

/// How long a secret that was found good needs no slow hash again. Whether its token still works is asked all the same.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// The most of them, some 150 bytes each.
const MOST_REMEMBERED: u64 = 10_000;
/// The most secrets that are known to be nobody's for a moment.
const MOST_UNKNOWN: u64 = 10_000;

/// What was presented, as it was presented.
pub struct Stranger {
    form: Form,
    secret: SecretString,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Alone: as Bearer, or as a user name before `x-oauth-basic`.
    Alone,
    /// As a password, under this user name.
    Pair(String),
    /// As a user name without a password, which nearly always is just that.
    UserName,
}

impl Stranger {
    /// Text that was presented alone.
    pub(super) fn alone(text: &str) -> Self {
        Self { form: Form::Alone, secret: SecretString::from(text) }
    }

    /// A user name and a password.
    pub(super) fn pair(name: &str, secret: &str) -> Self {
        Self { form: Form::Pair(name.to_owned()), secret: SecretString::from(secret) }
    }

    /// A user name without a password; `None` if it can be nothing else.
    pub(super) fn user_name(name: &str) -> Option<Self> {
        let plausible = name.len() >= LEAST_FOREIGN && !name.contains(['@', ' ']);
        plausible.then(|| Self { form: Form::UserName, secret: SecretString::from(name) })
    }

    /// The text, if a random secret of another system could be so.
    fn foreign(&self) -> Option<ForeignSecret> {
        let text = self.secret.expose_secret();
        (LEAST_FOREIGN..=LONGEST_SECRET).contains(&text.len()).then(|| ForeignSecret::of_text(text))
    }

    /// What it is where it is not looked at, since too many failures came from there: found or not, the answer is the
    /// same. A user name is none then; git tries the one of a URL alone before it asks for a token.
    fn waits(&self, wait: u32) -> Missing {
        let text = self.secret.expose_secret();
        if self.form == Form::UserName && !FOREIGN_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            return Missing::OnlyAName;
        }
        Missing::Counted(Rule::Throttled(wait).into())
    }

    /// What it is if no token of anybody's is found.
    fn nobodys(&self) -> Missing {
        match self.form {
            Form::UserName => Missing::OnlyAName,
            Form::Alone | Form::Pair(_) => Missing::Unknown,
        }
    }
}

/// Reads a secret that somebody handed over as text: a token of ours, `name:secret`, or another system's.
pub fn presented_text(text: &str) -> Presented {
    if let Ok(ours) = Plaintext::parse(text) {
        return Presented::Token(ours);
    }
    if super::caller::begins_as_ours(text) {
        return Presented::NotOurs;
    }
    match text.split_once(':') {
        Some((name, secret)) if !name.is_empty() && !secret.is_empty() => {
            Presented::Other(Stranger::pair(name, secret))
        }
        _ if text.is_empty() => Presented::NotOurs,
        _ => Presented::Other(Stranger::alone(text)),
    }
}

/// What is remembered about strangers, and the door to slow hashes.
pub(super) struct Strangers {
    pub(super) temporary: TemporaryTokens,
    pub(super) slow: SlowDoor,
    present: Mutex<Option<(Present, Asked)>>,
    /// Names with secrets that were found good.
    verified: Cache<Digest, Verified>,
    /// Secrets that are nobody's, as of when that was asked.
    unknown: Cache<Digest, Asked>,
}

/// What was found of a random secret of another system.
enum Sighting {
    Found(Facts),
    /// It was looked up, and is nobody's.
    Nobodys,
    /// The same, as it was a moment ago.
    KnownToBeNobodys,
}

/// A secret that was found good: for this token, as long as its hash is the one it was compared with.
#[derive(Clone, Copy)]
struct Verified {
    token: TokenId,
    hash: [u8; 32],
}

impl Default for Strangers {
    fn default() -> Self {
        Self {
            temporary: TemporaryTokens::default(),
            slow: SlowDoor::default(),
            present: Mutex::default(),
            verified: Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(REMEMBERED).build(),
            unknown: Cache::builder().max_capacity(MOST_UNKNOWN).time_to_live(crate::verdicts::FRESH).build(),
        }
    }
}

impl Service {
    /// The same, with these temporary tokens.
    #[must_use]
    pub fn with_temporary(self, temporary: TemporaryTokens) -> Self {
        Self { strangers: Strangers { temporary, ..self.strangers }, ..self }
    }

    /// Writes down which temporary tokens are accepted from now on.
    pub async fn announce_temporary(&self) -> Result<(), StoreError> {
        let (now, daemon) = (self.now(), tok_model::audit::Actor::daemon());
        let events: Vec<AuditEvent> = self
            .strangers
            .temporary
            .names()
            .map(|name| {
                tracing::warn!("The temporary token {name:?} administers this server until tokd stops");
                let detail = format!("temporary token {name} accepted until restart");
                AuditEvent::done(Action::ServerSetup, daemon.clone()).detail(detail)
            })
            .collect();
        let mut events = events.into_iter();
        let Some(first) = events.next() else { return Ok(()) };
        let events = tok_model::audit::AuditEvents::new(first, events);
        self.executor.run(move |store| store.write(|tx| tx.commit(events, now))).await
    }

    /// The caller behind something that is no text of ours, if it can be said without asking anybody.
    pub(super) fn stranger_at_once(
        &self,
        stranger: Stranger,
        source: &Source,
    ) -> Result<Result<Caller, Missing>, Stranger> {
        // From where too many were wrong the next is not looked at, the right one neither, remembered or not: else trying
        // on would pay. Only what tok made itself is beyond guessing.
        let present = self.known_present();
        let nothing = matches!(present, Some(Present { chosen: false, foreign: false }));
        if (!nothing || !self.strangers.temporary.is_empty())
            && let Some(wait) = self.failures.spent(source, Instant::now())
        {
            return Ok(Err(stranger.waits(wait)));
        }
        if let Form::Pair(name) = &stranger.form
            && let Some(name) = self.strangers.temporary.find(name, stranger.secret.expose_secret())
        {
            let source = source.clone();
            return Ok(Ok(Caller { bearer: Bearer::Temporary { name }, owner: OwnerNow::Nobody, source }));
        }
        match present {
            _ if nothing => return Ok(Err(stranger.nobodys())),
            None => return Err(stranger),
            Some(_) => {}
        }
        let pepper = self.peppers.current();
        let foreign = stranger.foreign().and_then(|secret| self.verdicts.token(&secret.digest(pepper)));
        let chosen = || match &stranger.form {
            Form::Pair(name) => {
                self.verdicts.token(&pepper.pair(PairOf::Chosen, name, stranger.secret.expose_secret()))
            }
            Form::Alone | Form::UserName => None,
        };
        match foreign.or_else(chosen) {
            Some(facts) => Ok(Ok(facts.of_caller(source.clone()))),
            None => Err(stranger),
        }
    }

    /// What the database, and if need be a slow hash, say of it.
    pub(super) async fn look_up_stranger(&self, stranger: &Stranger, source: &Source) -> Result<Found, StoreError> {
        let present = self.present().await?;
        if present.foreign
            && let Some(secret) = stranger.foreign()
        {
            match self.look_up_foreign(&secret).await? {
                Sighting::Found(facts) => return Ok(Ok(facts)),
                Sighting::Nobodys if stranger.form == Form::UserName => {
                    self.note_guess(&stranger.secret, source).await?;
                }
                Sighting::Nobodys | Sighting::KnownToBeNobodys => {}
            }
        }
        match &stranger.form {
            Form::Pair(name) if present.chosen && !name.is_empty() => {
                Ok(self.look_up_chosen(name, &stranger.secret, source).await?.map_err(Missing::Counted))
            }
            _ => Ok(Err(stranger.nobodys())),
        }
    }

    async fn look_up_foreign(&self, secret: &ForeignSecret) -> Result<Sighting, StoreError> {
        let key = secret.digest(self.peppers.current());
        if self.strangers.unknown.get(&key).is_some_and(|asked| self.verdicts.holds(asked)) {
            return Ok(Sighting::KnownToBeNobodys);
        }
        let asked = self.verdicts.asking();
        let digests: Vec<_> = self.peppers.every().map(|pepper: &Pepper| secret.digest(pepper)).collect();
        let found =
            self.executor.run(move |store| store.read(|tx| tok_store::tokens::by_digests(tx, &digests))).await?;
        let Some((_, token, owner)) = found.into_iter().next() else {
            self.strangers.unknown.insert(key, asked);
            return Ok(Sighting::Nobodys);
        };
        let facts = Facts { token: Arc::new(token), owner };
        self.remember_stranger(key, &facts, asked);
        Ok(Sighting::Found(facts))
    }

    /// A user name that was presented alone and is no secret is a failure too, or secrets could be tried on there for
    /// nothing. Names that somebody has are none; the answer is the same.
    async fn note_guess(&self, text: &SecretString, source: &Source) -> Result<(), StoreError> {
        let wanted = text.expose_secret().to_owned();
        let named = self
            .executor
            .run(move |store| {
                store.read(|tx| {
                    let user = match wanted.parse() {
                        Ok(name) => tok_store::users::now_by_name(tx, &name)?,
                        Err(_) => None,
                    };
                    Ok(user.is_some() || !tok_store::tokens::by_login(tx, &wanted)?.is_empty())
                })
            })
            .await?;
        if !named {
            self.failures.note(source, Instant::now());
        }
        Ok(())
    }

    async fn look_up_chosen(
        &self,
        name: &str,
        secret: &SecretString,
        source: &Source,
    ) -> Result<Result<Facts, Refusal>, StoreError> {
        let key = self.peppers.current().pair(PairOf::Chosen, name, secret.expose_secret());
        let asked = self.verdicts.asking();
        if let Some(verified) = self.strangers.verified.get(&key) {
            let id = verified.token;
            let stored =
                self.executor.run(move |store| store.read(|tx| tok_store::tokens::by_stored_id(tx, id))).await?;
            if let Some(stored) = stored.filter(|stored| stored.hash.as_deref().map(fingerprint) == Some(verified.hash))
            {
                return Ok(Ok(self.remember_chosen(key, stored, asked)));
            }
            self.strangers.verified.invalidate(&key);
        }
        // Again, for those that came together.
        if let Some(wait) = self.failures.spent(source, Instant::now()) {
            return Ok(Err(Rule::Throttled(wait).into()));
        }
        let wanted = name.to_owned();
        let mut candidates =
            self.executor.run(move |store| store.read(|tx| tok_store::tokens::by_login(tx, &wanted))).await?;
        let hashes = candidates.iter().filter_map(|stored| stored.hash.clone()).collect();
        let Some(right) = self.strangers.slow.verify(secret.clone(), hashes).await? else {
            return Ok(Err(self.unknown_token(source)));
        };
        let mut stored = candidates.swap_remove(right.at);
        if let Some(new) = right.renewed {
            self.renew(&mut stored, new, source).await;
        }
        Ok(Ok(self.remember_chosen(key, stored, asked)))
    }

    fn remember_chosen(&self, key: Digest, stored: Stored, asked: Asked) -> Facts {
        let facts = Facts { token: Arc::new(stored.token), owner: stored.owner };
        if let Some(hash) = &stored.hash {
            self.strangers.verified.insert(key, Verified { token: facts.token.id, hash: fingerprint(hash) });
        }
        self.remember_stranger(key, &facts, asked);
        facts
    }

    /// For the next moments, unless each use of it is the store's business.
    fn remember_stranger(&self, key: Digest, facts: &Facts, asked: Asked) {
        if !facts.token.needs_the_store() {
            self.verdicts.remember_token(key, facts.clone(), asked);
        }
    }

    /// Keeps a stronger hash of a secret that was just found good. If that fails it is done the next time.
    async fn renew(&self, stored: &mut Stored, new: String, source: &Source) {
        let Some(old) = stored.hash.clone() else { return };
        let facts = Facts { token: Arc::new(stored.token.clone()), owner: stored.owner.clone() };
        let Ok(permit) = decide(&facts.of_caller(source.clone()), Need::Identity, self.now()) else { return };
        let (id, hash) = (stored.token.id, new.clone());
        let shown = stored.token.shown_prefix.clone();
        let written = self
            .executor
            .run(move |store| {
                store.write(|mut tx| {
                    tok_store::tokens::renew_hash(&mut tx, &permit, id, &old, &hash)?;
                    let event = AuditEvent::done(Action::TokenModify, permit.actor().clone())
                        .token(id, shown)
                        .detail("its secret is now kept under a stronger hash");
                    tx.commit(event, permit.at())
                })
            })
            .await;
        match written {
            Ok(()) => stored.hash = Some(new),
            Err(error) => tracing::debug!(error = %crate::fault::chain(&error), "A hash was not renewed"),
        }
    }

    fn known_present(&self) -> Option<Present> {
        let known = *self.strangers.present.lock().unwrap_or_else(PoisonError::into_inner);
        known.filter(|(_, asked)| self.verdicts.holds(*asked)).map(|(present, _)| present)
    }

    async fn present(&self) -> Result<Present, StoreError> {
        if let Some(present) = self.known_present() {
            return Ok(present);
        }
        let asked = self.verdicts.asking();
        let present = self.executor.run(|store| store.read(tok_store::tokens::present)).await?;
        *self.strangers.present.lock().unwrap_or_else(PoisonError::into_inner) = Some((present, asked));
        Ok(present)
    }
}

/// Tells one hash from another without being one.
fn fingerprint(hash: &str) -> [u8; 32] {
    Sha256::digest(hash.as_bytes()).into()
}

impl From<Busy> for StoreError {
    /// Not "no": whoever is told so tries again.
    fn from(_: Busy) -> Self {
        Self::Busy { what: "too many secrets are being checked at once" }
    }
}
