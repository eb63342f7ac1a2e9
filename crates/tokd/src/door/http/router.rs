//! Which door a request on the remote address goes to.
//!
//! The verdict door stands first and apart: it is asked for every request that a proxy in front forwards.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use futures_util::future::{Either, Ready, ready};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::hearing::Hearing;
use super::source::Proxies;
use super::{answer, figures};
use crate::clock::Behind;
use crate::config::MetricsFor;
use crate::door::api::ApiDoor;
use crate::door::authz;
use crate::door::console::Console;
use crate::door::gateway::gate::{Gateway, answer_to_probe};
use crate::door::grpc::{self, GrpcDoor};
use crate::service::Service;

/// Everything on the remote address.
pub struct Router {
    /// The operations.
    pub service: Arc<Service>,
    /// JSON and the OAuth forms.
    pub api: ApiDoor,
    /// Pages for people.
    pub console: Console,
    /// The git gateway, if it is on.
    pub gateway: Option<Gateway>,
    /// The gRPC services.
    pub grpc: GrpcDoor,
    /// Where those are heard out who are refused.
    pub hearing: Hearing,
    /// Who is believed about addresses.
    pub proxies: Proxies,
    /// Who may read the figures.
    pub metrics: MetricsFor,
}

/// The router as the requests of one connection see it. They share this one, so that those of different connections,
/// on different processors, do not all count their use of the same.
pub struct Visit {
    router: Arc<Router>,
    peer: SocketAddr,
}

impl Visit {
    /// By this peer.
    pub fn new(router: Arc<Router>, peer: SocketAddr) -> Self {
        Self { router, peer }
    }

    /// Answers one request. Whatever can be said at once is there when this returns, and the request gone: hyper has its
    /// buffer back, and there is nothing to wait for.
    pub fn answer(self: Arc<Self>, request: Request<Incoming>) -> Either<Ready<Answered>, Pending> {
        if request.uri().path() != authz::PATH {
            return Either::Right(Box::pin(async move { Ok(self.router.answer(request, self.peer).await) }));
        }
        let Router { service, proxies, .. } = &*self.router;
        match authz::answer(service, proxies, request.headers(), self.peer) {
            Either::Left(response) => Either::Left(ready(Ok(response.into_inner()))),
            Either::Right(waiting) => Either::Right(Box::pin(async move { Ok(waiting.await) })),
        }
    }
}

/// What hyper wants: it has no name for "never an error".
type Answered = Result<Response<Body>, Infallible>;
type Pending = Pin<Box<dyn Future<Output = Answered> + Send>>;

impl Router {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        if grpc::is_call(request.headers()) {
            return self.grpc.answer(request, peer).await;
        }
        if ApiDoor::takes(request.uri().path()) {
            let (request, rest) = self.hearing.lend(request);
            return rest.heard_out(self.api.answer(request, peer).await).await;
        }
        // Whoever stands before or behind could go by the other one (RFC 9112 section 3.2).
        if request.headers().get_all(HOST).iter().nth(1).is_some() {
            return answer::text(StatusCode::BAD_REQUEST, "the header Host is there more than once: send it once");
        }
        if Console::takes(request.uri().path()) {
            let (request, rest) = self.hearing.lend(request);
            return rest.heard_out(self.console.answer(request, peer).await).await;
        }
        match request.uri().path() {
            "/healthz" => if_read(&request, || answer::text(StatusCode::OK, "ok")),
            "/readyz" => match self.service.ready().await {
                // A clock that is wrong is no reason to send nobody here: it is so for each replica of this machine.
                Ok(()) => if_read(&request, || match Behind::words() {
                    Some(words) => answer::text(StatusCode::OK, &format!("ready, but {words}")),
                    None => answer::text(StatusCode::OK, "ready"),
                }),
                Err(_) => answer::unavailable(),
            },
            figures::PATH if is_read(&request) => {
                figures::answer(&self.service, self.metrics, &self.proxies, request.headers(), peer).await
            }
            figures::PATH => only_read(),
            "/" => if_read(&request, || {
                let url = &self.service.place().public_url;
                answer::text(StatusCode::OK, &format!("tok: git clone {url}/<workspace>/<repository>.git"))
            }),
            _ => match &self.gateway {
                Some(gateway) => gateway.answer(&self.service, &self.proxies, request, peer).await,
                None => match answer_to_probe(&self.hearing, request).await {
                    Some(answer) => answer,
                    None => answer::text(StatusCode::NOT_FOUND, "there is nothing here"),
                },
            },
        }
    }
}

fn is_read(request: &Request<Incoming>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

fn if_read(request: &Request<Incoming>, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    if is_read(request) { answer() } else { only_read() }
}

fn only_read() -> Response<Body> {
    let mut response = answer::text(StatusCode::METHOD_NOT_ALLOWED, "this address is only read");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
