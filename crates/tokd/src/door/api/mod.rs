//! The JSON door: `/v1`, the OAuth forms and their metadata, and the OpenAPI document that describes them.
//!
//! Each route is the service function of the same name; this door only translates. What is refused is refused with problem
//! details (RFC 9457).

#![expect(clippy::result_large_err, reason = "a problem is made once, at the end of its request")]

mod audit;
mod changes;
mod endings;
mod explain;
pub(super) mod extract;
mod imports;
mod metadata;
mod oauth;
mod openapi;
pub(super) mod problem;
mod reply;
mod server;
mod token_endpoint;
mod token_exchange;
mod tokens;
mod trusts;
mod users;
mod workspaces;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::Request;
use hyper::header::{ALLOW, CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;

use self::extract::Peer;
use self::problem::Problem;
use super::http::source::Proxies;
use crate::metrics::{Door, OTHER, Outcome};
use crate::service::{Presented, Service, authorization};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the handlers share.
#[derive(Clone)]
struct Api {
    service: Arc<Service>,
    proxies: Proxies,
}

/// Everything of JSON on the remote address.
pub struct ApiDoor {
    api: Api,
    routes: Router,
}

impl ApiDoor {
    /// A door to this service.
    pub fn new(service: Arc<Service>, proxies: Proxies) -> Self {
        let api = Api { service, proxies };
        let (routes, _) = routes().split_for_parts();
        let routes = routes
            .route(openapi::PATH, axum::routing::get(openapi::answer))
            .route_layer(axum::middleware::from_fn(name_the_route))
            .fallback(nothing_here)
            .method_not_allowed_fallback(wrong_method)
            .with_state(api.clone());
        Self { api, routes }
    }

    /// Whether a path is this door's.
    pub fn takes(path: &str) -> bool {
        let below = |top: &str| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        below("/v1")
            || below("/oauth2")
            || below(metadata::AUTHORIZATION_SERVER)
            || below(metadata::PROTECTED_RESOURCE)
            || path == openapi::PATH
    }

    /// Answers one request.
    pub async fn answer(&self, mut request: Request<Body>, peer: SocketAddr) -> Response {
        let id = request_id();
        let oauth = request.uri().path().starts_with("/oauth2/");
        // Said here once: that it stopped working may turn up wherever a permit is asked for.
        let presented = !matches!(authorization(request.headers()), Presented::Nothing);
        request.extensions_mut().insert(Peer(peer));
        let method = request.method().clone();
        let mut response = match extract::check_heads(request.headers()) {
            Ok(()) => {
                let Ok(response) = self.routes.clone().oneshot(request).await;
                response
            }
            Err(problem) => problem.into_response(),
        };
        let operation = response.extensions_mut().remove::<MatchedPath>();
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            if problem.status().is_server_error() {
                tracing::warn!(request = %id, code = problem.code(), "A call over HTTP failed");
            }
            let allow = response.headers().get(ALLOW).cloned();
            response =
                problem.presented(presented).allow(allow).answer(&id, &self.api.service.place().public_url, oauth);
        }
        let operation = operation.map(|path| format!("{method} {}", path.as_str()));
        let outcome = Outcome::of_status(response.status());
        self.api.service.requests().count(Door::Http, operation.as_deref().unwrap_or(OTHER), outcome);
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Everything here is somebody's: secrets, names, what they may do. The few public answers say otherwise themselves.
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::try_from(id) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}

/// Every route, and what the document says of each.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::frame())
        .merge(tokens::routes())
        .merge(changes::routes())
        .merge(endings::routes())
        .merge(explain::routes())
        .merge(imports::routes())
        .merge(users::routes())
        .merge(workspaces::routes())
        .merge(audit::routes())
        .merge(server::routes())
        .merge(trusts::routes())
        .merge(oauth::routes())
        .merge(token_endpoint::routes())
        .merge(metadata::routes())
}

/// Says with the answer which route gave it: for the figures, which know routes and no addresses.
async fn name_the_route(path: Option<MatchedPath>, request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(path) = path {
        response.extensions_mut().insert(path);
    }
    response
}

async fn nothing_here(uri: hyper::Uri) -> Problem {
    let hint = match uri.path() {
        path if path.ends_with('/') => "addresses end without a /: leave it out",
        _ => "/openapi.json lists every address",
    };
    Problem::new("not_found", "there is nothing at this address").hint(hint)
}

/// The router adds the `Allow` header.
async fn wrong_method() -> Problem {
    Problem::new("method_not_allowed", "this address takes other methods").hint("the header Allow lists them")
}

/// A new random ID (RFC 9562 version 4).
fn request_id() -> String {
    tok_model::id::TokenId::random(&mut crate::service::rng()).to_string()
}

/// What a handler answers.
type Answer<T> = Result<T, Problem>;
