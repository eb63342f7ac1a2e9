//! Tokens minted just in time for git, and what a presented token may do with a repository.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent, Source};
use tok_model::clock::Timestamp;
use tok_model::credential::LEAST_LEFT;
use tok_model::decide::{Caller, Class, MintRequest, Need, OwnerNow, Permit, Refusal, decide};
use tok_model::grant::Grant;
use tok_model::id::TokenId;
use tok_model::kind::{Permission, TokenKind};
use tok_model::name::RepoPath;
use tok_model::scope::RepoRight;
use tok_model::secret::{Digest, PepperId, Plaintext};
use tok_model::token::{Owner, Token};
use tok_store::tokens::{Mint, NewToken, StoredSecret};
use tok_store::{StoreError, WriteTx};
use tokio::sync::watch;

use super::{Service, rng};
use crate::door::gateway::repositories::Created;
use crate::fault::IntoFault;

/// Entries of the cache beyond which those that ended are swept out.
const SWEEP_ABOVE: usize = 1000;

/// What a helper asks for, after everything about it has been read and checked.
#[derive(Debug, Clone)]
pub struct GitWish {
    /// The repository.
    pub repo: RepoPath,
    /// Read or push.
    pub permission: Permission,
    /// The token that git was refused with a moment ago, if this is its second try.
    pub failed: Option<TokenId>,
}

/// A git token ready to be answered.
#[derive(Clone)]
pub struct GitToken {
    /// Its text.
    pub text: Arc<Plaintext>,
    digest: Digest,
    /// Its ID.
    pub id: TokenId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The user name that git presents a token under: for people, nothing goes by it.
pub fn username(caller: &Caller) -> String {
    caller.user().map_or_else(|| "tok".to_owned(), |user| user.name.to_string())
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    owner: Owner,
    uid: Option<u32>,
    through: Option<TokenId>,
    repo: RepoPath,
    permission: Permission,
}

/// One place for each thing that can be asked for. Its lock is the single flight: whoever comes while one mints waits
/// for that one's token.
type Slot = Arc<tokio::sync::Mutex<Option<(GitToken, u64)>>>;

/// The unexpired git tokens that this daemon minted, by what they are for.
#[derive(Default)]
pub(super) struct MintedTokens {
    slots: Mutex<Slots>,
    /// The sessions that local users' tokens are made through, with the generation they were found in.
    sessions: Mutex<HashMap<Login, (TokenId, u64)>>,
    /// Grows when authority may have been taken from somebody. Who watches is told.
    generation: watch::Sender<u64>,
}

/// A user, and the user ID on this machine that is logged in as them.
type Login = (Owner, u32);

#[derive(Default)]
struct Slots {
    by_key: HashMap<Key, Slot>,
    /// How many were left by the last sweep.
    swept: usize,
}

impl MintedTokens {
    /// Authority may have been taken from somebody, or a token ended: mint anew.
    pub(super) fn forget_all(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Each time when what was minted before is to be minted anew.
    pub(super) fn events(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn session(&self, login: Login) -> Option<TokenId> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&login).filter(|(_, generation)| *generation == self.generation()).map(|(session, _)| *session)
    }

    fn remember_session(&self, login: Login, session: TokenId, generation: u64) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(login, (session, generation));
    }

    fn slot(&self, key: Key, now: Timestamp) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // Not before there are twice as many as last time: a sweep that finds nothing to sweep must be rare.
        if slots.by_key.len() > SWEEP_ABOVE.max(2 * slots.swept) {
            slots.by_key.retain(|_, slot| {
                slot.try_lock().map_or(true, |held| held.as_ref().is_some_and(|(token, _)| token.expires_at > now))
            });
            slots.swept = slots.by_key.len();
        }
        Arc::clone(slots.by_key.entry(key).or_default())
    }
}

