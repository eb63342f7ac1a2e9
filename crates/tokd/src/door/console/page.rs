//! Pages: their frame, their looks, and the headers that keep them from being used against people.

use std::sync::LazyLock;

use askama::Template;
use axum::body::Body;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tok_api::fault::Fault;

/// Where the looks are.
pub const STYLE: &str = "/console/style.css";

const LOOKS: &str = include_str!("../../../templates/style.css");

/// The looks' address, which changes with them, so that browsers keep what they have.
static STYLE_ADDRESS: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::digest(LOOKS.as_bytes());
    let short = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    format!("{STYLE}?v={short}")
});

/// Nothing but our own looks is loaded, forms go nowhere else, and no other page may show one of these in a frame.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Nothing of what browsers can give to pages.
const NO_FEATURES: &str = "accelerometer=(), browsing-topics=(), camera=(), clipboard-read=(), display-capture=(), \
     geolocation=(), gyroscope=(), hid=(), microphone=(), midi=(), payment=(), serial=(), usb=()";

/// What is the same on each page.
pub struct Frame {
    /// In the title and as the heading.
    pub title: String,
    /// Where the looks are.
    pub style: &'static str,
    /// Who is logged in, if anybody is.
    pub user: Option<SignedIn>,
}

/// Who is logged in, for the head of a page.
pub struct SignedIn {
    /// Their login name.
    pub name: String,
    /// The seal of the form that logs them out.
    pub seal: String,
}

impl Frame {
    /// Of a page with this title.
    pub fn new(title: &str, user: Option<SignedIn>) -> Self {
        Self { title: title.to_owned(), style: &STYLE_ADDRESS, user }
    }
}

/// A page that is ready.
pub struct Page(Response<Body>);

impl Page {
    /// A template, filled in.
    pub fn of(status: StatusCode, template: &impl Template) -> Self {
        let (status, text) = match template.render() {
            Ok(text) => (status, text),
            Err(error) => {
                tracing::error!(%error, "A page could not be made");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "<!doctype html><title>tok</title><p>Something went wrong.".to_owned(),
                )
            }
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        Self(response)
    }

    /// Sends the browser to another page of ours, which it opens by GET.
    pub fn go(path: &str) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SEE_OTHER;
        let path = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static(super::DEVICE));
        response.headers_mut().insert(LOCATION, path);
        Self(response)
    }

    /// With a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }

    /// With a cookie.
    pub fn cookie(mut self, cookie: HeaderValue) -> Self {
        self.0.headers_mut().append(SET_COOKIE, cookie);
        self
    }

    /// The answer, with what every page has.
    pub fn into_response(mut self) -> Response<Body> {
        let headers = self.0.headers_mut();
        for (name, value) in [
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_FRAME_OPTIONS, "DENY"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // Not `no-referrer`: with that browsers send forms with `Origin: null`, which says nothing.
            (REFERRER_POLICY, "same-origin"),
            (CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("permissions-policy"), NO_FEATURES),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        self.0
    }
}

/// The looks.
pub fn style() -> Response<Body> {
    let mut response = Response::new(Body::from(LOOKS));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[derive(Template)]
#[template(path = "note.html")]
struct Note<'a> {
    frame: Frame,
    words: &'a str,
}

/// A page that says one thing.
pub fn note(status: StatusCode, title: &str, words: &str) -> Page {
    Page::of(status, &Note { frame: Frame::new(title, None), words })
}

/// The same to somebody who is logged in.
pub fn note_to(user: SignedIn, title: &str, words: &str) -> Page {
    Page::of(StatusCode::OK, &Note { frame: Frame::new(title, Some(user)), words })
}

/// A fault as a sentence for people.
pub fn sentence(fault: &Fault) -> String {
    let mut words = fault.message.clone();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    format!("{words}.")
}
