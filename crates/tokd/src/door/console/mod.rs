//! The console: pages for people, made here whole. They need no JavaScript and load nothing from elsewhere.
//!
//! Whoever is logged in is known by a cookie, which nothing but these pages reads: the API goes by tokens alone, so no
//! other site can make a browser call it. Each form carries a seal of its own.

mod browser;
mod cookies;
mod device;
mod form;
mod login;
mod page;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use hyper::header::{ALLOW, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use secrecy::SecretString;
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::Source;
use tok_model::url::Scheme;

use self::cookies::Cookies;
use self::form::Sent;
use self::page::Page;
use super::http::source::Proxies;
use crate::service::{BrowserSession, Service};

/// Where people log in.
const LOGIN: &str = "/login";
/// Where they log out.
const LOGOUT: &str = "/logout";
/// Where they let a device log in.
const DEVICE: &str = "/device";

/// Everything of the console.
pub struct Console {
    service: Arc<Service>,
    proxies: Proxies,
}

/// Who looks at a page.
struct Visitor {
    source: Source,
    /// The session, if they are logged in.
    session: Option<BrowserSession>,
    /// The text of the cookie, good or not.
    cookie: Option<SecretString>,
    cookies: Cookies,
}

impl Console {
    /// The console of this service.
    pub fn new(service: Arc<Service>, proxies: Proxies) -> Self {
        Self { service, proxies }
    }

    /// Whether a path is one of its pages.
    pub fn takes(path: &str) -> bool {
        matches!(path, LOGIN | LOGOUT | DEVICE | page::STYLE)
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Body>, peer: SocketAddr) -> Response<Body> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        if path == page::STYLE && reads(&method) {
            return page::style();
        }
        let methods = match path.as_str() {
            LOGIN | DEVICE => "GET, HEAD, POST",
            LOGOUT => "POST",
            _ => "GET, HEAD",
        };
        let answer = match (path.as_str(), &method) {
            (LOGIN, method) if reads(method) => self.login_page(request, peer).await,
            (LOGIN, &Method::POST) => self.log_in(request, peer).await,
            (LOGOUT, &Method::POST) => self.log_out(request, peer).await,
            (DEVICE, method) if reads(method) => self.device_page(request, peer).await,
            (DEVICE, &Method::POST) => self.settle_device(request, peer).await,
            _ => Ok(wrong_method(methods)),
        };
        answer.unwrap_or_else(|fault| failed(&fault)).into_response()
    }

    /// Who visits.
    async fn visitor(&self, headers: &HeaderMap, peer: SocketAddr, operation: &str) -> Result<Visitor, Fault> {
        let secure = self.service.place().public_url.scheme() == Scheme::Https;
        let cookies = Cookies::read(headers, secure);
        let source = Source { operation: Some(operation.to_owned()), ..self.proxies.source(headers, peer) };
        let cookie = cookies.session();
        let session = match &cookie {
            Some(cookie) => self.service.signed_in(cookie, source.clone()).await?,
            None => None,
        };
        Ok(Visitor { source, session, cookie, cookies })
    }

    /// Who visits and what they sent, if it was sent from a page of ours. `Err` is the page that says it was not.
    async fn sent(&self, request: Request<Body>, peer: SocketAddr) -> Result<Result<(Visitor, Sent), Page>, Fault> {
        let (parts, body) = request.into_parts();
        let operation = format!("POST {}", parts.uri.path());
        let visitor = self.visitor(&parts.headers, peer, &operation).await?;
        if !form::from_here(&parts.headers, &self.service.place().origins) {
            return Ok(Err(self.elsewhere()));
        }
        match Sent::read(&parts.headers, body).await {
            Ok(sent) => Ok(Ok((visitor, sent))),
            Err(status) => Ok(Err(page::note(status, "That form did not arrive whole", "Go back, and send it again."))),
        }
    }

    /// What came from another site's page, or from a page that is no good any more.
    fn elsewhere(&self) -> Page {
        let url = &self.service.place().public_url;
        let words = format!(
            "It was not sent from a page of this server, or that page was too old, or this browser takes no cookies from \
             here. Open {url}{DEVICE} and begin again."
        );
        page::note(StatusCode::FORBIDDEN, "That form was not taken", &words)
    }
}

/// What people see of a failure.
fn failed(fault: &Fault) -> Page {
    let (status, title) = match fault.code {
        FaultCode::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many tries"),
        FaultCode::Forbidden => (StatusCode::FORBIDDEN, "You may not do that"),
        FaultCode::Unauthenticated => (StatusCode::FORBIDDEN, "You are not signed in"),
        FaultCode::Unavailable | FaultCode::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Not now"),
        FaultCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong"),
        _ => (StatusCode::BAD_REQUEST, "That cannot be done"),
    };
    let words = match fault.code {
        // What is found by trying is a stranger's business only as far as this.
        FaultCode::RateLimited => wait_words(fault.retry_after),
        _ => page::sentence(fault),
    };
    let page = page::note(status, title, &words);
    match fault.retry_after {
        Some(seconds) => page.header(hyper::header::RETRY_AFTER, HeaderValue::from(seconds)),
        None => page,
    }
}

/// When to come again.
fn wait_words(seconds: Option<u32>) -> String {
    let seconds = seconds.unwrap_or(60);
    format!("Too many tries came from your address. The next one is looked at in {seconds} seconds.")
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn wrong_method(methods: &'static str) -> Page {
    let page = page::note(StatusCode::METHOD_NOT_ALLOWED, "Not like that", "This page is opened or sent differently.");
    page.header(ALLOW, HeaderValue::from_static(methods))
}
