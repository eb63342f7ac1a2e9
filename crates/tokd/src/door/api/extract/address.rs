//! The parameters of an address and the segments of its path.

use axum::extract::{FromRequestParts, Path};
use hyper::http::request::Parts;
use serde::de::DeserializeOwned;
use tok_api::convert::parsed;

use super::named;
use crate::door::api::Api;
use crate::door::api::problem::Problem;

/// The parameters of the address, each of which is known.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(pairs).map(Self).map_err(|error| {
            let text = error.inner().to_string();
            let detail = of_parameter(&text);
            let problem = Problem::new("invalid_argument", detail)
                .hint("/openapi.json lists the parameters; a token never belongs into an address");
            named(problem, &error.path().to_string(), &text)
        })
    }
}

/// What serde says of a parameter, in our words; the value itself is left out.
fn of_parameter(text: &str) -> String {
    if text.contains("digit") || text.contains("number too ") || text.contains("integer") {
        return format!("this is not a whole number from 0 to {}", u32::MAX);
    }
    if text.contains("`true` or `false`") {
        return "this is neither true nor false".to_owned();
    }
    let unknown = text.strip_prefix("unknown field ").map(|rest| format!("there is no parameter {rest}"));
    let twice = text.strip_prefix("duplicate field ").map(|rest| format!("the parameter {rest} is there twice"));
    unknown.or(twice).unwrap_or_else(|| text.to_owned())
}

/// One segment of the path, read by the parser of what it means.
pub struct Segment<T>(pub T);

impl<T> FromRequestParts<Api> for Segment<T>
where
    T: std::str::FromStr<Err: std::fmt::Display> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Path(segments) = Path::<Vec<(String, String)>>::from_request_parts(parts, api).await.map_err(bad_path)?;
        let Some((name, text)) = segments.first() else { return Err(Problem::new("not_found", "nothing is here")) };
        Ok(Self(parsed(name, text)?))
    }
}

/// Two segments of the path.
pub struct Segments<A, B>(pub A, pub B);

impl<A, B> FromRequestParts<Api> for Segments<A, B>
where
    A: std::str::FromStr<Err: std::fmt::Display> + Send,
    B: std::str::FromStr<Err: std::fmt::Display> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Path(segments) = Path::<Vec<(String, String)>>::from_request_parts(parts, api).await.map_err(bad_path)?;
        let [(first, a), (second, b)] = segments.as_slice() else {
            return Err(Problem::new("not_found", "nothing is here"));
        };
        Ok(Self(parsed(first, a)?, parsed(second, b)?))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn bad_path(rejection: axum::extract::rejection::PathRejection) -> Problem {
    Problem::new("invalid_argument", rejection.body_text()).hint("percent-encode the path as UTF-8")
}