impl Service {
    /// A git token for exactly this repository and right: the unexpired one minted before, or a new one.
    pub async fn git_token(&self, caller: &Caller, wish: &GitWish) -> Result<GitToken, Fault> {
        // Also when a token is kept already: what was allowed a moment ago may not be now.
        let need = Need::Repository { repo: wish.repo.clone(), right: wish.permission.right() };
        self.permit(caller, need)?;
        let owner = self.git_owner(caller)?;
        let key = Key {
            owner,
            uid: caller.source.uid,
            through: caller.token().map(|token| token.id),
            repo: wish.repo.clone(),
            permission: wish.permission,
        };
        let slot = self.minted.slot(key, self.now());
        let mut held = slot.lock().await;
        let generation = self.minted.generation();
        let now = self.now();
        if let Some((token, minted_in)) = &*held
            && *minted_in == generation
            && token.expires_at - now >= LEAST_LEFT
            && wish.failed != Some(token.id)
        {
            return Ok(token.clone());
        }
        *held = None;
        let token = self.mint_git(caller, owner, wish, now).await?;
        *held = Some((token.clone(), generation));
        Ok(token)
    }

    /// Whom a git token of this caller's acts for.
    fn git_owner(&self, caller: &Caller) -> Result<Owner, Fault> {
        caller.owner_id().ok_or_else(|| match &caller.owner {
            OwnerNow::Nobody => {
                // Whoever administers by the kernel's word expects their git to reach as far.
                let create = if caller.administers_by_kernel() {
                    "tok user create \"$(id -un)\" --manager"
                } else {
                    "tok user create <name>"
                };
                let url = self.place.public_url.to_string().replacen("://", "://<user>@", 1);
                Fault::new(FaultCode::NotFound, "tok has no user for you, and a git token acts for a user")
                    .hint(format!("name one in the URL ({url}/…) or in TOK_USER, or make one: {create}"))
            }
            _ => Fault::new(FaultCode::Forbidden, "this credential cannot mint git tokens"),
        })
    }

    /// Drops a kept token that git says was refused. Revokes nothing: a 401 has other causes, too.
    pub fn drop_git_token(&self, text: &Plaintext) {
        let digest = text.digest(self.peppers.current());
        self.drop_kept(|_| true, |token| token.digest == digest);
    }

