//! The OAuth forms: introspection (RFC 7662) and revocation (RFC 7009).

use axum::Json;
use axum::extract::State;
use hyper::{HeaderMap, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use tok_api::convert::Introspection;
use tok_api::fault::FaultCode;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Calling, Form, Peer};
use super::problem::Problem;
use super::{Answer, Api};

/// Where tokens are introspected.
pub(super) const INTROSPECT: &str = "/oauth2/introspect";
/// Where tokens are revoked.
pub(super) const REVOKE: &str = "/oauth2/revoke";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(introspect)).routes(routes!(revoke))
}

/// The form of an introspection. Other parameters are ignored, `token_type_hint` among them.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read parameter by parameter")]
struct IntrospectForm {
    /// The token that was presented.
    #[schema(format = Password)]
    token: String,
    /// Ignored: every token is looked up alike.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
}

/// Introspect a token (RFC 7662)
///
/// The caller authenticates with any token of their own that works; one of kind git is told about itself only. Whatever is not usable is
/// `{"active":false}`, without a reason. A token that works only from some addresses is judged by the caller's.
#[utoipa::path(
    post, path = "/oauth2/introspect", operation_id = "introspect", tag = "oauth",
    request_body(content = IntrospectForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "What the token is worth.", body = Introspection))
)]
async fn introspect(State(api): State<Api>, Calling(caller): Calling, mut form: Form) -> Answer<Json<Introspection>> {
    let text = form.take("token").ok_or_else(|| missing("token"))?;
    Ok(Json(api.service.introspect(&caller, &text).await?))
}

/// The form of a revocation. Other parameters are ignored, `token_type_hint` among them.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read parameter by parameter")]
struct RevokeForm {
    /// The token to be revoked.
    #[schema(format = Password)]
    token: String,
    /// Ignored: every token is looked up alike, whatever it is called here (RFC 7009 section 2.1).
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
}

/// Revoke a token by its text (RFC 7009)
///
/// Holding the token is enough: the caller need not authenticate, and one who does only has their name in the trail. A token
/// that is not known, or has ended, is answered alike.
#[utoipa::path(
    post, path = "/oauth2/revoke", operation_id = "revokeSecret", tag = "oauth", security((), ("bearer" = []), ("basic" = [])),
    request_body(content = RevokeForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "It does not work any more, if it ever did."))
)]
async fn revoke(State(api): State<Api>, peer: Peer, headers: HeaderMap, mut form: Form) -> Answer<StatusCode> {
    let text = form.take("token").ok_or_else(|| missing("token"))?;
    let caller = Calling::or_nobody(&api, &headers, peer, "POST /oauth2/revoke").await?;
    match api.service.revoke_secret(&caller, &SecretString::from(&*text), None).await {
        Ok(_) => Ok(StatusCode::OK),
        // To the caller it makes no difference (RFC 7009 section 2.2).
        Err(fault) if fault.code == FaultCode::NotFound => Ok(StatusCode::OK),
        Err(fault) => Err(fault.into()),
    }
}

pub(super) fn missing(name: &str) -> Problem {
    Problem::new("invalid_argument", format!("the parameter {name} is missing"))
        .field(name)
        .hint(format!("send it in the body, as {name}=<{name}>"))
}
