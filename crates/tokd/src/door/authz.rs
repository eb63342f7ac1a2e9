//! The verdict door, `/authz/git`: a proxy in front of another git server asks it about each request it forwards.
//!
//! It reads the original method and URI from the headers that nginx, Caddy and Traefik set, works out repository and
//! right, and answers 204 with who it is, or 401 or 403 with the sentence in `X-Tok-Message`. A 204 always carries every header that this door can ever
//! set, so that a proxy which copies them leaves none of the client's own in place.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use futures_util::future::{Either, Ready, ready};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};
use tok_model::decide::{Caller, Class, Permit, Refusal};
use tok_model::name::RepoPath;
use tok_model::scope::RepoRight;
use tok_model::url::{GitPath, LfsTail, Tail};
use tok_store::StoreError;

use crate::door::http::answer;
use crate::door::http::source::Proxies;
use crate::fault::chain;
use crate::metrics::{Door, OTHER, Outcome};
use crate::service::{Service, authorization, effective_scopes};

/// Its path on the remote address.
pub const PATH: &str = "/authz/git";

const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
const TOKEN_ID: HeaderName = HeaderName::from_static("x-tok-token-id");
const SCOPES: HeaderName = HeaderName::from_static("x-tok-scopes");
const ERROR: HeaderName = HeaderName::from_static("x-tok-error");
/// The sentence of a refusal on one line: most proxies pass on headers of this door's answer, and not its body.
const MESSAGE: HeaderName = HeaderName::from_static("x-tok-message");

/// Where proxies write the URI and the method of the request that they ask about.
static FAMILIES: [(HeaderName, HeaderName); 2] = [
    (HeaderName::from_static("x-original-uri"), HeaderName::from_static("x-original-method")),
    (HeaderName::from_static("x-forwarded-uri"), HeaderName::from_static("x-forwarded-method")),
];

/// What is wanted of which repository, and by which command.
struct Wanted {
    path: GitPath,
    right: RepoRight,
    command: &'static str,
}

