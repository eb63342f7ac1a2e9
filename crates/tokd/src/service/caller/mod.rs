//! Who is calling: from what they presented to a [`Caller`] that can be decided about.

mod admission;
mod peer;
mod presented;

use std::sync::Arc;
use std::time::Instant;

use hyper::HeaderMap;
use tok_api::fault::Fault;
use tok_model::audit::Source;
use tok_model::decide::{Bearer, Caller, Class, Refusal, Rule};
use tok_model::name::{RepoPath, UserName};
use tok_model::scope::RepoRight;
use tok_model::secret::{Digest, Pepper, Plaintext};
use tok_store::StoreError;

pub(in crate::service) use peer::system_name;
pub(super) use presented::begins_as_ours;
pub use presented::{Presented, authorization};

use super::Service;
use super::strangers::Stranger;
use crate::fault::IntoFault;
use crate::verdicts::Facts;

/// A token that was not seen in the last moments.
pub struct Unknown {
    presented: Sought,
    source: Source,
}

/// The token that was found.
pub(super) type Found = Result<Facts, Missing>;

/// Why none was.
pub(super) enum Missing {
    /// It is nobody's.
    Unknown,
    /// The same, and it was counted already as a failure of where it came from.
    Counted(Refusal),
    /// It was a user name and nothing else.
    OnlyAName,
}

/// That what somebody asked about is no token.
pub(super) struct Nobody {
    /// Whether that was counted already as a failure of where it came from.
    pub(super) counted: bool,
}

enum Sought {
    Token { text: Plaintext, digest: Digest },
    Other(Stranger),
}

impl Facts {
    pub(super) fn of_caller(self, source: Source) -> Caller {
        Caller { bearer: Bearer::Token(self.token), owner: self.owner, source }
    }
}

impl Service {
    /// The caller behind a presented token. `Err` is "cannot know now"; `Ok(Err(…))` is "no".
    pub async fn caller_by_token(
        &self,
        presented: Presented,
        source: Source,
    ) -> Result<Result<Caller, Refusal>, StoreError> {
        match self.caller_at_once(presented, source) {
            Ok(said) => Ok(said),
            Err(unknown) => self.look_up_caller(unknown, None).await,
        }
    }

    /// The same if it can be said without asking the database, as it usually can; else what is to be looked up.
    pub fn caller_at_once(
        &self,
        presented: Presented,
        source: Source,
    ) -> Result<Result<Caller, Refusal>, Box<Unknown>> {
        Ok(self.at_once(presented, source)?.or_else(|(missing, source)| self.nobody(missing, source)))
    }

    /// What can be said at once. Nothing is counted.
    fn at_once(&self, presented: Presented, source: Source) -> Result<Result<Caller, (Missing, Source)>, Box<Unknown>> {
        let text = match presented {
            Presented::Nothing => return Ok(Ok(Caller::anonymous(source))),
            Presented::NotOurs => return Ok(Err((Missing::Unknown, source))),
            Presented::Token(text) => text,
            Presented::Other(stranger) => {
                return match self.stranger_at_once(stranger, &source) {
                    Ok(found) => Ok(found.map_err(|missing| (missing, source))),
                    Err(stranger) => Err(Box::new(Unknown { presented: Sought::Other(stranger), source })),
                };
            }
        };
        let digest = text.digest(self.peppers.current());
        match self.verdicts.token(&digest) {
            Some(facts) => Ok(Ok(facts.of_caller(source))),
            None => Err(Box::new(Unknown { presented: Sought::Token { text, digest }, source })),
        }
    }

    /// What the database says of it. `wanted` is what it is presented for, if that is a repository: what is refused is no
    /// use.
    pub async fn look_up_caller(
        &self,
        unknown: Box<Unknown>,
        wanted: Option<(&RepoPath, RepoRight)>,
    ) -> Result<Result<Caller, Refusal>, StoreError> {
        match self.look_up(&unknown).await? {
            Err(missing) => Ok(self.nobody(missing, unknown.source)),
            Ok(facts) if facts.token.needs_the_store() => self.admit(facts.of_caller(unknown.source), wanted).await,
            Ok(facts) => Ok(Ok(facts.of_caller(unknown.source))),
        }
    }

    /// Whoever presents what is nobody's.
    fn nobody(&self, missing: Missing, source: Source) -> Result<Caller, Refusal> {
        match missing {
            Missing::Unknown => Err(self.unknown_token(&source)),
            Missing::Counted(refusal) => Err(refusal),
            Missing::OnlyAName => Ok(Caller::anonymous(source)),
        }
    }

