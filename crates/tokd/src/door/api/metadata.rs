//! What clients may know before they have a token: the authorization server's metadata (RFC 8414) and each protected
//! resource's (RFC 9728). Only what exists is listed.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;
use tok_model::scope::Scope;
use tok_model::url::{GitPath, Tail};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::{Answer, Api, oauth, token_endpoint};

/// Where the authorization server's metadata is (RFC 8414 section 3).
pub const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
/// Where a protected resource's is; its own path comes behind (RFC 9728 section 3.1).
pub const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(authorization_server))
        .routes(routes!(protected_resource))
        .routes(routes!(api_resource))
        .routes(routes!(repository_resource))
}

/// What there is of OAuth here (RFC 8414).
#[derive(Serialize, ToSchema)]
struct AuthorizationServer {
    /// This server's URL.
    #[schema(format = "uri")]
    issuer: String,
    /// Where tokens are introspected (RFC 7662).
    #[schema(format = "uri")]
    introspection_endpoint: String,
    /// How its callers authenticate.
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    /// Where tokens are revoked (RFC 7009).
    #[schema(format = "uri")]
    revocation_endpoint: String,
    /// How its callers authenticate: holding the token is enough.
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    /// Every scope.
    scopes_supported: Vec<&'static str>,
    /// None: there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    /// Where devices begin to be logged in (RFC 8628).
    #[schema(format = "uri")]
    device_authorization_endpoint: String,
    /// Where grants become tokens.
    #[schema(format = "uri")]
    token_endpoint: String,
    /// How its callers authenticate: they have no secrets.
    token_endpoint_auth_methods_supported: [&'static str; 1],
    /// What can be traded for a token.
    grant_types_supported: [&'static str; 3],
}

/// The authorization server's metadata
#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", operation_id = "authorizationServerMetadata", tag = "oauth", security(()),
    responses((status = 200, description = "What there is of OAuth here (RFC 8414).", body = AuthorizationServer))
)]
async fn authorization_server(State(api): State<Api>) -> Response {
    let url = &api.service.place().public_url;
    public(&AuthorizationServer {
        issuer: url.to_string(),
        introspection_endpoint: format!("{url}{}", oauth::INTROSPECT),
        introspection_endpoint_auth_methods_supported: ["Bearer", "client_secret_basic"],
        revocation_endpoint: format!("{url}{}", oauth::REVOKE),
        revocation_endpoint_auth_methods_supported: ["none"],
        scopes_supported: scopes(),
        response_types_supported: [],
        device_authorization_endpoint: format!("{url}{}", token_endpoint::DEVICE_AUTHORIZATION),
        token_endpoint: format!("{url}{}", token_endpoint::TOKEN),
        token_endpoint_auth_methods_supported: ["none"],
        grant_types_supported: token_endpoint::GRANTS,
    })
}

/// A protected resource (RFC 9728).
#[derive(Serialize, ToSchema)]
struct ProtectedResource {
    /// Its URL.
    #[schema(format = "uri")]
    resource: String,
    /// Who says what its tokens are worth: this server.
    authorization_servers: [String; 1],
    /// Every scope.
    scopes_supported: Vec<&'static str>,
    /// Only in the header `Authorization`, never in an address or a body.
    bearer_methods_supported: [&'static str; 1],
    /// For people.
    resource_name: &'static str,
}

/// This server's metadata as a protected resource
#[utoipa::path(
    get, path = "/.well-known/oauth-protected-resource", operation_id = "protectedResourceMetadata", tag = "oauth", security(()),
    responses((status = 200, description = "The server as a protected resource (RFC 9728).", body = ProtectedResource))
)]
async fn protected_resource(State(api): State<Api>) -> Response {
    described(&api, "")
}

/// This API's metadata as a protected resource
///
/// The resource is the server's URL with this path behind it.
#[utoipa::path(
    get, path = "/.well-known/oauth-protected-resource/{path}", operation_id = "apiResourceMetadata", tag = "oauth", security(()),
    params(("path" = String, Path, description = "`v1`.", example = "v1")),
    responses((status = 200, description = "The resource (RFC 9728).", body = ProtectedResource))
)]
async fn api_resource(State(api): State<Api>, Path(path): Path<String>) -> Answer<Response> {
    if path == "v1" { Ok(described(&api, "/v1")) } else { Err(no_resource()) }
}

/// A repository's metadata as a protected resource
///
/// The same for each repository, whether it exists or not, so that nobody learns from it what there is.
#[utoipa::path(
    get, path = "/.well-known/oauth-protected-resource/{workspace}/{repository}", operation_id = "repositoryResourceMetadata", tag = "oauth", security(()),
    params(
        ("workspace" = String, Path, description = "The workspace's name."),
        ("repository" = String, Path, description = "The repository's name, with `.git` or without.", example = "app.git")
    ),
    responses((status = 200, description = "The resource (RFC 9728).", body = ProtectedResource))
)]
async fn repository_resource(
    State(api): State<Api>,
    Path((workspace, repository)): Path<(String, String)>,
) -> Answer<Response> {
    let path = format!("/{workspace}/{repository}");
    if GitPath::parse(&path).is_ok_and(|path| *path.tail() == Tail::Root) {
        Ok(described(&api, &path))
    } else {
        Err(no_resource())
    }
}

fn no_resource() -> Problem {
    Problem::new("not_found", "there is no resource at this path")
        .hint("ask for /v1 or for /<workspace>/<repository>.git")
}

fn described(api: &Api, path: &str) -> Response {
    let url = &api.service.place().public_url;
    public(&ProtectedResource {
        resource: format!("{url}{path}"),
        authorization_servers: [url.to_string()],
        scopes_supported: scopes(),
        bearer_methods_supported: ["header"],
        resource_name: "tok",
    })
}

fn scopes() -> Vec<&'static str> {
    Scope::every().map(Scope::as_str).collect()
}

fn public<B: Serialize>(body: &B) -> Response {
    let mut response = Json(body).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}