/// Answers the question in a request's headers: at once if its token was seen a moment ago, as nearly all were, else as
/// soon as the database has answered.
pub fn answer(
    service: &Arc<Service>,
    proxies: &Proxies,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Either<Ready<Response<Body>>, impl Future<Output = Response<Body>> + Send + use<>> {
    let started = Instant::now();
    let Some(wanted) = asked(headers) else {
        service.requests().count(Door::Authz, OTHER, Outcome::Forbidden);
        let words = answer::text(StatusCode::FORBIDDEN, "this is no address of a git repository");
        return Either::Left(ready(error(words, "not_a_repository")));
    };
    match service.caller_at_once(authorization(headers), proxies.source(headers, peer)) {
        Ok(caller) => {
            let response = judged(service, caller, &wanted);
            note(service, &wanted, &response, (started, true));
            Either::Left(ready(response))
        }
        Err(unknown) => {
            let service = Arc::clone(service);
            Either::Right(async move {
                let known = service.look_up_caller(unknown, Some((wanted.path.repo(), wanted.right))).await;
                let response = match known {
                    Ok(caller) => judged(&service, caller, &wanted),
                    Err(cause) => {
                        tracing::warn!(error = %chain(&cause), "A proxy's request could not be judged");
                        let code = if matches!(cause, StoreError::Busy { .. }) { "busy" } else { "unavailable" };
                        error(answer::cannot_know(&cause), code)
                    }
                };
                note(&service, &wanted, &response, (started, false));
                response
            })
        }
    }
}

/// Counts a verdict, and how long it took with the token remembered or looked up.
fn note(service: &Service, wanted: &Wanted, response: &Response<Body>, (started, remembered): (Instant, bool)) {
    let outcome = match response.headers().get(ERROR).map(HeaderValue::as_bytes) {
        Some(b"not_found") => Outcome::NotFound,
        Some(b"rate_limited") => Outcome::Limited,
        _ => Outcome::of_status(response.status()),
    };
    service.requests().count(Door::Authz, wanted.command, outcome);
    service.requests().verdict(started.elapsed(), remembered);
}

fn judged(service: &Service, caller: Result<Caller, Refusal>, wanted: &Wanted) -> Response<Body> {
    let Wanted { path, right, command } = wanted;
    match caller.and_then(|caller| service.judge_git(caller, path.repo(), *right, command)) {
        Ok((permit, caller)) => allowed(&caller, &permit, path.repo()),
        Err(refusal) => denied(&refusal, path, *right),
    }
}

fn allowed(caller: &Caller, permit: &Permit, repo: &RepoPath) -> Response<Body> {
    let mut scopes = String::with_capacity(64);
    for scope in effective_scopes(caller, Some(repo), permit.at()) {
        scopes.push_str(if scopes.is_empty() { "" } else { " " });
        scopes.push_str(scope.as_str());
    }
    let id = caller.token().map(|token| token.id.to_string()).unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let values =
        [HeaderValue::try_from(caller.remote_user()), HeaderValue::try_from(id), HeaderValue::from_str(&scopes)];
    for (name, value) in [REMOTE_USER, TOKEN_ID, SCOPES].into_iter().zip(values) {
        // Names, UUIDs and scopes are ASCII; were one not, an empty value is the safe one.
        response.headers_mut().insert(name, value.unwrap_or(HeaderValue::from_static("")));
    }
    response
}

fn denied(refusal: &Refusal, path: &GitPath, right: RepoRight) -> Response<Body> {
    let mut response = match refusal.class() {
        Class::Unauthenticated => error(answer::refused(refusal, path.repo(), right), "invalid_token"),
        Class::StepUp | Class::Forbidden => error(answer::refused(refusal, path.repo(), right), "insufficient_scope"),
        // nginx makes a 500 of any answer but 2xx, 401 and 403; this one keeps its `Retry-After`.
        Class::Throttled => {
            let mut response = answer::refused(refusal, path.repo(), right);
            *response.status_mut() = StatusCode::FORBIDDEN;
            error(response, "rate_limited")
        }
        // For the same reason, hiding is left to a text that says nothing, here and in the headers.
        Class::Hidden => {
            let mut response = answer::hidden();
            *response.status_mut() = StatusCode::FORBIDDEN;
            return error(response, "not_found");
        }
    };
    if let Ok(message) = HeaderValue::try_from(answer::sentence(refusal).replace('\n', "; ")) {
        response.headers_mut().insert(MESSAGE, message);
    }
    response
}

fn error(mut response: Response<Body>, code: &'static str) -> Response<Body> {
    response.headers_mut().insert(ERROR, HeaderValue::from_static(code));
    response
}

/// The repository and the right that the original request needs. `None` if that is not said, or not said plainly.
///
/// Proxies add these headers to those that the client sent. A client could add its own: so one of the two families, and
/// each header once, or nothing is believed.
fn asked(headers: &HeaderMap) -> Option<Wanted> {
    let given = |(uri, method): &(HeaderName, HeaderName)| headers.contains_key(uri) || headers.contains_key(method);
    let mut used = FAMILIES.iter().filter(|family| given(family));
    let ((uri, method), None) = (used.next()?, used.next()) else { return None };
    let uri = once(headers, uri).ok()??.to_str().ok()?;
    let method = match once(headers, method).ok()? {
        Some(method) => Some(Method::from_bytes(method.as_bytes()).ok()?),
        None => None,
    };
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
    let path = GitPath::parse(path).ok()?;
    let (right, command) = needed(path.tail(), method.as_ref(), query)?;
    Some(Wanted { path, right, command })
}

/// A header's value; an error if it is there more than once.
fn once<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_none() { Ok(first) } else { Err(Repeated) }
}

struct Repeated;

