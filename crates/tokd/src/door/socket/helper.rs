//! git's credential lines over the local socket: what `git-credential-tok` relays.
//!
//! What git reads is decided here and nowhere else: which hosts are ours, which repository and right are meant, and
//! that a second try gets a new token instead of an error. Anything malformed gets an empty answer, upon which git
//! goes on to its next helper.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tok_api::fault::{Fault, FaultCode};
use tok_model::credential::{Answer, CredentialRequest, Hint, LARGEST_REQUEST, Operation, RelayRequest};
use tok_model::id::TokenId;
use tok_model::kind::Permission;
use tok_model::name::{RepoPath, UserName};
use tok_model::scope::RepoRight;
use tok_model::secret::Plaintext;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::listener::{LocalStream, PeerCredentials};
use crate::service::{GitWish, Service};

/// How long the rest of a request may take to arrive, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a token may take: the helper gives up after 2 s, and by then must have been told why.
const MINTING: Duration = Duration::from_millis(1700);
/// Git asks a second time after our `continue=1` and no more than that.
const LAST_ROUND: u32 = 2;

/// Answers one helper.
pub async fn serve(service: Arc<Service>, mut stream: LocalStream, peer: PeerCredentials) {
    let Ok(Some(request)) = tokio::time::timeout(PATIENCE, read(&mut stream)).await else { return };
    let answer = match RelayRequest::parse(&request) {
        Ok(request) => answer(&service, &request, peer).await,
        Err(why) => {
            tracing::debug!(peer.uid, %why, "A helper's request was malformed and got no answer");
            Answer::empty()
        }
    };
    // One write, then the end: the helper prints all of it or nothing.
    let bytes = if answer.is_empty() { Vec::new() } else { answer.to_bytes().to_vec() };
    let bytes = Zeroizing::new(bytes);
    let writing = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(PATIENCE, writing).await;
}

async fn read(stream: &mut LocalStream) -> Option<BytesMut> {
    let mut bytes = BytesMut::with_capacity(1024);
    loop {
        if let Some(length) = RelayRequest::length(&bytes) {
            bytes.truncate(length);
            return Some(bytes);
        }
        if bytes.len() > LARGEST_REQUEST || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer(service: &Service, request: &RelayRequest, peer: PeerCredentials) -> Answer {
    let credential = request.credential();
    let ours = credential.origin().is_ok_and(|origin| origin.acceptable() && service.place().origins.contains(&origin));
    if !ours {
        return Answer::empty();
    }
    match request.operation() {
        Operation::Get => get(service, request, peer).await,
        Operation::Erase => {
            let refused = credential.credential().or(credential.password());
            if let Some(Ok(text)) = refused.map(|secret| Plaintext::parse(secret.expose_secret())) {
                service.drop_git_token(&text);
            }
            Answer::empty()
        }
        // What we answered needs no keeping, and what others answered is none of our business.
        Operation::Store => Answer::empty(),
    }
}

/// How far git's retries have come, as our own `state[]` says. It is only ever a counter and a hint of which token
/// failed, so a forged one harms nobody.
struct Round {
    number: u32,
    failed: Option<TokenId>,
}

impl Round {
    fn of(credential: &CredentialRequest) -> Self {
        let state = credential.own_state().last().unwrap_or_default();
        let (number, id) = state.split_once('.').unwrap_or((state, ""));
        Self { number: number.parse().unwrap_or(0), failed: id.parse().ok() }
    }
}

async fn get(service: &Service, request: &RelayRequest, peer: PeerCredentials) -> Answer {
    let credential = request.credential();
    let repo = match credential.git_path() {
        Some(Ok(path)) => path.repo().clone(),
        Some(Err(why)) => return Answer::empty().with_message(&format!("no token for this path: {why}")),
        None => {
            let url = &service.place().public_url;
            return Answer::empty().with_message(&format!(
                "git did not say which repository it wants, and tokens are for one repository each; run: tok git setup {url}"
            ));
        }
    };
    let round = Round::of(credential);
    if round.number >= LAST_ROUND {
        return Answer::refuse(&format!(
            "the server refused two tokens for {repo}; `tok audit --repo {repo}` shows why"
        ));
    }
    let wish = GitWish { permission: permission(request, &repo), repo, failed: round.failed };
    let minting = tokio::time::timeout(MINTING, mint(service, request, peer, &wish));
    let minted = minting.await.unwrap_or_else(|_| {
        Err(Fault::new(FaultCode::Unavailable, "tokd's database does not answer in time").hint("try again in a moment"))
    });
    match minted {
        Ok(answer) => answer(round.number + 1),
        // "Cannot know now" is not "no": say so, and leave git to try its other helpers.
        Err(fault) if matches!(fault.code, FaultCode::Unavailable | FaultCode::Internal) => {
            Answer::empty().with_message(&sentence(&fault))
        }
        Err(fault) => {
            tracing::info!(peer.uid, repo = %wish.repo, "No git token for {}: {}", wish.repo, fault.message);
            Answer::refuse(&sentence(&fault))
        }
    }
}

async fn mint(
    service: &Service,
    request: &RelayRequest,
    peer: PeerCredentials,
    wish: &GitWish,
) -> Result<impl FnOnce(u32) -> Answer, Fault> {
    let credential = request.credential();
    let acting_as = acting_as(request)?;
    let caller = service.caller_by_peer(peer.uid, acting_as, request.agent().map(str::to_owned)).await?;
    let token = service.git_token(&caller, wish).await?;
    let username = token.username(&caller);
    let retries = credential.capabilities().state;
    let answer = Answer::token(credential, &username, SecretString::from(token.text.reveal()))
        .map_err(|why| Fault::new(FaultCode::InvalidArgument, why))?
        .until(token.expires_at);
    Ok(move |round: u32| {
        if !retries {
            return answer;
        }
        let state = format!("{round}.{}", token.id);
        match answer.with_state(&state) {
            // Only the first answer asks git to come back: a second refusal is final.
            Ok(answer) if round < LAST_ROUND => answer.ask_again(),
            Ok(answer) => answer,
            Err(why) => Answer::empty().with_message(&why.to_string()),
        }
    })
}

/// For whom to mint: `TOK_USER`, else the URL's user name. Only managers may name somebody else; the service sees to it.
fn acting_as(request: &RelayRequest) -> Result<Option<UserName>, Fault> {
    if let Some(user) = request.acting_as() {
        return Ok(Some(user.clone()));
    }
    match request.credential().username().filter(|name| !name.is_empty()) {
        None => Ok(None),
        Some(name) => name.parse().map(Some).map_err(|why| {
            Fault::new(FaultCode::InvalidArgument, format!("the user name in the URL is none of tok's: {why}"))
                .hint("leave it out of the URL, or write a tok user's name")
        }),
    }
}

/// Read or push: what the server's challenge asked for, else what the helper saw git doing, else read. It only ever
/// chooses among what the caller may do.
fn permission(request: &RelayRequest, repo: &RepoPath) -> Permission {
    let about_this = |resource: &Option<RepoPath>| resource.as_ref().is_none_or(|named| named == repo);
    match request.credential().challenge() {
        Some(challenge) if about_this(&challenge.resource) && challenge.right == Some(RepoRight::Write) => {
            Permission::Write
        }
        None if request.hint() == Some(Hint::Push) => Permission::Write,
        Some(_) | None => Permission::Read,
    }
}

fn sentence(fault: &Fault) -> String {
    match &fault.hint {
        Some(hint) => format!("{}; {hint}", fault.message),
        None => fault.message.clone(),
    }
}
