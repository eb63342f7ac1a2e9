//! The verdict door, `/authz/git`: a proxy in front of another git server asks it about each request it forwards.
//!
//! It reads the original method and URI from the headers that nginx, Caddy and Traefik set, works out repository and
//! right, and answers 204 with who it is, or 401 or 403. A 204 always carries every header that this door can ever
//! set, so that a proxy which copies them leaves none of the client's own in place.

use std::net::SocketAddr;

use axum::body::Body;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};
use tok_model::decide::{Class, Refusal};
use tok_model::scope::RepoRight;
use tok_model::url::{GitPath, LfsTail, Tail};

use crate::door::http::answer;
use crate::door::http::source::Proxies;
use crate::fault::chain;
use crate::service::{Service, effective_scopes, read_authorization};

/// Its path on the remote address.
pub const PATH: &str = "/authz/git";

const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
const TOKEN_ID: HeaderName = HeaderName::from_static("x-tok-token-id");
const SCOPES: HeaderName = HeaderName::from_static("x-tok-scopes");
const ERROR: HeaderName = HeaderName::from_static("x-tok-error");

/// Answers a proxy's question.
pub async fn answer(service: &Service, proxies: &Proxies, headers: &HeaderMap, peer: SocketAddr) -> Response<Body> {
    let Some((path, right, command)) = asked(headers) else {
        return error(
            answer::text(StatusCode::FORBIDDEN, "this is no address of a git repository"),
            "not_a_repository",
        );
    };
    let presented = read_authorization(headers.get(AUTHORIZATION).map(HeaderValue::as_bytes));
    let source = proxies.source(headers, peer);
    match service.git_verdict(presented, source, path.repo(), right, command).await {
        Ok(Ok((_, caller))) => allowed(&caller),
        Ok(Err(refusal)) => denied(&refusal, &path, right),
        Err(cause) => {
            tracing::warn!(error = %chain(&cause), "A proxy's request could not be judged");
            error(answer::unavailable(), "unavailable")
        }
    }
}

fn allowed(caller: &tok_model::decide::Caller) -> Response<Body> {
    let (user, id, scopes) = caller.token().map_or_else(Default::default, |token| {
        let scopes: Vec<&str> = effective_scopes(token).iter().map(|scope| scope.as_str()).collect();
        (token.owner_name.clone(), token.id.to_string(), scopes.join(" "))
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [(REMOTE_USER, user), (TOKEN_ID, id), (SCOPES, scopes)] {
        // Names, UUIDs and scopes are ASCII; were one not, an empty value is the safe one.
        let value = HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(""));
        response.headers_mut().insert(name, value);
    }
    response
}

fn denied(refusal: &Refusal, path: &GitPath, right: RepoRight) -> Response<Body> {
    match refusal.class() {
        Class::Unauthenticated => error(answer::refused(refusal, path.repo(), right), "invalid_token"),
        Class::StepUp | Class::Forbidden => error(answer::refused(refusal, path.repo(), right), "insufficient_scope"),
        // nginx makes a 500 of any answer but 2xx, 401 and 403, so hiding is left to a text that says nothing.
        Class::Hidden => {
            let mut response = answer::hidden();
            *response.status_mut() = StatusCode::FORBIDDEN;
            error(response, "not_found")
        }
    }
}

fn error(mut response: Response<Body>, code: &'static str) -> Response<Body> {
    response.headers_mut().insert(ERROR, HeaderValue::from_static(code));
    response
}

/// The repository and the right that the original request needs.
fn asked(headers: &HeaderMap) -> Option<(GitPath, RepoRight, &'static str)> {
    let one = |names: [&str; 2]| names.iter().find_map(|name| headers.get(*name)).map(HeaderValue::to_str);
    let uri = one(["x-original-uri", "x-forwarded-uri"])?.ok()?;
    let method = match one(["x-original-method", "x-forwarded-method"]) {
        Some(method) => Method::from_bytes(method.ok()?.as_bytes()).ok()?,
        None => Method::GET,
    };
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
    let path = GitPath::parse(path).ok()?;
    let (right, command) = needed(path.tail(), &method, query)?;
    Some((path, right, command))
}

fn needed(tail: &Tail, method: &Method, query: Option<&str>) -> Option<(RepoRight, &'static str)> {
    let read = *method == Method::GET || *method == Method::HEAD;
    match tail {
        Tail::InfoRefs => {
            let mut services = query.unwrap_or("").split('&').filter_map(|pair| pair.strip_prefix("service="));
            match (services.next(), services.next()) {
                (Some("git-receive-pack"), None) => Some((RepoRight::Write, "receive-pack --advertise")),
                (Some("git-upload-pack") | None, None) => Some((RepoRight::Read, "upload-pack --advertise")),
                _ => None,
            }
        }
        Tail::UploadPack => Some((RepoRight::Read, "upload-pack")),
        Tail::UploadArchive => Some((RepoRight::Read, "upload-archive")),
        Tail::ReceivePack => Some((RepoRight::Write, "receive-pack")),
        // Only the body says whether a batch is for upload; the LFS server learns the token's scopes and sees to it.
        Tail::Lfs(LfsTail::Batch) => Some((RepoRight::Read, "lfs batch")),
        Tail::Lfs(_) if read => Some((RepoRight::Read, "lfs")),
        Tail::Lfs(_) => Some((RepoRight::Write, "lfs")),
        Tail::Head | Tail::Other(_) if read => Some((RepoRight::Read, "files")),
        Tail::Root | Tail::Head | Tail::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(method: &str, uri: &str) -> Option<RepoRight> {
        let mut headers = HeaderMap::new();
        headers.insert("x-original-uri", uri.parse().unwrap());
        headers.insert("x-original-method", method.parse().unwrap());
        asked(&headers).map(|(_, right, _)| right)
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
            ("GET", "/", None),
        ] {
            assert_eq!(right(method, uri), needs, "{method} {uri}");
        }
    }
}