/// Without a method, which a proxy may leave out, only what does not depend on it is judged as reading.
fn needed(tail: &Tail, method: Option<&Method>, query: Option<&str>) -> Option<(RepoRight, &'static str)> {
    let read = method.is_some_and(|method| *method == Method::GET || *method == Method::HEAD);
    let post = method.is_none_or(|method| *method == Method::POST);
    // What git and its LFS never send is some other program's business, and nobody's right.
    let lfs = method.is_none_or(|method| *method == Method::POST || *method == Method::PUT);
    match tail {
        Tail::InfoRefs if !read && method.is_some() => None,
        Tail::InfoRefs => {
            let query = query.unwrap_or("");
            // A key in disguise would be one thing to this door and another to git behind it.
            if query.contains('%') {
                return None;
            }
            let mut services = query.split('&').filter_map(|pair| pair.strip_prefix("service="));
            match (services.next(), services.next()) {
                (Some("git-receive-pack"), None) => Some((RepoRight::Write, "receive-pack --advertise")),
                (Some("git-upload-pack") | None, None) => Some((RepoRight::Read, "upload-pack --advertise")),
                _ => None,
            }
        }
        Tail::UploadPack if post => Some((RepoRight::Read, "upload-pack")),
        Tail::UploadArchive if post => Some((RepoRight::Read, "upload-archive")),
        Tail::ReceivePack if post => Some((RepoRight::Write, "receive-pack")),
        // Only the body says whether a batch is for upload; the LFS server learns what the caller may and sees to it.
        Tail::Lfs(LfsTail::Batch) if post => Some((RepoRight::Read, "lfs batch")),
        Tail::Lfs(_) if read => Some((RepoRight::Read, "lfs")),
        Tail::Lfs(_) if lfs => Some((RepoRight::Write, "lfs")),
        Tail::Head | Tail::Other(_) if read => Some((RepoRight::Read, "files")),
        Tail::Root
        | Tail::Head
        | Tail::Other(_)
        | Tail::Lfs(_)
        | Tail::UploadPack
        | Tail::UploadArchive
        | Tail::ReceivePack => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(method: &str, uri: &str) -> Option<RepoRight> {
        let mut headers = HeaderMap::new();
        headers.insert("x-original-uri", uri.parse().unwrap());
        headers.insert("x-original-method", method.parse().unwrap());
        asked(&headers).map(|wanted| wanted.right)
    }

    #[test]
    fn a_client_that_adds_its_own_headers_gets_no_verdict() {
        let judged = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            asked(&headers).map(|wanted| wanted.right)
        };
        let push = ("x-forwarded-uri", "/acme/app.git/git-receive-pack");
        let fetch = "/acme/own.git/git-upload-pack";
        assert_eq!(judged(&[push]), Some(RepoRight::Write));
        assert_eq!(judged(&[push, ("x-original-uri", fetch)]), None);
        assert_eq!(judged(&[push, ("x-forwarded-uri", fetch)]), None);
        assert_eq!(judged(&[push, ("x-original-method", "GET")]), None);
        let locks = ("x-original-uri", "/acme/app.git/info/lfs/locks");
        assert_eq!(judged(&[locks, ("x-original-method", "POST"), ("x-original-method", "GET")]), None);
        // No method said: the more demanding of the two.
        assert_eq!(judged(&[locks]), Some(RepoRight::Write));
    }

    #[test]
    fn what_git_never_sends_gets_no_verdict() {
        for path in ["info/refs?service=git-upload-pack", "git-upload-pack", "git-upload-archive", "git-receive-pack"] {
            for method in ["PUT", "DELETE", "PATCH", "PROPFIND", "TRACE", "OPTIONS", "MOVE", "get", "X"] {
                assert_eq!(right(method, &format!("/acme/app.git/{path}")), None, "{method} {path}");
            }
        }
        for (method, path) in [
            ("POST", "info/refs?service=git-upload-pack"),
            ("GET", "git-upload-pack"),
            ("GET", "info/lfs/objects/batch"),
        ] {
            let found = right(method, &format!("/acme/app.git/{path}"));
            assert!(found.is_none() || path.ends_with("batch"), "{method} {path}");
        }
    }

    #[test]
    fn each_git_request_needs_its_right() {
        for (method, uri, needs) in [
            ("GET", "/acme/app.git/info/refs?service=git-upload-pack", Some(RepoRight::Read)),
            ("GET", "/acme/app.git/info/refs?service=git-receive-pack", Some(RepoRight::Write)),
            ("POST", "/acme/app.git/git-upload-pack", Some(RepoRight::Read)),
            ("POST", "/acme/app/git-receive-pack", Some(RepoRight::Write)),
            ("POST", "/acme/app.git/info/lfs/objects/batch", Some(RepoRight::Read)),
            ("POST", "/acme/app.git/info/lfs/locks", Some(RepoRight::Write)),
            ("GET", "/acme/app.git/info/lfs/locks", Some(RepoRight::Read)),
            ("GET", "/acme/app.git/HEAD", Some(RepoRight::Read)),
            ("GET", "/acme/app.git/info/refs?service=git-upload-pack&service=git-receive-pack", None),
            ("GET", "/acme/../app.git/HEAD", None),
            ("GET", "/acme/app.git/%2e%2e/x", None),
            ("DELETE", "/acme/app.git/HEAD", None),
            ("HEAD", "/acme/app.git/info/refs?service=git-upload-pack", Some(RepoRight::Read)),
            ("PUT", "/acme/app.git/info/lfs/objects/0123", Some(RepoRight::Write)),
            ("DELETE", "/acme/app.git/info/lfs/objects/0123", None),
            ("GET", "/", None),
            ("GET", "/acme/app.git/info/refs?%73ervice=git-receive-pack", None),
        ] {
            assert_eq!(right(method, uri), needs, "{method} {uri}");
        }
    }
}
