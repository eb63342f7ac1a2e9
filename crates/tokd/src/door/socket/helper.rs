//! git's credential lines over the local socket: what `git-credential-tok` relays.
//!
//! Which hosts are ours is decided here and nowhere else, and for whom a token is minted. What git's retries mean is
//! [`Wish`]'s. Anything malformed gets an empty answer, upon which git goes on to its next helper.

use std::sync::Arc;

use secrecy::SecretString;
use tok_api::fault::{Fault, FaultCode};
use tok_api::local::helper::{patience, printed};
use tok_api::local::listener::{LocalStream, PeerCredentials};
use tok_model::credential::{Answer, Given, Operation, RelayRequest, Wish, refused};
use tok_model::name::UserName;

use crate::metrics::{Door, Outcome};
use crate::service::{GitWish, Service, username};

/// Answers one helper.
pub async fn serve(service: Arc<Service>, stream: LocalStream, peer: PeerCredentials) {
    let answering = |request| async move { printed(&answer(&service, &request, peer).await) };
    tok_api::local::helper::serve(stream, peer, answering).await;
}

async fn answer(service: &Service, request: &RelayRequest, peer: PeerCredentials) -> Answer {
    let credential = request.credential();
    let ours = credential.origin().is_ok_and(|origin| origin.acceptable() && service.place().origins.contains(&origin));
    if !ours {
        return Answer::empty();
    }
    let (answer, outcome) = match request.operation() {
        Operation::Get => get(service, request, peer).await,
        Operation::Erase => {
            if let Some(text) = refused(credential) {
                service.drop_git_token(&text);
            }
            (Answer::empty(), Outcome::Done)
        }
        // What we answered needs no keeping, and what others answered is none of our business.
        Operation::Store => (Answer::empty(), Outcome::Done),
    };
    service.requests().count(Door::Helper, request.operation().as_str(), outcome);
    answer
}

async fn get(service: &Service, request: &RelayRequest, peer: PeerCredentials) -> (Answer, Outcome) {
    let wish = match Wish::of(request, &service.place().public_url) {
        Ok(wish) => wish,
        // What git asked for is no repository, or it was refused twice already.
        Err(answer) => return (answer, Outcome::Invalid),
    };
    let minting = mint(service, request, peer, &wish);
    let minted = tokio::time::timeout(patience(request), minting).await.unwrap_or_else(|_| {
        Err(Fault::new(FaultCode::Unavailable, "tokd's database does not answer in time").hint("try again in a moment"))
    });
    match minted {
        Ok(answer) => (answer, Outcome::Done),
        // "Cannot know now" is not "no".
        Err(fault) if matches!(fault.code, FaultCode::Unavailable | FaultCode::Busy | FaultCode::Internal) => {
            (fault.to_answer(), Outcome::Unavailable)
        }
        Err(fault) => {
            tracing::info!(peer.uid, repo = %wish.repo, "No git token for {}: {}", wish.repo, fault.message);
            (fault.to_answer(), Outcome::Forbidden)
        }
    }
}

async fn mint(service: &Service, request: &RelayRequest, peer: PeerCredentials, wish: &Wish) -> Result<Answer, Fault> {
    let acting_as = acting_as(request)?;
    let caller = service.caller_by_peer(peer.uid, acting_as, request.agent().map(str::to_owned)).await?;
    let wanted = GitWish { permission: wish.permission, repo: wish.repo.clone(), failed: wish.failed() };
    let token = service.git_token(&caller, &wanted).await?;
    let username = username(&caller);
    let text = SecretString::from(token.text.reveal());
    let given = Given { username: &username, text, id: token.id, expires_at: token.expires_at };
    wish.answer(request.credential(), given).map_err(|why| Fault::new(FaultCode::InvalidArgument, why))
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
