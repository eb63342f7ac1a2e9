//! The OAuth forms: introspection (RFC 7662).

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tok_api::convert::Introspection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Calling, Form};
use super::problem::Problem;
use super::{Answer, Api};

/// Where tokens are introspected.
pub(super) const INTROSPECT: &str = "/oauth2/introspect";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(introspect))
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
/// The caller authenticates with any token of their own that works, except one of kind git. Whatever is not usable is
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

fn missing(name: &str) -> Problem {
    Problem::new("invalid_argument", format!("the parameter {name} is missing"))
        .field(name)
        .hint(format!("send it in the body, as {name}=<{name}>"))
}
