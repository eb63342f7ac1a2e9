//! Who is calling: from what they presented to a [`Caller`] that can be decided about.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};
use secrecy::zeroize::Zeroizing;
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::Source;
use tok_model::decide::{Bearer, Caller, Class, Need, OwnerNow, Refusal, Rule, UserNow, decide};
use tok_model::kind::TokenKind;
use tok_model::name::{RepoPath, UserName};
use tok_model::scope::RepoRight;
use tok_model::secret::{Digest, Pepper, Plaintext};
use tok_model::token::TokenState;
use tok_store::StoreError;
use tok_store::tokens::{Counted, FirstUse};

use super::Service;
use super::strangers::Stranger;
use crate::fault::IntoFault;
use crate::verdicts::{Facts, PeerFacts, PeerKey};

/// What a request presented.
pub enum Presented {
    /// Nothing, or an empty password as git tries it when the URL has a user name.
    Nothing,
    /// Something that cannot be a token of ours: a typing error, another system's secret.
    NotOurs,
    /// Text of the right form.
    Token(Plaintext),
    /// A name with a chosen secret, or another system's secret.
    Other(Stranger),
}

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

/// What an HTTP request presents. Two `Authorization` headers are none that can be trusted: whatever stands behind could
/// go by the other one.
pub fn authorization(headers: &HeaderMap) -> Presented {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (header, None) => read_authorization(header.map(HeaderValue::as_bytes)),
        (_, Some(_)) => Presented::NotOurs,
    }
}

/// Reads an `Authorization` header: `Bearer <token>` (RFC 6750 section 2.1), or Basic (RFC 7617) with the token as the
/// password under any user name, or as the user name with an empty password or `x-oauth-basic`.
fn read_authorization(header: Option<&[u8]>) -> Presented {
    let Some(text) = header.map(std::str::from_utf8) else { return Presented::Nothing };
    let Some((scheme, rest)) = text.ok().and_then(|t| t.trim().split_once(' ')) else { return Presented::NotOurs };
    let read = |text: &str, otherwise: fn(&str) -> Stranger| match Plaintext::parse(text) {
        Ok(token) => Presented::Token(token),
        Err(_) if text.is_empty() || begins_as_ours(text) => Presented::NotOurs,
        Err(_) => Presented::Other(otherwise(text)),
    };
    if scheme.eq_ignore_ascii_case("Bearer") {
        return read(rest.trim(), Stranger::alone);
    }
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Presented::NotOurs;
    }
    let Ok(decoded) = STANDARD.decode(rest.trim()).map(Zeroizing::new) else { return Presented::NotOurs };
    let Some((user, password)) = std::str::from_utf8(&decoded).ok().and_then(|pair| pair.split_once(':')) else {
        return Presented::NotOurs;
    };
    match password {
        "" => match Plaintext::parse(user) {
            Ok(token) => Presented::Token(token),
            Err(_) if begins_as_ours(user) => Presented::Nothing,
            Err(_) => Stranger::user_name(user).map_or(Presented::Nothing, Presented::Other),
        },
        "x-oauth-basic" => read(user, Stranger::alone),
        _ => match read(password, Stranger::alone) {
            Presented::Other(_) => Presented::Other(Stranger::pair(user, password)),
            ours => ours,
        },
    }
}