    /// Drops what is kept of these keys, if it is this token.
    fn drop_kept(&self, of: impl Fn(&Key) -> bool, which: impl Fn(&GitToken) -> bool) {
        let slots = self.minted.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, slot) in slots.by_key.iter().filter(|(key, _)| of(key)) {
            if let Ok(mut held) = slot.try_lock()
                && held.as_ref().is_some_and(|(token, _)| which(token))
            {
                *held = None;
            }
        }
    }

    async fn mint_git(&self, caller: &Caller, owner: Owner, wish: &GitWish, now: Timestamp) -> Result<GitToken, Fault> {
        if let Some(token) = caller.token() {
            let parent = || Parent::Token(token.id);
            let minted = match self.mint_through(parent(), caller, owner, wish, now).await {
                // It was changed meanwhile, perhaps by another daemon: decided anew, on what it is now.
                Err(fault) if fault.code == FaultCode::Conflict => {
                    let caller = self.as_of_now(caller).await?;
                    self.mint_through(parent(), &caller, owner, wish, now).await
                }
                minted => minted,
            };
            return minted.map(|(token, _)| token);
        }
        let login = (owner, caller.source.uid.unwrap_or(u32::MAX));
        if let Some(session) = self.minted.session(login) {
            match self.mint_through(Parent::Token(session), caller, owner, wish, now).await {
                // Another daemon has ended the session: the next one is found or opened below.
                Err(fault) if fault.code == FaultCode::Conflict => {}
                done => return done.map(|(token, _)| token),
            }
        }
        let generation = self.minted.generation();
        let login_to_open = self.local_login(caller, owner, login.1)?;
        let (token, session) = self.mint_through(login_to_open, caller, owner, wish, now).await?;
        self.minted.remember_session(login, session, generation);
        Ok(token)
    }

    fn local_login(&self, caller: &Caller, owner: Owner, uid: u32) -> Result<Parent, Fault> {
        let session = MintRequest { owner, grant: Grant::Session, expires_at: None, allow_from: Vec::new() };
        let permit = self.permit(caller, Need::Mint(session))?;
        let (text, pepper) = (Plaintext::mint(TokenKind::Session, &mut rng()), self.peppers.current());
        let name = format!("local login of {}", caller.source.describe());
        let row = NewToken { local_uid: Some(uid), ..row(&text, pepper.id(), text.digest(pepper), name) };
        Ok(Parent::LocalLogin(Box::new(LocalLogin { uid, permit, row })))
    }

    /// Mints, and says through which token.
    async fn mint_through(
        &self,
        parent: Parent,
        caller: &Caller,
        owner: Owner,
        wish: &GitWish,
        now: Timestamp,
    ) -> Result<(GitToken, TokenId), Fault> {
        let parents_end = caller.token().and_then(Token::ends_at);
        let expires_at = (now + self.policy.git_lifetime.delta()).min(parents_end.unwrap_or(Timestamp::MAX_UTC));
        if expires_at - now < LEAST_LEFT {
            // A login is made anew, any other token by whoever made it.
            let (what, again) = match caller.token().map(|token| token.grant.kind()) {
                Some(TokenKind::Session) => ("session", format!("log in again: tok login {}", self.place.public_url)),
                _ => ("token", "make another: tok token create <name>".to_owned()),
            };
            let why = format!("your {what} ends within a minute, too soon to mint from");
            return Err(Fault::new(FaultCode::Forbidden, why).hint(again));
        }
        let grant = Grant::Git { repo: wish.repo.clone(), permission: wish.permission };
        let allow_from = caller.token().map(|token| token.allow_from.clone()).unwrap_or_default();
        let request = MintRequest { owner, grant, expires_at: Some(expires_at), allow_from };
        let permit = self.permit(caller, Need::Mint(request))?;
        let text = Arc::new(Plaintext::mint(TokenKind::Git, &mut rng()));
        let pepper = self.peppers.current();
        let digest = text.digest(pepper);
        let row = row(&text, pepper.id(), digest, format!("git {} {}", wish.permission, wish.repo));
        let repo = wish.repo.clone();
        let made = match parent {
            Parent::Token(parent) => {
                let made = made(&row, parent);
                let event = minted(&permit, &row, parent, &repo);
                let version = super::tokens::made_through(caller).map(|token| token.version);
                let new = NewToken { parent: Some(parent), parent_version: version, ..row };
                self.mint(Mint { permit, new, event }).await?;
                made
            }
            Parent::LocalLogin(login) => self.run(move |store| mint_under(store, &permit, login, row, &repo)).await?,
        };
        let shown = &made.shown_prefix;
        tracing::info!(token.id = %made.id, user = %caller.remote_user(), repo = %wish.repo, right = %wish.permission, "Minted {shown}… to {} {}", wish.permission, wish.repo);
        Ok((GitToken { text, digest, id: made.id, expires_at }, made.parent))
    }

    /// May the holder of this do that with a repository? A "no" is recorded; what a "yes" comes to is for
    /// [`note_git`](Self::note_git) to record. `Err` is "cannot know now".
    pub async fn git_verdict(
        &self,
        presented: super::Presented,
        source: Source,
        repo: &RepoPath,
        right: RepoRight,
        command: &'static str,
    ) -> Result<Result<(Permit, Caller), Refusal>, StoreError> {
        let caller = match self.caller_at_once(presented, source) {
            Ok(said) => said,
            Err(unknown) => self.look_up_caller(unknown, Some((repo, right))).await?,
        };
        Ok(caller.and_then(|caller| self.decide_git(caller, repo, right, command)))
    }

    /// The same for somebody who is known, where a "yes" is all that there is to it: it is recorded as a use.
    pub fn judge_git(
        &self,
        caller: Caller,
        repo: &RepoPath,
        right: RepoRight,
        command: &'static str,
    ) -> Result<(Permit, Caller), Refusal> {
        let allowed = self.decide_git(caller, repo, right, command)?;
        self.note_git(&allowed.0, repo, command, None);
        Ok(allowed)
    }

    /// Records what came of a "yes": a use, or, if it was `refused` after all, why.
    pub fn note_git(&self, permit: &Permit, repo: &RepoPath, command: &'static str, refused: Option<&str>) {
        self.uses.note(permit.actor(), repo, command, refused, permit.at());
    }

    fn decide_git(
        &self,
        caller: Caller,
        repo: &RepoPath,
        right: RepoRight,
        command: &'static str,
    ) -> Result<(Permit, Caller), Refusal> {
        let now = self.now();
        let verdict = decide(&caller, Need::Repository { repo: repo.clone(), right }, now);
        if let Err(refusal) = &verdict {
            self.uses.note(&caller.actor(), repo, command, Some(&refusal.to_string()), now);
            // Not everybody who asks helpers says when what they got was refused: libgit2's callers do not.
            if refusal.class() == Class::Unauthenticated
                && let Some(dead) = caller.token().filter(|token| token.kind() == TokenKind::Git)
            {
                self.drop_kept(|key| key.repo == *repo && key.owner == dead.owner, |token| token.id == dead.id);
            }
        }
        verdict.map(|permit| (permit, caller))
    }

    /// Makes a repository for its first push, if this server does that, and writes it down. `false`: it does not exist.
    pub async fn ensure_repository(&self, permit: &Permit) -> Result<bool, Fault> {
        let Need::Repository { repo, right } = permit.need() else { return Ok(false) };
        let Some(repositories) = &self.place.repositories else { return Ok(false) };
        if repositories.exists(repo).await.map_err(IntoFault::into_fault)? {
            return Ok(true);
        }
        if *right < RepoRight::Write || !self.place.create_on_push {
            return Ok(false);
        }
        let name = repo.workspace.clone();
        if self.run(move |store| store.read(|tx| tok_store::workspaces::by_name(tx, &name))).await?.is_none() {
            return Ok(false);
        }
        if repositories.create(repo).await.map_err(IntoFault::into_fault)? == Created::New {
            let event = AuditEvent::done(Action::RepoCreate, permit.actor().clone()).repo(repo.clone());
            let at = permit.at();
            self.run(move |store| store.write(|tx: WriteTx<'_>| tx.commit(event, at))).await?;
            tracing::info!(%repo, "Made the repository {repo} for its first push");
        }
        Ok(true)
    }
}

/// What the git token is made through.
enum Parent {
    Token(TokenId),
    /// The session that stands for the local user's login; made if there is none.
    LocalLogin(Box<LocalLogin>),
}

/// The session that stands for a local user's login, if it has to be made.
struct LocalLogin {
    uid: u32,
    permit: Permit,
    row: NewToken,
}

pub(super) fn row(text: &Plaintext, pepper: PepperId, digest: Digest, name: String) -> NewToken {
    NewToken {
        id: TokenId::random(&mut rng()),
        secret: StoredSecret::Digest { digest, pepper },
        imported_from: None,
        shown_prefix: text.shown_prefix(),
        name,
        description: String::new(),
        labels: Vec::new(),
        max_uses: None,
        parent: None,
        parent_version: None,
        local_uid: None,
    }
}

/// A token that was minted.
struct Made {
    id: TokenId,
    shown_prefix: String,
    parent: TokenId,
}

fn made(new: &NewToken, parent: TokenId) -> Made {
    Made { id: new.id, shown_prefix: new.shown_prefix.clone(), parent }
}

/// Token, if need be the login it is made through, and their trail: together, or not at all.
fn mint_under(
    store: &tok_store::Store,
    permit: &Permit,
    login: Box<LocalLogin>,
    mut new: NewToken,
    repo: &RepoPath,
) -> Result<Made, StoreError> {
    let LocalLogin { uid, permit: login_permit, row: login } = *login;
    let Need::Mint(request) = permit.need() else { return Err(StoreError::Permit("minting")) };
    let owner = request.owner;
    store.write(|mut tx| {
        let (parent, opened) = match tok_store::tokens::local_session(&mut tx, owner, uid)? {
            Some(session) => (session.id, None),
            None => {
                let session = tok_store::tokens::create(&mut tx, &login_permit, login)?;
                let event = AuditEvent::done(Action::SessionOpen, login_permit.actor().clone())
                    .token(session.id, &session.shown_prefix)
                    .detail(session.name);
                (session.id, Some(event))
            }
        };
        let done = made(&new, parent);
        let event = minted(permit, &new, parent, repo);
        new.parent = Some(parent);
        tok_store::tokens::create(&mut tx, permit, new)?;
        let events = match opened {
            Some(opened) => tok_model::audit::AuditEvents::new(opened, [event]),
            None => event.into(),
        };
        tx.commit(events, permit.at())?;
        Ok(done)
    })
}

/// What the trail says of a mint.
fn minted(permit: &Permit, new: &NewToken, parent: TokenId, repo: &RepoPath) -> AuditEvent {
    let mut actor = permit.actor().clone();
    actor.parent = Some(parent);
    let end = match permit.need() {
        Need::Mint(request) => request.expires_at,
        _ => None,
    };
    let end = end.map(|end| end.format("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
    AuditEvent::done(Action::TokenMint, actor)
        .token(new.id, &new.shown_prefix)
        .repo(repo.clone())
        .detail(format!("{} until {end}", new.name))
}
