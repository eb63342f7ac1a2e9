//! `/v1/tokens/import`: bringing in secrets of other systems.

use axum::Json;
use axum::extract::State;
use secrecy::SecretString;
use serde::Deserialize;
use tok_api::convert::{ImportDraft, ImportReport, NewImport, parsed};
use tok_api::wire::v1;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Calling, SaidAtLength, SecretText};
use super::{Answer, Api};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(import))
}

/// What to bring in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ImportTokens {
    /// What the content is: `wit`, `githosted`, `reposilite`, `nitro`, `wick` or `htpasswd`.
    format: String,
    /// The file as it is, 1 MiB at most. It may hold secrets, and is never logged or kept.
    #[schema(value_type = String, format = Password)]
    content: SecretText,
    /// Whom tokens act for whose entry does not say: a login name.
    #[serde(default)]
    user: Option<String>,
    /// For formats without scopes; none: they reach nothing until they are modified.
    #[serde(default)]
    scopes: Vec<String>,
    /// For personal tokens whose entry has none.
    #[serde(default)]
    routes: Vec<String>,
    /// The workspace for formats whose tokens act for one.
    #[serde(default)]
    workspace: Option<String>,
    /// For entries that do not say when they end, as when a token is made.
    #[serde(default)]
    expires: Option<String>,
    /// Each token gets these.
    #[serde(default)]
    labels: Vec<String>,
    /// Say what would be brought in, change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Import tokens of another system
///
/// By value or by hash. The answer says of each entry what became of it.
#[utoipa::path(
    post, path = "/v1/tokens/import", operation_id = "importTokens", tag = "tokens",
    request_body(content = ImportTokens, content_type = "application/json"),
    responses((status = 200, description = "What became of each entry.", body = ImportReport))
)]
async fn import(
    State(api): State<Api>,
    Calling(caller): Calling,
    SaidAtLength(asked): SaidAtLength<ImportTokens>,
) -> Answer<Json<ImportReport>> {
    let draft = ImportDraft {
        format: parsed("format", &asked.format)?,
        content: SecretString::from(&*asked.content),
        user: asked.user,
        scopes: asked.scopes,
        routes: asked.routes,
        workspace: asked.workspace,
        expires: asked.expires,
        labels: asked.labels,
        dry_run: asked.dry_run,
    };
    let new = NewImport::try_from(v1::ImportTokensRequest::from(draft))?;
    Ok(Json(api.service.import_tokens(&caller, new).await?))
}
