//! What git's helper is answered: a token of one of our logins, or what another server's credential was.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use tok_api::fault::{Fault, FaultCode};
use tok_api::local::helper::{Bytes, patience, printed};
use tok_api::moment::Moment;
use tok_model::credential::{Answer, Given, Operation, RelayRequest, Wish};
use tok_model::name::UserName;
use tok_model::url::Origin;

use super::keeper::Keeper;
use super::session::Session;
use crate::logins::{Choice, Login, Logins, Profile};

/// As long as `git credential-cache` keeps a credential when nobody says otherwise, in seconds.
const DEFAULT_TIMEOUT: u32 = 900;

/// Answers one request.
pub(super) async fn answer(keeper: &Keeper, request: &RelayRequest) -> Bytes {
    keeper.touch();
    let credential = request.credential();
    let Some(origin) = credential.origin().ok().filter(Origin::acceptable) else { return other(keeper, request) };
    match keeper.book.logins() {
        Ok(logins) if logins.on(&origin).next().is_some() => printed(&ours(keeper, request, &origin, &logins).await),
        Ok(_) => other(keeper, request),
        Err(trouble) if request.operation() == Operation::Get => {
            printed(&Answer::empty().with_message(&format!("{}; {}", trouble.message, trouble.hint)))
        }
        Err(_) => Bytes::default(),
    }
}

/// One of the servers that somebody is logged in at.
async fn ours(keeper: &Keeper, request: &RelayRequest, origin: &Origin, logins: &Logins) -> Answer {
    match request.operation() {
        Operation::Get if keeper.is_locked() => {
            Answer::refuse("the agent is locked, and answers nobody; run: tok agent unlock")
        }
        Operation::Get => {
            let wish = match Wish::of(request, origin) {
                Ok(wish) => wish,
                Err(answer) => return answer,
            };
            let login = match choose(request, &wish, origin, logins) {
                Ok(login) => login,
                Err(fault) => return fault.to_answer(),
            };
            get(&keeper.book.session(login), request, &wish).await
        }
        Operation::Erase => {
            let credential = request.credential();
            if let Some(secret) = credential.credential().or(credential.password()) {
                let dropped = keeper.book.sessions().iter().any(|session| session.drop_text(secret.expose_secret()));
                tracing::debug!(dropped, "Git was refused with a credential");
            }
            Answer::empty()
        }
        // What we answered needs no keeping, and what others answered for our server is none of our business.
        Operation::Store => Answer::empty(),
    }
}

/// With which login. Nobody is answered with another than the one that was named.
fn choose<'a>(request: &RelayRequest, wish: &Wish, origin: &Origin, logins: &'a Logins) -> Result<&'a Login, Fault> {
    let profile =
        request.profile().map(str::parse::<Profile>).transpose().map_err(|why| Fault::field("profile", why))?;
    let acting_as = request.acting_as().map(UserName::as_str);
    let username = acting_as.or(request.credential().username());
    match logins.for_url(origin, username, Some(&wish.repo), profile.as_ref()) {
        Choice::One(login, _) => Ok(login),
        Choice::None(absence) => {
            let (message, hint) = absence.explain(origin);
            Err(Fault::new(FaultCode::NotFound, message).hint(hint))
        }
        Choice::Ambiguous(several) => {
            let (message, hint) = Choice::ambiguous(&several);
            Err(Fault::new(FaultCode::Ambiguous, message).hint(hint))
        }
    }
}

async fn get(session: &Arc<Session>, request: &RelayRequest, wish: &Wish) -> Answer {
    let key = (wish.repo.clone(), wish.permission);
    let late = || {
        let message = format!("{} does not answer in time", session.login().server);
        Fault::new(FaultCode::Unavailable, message).hint("try again in a moment; `tok agent status` shows how it is")
    };
    let token = session.token(key, wish.failed());
    let asked = tokio::time::timeout(patience(request), token).await.unwrap_or_else(|_| Err(late()));
    let answered = asked.and_then(|kept| {
        let ends = kept.ends_here(Moment::now(), crate::context::now());
        let given = Given { username: &kept.username, text: kept.text(), id: kept.id, expires_at: ends };
        wish.answer(request.credential(), given).map_err(|why| Fault::new(FaultCode::Internal, why))
    });
    answered.unwrap_or_else(|fault| {
        tracing::info!(server = %session.login().server, repo = %wish.repo, code = %fault.code, "No git token");
        fault.to_answer()
    })
}

/// Any other server: what was stored for it, if that is kept here.
fn other(keeper: &Keeper, request: &RelayRequest) -> Bytes {
    let Some(mut memory) = keeper.memory() else { return Bytes::default() };
    let (credential, now) = (request.credential(), Moment::now().seconds());
    match request.operation() {
        Operation::Get => return memory.get(credential, now),
        Operation::Store if credential.answered_by_tok() => {}
        Operation::Store => memory.store(credential, request.timeout_seconds().unwrap_or(DEFAULT_TIMEOUT), now),
        Operation::Erase => memory.erase(credential, now),
    }
    Bytes::default()
}
