//! Who one is, what scopes there are, how the server is.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tok_api::convert::{ScopeRecord, ServerStatus, Whoami};
use tok_model::scope::Scope;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Calling;
use super::{Answer, Api};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(whoami)).routes(routes!(list_scopes)).routes(routes!(status))
}

/// Say who the caller is
#[utoipa::path(
    get, path = "/v1/whoami", operation_id = "whoami", tag = "server",
    responses((status = 200, description = "Who the caller is to tokd.", body = Whoami))
)]
async fn whoami(State(api): State<Api>, Calling(caller): Calling) -> Answer<Json<Whoami>> {
    Ok(Json(api.service.whoami(&caller)?))
}

/// Every scope.
#[derive(Serialize, ToSchema)]
struct Scopes {
    /// In the order in which they are explained.
    scopes: Vec<ScopeRecord>,
}

/// List every scope there is
///
/// Public knowledge: takes no token.
#[utoipa::path(
    get, path = "/v1/scopes", operation_id = "listScopes", tag = "server", security(()),
    responses((status = 200, description = "Every scope.", body = Scopes))
)]
async fn list_scopes() -> Json<Scopes> {
    let record =
        |scope: Scope| ScopeRecord { scope: scope.as_str().to_owned(), description: scope.description().to_owned() };
    Json(Scopes { scopes: Scope::every().map(record).collect() })
}

/// Say how the server is
///
/// Managers are told more.
#[utoipa::path(
    get, path = "/v1/server/status", operation_id = "serverStatus", tag = "server",
    responses((status = 200, description = "How the server is.", body = ServerStatus))
)]
async fn status(State(api): State<Api>, Calling(caller): Calling) -> Answer<Json<ServerStatus>> {
    Ok(Json(api.service.status(&caller).await?))
}
