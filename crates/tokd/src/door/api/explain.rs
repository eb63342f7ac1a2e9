//! `/v1/explain`: whether somebody may, and which rule decides.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tok_api::convert::schema::RepoRightWord;
use tok_api::convert::{ExplainAsk, Explanation, if_said, moment_said};
use tok_api::fault::Fault;
use tok_model::name::RepoPath;
use tok_model::scope::RepoRight;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Calling, Said};
use super::{Answer, Api};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// What is asked. Nothing said is: whether the caller's own token is good at all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Explain {
    /// About which token: ID, ID prefix or token prefix, never its text; not said: about the caller as they are.
    #[serde(default)]
    reference: Option<String>,
    /// As in `acme/app`; not said: only whether the token is good at all.
    #[serde(default)]
    repository: Option<String>,
    /// What with the repository; `read` if it is not said.
    #[serde(default)]
    #[schema(value_type = Option<RepoRightWord>)]
    act: Option<String>,
    /// From which address; from where the caller calls, if it is not said.
    #[serde(default)]
    address: Option<String>,
    /// When (RFC 3339); now, if it is not said.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<String>,
}

/// Explain a verdict
///
/// By the function that decides each request, without needing the secret.
#[utoipa::path(
    post, path = "/v1/explain", operation_id = "explain", tag = "tokens",
    request_body(content = Explain, content_type = "application/json"),
    responses((status = 200, description = "Whether it may, and the rule that decides.", body = Explanation))
)]
async fn explain(
    State(api): State<Api>,
    Calling(caller): Calling,
    Said(asked): Said<Explain>,
) -> Answer<Json<Explanation>> {
    let right = match asked.act.as_deref() {
        None => None,
        Some("read") => Some(RepoRight::Read),
        Some("write") => Some(RepoRight::Write),
        Some("admin") => Some(RepoRight::Admin),
        Some(_) => return Err(Fault::field("act", "an act is read, write or admin").into()),
    };
    let repository: Option<RepoPath> = if_said("repository", asked.repository.as_deref())?;
    if repository.is_none() && right.is_some() {
        return Err(Fault::field("repository", "name a repository, as workspace/repo").into());
    }
    let ask = ExplainAsk {
        reference: if_said("reference", asked.reference.as_deref())?,
        repository: repository.map(|repo| (repo, right.unwrap_or(RepoRight::Read))),
        address: if_said("address", asked.address.as_deref())?,
        at: moment_said("at", asked.at.as_deref())?,
    };
    Ok(Json(api.service.explain(&caller, ask).await?))
}
