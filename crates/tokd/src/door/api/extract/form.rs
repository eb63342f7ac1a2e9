//! The parameters of a form, for the OAuth calls and the console's pages.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use hyper::HeaderMap;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Deserializer};

use super::body::body;
use super::heads::check_type;
use crate::door::api::Api;
use crate::door::api::problem::Problem;

/// Text that may be a secret: gone from memory with the request.
#[derive(Default)]
pub struct SecretText(Zeroizing<String>);

impl std::ops::Deref for SecretText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// The parameters of a form (`application/x-www-form-urlencoded`), for the OAuth calls: each at most once, and unknown ones
/// ignored (RFC 6749 section 3.2).
pub struct Form(Vec<(String, SecretText)>);

impl Form {
    /// A parameter, if it is there and not empty.
    pub fn take(&mut self, name: &str) -> Option<SecretText> {
        let at = self.0.iter().position(|(known, value)| known == name && !value.is_empty())?;
        Some(self.0.swap_remove(at).1)
    }
}

impl FromRequest<Api> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        Self::read(&parts.headers, body).await
    }
}

impl Form {
    /// Reads a request's.
    pub async fn read(headers: &HeaderMap, sent: Body) -> Result<Self, Problem> {
        check_type(headers, &["application/x-www-form-urlencoded"])?;
        let bytes = Zeroizing::new(body(sent).await?.to_vec());
        let pairs: Vec<(String, SecretText)> = serde_urlencoded::from_bytes(&bytes)
            .map_err(|_| Problem::new("invalid_argument", "the body is no form").hint("send name=value&name=value"))?;
        for (at, (name, _)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::new("invalid_argument", "a parameter is there twice").field(name));
            }
        }
        Ok(Self(pairs))
    }
}
