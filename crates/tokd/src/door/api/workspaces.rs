//! `/v1/workspaces`, their members, and `/v1/repositories`.

#![expect(unused_qualifications, reason = "what utoipa generates for query parameters")]

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hyper::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use tok_api::convert::schema::RoleWord;
use tok_api::convert::{MemberRecord, NewMember, NewWorkspace, RepositoryRecord, WorkspaceRecord, if_said, parsed};
use tok_model::name::{UserName, WorkspaceName};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Asked, Calling, Said, Segment, Segments};
use super::{Answer, Api, reply};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(delete))
        .routes(routes!(list_members))
        .routes(routes!(set_member, remove_member))
        .routes(routes!(list_repositories))
}

/// Which workspace to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateWorkspace {
    /// The first segment of its repositories' addresses.
    #[schema(example = "acme")]
    name: String,
    /// The owner's login name; the caller, if it is not said.
    #[serde(default)]
    owner: Option<String>,
}

/// A workspace.
#[derive(Serialize, ToSchema)]
struct WorkspaceReply {
    /// As it is now.
    workspace: WorkspaceRecord,
}

/// Make a workspace
///
/// For managers.
#[utoipa::path(
    post, path = "/v1/workspaces", operation_id = "createWorkspace", tag = "workspaces",
    request_body(content = CreateWorkspace, content_type = "application/json"),
    responses((status = 201, description = "The workspace.", body = WorkspaceReply,
        headers(("Location" = String, description = "Its address."))))
)]
async fn create(
    State(api): State<Api>,
    Calling(caller): Calling,
    Said(said): Said<CreateWorkspace>,
) -> Answer<Response> {
    let owner = if_said("owner", said.owner.as_deref())?;
    let new = NewWorkspace { name: parsed("name", &said.name)?, owner };
    let workspace = api.service.create_workspace(&caller, new).await?;
    let address = format!("/v1/workspaces/{}", workspace.name);
    Ok(reply::made_at(&address, (StatusCode::CREATED, Json(WorkspaceReply { workspace })).into_response()))
}

/// A page of workspaces.
#[derive(Serialize, ToSchema)]
struct WorkspacePage {
    /// By name.
    workspaces: Vec<WorkspaceRecord>,
    /// What to ask for the next page with; null: this was the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List workspaces
///
/// By name: every one for managers, else those that one is a member of.
#[utoipa::path(
    get, path = "/v1/workspaces", operation_id = "listWorkspaces", tag = "workspaces", params(reply::Paging),
    responses((status = 200, description = "A page of workspaces.", body = WorkspacePage,
        headers(("Link" = String, description = "The next page, if there is one (RFC 8288)."))))
)]
async fn list(
    State(api): State<Api>,
    Calling(caller): Calling,
    uri: Uri,
    Asked(paging): Asked<reply::Paging>,
) -> Answer<Response> {
    let page = api.service.list_workspaces(&caller, paging.ask()?).await?;
    Ok(reply::page(&uri, page, |workspaces, next_cursor| WorkspacePage { workspaces, next_cursor }))
}

/// What deleting a workspace did, or would do.
#[derive(Serialize, ToSchema)]
struct DeletedWorkspace {
    /// As it was.
    workspace: WorkspaceRecord,
    /// How many live tokens ended, or would.
    tokens_revoked: u32,
    /// False: it was a dry run.
    deleted: bool,
}

/// Delete a workspace
///
/// One without repositories; its tokens end, at once. For managers.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspace}", operation_id = "deleteWorkspace", tag = "workspaces",
    params(("workspace" = String, Path, description = "Its name."), reply::Trial),
    responses((status = 200, description = "What was done.", body = DeletedWorkspace))
)]
async fn delete(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(name): Segment<WorkspaceName>,
    Asked(asked): Asked<reply::Trial>,
) -> Answer<Json<DeletedWorkspace>> {
    let (workspace, tokens_revoked) = api.service.delete_workspace(&caller, name, asked.dry_run).await?;
    Ok(Json(DeletedWorkspace { workspace, tokens_revoked, deleted: !asked.dry_run }))
}

/// The members of a workspace.
#[derive(Serialize, ToSchema)]
struct Members {
    /// By name.
    members: Vec<MemberRecord>,
}

/// List the members of a workspace
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace}/members", operation_id = "listMembers", tag = "workspaces",
    params(("workspace" = String, Path, description = "The workspace's name.")),
    responses((status = 200, description = "Its members.", body = Members))
)]
async fn list_members(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(workspace): Segment<WorkspaceName>,
) -> Answer<Json<Members>> {
    Ok(Json(Members { members: api.service.list_members(&caller, workspace).await? }))
}

/// What a member shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetMember {
    /// Which place they have.
    #[schema(value_type = RoleWord)]
    role: String,
}

/// A member.
#[derive(Serialize, ToSchema)]
struct MemberReply {
    /// As they are now; of one who was removed, as they were.
    member: MemberRecord,
}

/// Give a user a role in a workspace
///
/// Or another role than the one they have. For its maintainers, and managers.
#[utoipa::path(
    put, path = "/v1/workspaces/{workspace}/members/{user}", operation_id = "setMember", tag = "workspaces",
    params(("workspace" = String, Path, description = "The workspace's name."), ("user" = String, Path, description = "Login name.")),
    request_body(content = SetMember, content_type = "application/json"),
    responses((status = 200, description = "The member.", body = MemberReply))
)]
async fn set_member(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segments(workspace, user): Segments<WorkspaceName, UserName>,
    Said(said): Said<SetMember>,
) -> Answer<Json<MemberReply>> {
    let new = NewMember { workspace, user, role: parsed("role", &said.role)? };
    Ok(Json(MemberReply { member: api.service.add_member(&caller, new).await? }))
}

/// Take a user out of a workspace
///
/// Takes effect on their next call. For its maintainers, and managers.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspace}/members/{user}", operation_id = "removeMember", tag = "workspaces",
    params(("workspace" = String, Path, description = "The workspace's name."), ("user" = String, Path, description = "Login name.")),
    responses((status = 200, description = "The member, as they were.", body = MemberReply))
)]
async fn remove_member(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segments(workspace, user): Segments<WorkspaceName, UserName>,
) -> Answer<Json<MemberReply>> {
    Ok(Json(MemberReply { member: api.service.remove_member(&caller, workspace, user).await? }))
}

/// Which repositories, and which page of them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListRepositories {
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000)]
    page_size: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those of this workspace.
    workspace: Option<String>,
}

/// A page of repositories.
#[derive(Serialize, ToSchema)]
struct RepositoryPage {
    /// By path.
    repositories: Vec<RepositoryRecord>,
    /// What to ask for the next page with; null: this was the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List the repositories that one may see
#[utoipa::path(
    get, path = "/v1/repositories", operation_id = "listRepositories", tag = "workspaces", params(ListRepositories),
    responses((status = 200, description = "A page of repositories.", body = RepositoryPage,
        headers(("Link" = String, description = "The next page, if there is one (RFC 8288)."))))
)]
async fn list_repositories(
    State(api): State<Api>,
    Calling(caller): Calling,
    uri: Uri,
    Asked(asked): Asked<ListRepositories>,
) -> Answer<Response> {
    let workspace = if_said("workspace", asked.workspace.as_deref())?;
    let page = reply::page_ask(asked.page_size, asked.cursor)?;
    let page = api.service.list_repositories(&caller, page, workspace).await?;
    Ok(reply::page(&uri, page, |repositories, next_cursor| RepositoryPage { repositories, next_cursor }))
}
