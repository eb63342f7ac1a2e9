//! Which door a request on the remote address goes to.
//!
//! The verdict door stands first and is nothing but a comparison of paths: it is asked for every request that a proxy
//! in front forwards.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::answer;
use super::source::Proxies;
use crate::door::authz;
use crate::door::gateway::gate::Gateway;
use crate::service::Service;

/// Everything on the remote address.
pub struct Router {
    /// The operations.
    pub service: Arc<Service>,
    /// The git gateway, if it is on.
    pub gateway: Option<Gateway>,
    /// Who is believed about addresses.
    pub proxies: Proxies,
}

impl Router {
    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Result<Response<Body>, Infallible> {
        Ok(match request.uri().path() {
            authz::PATH => authz::answer(&self.service, &self.proxies, request.headers(), peer).await,
            "/healthz" => if_read(&request, || answer::text(StatusCode::OK, "ok")),
            "/readyz" => match self.service.ready().await {
                Ok(()) => if_read(&request, || answer::text(StatusCode::OK, "ready")),
                Err(_) => answer::unavailable(),
            },
            "/" => if_read(&request, || {
                let url = &self.service.place().public_url;
                answer::text(StatusCode::OK, &format!("tok: git clone {url}/<workspace>/<repository>.git"))
            }),
            _ => match &self.gateway {
                // Serving git needs much more room than a verdict, and each future here is as large as its largest branch.
                Some(gateway) => Box::pin(gateway.answer(&self.service, &self.proxies, request, peer)).await,
                None => answer::text(StatusCode::NOT_FOUND, "there is nothing here"),
            },
        })
    }
}

fn if_read(request: &Request<Incoming>, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer();
    }
    let mut response = answer::text(StatusCode::METHOD_NOT_ALLOWED, "this address is only read");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