    /// Who holds this, for whoever only asks about it: neither a use, nor a first one, nor reuse. A token of ours that is
    /// nobody's is nobody's failure; what could be guessed is one here as everywhere. An error is "cannot know now", or
    /// that too many failures came from there.
    pub(super) async fn holder(&self, presented: Presented, source: Source) -> Result<Result<Caller, Nobody>, Fault> {
        let unknown = match self.at_once(presented, source) {
            Ok(Ok(caller)) => return Ok(Ok(caller)),
            Ok(Err((missing, _))) => return nobodys(missing),
            Err(unknown) => unknown,
        };
        match (self.look_up(&unknown).await.map_err(IntoFault::into_fault)?, &unknown.presented) {
            (Ok(facts), _) => Ok(Ok(facts.of_caller(unknown.source))),
            (Err(Missing::Unknown), Sought::Other(_)) => nobodys(Missing::Counted(self.unknown_token(&unknown.source))),
            (Err(missing), _) => nobodys(missing),
        }
    }

    /// Looks it up, and remembers it unless each use of it is the store's business.
    async fn look_up(&self, unknown: &Unknown) -> Result<Found, StoreError> {
        let Unknown { presented, source } = unknown;
        let (text, digest) = match presented {
            Sought::Token { text, digest } => (text, *digest),
            Sought::Other(stranger) => return self.look_up_stranger(stranger, source).await,
        };
        let asked = self.verdicts.asking();
        let digests: Vec<_> = self.peppers.every().map(|pepper: &Pepper| text.digest(pepper)).collect();
        let Some(found) = self.executor.look_up(digests).await? else { return Ok(Err(Missing::Unknown)) };
        let facts = Facts { token: Arc::new(self.dated(Arc::unwrap_or_clone(found.token))), owner: found.owner };
        if !facts.token.needs_the_store() {
            self.verdicts.remember_token(digest, facts.clone(), asked);
        }
        Ok(Ok(facts))
    }

    /// The refusal of what is no token, or, if there were too many of them from there, of any more.
    pub(super) fn unknown_token(&self, source: &Source) -> Refusal {
        self.uses.count_unknown();
        let wait = self.failures.note(source, Instant::now());
        wait.map_or(Rule::UnknownToken, Rule::Throttled).into()
    }

    /// The same caller with what the database says of their token and its owner now.
    pub(super) async fn as_of_now(&self, caller: &Caller) -> Result<Caller, Fault> {
        let Bearer::Token(token) = &caller.bearer else { return Ok(caller.clone()) };
        let id = token.id;
        let stored = self
            .executor
            .run(move |store| store.read(|tx| tok_store::tokens::by_stored_id(tx, id)))
            .await
            .map_err(IntoFault::into_fault)?;
        let Some(stored) = stored else { return Err(Refusal::from(Rule::UnknownToken).into_fault()) };
        let facts = Facts { token: Arc::new(self.dated(stored.token)), owner: stored.owner };
        Ok(facts.of_caller(caller.source.clone()))
    }

    /// The caller of the local API: by token if one was sent, else by peer. `rotating` is the idempotency key of a rotation,
    /// if the call is one.
    pub async fn caller_local(
        &self,
        uid: u32,
        headers: &HeaderMap,
        acting_as: Option<UserName>,
        agent: Option<String>,
        rotating: Option<&str>,
    ) -> Result<Caller, Fault> {
        let presented = authorization(headers);
        if matches!(presented, Presented::Nothing) {
            return self.caller_by_peer(uid, acting_as, agent).await;
        }
        let source = Source { uid: Some(uid), agent, ..Source::default() };
        self.caller_by_presented(presented, acting_as, source, rotating).await
    }

    /// The caller of the remote API: by token, or nobody.
    pub async fn caller_remote(
        &self,
        headers: &HeaderMap,
        acting_as: Option<UserName>,
        source: Source,
        rotating: Option<&str>,
    ) -> Result<Caller, Fault> {
        self.caller_by_presented(authorization(headers), acting_as, source, rotating).await
    }

    async fn caller_by_presented(
        &self,
        presented: Presented,
        acting_as: Option<UserName>,
        source: Source,
        rotating: Option<&str>,
    ) -> Result<Caller, Fault> {
        let caller = match rotating {
            Some(key) => self.caller_rotating(presented, source, key).await,
            None => self.caller_by_token(presented, source).await,
        };
        let caller = caller.map_err(IntoFault::into_fault)?;
        let caller = caller.map_err(IntoFault::into_fault)?;
        match acting_as.filter(|name| caller.user().is_none_or(|user| user.name != *name)) {
            Some(name) if !matches!(caller.bearer, Bearer::Nothing) => self.acting(caller, name).await,
            _ => Ok(caller),
        }
    }
}

/// What whoever asks about it is told of something that is nobody's: that, or that too many came from there.
fn nobodys(missing: Missing) -> Result<Result<Caller, Nobody>, Fault> {
    match missing {
        Missing::Counted(refusal) if refusal.class() == Class::Throttled => Err(refusal.into_fault()),
        missing => Ok(Err(Nobody { counted: matches!(missing, Missing::Counted(_)) })),
    }
}
