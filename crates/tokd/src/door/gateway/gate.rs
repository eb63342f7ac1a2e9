//! Who may pass to git: the gateway's authentication and decision, before [`GitBackend`] runs anything.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use futures_util::stream::unfold;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as HttpBody, Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Request, Response, StatusCode};
use tok_api::fault::FaultCode;
use tok_model::audit::Source;
use tok_model::decide::{Caller, Permit};
use tok_model::name::RepoPath;
use tok_model::scope::RepoRight;
use tok_model::url::GitPath;

use super::backend::GitBackend;
use super::call::{GitCall, GitRequest, GitService, NotServed};
use super::fault::GatewayFault;
use crate::door::http::answer;
use crate::door::http::hearing::Hearing;
use crate::door::http::source::Proxies;
use crate::fault::chain;
use crate::metrics::{Door, OTHER, Outcome};
use crate::service::{Leave, Presented, Service, authorization};

/// git over HTTP, for those who may.
#[derive(Debug, Clone)]
pub struct Gateway {
    backend: GitBackend,
    hearing: Hearing,
}

impl Gateway {
    /// A gateway to this backend, whose places for those who are refused are these.
    pub fn new(backend: GitBackend, hearing: Hearing) -> Self {
        Self { backend, hearing }
    }

    /// Answers one request for a repository.
    pub async fn answer(
        &self,
        service: &Arc<Service>,
        proxies: &Proxies,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        let (command, response) = match asked(&request) {
            Err(response) => (OTHER, self.hearing.out(request, response).await),
            Ok((_, call)) if is_probe(call, request.headers()) => {
                ("probe", self.hearing.out(request, probed(call.service())).await)
            }
            Ok((path, call)) => {
                let source = proxies.source(request.headers(), peer);
                (command(call), self.judged(service, (&path, call), request, source).await)
            }
        };
        service.requests().count(Door::Gateway, command, Outcome::of_status(response.status()));
        response
    }

    async fn judged(
        &self,
        service: &Arc<Service>,
        (path, call): (&GitPath, GitCall),
        request: Request<Incoming>,
        source: Source,
    ) -> Response<Body> {
        let address = source.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let presented = authorization(request.headers());
        let (permit, caller) = match admitted(service, (path, call), presented, source).await {
            Ok(allowed) => allowed,
            Err(response) => return self.hearing.out(request, response).await,
        };
        let user = caller.remote_user();
        let request = GitRequest::new(path.repo().clone(), call, request, user, address);
        let served = if call.service().writes() {
            let leave = service.leave(caller, &permit);
            self.backend.serve(request.map_body(|body| while_allowed(body, leave))).await
        } else {
            self.backend.serve(request).await
        };
        match served {
            Ok(response) => response,
            Err(GatewayFault::NoRepository { .. }) => answer::hidden(),
            Err(fault) => {
                tracing::warn!(error = %chain(&fault), repo = %path.repo(), "git could not answer");
                let mut response = answer::text(fault.status(), &fault.client_text());
                if let Some(wait) = fault.retry_after() {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
                }
                response
            }
        }
    }
}

/// Who asks, if they may and there is a repository; else the answer.
async fn admitted(
    service: &Arc<Service>,
    (path, call): (&GitPath, GitCall),
    presented: Presented,
    source: Source,
) -> Result<(Permit, Caller), Response<Body>> {
    let right = if call.service().writes() { RepoRight::Write } else { RepoRight::Read };
    let verdict = service.git_verdict(presented, source, path.repo(), right, command(call)).await;
    let (permit, caller) = match verdict {
        Ok(Ok(allowed)) => allowed,
        Ok(Err(refusal)) => return Err(answer::refused(&refusal, path.repo(), right)),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "A git request could not be judged");
            return Err(answer::cannot_know(&error));
        }
    };
    let exists = service.ensure_repository(&permit).await;
    let refused = match &exists {
        Ok(true) => None,
        Ok(false) => Some("there is no such repository"),
        Err(fault) => Some(fault.message.as_str()),
    };
    service.note_git(&permit, path.repo(), command(call), refused);
    match exists {
        Ok(true) => Ok((permit, caller)),
        Ok(false) => Err(missing(service, &caller, path.repo())),
        Err(fault) if matches!(fault.code, FaultCode::Unavailable | FaultCode::Busy) => Err(answer::unavailable()),
        Err(fault) => Err(answer::text(StatusCode::INTERNAL_SERVER_ERROR, &fault.message)),
    }
}