/// Whether text that is no token of ours looks like one: a typing error, which is nobody else's secret.
pub(super) fn begins_as_ours(text: &str) -> bool {
    TokenKind::every().any(|kind| text.starts_with(kind.prefix()))
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

    /// Lets somebody in whose token changes by that: a use is counted, or a first use written down. Whoever presents a
    /// token that was given up for its successor raises the alarm.
    async fn admit(
        &self,
        caller: Caller,
        wanted: Option<(&RepoPath, RepoRight)>,
    ) -> Result<Result<Caller, Refusal>, StoreError> {
        let Bearer::Token(token) = &caller.bearer else { return Ok(Ok(caller)) };
        let (token, actor, now) = (Arc::clone(token), caller.actor(), self.now());
        if let TokenState::Rotated { grace_ends_at, .. } = &token.state
            && *grace_ends_at <= now
        {
            self.alarm(&caller).await?;
            return Ok(Err(Rule::Rotated(*grace_ends_at).into()));
        }
        // Whoever asks for the decision next is told why not.
        if decide(&caller, Need::Identity, now).is_err() {
            return Ok(Ok(caller));
        }
        if token.first_use_due {
            let (used, actor) = (Arc::clone(&token), actor.clone());
            let noted = self
                .executor
                .run(move |store| store.write(|tx| tok_store::tokens::first_use(tx, &used, &actor, now)))
                .await;
            // It may have ended another's grace, and what was made through that one.
            if token.predecessor.is_some() {
                self.forget_all();
            }
            if noted? == FirstUse::TooLate {
                return Ok(Err(Rule::Revoked(now).into()));
            }
        }
        let need = |(repo, right): (&RepoPath, RepoRight)| Need::Repository { repo: repo.clone(), right };
        if token.use_limit.is_none() || wanted.is_some_and(|wanted| decide(&caller, need(wanted), now).is_err()) {
            return Ok(Ok(caller));
        }
        let counted = self
            .executor
            .run(move |store| store.write(|tx| tok_store::tokens::count_use(tx, &token, &actor, now)))
            .await?;
        Ok(match counted {
            Counted::LetIn => Ok(caller),
            Counted::NoneLeft => Err(Rule::UsedUp.into()),
        })
    }

    /// Ends the family of a token that was presented after it had been given up.
    async fn alarm(&self, caller: &Caller) -> Result<(), StoreError> {
        let Bearer::Token(token) = &caller.bearer else { return Ok(()) };
        let (token, actor, now) = (Arc::clone(token), caller.actor(), self.now());
        let (id, shown, from) = (token.id, token.shown_prefix.clone(), caller.source.describe());
        let ended =
            self.executor.run(move |store| store.write(|tx| tok_store::tokens::reuse(tx, &token, &actor, now))).await;
        self.forget_all();
        let ended = ended?;
        tracing::warn!(token.id = %id, %from, ended, "{shown}… was presented after it had been rotated away; its family ended");
        Ok(())
    }

    /// The caller behind a token that is presented to rotate something under an idempotency key. If that is the very token
    /// that an earlier request under this key gave up, and nobody has used what that one made, then its reply was lost:
    /// the request is judged as if that one had not happened.
    pub async fn caller_rotating(
        &self,
        presented: Presented,
        source: Source,
        key: &str,
    ) -> Result<Result<Caller, Refusal>, StoreError> {
        let unknown = match self.caller_at_once(presented, source) {
            Ok(said) => return Ok(said),
            Err(unknown) => unknown,
        };
        let facts = match self.look_up(&unknown).await? {
            Ok(facts) => facts,
            Err(missing) => return Ok(self.nobody(missing, unknown.source)),
        };
        let given_up =
            matches!(&facts.token.state, TokenState::Rotated { grace_ends_at, .. } if *grace_ends_at <= self.now());
        if !given_up {
            return self.look_up_caller(unknown, None).await;
        }
        let mut caller = facts.of_caller(unknown.source);
        let Bearer::Token(token) = &mut caller.bearer else { return Ok(Ok(caller)) };
        let (presented, name, key, now) = (Arc::clone(token), super::tokens::asker(token), key.to_owned(), self.now());
        let unanswered = self
            .executor
            .run(move |store| store.read(|tx| tok_store::tokens::unanswered_rotation(tx, &name, &key, &presented, now)))
            .await?;
        if unanswered {
            Arc::make_mut(token).state = TokenState::Live;
            return Ok(Ok(caller));
        }
        self.admit(caller, None).await
    }

    /// The refusal of what is no token, or, if there were too many of them from there, of any more.
    pub(super) fn unknown_token(&self, source: &Source) -> Refusal {
        self.uses.count_unknown();
        let wait = self.failures.note(source, Instant::now());
        wait.map_or(Rule::UnknownToken, Rule::Throttled).into()
    }

    /// The caller behind a peer of the local socket: root and the daemon's own user are managers, others the tok user of
    /// their system name. `acting_as` is for managers, who then have that user's authority and no more.
    pub async fn caller_by_peer(
        &self,
        uid: u32,
        acting_as: Option<UserName>,
        agent: Option<String>,
    ) -> Result<Caller, Fault> {
        let manager = uid == 0 || uid == self.place.own_uid;
        let mut source = Source { uid: Some(uid), agent, ..Source::default() };
        let key = (uid, acting_as.clone());
        let (user, own) = match self.verdicts.peer(&key) {
            Some(PeerFacts { user, own }) => (Some(user), own),
            None => self.look_up_peer(key, manager).await?,
        };
        // The trail names both: whose authority it was, and who really acted.
        if acting_as.is_some() && acting_as != own {
            source.behind = Some(own.as_ref().map_or_else(|| format!("uid {uid}"), ToString::to_string));
        }
        match acting_as {
            Some(name) if !manager && own.as_ref() != Some(&name) => {
                self.note_acting_refused(source, &name);
                Err(Fault::new(FaultCode::Forbidden, format!("only a manager may act as {name}"))
                    .hint("leave out --as and TOK_USER, or run this as root"))
            }
            Some(name) if user.is_none() => Err(nobody_named(&name)),
            acting_as => Ok(Caller {
                bearer: Bearer::LocalPeer { manager: manager && acting_as.is_none() },
                owner: user.map_or(OwnerNow::Nobody, OwnerNow::User),
                source,
            }),
        }
    }

    async fn look_up_peer(
        &self,
        key: PeerKey,
        manager: bool,
    ) -> Result<(Option<Arc<UserNow>>, Option<UserName>), Fault> {
        let map = self.place.map_system_users || manager;
        let (uid, wanted) = key.clone();
        let asked = self.verdicts.asking();
        let (user, own) = self
            .run(move |store| {
                let own = if map { system_name(uid) } else { None };
                let user = match wanted.as_ref().or(own.as_ref()) {
                    Some(name) => store.read(|tx| tok_store::users::now_by_name(tx, name))?,
                    None => None,
                };
                // System names are case-sensitive: the system's `Ann` is not tok's `ann`, however alike tok finds them.
                let user = user.filter(|user| wanted.is_some() || own.as_ref() == Some(&user.name));
                Ok((user.map(Arc::new), own))
            })
            .await?;
        if let Some(user) = &user {
            self.verdicts.remember_peer(key, PeerFacts { user: Arc::clone(user), own: own.clone() }, asked);
        }
        Ok((user, own))
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

    /// A manager's token lets its holder act as another user, with that user's authority and no more.
    async fn acting(&self, caller: Caller, name: UserName) -> Result<Caller, Fault> {
        match decide(&caller, Need::Server, self.now()) {
            Ok(_) => {}
            Err(refusal) if refusal.class() == Class::Unauthenticated => return Err(refusal.into_fault()),
            Err(refusal) => {
                self.note_refusal(&caller, &Need::Server, &refusal);
                return Err(Fault::new(FaultCode::Forbidden, format!("only a manager may act as {name}"))
                    .hint("leave out --as and TOK_USER, or use a manager's token in TOK_TOKEN"));
            }
        }
        let wanted = name.clone();
        let user = self.run(move |store| store.read(|tx| tok_store::users::now_by_name(tx, &wanted))).await?;
        let user = user.ok_or_else(|| nobody_named(&name))?;
        // The trail names both: whose authority it was, and who really acted.
        let source = Source { behind: Some(caller.actor().describe()), ..caller.source };
        let bearer = Bearer::Acting { by: Arc::new(caller.bearer) };
        Ok(Caller { bearer, owner: OwnerNow::User(Arc::new(user)), source })
    }
}

/// What whoever asks about it is told of something that is nobody's: that, or that too many came from there.
fn nobodys(missing: Missing) -> Result<Result<Caller, Nobody>, Fault> {
    match missing {
        Missing::Counted(refusal) if refusal.class() == Class::Throttled => Err(refusal.into_fault()),
        missing => Ok(Err(Nobody { counted: matches!(missing, Missing::Counted(_)) })),
    }
}

fn nobody_named(name: &UserName) -> Fault {
    Fault::new(FaultCode::NotFound, format!("no user is named {name}"))
        .hint(format!("`tok user list` shows them; `tok user create {name}` makes one"))
}

/// The login name of a user ID, if it can be a tok user's.
fn system_name(uid: u32) -> Option<UserName> {
    nix::unistd::User::from_uid(uid.into()).ok().flatten()?.name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_in(header: &str) -> Option<bool> {
        match read_authorization(Some(header.as_bytes())) {
            Presented::Nothing => None,
            Presented::NotOurs | Presented::Other(_) => Some(false),
            Presented::Token(_) => Some(true),
        }
    }

    #[test]
    fn every_presentation_of_a_token_is_read() {
        let text = Plaintext::mint(TokenKind::Personal, &mut super::super::rng());
        let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
        let token = text.reveal();
        for header in [
            format!("Bearer {token}"),
            format!("bearer {token}"),
            basic(format!("anyone:{token}")),
            basic(format!(":{token}")),
            basic(format!("{token}:")),
            basic(format!("{token}:x-oauth-basic")),
        ] {
            assert_eq!(token_in(&header), Some(true));
        }
        // libcurl first tries the URL's user name with an empty password: that is nobody, not a wrong password.
        assert_eq!(token_in(&basic("alice:".into())), None);
        for wrong in
            ["Bearer", "Bearer x", "Digest abc", "Basic !!!", &basic("nocolon".into()), &basic("a:b".into()), ""]
        {
            assert_eq!(token_in(wrong), Some(false), "{wrong}");
        }
    }
}
