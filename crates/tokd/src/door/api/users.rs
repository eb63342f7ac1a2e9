//! `/v1/users`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hyper::{StatusCode, Uri};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tok_api::convert::{MembershipRecord, NewUser, PasswordChange, PasswordSet, UserRecord, parsed};
use tok_model::name::UserName;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Asked, Calling, Said, SecretText, Segment};
use super::{Answer, Api, reply};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, delete))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(set_password))
}

/// Whom to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateUser {
    /// Login name.
    #[schema(example = "alice")]
    name: String,
    /// May administer the whole server.
    #[serde(default)]
    manager: bool,
}

/// A user.
#[derive(Serialize, ToSchema)]
pub(super) struct UserReply {
    /// As they are now.
    user: UserRecord,
}

/// Make a user
///
/// And the workspace of the same name. For managers.
#[utoipa::path(
    post, path = "/v1/users", operation_id = "createUser", tag = "users",
    request_body(content = CreateUser, content_type = "application/json"),
    responses((status = 201, description = "The user.", body = UserReply,
        headers(("Location" = String, description = "Its address."))))
)]
async fn create(State(api): State<Api>, Calling(caller): Calling, Said(said): Said<CreateUser>) -> Answer<Response> {
    let new = NewUser { name: parsed("name", &said.name)?, manager: said.manager };
    let user = api.service.create_user(&caller, new).await?;
    let address = format!("/v1/users/{}", user.name);
    Ok(reply::made_at(&address, (StatusCode::CREATED, Json(UserReply { user })).into_response()))
}

/// A page of users.
#[derive(Serialize, ToSchema)]
struct UserPage {
    /// By name.
    users: Vec<UserRecord>,
    /// What to ask for the next page with; null: this was the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List users
///
/// By name. For managers.
#[utoipa::path(
    get, path = "/v1/users", operation_id = "listUsers", tag = "users", params(reply::Paging),
    responses((status = 200, description = "A page of users.", body = UserPage,
        headers(("Link" = String, description = "The next page, if there is one (RFC 8288)."))))
)]
async fn list(
    State(api): State<Api>,
    Calling(caller): Calling,
    uri: Uri,
    Asked(paging): Asked<reply::Paging>,
) -> Answer<Response> {
    let page = api.service.list_users(&caller, paging.ask()?).await?;
    Ok(reply::page(&uri, page, |users, next_cursor| UserPage { users, next_cursor }))
}

/// A user and where they belong.
#[derive(Serialize, ToSchema)]
struct ShownUser {
    /// The user.
    user: UserRecord,
    /// By workspace.
    memberships: Vec<MembershipRecord>,
}

/// Show a user
///
/// For managers, and for the user.
#[utoipa::path(
    get, path = "/v1/users/{name}", operation_id = "showUser", tag = "users",
    params(("name" = String, Path, description = "Login name.")),
    responses((status = 200, description = "The user and where they belong.", body = ShownUser))
)]
async fn show(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(name): Segment<UserName>,
) -> Answer<Json<ShownUser>> {
    let (user, memberships) = api.service.show_user(&caller, name).await?;
    Ok(Json(ShownUser { user, memberships }))
}

/// What deleting a user did, or would do.
#[derive(Serialize, ToSchema)]
struct DeletedUser {
    /// As they were.
    user: UserRecord,
    /// How many live tokens ended, or would.
    tokens_revoked: u32,
    /// False: it was a dry run.
    deleted: bool,
    /// Their own workspace, if it stays because there are repositories or other members in it.
    #[schema(required)]
    workspace_kept: Option<String>,
}

/// Delete a user
///
/// And end their tokens, at once. For managers.
#[utoipa::path(
    delete, path = "/v1/users/{name}", operation_id = "deleteUser", tag = "users",
    params(("name" = String, Path, description = "Login name."), reply::Trial),
    responses((status = 200, description = "What was done.", body = DeletedUser))
)]
async fn delete(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(name): Segment<UserName>,
    Asked(asked): Asked<reply::Trial>,
) -> Answer<Json<DeletedUser>> {
    let (user, tokens_revoked, workspace_kept) = api.service.delete_user(&caller, name, asked.dry_run).await?;
    Ok(Json(DeletedUser { user, tokens_revoked, deleted: !asked.dry_run, workspace_kept }))
}

/// Disable a user
///
/// Stops every token of theirs, at once, until they are enabled again. For managers.
#[utoipa::path(
    post, path = "/v1/users/{name}/disable", operation_id = "disableUser", tag = "users",
    params(("name" = String, Path, description = "Login name.")),
    responses((status = 200, description = "The user.", body = UserReply))
)]
async fn disable(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(name): Segment<UserName>,
) -> Answer<Json<UserReply>> {
    Ok(Json(UserReply { user: api.service.set_user_enabled(&caller, name, false).await? }))
}

/// Enable a user again
///
/// For managers.
#[utoipa::path(
    post, path = "/v1/users/{name}/enable", operation_id = "enableUser", tag = "users",
    params(("name" = String, Path, description = "Login name.")),
    responses((status = 200, description = "The user.", body = UserReply))
)]
async fn enable(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(name): Segment<UserName>,
) -> Answer<Json<UserReply>> {
    Ok(Json(UserReply { user: api.service.set_user_enabled(&caller, name, true).await? }))
}

/// A password to be set or taken away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetPassword {
    /// The new one; null takes it away. Never logged, and kept as an argon2id hash.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(value_type = Option<String>, format = Password, required)]
    password: Option<SecretText>,
    /// The one until now; managers need not say it for others.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    current: Option<SecretText>,
    /// End every other session of theirs, too, and not only those of browsers.
    #[serde(default)]
    end_sessions: bool,
}

/// Set or take away a password
///
/// One's own, or for managers anybody's. What browsers were given with the one until now ends, but for the session that this
/// is asked with; logins of machines go on, unless `end_sessions` is true.
#[utoipa::path(
    put, path = "/v1/users/{name}/password", operation_id = "setPassword", tag = "users",
    params(("name" = String, Path, description = "Login name.")),
    request_body(content = SetPassword, content_type = "application/json"),
    responses((status = 200, description = "The user, and what became of their sessions.", body = PasswordSet))
)]
async fn set_password(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(name): Segment<UserName>,
    Said(said): Said<SetPassword>,
) -> Answer<Json<PasswordSet>> {
    let text =
        |secret: Option<SecretText>| secret.filter(|text| !text.is_empty()).map(|text| SecretString::from(&*text));
    let (password, current) = (text(said.password), text(said.current));
    let change = PasswordChange { user: Some(name), password, current, end_sessions: said.end_sessions };
    Ok(Json(api.service.set_password(&caller, change).await?))
}
