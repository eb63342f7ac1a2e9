//! How a call over HTTP fails: problem details (RFC 9457) with a code that does not change, and the challenges of RFC 6750.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use tok_api::fault::Fault;
use tok_model::challenge::{REALM, describable};
use tok_model::url::Origin;
use utoipa::{PartialSchema, ToSchema};

use super::metadata;

/// Every code, with its status and its title. The first eleven are the gRPC faults of the same names.
const CODES: &[(&str, StatusCode, &str)] = &[
    ("invalid_argument", StatusCode::BAD_REQUEST, "The request makes no sense as it is"),
    ("unauthenticated", StatusCode::UNAUTHORIZED, "No token, or one that does not work"),
    ("forbidden", StatusCode::FORBIDDEN, "A good token that may not do this"),
    ("not_found", StatusCode::NOT_FOUND, "There is no such thing, or you may not see it"),
    ("ambiguous", StatusCode::CONFLICT, "The reference fits more than one thing"),
    ("conflict", StatusCode::CONFLICT, "It exists already, or something else is in the way"),
    ("too_large", StatusCode::PAYLOAD_TOO_LARGE, "More than this server takes"),
    ("rate_limited", StatusCode::TOO_MANY_REQUESTS, "Too many failures from this address"),
    ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something in tokd went wrong"),
    ("busy", StatusCode::SERVICE_UNAVAILABLE, "This server has too much to do now"),
    ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "This server cannot answer now"),
    ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "This address takes other methods"),
    ("request_timeout", StatusCode::REQUEST_TIMEOUT, "The request's body did not arrive in time"),
    ("precondition_failed", StatusCode::PRECONDITION_FAILED, "It was changed in the meantime"),
    ("not_acceptable", StatusCode::NOT_ACCEPTABLE, "Answers here are of another type"),
    ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is of another type"),
    ("invalid_target", StatusCode::BAD_REQUEST, "No trust rule gives a token for that"),
    ("unsupported_grant_type", StatusCode::BAD_REQUEST, "There is no such grant here"),
    ("invalid_grant", StatusCode::BAD_REQUEST, "What was to be traded for a token is no good"),
    ("authorization_pending", StatusCode::BAD_REQUEST, "Nobody has approved the login yet"),
    ("slow_down", StatusCode::BAD_REQUEST, "The same, and it was asked too soon"),
    ("access_denied", StatusCode::BAD_REQUEST, "Somebody refused the login"),
    ("expired_token", StatusCode::BAD_REQUEST, "Nobody approved the login in time"),
];

/// Why a call failed (RFC 9457). Programs go by `code`, people by `detail` and `hint`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:tok:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:tok:problem:invalid_argument")]
    kind: String,
    /// The same for each problem of this code.
    title: &'static str,
    /// The HTTP status, again.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened and why.
    detail: String,
    /// A word that does not change.
    #[schema(schema_with = code_schema)]
    code: &'static str,
    /// The field, parameter or header of the request that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    hint: Option<String>,
    /// With `ambiguous`: what the reference could mean, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matches: Vec<String>,
    /// This very occurrence, as in the header `X-Request-Id` and in tokd's log.
    #[schema(format = "uri")]
    instance: String,
    #[serde(skip)]
    facts: Facts,
}

/// What a problem's headers say.
#[derive(Debug, Clone, Default)]
struct Facts {
    /// The scope that is missing.
    scope: Option<String>,
    /// Whether a token was given.
    presented: bool,
    /// In seconds.
    retry_after: Option<u32>,
    /// The methods that there are.
    allow: Option<HeaderValue>,
    /// Whether the body's coding was at fault.
    only_identity: bool,
}

fn code_schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    let codes = CODES.iter().map(|(code, ..)| *code);
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .description(Some("A word that does not change. Later versions may add some."))
        .enum_values(Some(codes))
        .into()
}

