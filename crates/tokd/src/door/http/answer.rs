//! Short answers in plain text, which git prints to the person who typed the command (`remote: …`).

use axum::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use tok_model::challenge::{ChallengeError, TokChallenge};
use tok_model::decide::{Class, Refusal, Rule};
use tok_model::name::RepoPath;
use tok_model::scope::RepoRight;
use tok_store::StoreError;

use crate::fault::BUSY_SECONDS;

/// One or more lines of plain text, never stored by anybody on the way.
pub fn text(status: StatusCode, words: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{words}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// "Cannot know now": 503, never 401, on which git would erase a good credential.
pub fn unavailable() -> Response<Body> {
    not_now("tokd cannot reach its database now; try again in a moment")
}

/// The same with what is in the way, as far as a stranger may know it.
pub fn cannot_know(error: &StoreError) -> Response<Body> {
    match error {
        StoreError::Busy { .. } => not_now(&format!("{error}; try again in some seconds")),
        _ => unavailable(),
    }
}

fn not_now(words: &str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, words);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(BUSY_SECONDS));
    response
}

/// What does not exist and what one may not see: one answer, to the byte.
pub fn hidden() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "repository not found, or you may not see it")
}

/// A refusal, put as its class says.
pub fn refused(refusal: &Refusal, repo: &RepoPath, right: RepoRight) -> Response<Body> {
    match refusal.class() {
        Class::Hidden => hidden(),
        Class::Forbidden => text(StatusCode::FORBIDDEN, &sentence(refusal)),
        Class::Unauthenticated => {
            let error = (refusal.rule != Rule::NoCredential).then_some(ChallengeError::InvalidToken);
            challenge(refusal, repo, right, error)
        }
        Class::Throttled => throttled(refusal),
        Class::StepUp => challenge(refusal, repo, right, Some(ChallengeError::InsufficientScope)),
    }
}

/// Too many failures from there: 429, on which git keeps what it presented.
pub fn throttled(refusal: &Refusal) -> Response<Body> {
    let mut response = text(StatusCode::TOO_MANY_REQUESTS, &sentence(refusal));
    if let Rule::Throttled(seconds) = refusal.rule {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// 401 with everything in ONE header line: nginx before 1.23 passes on only the first of an `auth_request`'s.
fn challenge(refusal: &Refusal, repo: &RepoPath, right: RepoRight, error: Option<ChallengeError>) -> Response<Body> {
    let challenge = TokChallenge { right: Some(right), resource: Some(repo.clone()), error, description: None };
    let mut response = text(StatusCode::UNAUTHORIZED, &sentence(refusal));
    if let Ok(value) = HeaderValue::try_from(challenge.to_string()) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

/// The rule, and what to do about it.
pub fn sentence(refusal: &Refusal) -> String {
    match refusal.hint() {
        Some(hint) => format!("{refusal}\n{hint}"),
        None => refusal.to_string(),
    }
}