/// The body of a push, of which no piece is passed on once its sender may not push any more. What has come by then is
/// thrown away, as of any push that breaks off.
fn while_allowed(body: Incoming, leave: Leave) -> impl HttpBody<Data = Bytes, Error = String> + Send {
    StreamBody::new(unfold((body, leave), async |(mut body, mut leave)| {
        let piece = match body.frame().await? {
            Ok(frame) => leave.holds().await.map(|()| frame).map_err(|fault| fault.message),
            Err(error) => Err(error.to_string()),
        };
        Some((piece, (body, leave)))
    }))
}

/// What a request asks of which repository; else the answer to it.
fn asked(request: &Request<Incoming>) -> Result<(GitPath, GitCall), Response<Body>> {
    let path = GitPath::parse(request.uri().path())
        .map_err(|_| answer::text(StatusCode::NOT_FOUND, "there is no such repository address"))?;
    let normal = path.to_string();
    let tail = normal.strip_prefix(&format!("/{}.git/", path.repo())).unwrap_or_default();
    let call = GitCall::parse(request.method(), tail, request.uri().query()).map_err(not_served)?;
    Ok((path, call))
}

/// The answer to git's probe, where there is no gateway: proxies that cannot answer it themselves pass it on to here.
pub async fn answer_to_probe(hearing: &Hearing, request: Request<Incoming>) -> Option<Response<Body>> {
    let (_, call) = asked(&request).ok()?;
    if is_probe(call, request.headers()) { Some(hearing.out(request, probed(call.service())).await) } else { None }
}

/// Before a request that is larger than `http.postBuffer` git sends one of 4 bytes, `0000`, which asks for nothing. With a
/// Bearer credential it carries no `Authorization` (a fault of git's, seen in 2.47), and a 401 to it ends the command.
fn is_probe(call: GitCall, headers: &HeaderMap) -> bool {
    matches!(call, GitCall::Exchange(GitService::UploadPack | GitService::ReceivePack))
        && !headers.contains_key(AUTHORIZATION)
        && headers.get(CONTENT_LENGTH).is_some_and(|length| length == "4")
}

/// What git itself answers to nothing. The same for every address, so nobody learns from it what there is.
fn probed(service: GitService) -> Response<Body> {
    let mut response = answer::text(StatusCode::OK, "");
    *response.body_mut() = Body::empty();
    if let Ok(kind) = HeaderValue::try_from(format!("application/x-{}-result", service.as_str())) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

/// Nothing there: for managers, who may know of everything, with what to do about it.
fn missing(service: &Service, caller: &Caller, repo: &RepoPath) -> Response<Body> {
    if !service.manages(caller) {
        return answer::hidden();
    }
    let workspace = &repo.workspace;
    let words = format!(
        "repository {repo} not found; `tok workspace list` shows the workspaces, `tok workspace create {workspace}` makes one, and names are case-sensitive"
    );
    answer::text(StatusCode::NOT_FOUND, &words)
}

/// How the audit trail calls it.
fn command(call: GitCall) -> &'static str {
    match (call, call.service()) {
        (GitCall::Advertise(_), GitService::UploadPack) => "upload-pack --advertise",
        (GitCall::Advertise(_), GitService::ReceivePack) => "receive-pack --advertise",
        (GitCall::Advertise(_), GitService::UploadArchive) => "upload-archive --advertise",
        (GitCall::Exchange(_), service) => service.as_str().trim_start_matches("git-"),
    }
}

fn not_served(why: NotServed) -> Response<Body> {
    match why {
        NotServed::Dumb => answer::text(StatusCode::FORBIDDEN, &why.to_string()),
        NotServed::Unknown => answer::text(StatusCode::NOT_FOUND, &why.to_string()),
        NotServed::Method { allow } => {
            let mut response = answer::text(StatusCode::METHOD_NOT_ALLOWED, &why.to_string());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            response
        }
    }
}