impl Problem {
    /// A problem with this code, which [`CODES`] lists.
    pub fn new(code: &str, detail: impl std::fmt::Display) -> Self {
        let known = CODES.iter().find(|(known, ..)| *known == code);
        let (code, status, title) =
            known.copied().unwrap_or(("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something in tokd went wrong"));
        Self {
            kind: format!("urn:tok:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: detail.to_string(),
            code,
            field: None,
            hint: None,
            matches: Vec::new(),
            instance: String::new(),
            facts: Facts::default(),
        }
    }

    /// About this field, parameter or header.
    #[must_use]
    pub fn field(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    /// And what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Whether the caller did present something.
    #[must_use]
    pub fn presented(mut self, presented: bool) -> Self {
        self.facts.presented = presented;
        if !presented && self.code == "unauthenticated" {
            self.hint = Some("send `Authorization: Bearer <token>`; `tok token create <name>` makes one".to_owned());
        }
        self
    }

    /// The methods that there are, as the router listed them.
    #[must_use]
    pub fn allow(mut self, methods: Option<HeaderValue>) -> Self {
        self.facts.allow = methods;
        self
    }

    /// And which codings of a body are taken (RFC 9110 section 15.5.16): none.
    #[must_use]
    pub fn only_identity(mut self) -> Self {
        self.facts.only_identity = true;
        self
    }

    /// The code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The answer to a request with this ID.
    pub fn answer(mut self, request_id: &str, public_url: &Origin, oauth: bool) -> Response {
        self.instance = format!("urn:uuid:{request_id}");
        let (content_type, body) = if oauth {
            ("application/json", serde_json::to_vec(&OAuthError::of(&self)))
        } else {
            ("application/problem+json", serde_json::to_vec(&self))
        };
        let mut response = Response::new(Body::from(body.unwrap_or_default()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(challenge) = self.challenge(public_url, oauth).and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        let wait = self.facts.retry_after.or((self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(2));
        if let Some(seconds) = wait {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.facts.only_identity {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some(methods) = self.facts.allow {
            headers.insert(ALLOW, methods);
        }
        response
    }

    /// RFC 6750 section 3, with the pointer of RFC 9728 section 5.1. `error` is for requests that presented something.
    fn challenge(&self, public_url: &Origin, oauth: bool) -> Option<String> {
        let error = match (self.code, &self.facts.scope) {
            ("unauthenticated", _) if self.facts.presented => r#", error="invalid_token""#.to_owned(),
            ("unauthenticated", _) => String::new(),
            ("forbidden", Some(scope)) => format!(r#", error="insufficient_scope", scope="{scope}""#),
            // To ask about tokens takes another token, not another scope.
            ("forbidden", None) if oauth => r#", error="insufficient_scope""#.to_owned(),
            _ => return None,
        };
        let metadata = metadata::PROTECTED_RESOURCE;
        Some(format!(r#"Bearer realm="{REALM}"{error}, resource_metadata="{public_url}{metadata}""#))
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let hint = fault.hint.unwrap_or_else(|| fault.code.next_step(fault.field.as_deref()));
        let mut problem = Self::new(fault.code.as_str(), fault.message);
        problem.field = fault.field;
        problem.hint = Some(hint);
        problem.matches = fault.matches;
        problem.facts.scope = fault.scope;
        problem.facts.retry_after = fault.retry_after;
        problem
    }
}

/// A problem travels through the router as it is; the door writes it down when it knows the request's ID.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        response
    }
}

/// How the OAuth forms fail (RFC 6749 section 5.2).
#[derive(Debug, Serialize, ToSchema)]
pub struct OAuthError {
    /// `invalid_request`, `invalid_client`, `invalid_token`, `insufficient_scope`, `unsupported_grant_type`,
    /// `invalid_grant`, `invalid_target`, `temporarily_unavailable` or `server_error`; of a device that asks, also `authorization_pending`, `slow_down`, `access_denied` or `expired_token` (RFC 8628 section 3.5).
    error: &'static str,
    /// What happened, and what to do next.
    error_description: String,
}

impl OAuthError {
    fn of(problem: &Problem) -> Self {
        let error = match problem.code {
            "unauthenticated" if problem.facts.presented => "invalid_token",
            "unauthenticated" => "invalid_client",
            "forbidden" => "insufficient_scope",
            same @ ("unsupported_grant_type"
            | "invalid_grant"
            | "invalid_target"
            | "authorization_pending"
            | "slow_down"
            | "access_denied"
            | "expired_token") => same,
            "unavailable" | "busy" | "rate_limited" => "temporarily_unavailable",
            "internal" => "server_error",
            _ => "invalid_request",
        };
        let hint = problem.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
        Self { error, error_description: describable(&format!("{}{hint}", problem.detail)) }
    }
}

/// The table of codes, for the document.
pub(super) fn codes() -> impl Iterator<Item = (&'static str, StatusCode, &'static str)> {
    CODES.iter().copied()
}

/// The schema of a problem.
pub(super) fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    Problem::schema()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tok_api::fault::FaultCode;

    #[test]
    fn every_fault_has_its_problem_and_a_next_step() {
        for code in FaultCode::EVERY {
            let problem = Problem::from(Fault::new(code, "words"));
            assert_eq!(problem.code, code.as_str());
            assert!(problem.hint.is_some(), "{problem:?}");
        }
    }
}
