//! What a request says, taken out of it: who calls, and below, the heads, the fields of its body, the parameters of its
//! address.

mod address;
mod body;
mod form;
mod heads;

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use hyper::header::HeaderName;
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use tok_api::convert::parsed;
use tok_api::fault::Fault;
use tok_model::decide::Caller;
use tok_model::name::UserName;

use super::Api;
use super::problem::Problem;
use crate::service::{Presented, authorization};

pub(super) use self::address::{Asked, Segment, Segments};
pub(super) use self::body::{MaybeSaid, Said, SaidAtLength, said};
pub use self::form::{Form, SecretText};
pub(super) use self::heads::check_heads;

/// For whom a manager acts, as `--as` of the command line.
const TOK_AS: HeaderName = HeaderName::from_static("tok-as");

/// Who the connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub SocketAddr);

impl FromRequestParts<Api> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Self>().copied();
        peer.ok_or_else(|| Problem::new("internal", "a request without a peer"))
    }
}

/// Who calls.
pub(super) struct Calling(pub Caller);

impl FromRequestParts<Api> for Calling {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let peer = Peer::from_request_parts(parts, api).await?;
        let operation = operation(parts.method.as_str(), parts.uri.path());
        Self::of(api, &parts.headers, peer, operation, None).await
    }
}

impl Calling {
    /// Who calls this with these headers. `rotating` is the idempotency key of a rotation, if the call is one: whoever repeats
    /// it may present what the first one gave up.
    pub(super) async fn of(
        api: &Api,
        headers: &HeaderMap,
        Peer(peer): Peer,
        operation: String,
        rotating: Option<&str>,
    ) -> Result<Self, Problem> {
        let acting_as = acting_as(headers)?;
        let source = api.proxies.source(headers, peer);
        let mut caller = api.service.caller_remote(headers, acting_as, source, rotating).await?;
        caller.source.operation = Some(operation);
        api.service.note_call(&caller);
        api.service.recognise(&caller)?;
        Ok(Self(caller))
    }

    /// Who calls, or nobody, if that cannot be told from what they presented.
    pub(super) async fn or_nobody(
        api: &Api,
        headers: &HeaderMap,
        peer: Peer,
        operation: &str,
    ) -> Result<Caller, Problem> {
        let nobody = Caller::anonymous(api.proxies.source(headers, peer.0));
        if matches!(authorization(headers), Presented::Nothing) {
            return Ok(nobody);
        }
        match Self::of(api, headers, peer, operation.to_owned(), None).await {
            Ok(Self(caller)) => Ok(caller),
            Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => Ok(nobody),
            Err(problem) => Err(problem),
        }
    }
}

/// What of a path is the name of something, and not a word that somebody put there.
const WORDS: &[&str] = &[
    "v1",
    "oauth2",
    "tokens",
    "users",
    "workspaces",
    "members",
    "repositories",
    "audit",
    "verify",
    "whoami",
    "scopes",
    "server",
    "status",
    "check",
    "explain",
    "rotate",
    "restore",
    "import",
    "disable",
    "enable",
    "password",
    "introspect",
    "revoke",
    "trusts",
];

/// What is called, as the audit trail says it: `DELETE /v1/tokens/{}`. What was put into the path stays out of it, which
/// might be a token by mistake.
fn operation(method: &str, path: &str) -> String {
    let word = |segment| if WORDS.contains(&segment) { segment } else { "{}" };
    let path: Vec<&str> = path.trim_matches('/').split('/').take(8).map(word).collect();
    format!("{method} /{}", path.join("/"))
}

fn acting_as(headers: &HeaderMap) -> Result<Option<UserName>, Problem> {
    let mut given = headers.get_all(TOK_AS).iter();
    let name = match (given.next(), given.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().map_err(|_| Fault::field("Tok-As", "a user's name is ASCII"))?,
        (Some(_), Some(_)) => return Err(Fault::field("Tok-As", "act as one user, not as several").into()),
    };
    Ok(Some(parsed("Tok-As", name)?))
}

/// With the field that it is about, where one is known: the path to it, or the name in serde's own words.
fn named(problem: Problem, path: &str, text: &str) -> Problem {
    let quoted = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|words| text.strip_prefix(words)?.split_once('`').map(|(name, _)| name));
    match quoted {
        Some(name) => problem.field(&name.chars().take(100).collect::<String>()),
        None if path == "." || path == "?" => problem,
        None => problem.field(path),
    }
}
