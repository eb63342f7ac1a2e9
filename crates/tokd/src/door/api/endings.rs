//! `/v1/tokens/revoke` and `/v1/tokens/{id}/restore`: ending many tokens by what they have in common, and bringing back what
//! was ended a moment ago.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tok_api::convert::schema::TokenKindWord;
use tok_api::convert::{RestoredTokens, RevokeMany, RevokedMany, Selection, if_said, moment_said};
use tok_api::wire::v1;
use tok_model::token::Reference;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Calling, Said, Segment};
use super::{Answer, Api};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(revoke_many)).routes(routes!(restore))
}

/// Which tokens shall end: at least one thing must be said that chooses among them, and a token must fit each that is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RevokeTokens {
    /// Those that act for this user.
    #[serde(default)]
    user: Option<String>,
    /// Those that act for this workspace.
    #[serde(default)]
    workspace: Option<String>,
    /// Those with this label.
    #[serde(default)]
    label: Option<String>,
    /// This token and all that were made through it, at any remove: ID, ID prefix or token prefix.
    #[serde(default)]
    parent: Option<String>,
    /// Those of this kind.
    #[serde(default)]
    #[schema(value_type = Option<TokenKindWord>)]
    kind: Option<String>,
    /// Those that were never used.
    #[serde(default)]
    never_used: bool,
    /// Those made before this moment (RFC 3339). With a user or a workspace and nothing else it is a cut-off: one row, at
    /// once, for any number of tokens.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    minted_before: Option<String>,
    /// Everybody's, where neither user, workspace nor parent says whose; for managers.
    #[serde(default)]
    all_users: bool,
    /// Why, for the record and for whoever asks later; one printable line.
    #[serde(default)]
    reason: Option<String>,
    /// Say what it would be, change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Revoke every live token of a selection
///
/// As one act, which can be undone as one.
#[utoipa::path(
    post, path = "/v1/tokens/revoke", operation_id = "revokeTokens", tag = "tokens",
    request_body(content = RevokeTokens, content_type = "application/json"),
    responses((status = 200, description = "What was done.", body = RevokedMany))
)]
async fn revoke_many(
    State(api): State<Api>,
    Calling(caller): Calling,
    Said(asked): Said<RevokeTokens>,
) -> Answer<Json<RevokedMany>> {
    let before: Option<DateTime<Utc>> = moment_said("minted_before", asked.minted_before.as_deref())?;
    let selection = Selection {
        user: if_said("user", asked.user.as_deref())?,
        workspace: if_said("workspace", asked.workspace.as_deref())?,
        label: if_said("label", asked.label.as_deref())?,
        parent: if_said("parent", asked.parent.as_deref())?,
        kind: if_said("kind", asked.kind.as_deref())?,
        never_used: asked.never_used,
        minted_before: before,
        all_users: asked.all_users,
    };
    let ask = RevokeMany { selection, reason: asked.reason, dry_run: asked.dry_run };
    // Through the wire's own words, whose checks are those of every door.
    let ask = RevokeMany::try_from(v1::RevokeManyRequest::from(ask))?;
    Ok(Json(api.service.revoke_many(&caller, ask).await?))
}

/// Undo a revocation
///
/// Brings back what one act ended, for 15 minutes after it.
#[utoipa::path(
    post, path = "/v1/tokens/{id}/restore", operation_id = "restoreToken", tag = "tokens",
    params(("id" = String, Path, description = "Its ID, at least 4 characters of it, or its token prefix (`tokpat_a1b2`).")),
    responses((status = 200, description = "The token, and how many came back with it.", body = RestoredTokens))
)]
async fn restore(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(reference): Segment<Reference>,
) -> Answer<Json<RestoredTokens>> {
    Ok(Json(api.service.restore_token(&caller, reference).await?))
}
