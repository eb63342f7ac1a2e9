//! `/metrics`: the daemon's figures, for those who may read them.

use std::net::SocketAddr;

use axum::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Response, StatusCode};
use tok_model::decide::Class;

use super::answer;
use super::source::Proxies;
use crate::config::MetricsFor;
use crate::service::{Presented, Service, authorization};

/// Its path on the remote address.
pub const PATH: &str = "/metrics";

/// What a proxy adds to the requests it passes on. One of them is enough: that request did not begin on this machine, or
/// nobody can say so.
const FORWARDED: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Answers a request for the figures.
pub async fn answer(
    service: &Service,
    readers: MetricsFor,
    proxies: &Proxies,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Response<Body> {
    match readers {
        MetricsFor::Nobody => return answer::text(StatusCode::NOT_FOUND, "there is nothing here"),
        MetricsFor::Loopback if direct(headers, peer) => return figures(service),
        MetricsFor::Loopback | MetricsFor::Managers => {}
    }
    let presented = authorization(headers);
    if matches!(presented, Presented::Nothing) {
        return unauthenticated("the metrics are for managers: present a token of one", false);
    }
    match service.caller_by_token(presented, proxies.source(headers, peer)).await {
        Ok(Ok(caller)) => match service.administers(&caller) {
            Ok(()) => figures(service),
            Err(refusal) if refusal.class() == Class::Unauthenticated => {
                unauthenticated(&answer::sentence(&refusal), true)
            }
            Err(refusal) => answer::text(StatusCode::FORBIDDEN, &answer::sentence(&refusal)),
        },
        Ok(Err(refusal)) if refusal.class() == Class::Throttled => answer::throttled(&refusal),
        Ok(Err(refusal)) => unauthenticated(&answer::sentence(&refusal), true),
        Err(error) => {
            tracing::warn!(%error, "Whoever asked for the metrics could not be judged");
            answer::unavailable()
        }
    }
}

/// Whether a program of this machine asks, and no proxy of it for somebody else.
fn direct(headers: &HeaderMap, peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback() && !FORWARDED.iter().any(|name| headers.contains_key(*name))
}

fn figures(service: &Service) -> Response<Body> {
    let mut response = Response::new(Body::from(service.figures()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// RFC 6750, section 3.
fn unauthenticated(words: &str, presented: bool) -> Response<Body> {
    let mut response = answer::text(StatusCode::UNAUTHORIZED, words);
    let challenge = if presented { r#"Bearer realm="tok", error="invalid_token""# } else { r#"Bearer realm="tok""# };
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_direct_request_of_this_machine_needs_no_token() {
        let ask = |peer: &str, header: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(name) = header {
                headers.insert(name, HeaderValue::from_static("127.0.0.1"));
            }
            direct(&headers, peer.parse().unwrap())
        };
        assert!(ask("127.0.0.1:1", None) && ask("[::1]:1", None) && ask("[::ffff:127.0.0.1]:1", None));
        assert!(!ask("192.0.2.1:1", None));
        for name in FORWARDED {
            assert!(!ask("127.0.0.1:1", Some(name)), "{name}");
        }
    }
}
