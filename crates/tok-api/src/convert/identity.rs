//! Users, workspaces, members, repositories, and the server itself.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tok_model::id::{UserId, WorkspaceId};
use tok_model::kind::Role;
use tok_model::name::{UserName, WorkspaceName};
use utoipa::ToSchema;

use super::field::{PageOf, given, moment, optional, optional_moment, parsed, present, wire_moment};
use super::{json, schema, words};
use crate::fault::Fault;
use crate::wire::v1;

/// A user to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Login name.
    pub name: UserName,
    /// May administer the whole server.
    pub manager: bool,
}

impl TryFrom<v1::CreateUserRequest> for NewUser {
    type Error = Fault;
    fn try_from(request: v1::CreateUserRequest) -> Result<Self, Fault> {
        Ok(Self { name: parsed("name", &request.name)?, manager: request.manager })
    }
}

/// A workspace to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorkspace {
    /// The first segment of its repositories' addresses.
    pub name: WorkspaceName,
    /// `None` is the caller, or nobody if the caller is no user.
    pub owner: Option<UserName>,
}

impl TryFrom<v1::CreateWorkspaceRequest> for NewWorkspace {
    type Error = Fault;
    fn try_from(request: v1::CreateWorkspaceRequest) -> Result<Self, Fault> {
        Ok(Self { name: parsed("name", &request.name)?, owner: optional("owner", &request.owner)? })
    }
}

/// A place in a workspace to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// Where.
    pub workspace: WorkspaceName,
    /// To whom.
    pub user: UserName,
    /// Which.
    pub role: Role,
}

impl TryFrom<v1::AddMemberRequest> for NewMember {
    type Error = Fault;
    fn try_from(request: v1::AddMemberRequest) -> Result<Self, Fault> {
        Ok(Self {
            workspace: parsed("workspace", &request.workspace)?,
            user: parsed("user", &request.user)?,
            role: words::role("role", request.role)?
                .ok_or_else(|| Fault::field("role", "a member needs a role: reader, writer or maintainer"))?,
        })
    }
}

/// A user, as managers and they themselves see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserRecord {
    /// Never changes.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = String, format = Uuid)]
    pub id: UserId,
    /// Login name.
    pub name: String,
    /// May administer the whole server.
    pub manager: bool,
    /// When they were made.
    #[serde(serialize_with = "json::time")]
    pub created_at: DateTime<Utc>,
    /// Null: enabled.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub disabled_at: Option<DateTime<Utc>>,
    /// How many tokens that are neither expired nor revoked act for them.
    pub live_tokens: u32,
    /// Whether they can log in with a password.
    pub has_password: bool,
}

impl From<UserRecord> for v1::User {
    fn from(user: UserRecord) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.name,
            manager: user.manager,
            created_at: Some(wire_moment(user.created_at)),
            disabled_at: user.disabled_at.map(wire_moment),
            live_tokens: user.live_tokens,
            has_password: user.has_password,
        }
    }
}

impl TryFrom<v1::User> for UserRecord {
    type Error = Fault;
    fn try_from(user: v1::User) -> Result<Self, Fault> {
        Ok(Self {
            id: parsed("id", &user.id)?,
            name: user.name,
            manager: user.manager,
            created_at: moment("created_at", user.created_at)?,
            disabled_at: optional_moment("disabled_at", user.disabled_at)?,
            live_tokens: user.live_tokens,
            has_password: user.has_password,
        })
    }
}

impl From<PageOf<UserRecord>> for v1::ListUsersReply {
    fn from(page: PageOf<UserRecord>) -> Self {
        let (users, next_cursor) = page.into_wire();
        Self { users, next_cursor }
    }
}

/// A user's place in a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MembershipRecord {
    /// Where.
    pub workspace: String,
    /// As what.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = schema::RoleWord)]
    pub role: Role,
    /// Whether the workspace is theirs.
    pub owner: bool,
}

impl From<MembershipRecord> for v1::Membership {
    fn from(membership: MembershipRecord) -> Self {
        Self { workspace: membership.workspace, role: words::wire_role(Some(membership.role)), owner: membership.owner }
    }
}

impl TryFrom<v1::Membership> for MembershipRecord {
    type Error = Fault;
    fn try_from(membership: v1::Membership) -> Result<Self, Fault> {
        Ok(Self {
            workspace: membership.workspace,
            role: present("role", words::role("role", membership.role)?)?,
            owner: membership.owner,
        })
    }
}

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WorkspaceRecord {
    /// Never changes.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = String, format = Uuid)]
    pub id: WorkspaceId,
    /// The first segment of its repositories' addresses.
    pub name: String,
    /// The owner's login name.
    #[schema(required)]
    pub owner: Option<String>,
    /// When it was made.
    #[serde(serialize_with = "json::time")]
    pub created_at: DateTime<Utc>,
    /// How many users belong to it.
    pub members: u32,
    /// How many repositories it has.
    pub repositories: u32,
}

impl From<WorkspaceRecord> for v1::Workspace {
    fn from(workspace: WorkspaceRecord) -> Self {
        Self {
            id: workspace.id.to_string(),
            name: workspace.name,
            owner: workspace.owner.unwrap_or_default(),
            created_at: Some(wire_moment(workspace.created_at)),
            members: workspace.members,
            repositories: workspace.repositories,
        }
    }
}

impl TryFrom<v1::Workspace> for WorkspaceRecord {
    type Error = Fault;
    fn try_from(workspace: v1::Workspace) -> Result<Self, Fault> {
        Ok(Self {
            id: parsed("id", &workspace.id)?,
            name: workspace.name,
            owner: given(workspace.owner),
            created_at: moment("created_at", workspace.created_at)?,
            members: workspace.members,
            repositories: workspace.repositories,
        })
    }
}

