//! What a form sent, and whether a page of ours sent it.

use axum::body::Body;
use hyper::header::{HeaderName, ORIGIN};
use hyper::{HeaderMap, StatusCode};
use tok_model::url::Origin;

use crate::door::api::extract::{Form, SecretText};

/// What browsers say of where a request comes from (Fetch Metadata).
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The longest address that somebody is sent on to.
const LONGEST_PATH: usize = 500;

/// The fields of a form.
pub struct Sent(Form);

impl Sent {
    /// Reads them.
    pub async fn read(headers: &HeaderMap, body: Body) -> Result<Self, StatusCode> {
        Form::read(headers, body).await.map(Self).map_err(|problem| problem.status())
    }

    /// A field; empty if it is not there.
    pub fn take(&mut self, name: &str) -> SecretText {
        self.0.take(name).unwrap_or_default()
    }
}

/// Whether a form comes from a page of this server, as far as the browser says. One that says nothing of it is believed,
/// since each form is sealed, too.
pub fn from_here(headers: &HeaderMap, origins: &[Origin]) -> bool {
    let same_site = headers.get(SITE).is_none_or(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    let ours = |text: &str| Origin::parse(text).is_ok_and(|origin| origins.contains(&origin));
    same_site && headers.get(ORIGIN).is_none_or(|origin| origin.to_str().is_ok_and(ours))
}

/// Where somebody goes after logging in: a page of this server, however it was asked for.
pub fn way_on(asked: &str) -> &str {
    let plain = asked.len() <= LONGEST_PATH && asked.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    // Two slashes begin another server's name.
    if plain && asked.starts_with('/') && !asked.starts_with("//") { asked } else { super::DEVICE }
}

/// The value of one parameter of an address.
pub fn parameter(query: Option<&str>, name: &str) -> String {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_on_to_another_server() {
        for ours in ["/device", "/device?user_code=WDJB-MJHT", "/login?next=//x"] {
            assert_eq!(way_on(ours), ours);
        }
        let long = format!("/{}", "x".repeat(LONGEST_PATH));
        for other in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil",
            "/\t/evil",
            "/a\r\nb: c",
            "javascript:x",
            "/é",
            &long,
        ] {
            assert_eq!(way_on(other), "/device", "{other}");
        }
    }

    #[test]
    fn a_form_comes_from_here_unless_the_browser_says_otherwise() {
        let origins =
            [Origin::parse("https://git.example.com").unwrap(), Origin::parse("http://127.0.0.1:7650").unwrap()];
        for (origin, site, taken) in [
            (None, None, true),
            (Some("https://git.example.com"), Some("same-origin"), true),
            (Some("https://git.example.com:443"), None, true),
            (Some("http://127.0.0.1:7650"), Some("none"), true),
            (Some("https://evil.example"), None, false),
            (Some("https://git.example.com.evil.example"), None, false),
            (Some("http://git.example.com"), None, false),
            (Some("null"), None, false),
            (None, Some("cross-site"), false),
            (None, Some("same-site"), false),
            (Some("https://git.example.com"), Some("cross-site"), false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(ORIGIN, origin), (SITE, site)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(from_here(&headers, &origins), taken, "{origin:?} {site:?}");
        }
    }
}
