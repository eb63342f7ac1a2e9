//! The fields of a JSON body.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use secrecy::zeroize::Zeroizing;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tok_api::convert::LARGEST_IMPORT;

use super::heads::check_type;
use super::named;
use crate::door::api::Api;
use crate::door::api::problem::Problem;

/// The largest body.
const LARGEST_BODY: usize = 64 * 1024;
/// The same for what carries a file: as JSON each of its bytes may take two.
const LARGEST_BODY_WITH_FILE: usize = 2 * LARGEST_IMPORT + LARGEST_BODY;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// A field of which it matters whether it was said at all: `null` is said, and means "none".
#[expect(clippy::option_option, reason = "said, said to be nothing, and not said are three things")]
pub fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The fields of a JSON body, each of which is known.
pub struct Said<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        check_type(request.headers(), &["application/json", "application/merge-patch+json"])?;
        let bytes = Zeroizing::new(body(request.into_body()).await?.to_vec());
        read_json(&bytes).map(Self)
    }
}

/// The same where one field is a whole file.
pub struct SaidAtLength<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for SaidAtLength<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        check_type(request.headers(), &["application/json"])?;
        let bytes = Zeroizing::new(body_within(request.into_body(), LARGEST_BODY_WITH_FILE).await?.to_vec());
        read_json(&bytes).map(Self)
    }
}

/// The same where all fields, and so the body, may be left out.
pub struct MaybeSaid<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<Api> for MaybeSaid<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        let (parts, body_in) = request.into_parts();
        let bytes = Zeroizing::new(body(body_in).await?.to_vec());
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        check_type(&parts.headers, &["application/json"])?;
        if bytes.trim_ascii() == b"null" {
            return Ok(Self(T::default()));
        }
        read_json(&bytes).map(Self)
    }
}

/// Reads a whole body, within [`LARGEST_BODY`] and [`BODY_PATIENCE`].
pub(super) async fn body(body: Body) -> Result<Bytes, Problem> {
    body_within(body, LARGEST_BODY).await
}

async fn body_within(body: Body, most: usize) -> Result<Bytes, Problem> {
    let collecting = Limited::new(body, most).collect();
    match tokio::time::timeout(BODY_PATIENCE, collecting).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::new("too_large", format!("the body of this request has at most {most} bytes"))
                .hint("send less at a time"))
        }
        Ok(Err(_)) => {
            Err(Problem::new("invalid_argument", "the request's body broke off").hint("send it again, whole"))
        }
        Err(_) => {
            let seconds = BODY_PATIENCE.as_secs();
            Err(Problem::new("request_timeout", format!("the request's body took longer than {seconds} s"))
                .hint("send it again, faster"))
        }
    }
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bad = |path: &str, error: &serde_json::Error| {
        let problem = Problem::new("invalid_argument", detail(error))
            .hint("/openapi.json says which fields this call takes, and what each is");
        named(problem, path, &error.to_string())
    };
    // serde would take an array for the fields in their order.
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Problem::new("invalid_argument", "the body is no JSON object")
            .hint("send the fields in one object, as in {\"name\": \"ci\"}"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let said =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| bad(&error.path().to_string(), error.inner()))?;
    reader.end().map_err(|error| bad(".", &error))?;
    Ok(said)
}

/// What is wrong and where, without what was there: it may be a secret in the wrong place.
fn detail(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!("line {}, column {}", error.line(), error.column());
    let what = without_place(&text);
    match what.strip_prefix("invalid type: ").or_else(|| what.strip_prefix("invalid value: ")) {
        // `string "…", expected a boolean`: the value itself is left out.
        Some(types) => {
            let expected = types.rsplit_once("expected ").map_or("something else", |(_, expected)| expected);
            format!("this is not {} ({place})", in_words(expected))
        }
        None if error.is_data() => format!("{what} ({place})"),
        None => format!("the body is no JSON: {what} ({place})"),
    }
}

/// What serde calls a type, as the document calls it.
fn in_words(expected: &str) -> String {
    let numbers = [("u16", u64::from(u16::MAX)), ("u32", u64::from(u32::MAX)), ("u64", u64::MAX)];
    if let Some((_, most)) = numbers.iter().find(|(name, _)| *name == expected) {
        return format!("a whole number from 0 to {most}");
    }
    match expected {
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        shape if shape.starts_with("struct ") => "an object with the fields of this call".to_owned(),
        other => other.to_owned(),
    }
}

fn without_place(text: &str) -> String {
    text.rsplit_once(" at line ").map_or(text, |(what, _)| what).to_owned()
}