impl From<PageOf<WorkspaceRecord>> for v1::ListWorkspacesReply {
    fn from(page: PageOf<WorkspaceRecord>) -> Self {
        let (workspaces, next_cursor) = page.into_wire();
        Self { workspaces, next_cursor }
    }
}

/// A member of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberRecord {
    /// Where.
    pub workspace: String,
    /// Who.
    pub user: String,
    /// As what.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = schema::RoleWord)]
    pub role: Role,
    /// Whether the workspace is theirs.
    pub owner: bool,
    /// Since when.
    #[serde(serialize_with = "json::time")]
    pub added_at: DateTime<Utc>,
}

impl From<MemberRecord> for v1::Member {
    fn from(member: MemberRecord) -> Self {
        Self {
            workspace: member.workspace,
            user: member.user,
            role: words::wire_role(Some(member.role)),
            added_at: Some(wire_moment(member.added_at)),
            owner: member.owner,
        }
    }
}

impl TryFrom<v1::Member> for MemberRecord {
    type Error = Fault;
    fn try_from(member: v1::Member) -> Result<Self, Fault> {
        Ok(Self {
            workspace: member.workspace,
            user: member.user,
            role: present("role", words::role("role", member.role)?)?,
            owner: member.owner,
            added_at: moment("added_at", member.added_at)?,
        })
    }
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RepositoryRecord {
    /// The workspace that owns it.
    pub workspace: String,
    /// Its name there.
    pub name: String,
    /// What git clones.
    #[schema(required)]
    pub url: Option<String>,
    /// When it was made.
    #[serde(serialize_with = "json::time")]
    pub created_at: DateTime<Utc>,
}

impl From<RepositoryRecord> for v1::Repository {
    fn from(repository: RepositoryRecord) -> Self {
        Self {
            workspace: repository.workspace,
            name: repository.name,
            url: repository.url.unwrap_or_default(),
            created_at: Some(wire_moment(repository.created_at)),
        }
    }
}

impl TryFrom<v1::Repository> for RepositoryRecord {
    type Error = Fault;
    fn try_from(repository: v1::Repository) -> Result<Self, Fault> {
        Ok(Self {
            workspace: repository.workspace,
            name: repository.name,
            url: given(repository.url),
            created_at: moment("created_at", repository.created_at)?,
        })
    }
}

impl From<PageOf<RepositoryRecord>> for v1::ListRepositoriesReply {
    fn from(page: PageOf<RepositoryRecord>) -> Self {
        let (repositories, next_cursor) = page.into_wire();
        Self { repositories, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<T>(result: Result<T, Fault>) -> Option<String> {
        result.err().and_then(|fault| fault.field)
    }

    #[test]
    fn requests_name_the_bad_field() {
        let user = v1::CreateUserRequest { name: "alice".to_owned(), ..v1::CreateUserRequest::default() };
        assert!(NewUser::try_from(user.clone()).is_ok());
        let hostile = v1::CreateUserRequest { name: "a\u{1b}[2J".to_owned(), ..user };
        assert_eq!(field(NewUser::try_from(hostile)).as_deref(), Some("name"));

        let member = v1::AddMemberRequest { workspace: "acme".to_owned(), user: "bob".to_owned(), role: 2 };
        assert_eq!(NewMember::try_from(member.clone()).map(|member| member.role), Ok(Role::Writer));
        assert_eq!(
            field(NewMember::try_from(v1::AddMemberRequest { role: 0, ..member.clone() })).as_deref(),
            Some("role")
        );
        let nobody = v1::AddMemberRequest { user: String::new(), ..member };
        assert_eq!(field(NewMember::try_from(nobody)).as_deref(), Some("user"));

        let workspace = v1::CreateWorkspaceRequest { name: "acme".to_owned(), owner: String::new() };
        assert_eq!(NewWorkspace::try_from(workspace).map(|workspace| workspace.owner), Ok(None));
    }

    #[test]
    fn replies_survive_the_wire() {
        let at: DateTime<Utc> = "2026-11-22T10:00:00Z".parse().unwrap();
        let user = UserRecord {
            id: "9f2c51aa-0000-4000-8000-000000000001".parse().unwrap(),
            name: "alice".to_owned(),
            manager: true,
            created_at: at,
            disabled_at: Some(at),
            live_tokens: 3,
            has_password: true,
        };
        assert_eq!(UserRecord::try_from(v1::User::from(user.clone())), Ok(user));
        let workspace = WorkspaceRecord {
            id: "9f2c51aa-0000-4000-8000-000000000002".parse().unwrap(),
            name: "acme".to_owned(),
            owner: None,
            created_at: at,
            members: 2,
            repositories: 1,
        };
        assert_eq!(WorkspaceRecord::try_from(v1::Workspace::from(workspace.clone())), Ok(workspace));
        let member = MemberRecord {
            workspace: "acme".to_owned(),
            user: "bob".to_owned(),
            role: Role::Reader,
            owner: false,
            added_at: at,
        };
        assert_eq!(MemberRecord::try_from(v1::Member::from(member.clone())), Ok(member));
        let repository = RepositoryRecord {
            workspace: "acme".to_owned(),
            name: "app".to_owned(),
            url: Some("http://127.0.0.1:7650/acme/app.git".to_owned()),
            created_at: at,
        };
        assert_eq!(RepositoryRecord::try_from(v1::Repository::from(repository.clone())), Ok(repository));
    }
}
