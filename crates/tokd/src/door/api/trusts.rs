//! `/v1/trusts`: whose identity tokens are exchanged, and for what.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use tok_api::convert::schema::{PermissionWord, SystemWord};
use tok_api::convert::{IdentityCheck, TrustDraft, TrustRecord, parsed};
use tok_model::name::TrustName;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Asked, Calling, Said, SecretText, Segment};
use super::{Answer, Api, reply};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(add, list)).routes(routes!(check)).routes(routes!(show, remove))
}

/// A trust rule to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddTrust {
    /// What to call it.
    #[schema(example = "app")]
    name: String,
    /// The claim `iss`, exactly: an https URL. Its keys are found there (OpenID Connect Discovery).
    #[schema(example = "https://token.actions.githubusercontent.com")]
    issuer: String,
    /// The claim `aud`, exactly; this server's address, if it is not said.
    #[serde(default)]
    audience: Option<String>,
    /// What the other claims have to say, each `name=pattern`: as it stands, or with `*` for anything but `/` and `**` for
    /// anything. Of a claim that is there more than once, one has to be met.
    #[schema(example = json!(["repository=acme/app", "repository_id=123456"]))]
    claims: Vec<String>,
    /// For which repositories of one workspace, with `*` for any part of a name.
    #[serde(default)]
    #[schema(example = json!(["acme/app"]))]
    repos: Vec<String>,
    /// Every repository of this workspace, if `repos` names none.
    #[serde(default)]
    workspace: Option<String>,
    /// At most what.
    #[schema(value_type = PermissionWord)]
    permission: String,
    /// How long a token lives, from `1m` to `1h`; ten minutes, if it is not said.
    #[serde(default)]
    lifetime: Option<String>,
    /// Which CI system it is; as the issuer says, if it is not said.
    #[serde(default)]
    #[schema(value_type = Option<SystemWord>)]
    system: Option<String>,
    /// With which algorithms the issuer signs, as in `RS256`; what the system signs with, if it is not said.
    #[serde(default)]
    algorithms: Vec<String>,
    /// Certificates in PEM that are trusted for the issuer beside those of the server's machine.
    #[serde(default)]
    ca: Option<String>,
    /// How old an identity token may be; as the system needs it, if it is not said.
    #[serde(default)]
    max_age: Option<String>,
    /// How often one identity token is good: once (`token`), or once for each repository (`repository`).
    #[serde(default)]
    once: Option<String>,
    /// Whether a name that passed to somebody else, which shows by its ID, is let in all the same.
    #[serde(default)]
    allow_recycled_names: bool,
}

/// A trust rule.
#[derive(Serialize, ToSchema)]
struct TrustReply {
    /// As it is.
    trust: TrustRecord,
}

/// Make a trust rule
///
/// For managers. Jobs whose identity tokens meet it get a git token at `/oauth2/token`.
#[utoipa::path(
    post, path = "/v1/trusts", operation_id = "addTrust", tag = "trusts",
    request_body(content = AddTrust, content_type = "application/json"),
    responses((status = 201, description = "The rule.", body = TrustReply,
        headers(("Location" = String, description = "Its address."))))
)]
async fn add(State(api): State<Api>, Calling(caller): Calling, Said(said): Said<AddTrust>) -> Answer<Response> {
    let draft = TrustDraft {
        name: said.name,
        issuer: said.issuer,
        audience: said.audience.unwrap_or_default(),
        claims: said.claims,
        repos: said.repos,
        workspace: said.workspace,
        permission: Some(parsed("permission", &said.permission)?),
        lifetime: said.lifetime,
        system: said.system,
        algorithms: said.algorithms,
        ca: said.ca,
        max_age: said.max_age,
        once: said.once,
        allow_recycled_names: said.allow_recycled_names,
    };
    let trust = api.service.add_trust(&caller, draft).await?;
    let address = format!("/v1/trusts/{}", trust.name);
    Ok(reply::made_at(&address, (StatusCode::CREATED, Json(TrustReply { trust })).into_response()))
}

/// The trust rules.
#[derive(Serialize, ToSchema)]
struct Trusts {
    /// By name.
    trusts: Vec<TrustRecord>,
}

/// List the trust rules
///
/// For managers.
#[utoipa::path(
    get, path = "/v1/trusts", operation_id = "listTrusts", tag = "trusts",
    responses((status = 200, description = "The rules.", body = Trusts))
)]
async fn list(State(api): State<Api>, Calling(caller): Calling) -> Answer<Json<Trusts>> {
    Ok(Json(Trusts { trusts: api.service.list_trusts(&caller).await? }))
}

/// Show a trust rule
///
/// With the IDs that it has pinned. For managers.
#[utoipa::path(
    get, path = "/v1/trusts/{name}", operation_id = "showTrust", tag = "trusts",
    params(("name" = String, Path, description = "The rule's name, or its ID.")),
    responses((status = 200, description = "The rule.", body = TrustReply))
)]
async fn show(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(name): Segment<TrustName>,
) -> Answer<Json<TrustReply>> {
    Ok(Json(TrustReply { trust: api.service.show_trust(&caller, name).await? }))
}

/// What removing a trust rule did, or would do.
#[derive(Serialize, ToSchema)]
struct RemovedTrust {
    /// As it was.
    trust: TrustRecord,
    /// How many live tokens ended with it.
    tokens_revoked: u32,
    /// False: it was a dry run.
    removed: bool,
}

/// Remove a trust rule
///
/// What was given under it ends, at once. For managers.
#[utoipa::path(
    delete, path = "/v1/trusts/{name}", operation_id = "removeTrust", tag = "trusts",
    params(("name" = String, Path, description = "The rule's name, or its ID."), reply::Trial),
    responses((status = 200, description = "What was done.", body = RemovedTrust))
)]
async fn remove(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(name): Segment<TrustName>,
    Asked(asked): Asked<reply::Trial>,
) -> Answer<Json<RemovedTrust>> {
    let (trust, tokens_revoked) = api.service.remove_trust(&caller, name, asked.dry_run).await?;
    Ok(Json(RemovedTrust { trust, tokens_revoked, removed: !asked.dry_run }))
}

/// An identity token to be looked at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckIdentity {
    /// The identity token.
    #[schema(value_type = String, format = Password)]
    token: SecretText,
}

/// What the trust rules make of an identity token.
#[derive(Serialize, ToSchema)]
struct CheckedIdentity {
    /// Rule by rule, expected against seen.
    identity: IdentityCheck,
}

/// Say what the trust rules make of an identity token
///
/// Nothing is exchanged, and the token stays good. For managers.
#[utoipa::path(
    post, path = "/v1/trusts/check", operation_id = "checkIdentity", tag = "trusts",
    request_body(content = CheckIdentity, content_type = "application/json"),
    responses((status = 200, description = "What each rule of its issuer found.", body = CheckedIdentity))
)]
async fn check(
    State(api): State<Api>,
    Calling(caller): Calling,
    Said(said): Said<CheckIdentity>,
) -> Answer<Json<CheckedIdentity>> {
    let token = secrecy::SecretString::from(&*said.token);
    Ok(Json(CheckedIdentity { identity: api.service.check_identity(&caller, &token).await? }))
}
