//! Who there is, who belongs where, and who is asking.

use tok_model::kind::Role;
use tok_model::name::{UserName, WorkspaceName};

use super::{Client, answered, call, unreadable};
use crate::convert::{
    MemberRecord, MembershipRecord, PageAsk, PageOf, PasswordChange, PasswordSet, RepositoryRecord, ServerStatus,
    UserRecord, Whoami, WorkspaceRecord, role_number,
};
use crate::fault::Fault;
use crate::wire::v1;

impl Client {
    /// Asks who one is to the daemon.
    pub async fn whoami(&mut self) -> Result<Whoami, Fault> {
        call!(self.identity, whoami, v1::WhoamiRequest {}).try_into().map_err(unreadable)
    }

    /// Makes a user.
    pub async fn create_user(&mut self, name: UserName, manager: bool) -> Result<UserRecord, Fault> {
        let request = v1::CreateUserRequest { name: name.to_string(), manager };
        answered(call!(self.identity, create_user, request).user)
    }

    /// Lists users by name.
    pub async fn list_users(&mut self, page: PageAsk) -> Result<PageOf<UserRecord>, Fault> {
        let (page_size, cursor) = page.into_wire();
        let reply = call!(self.identity, list_users, v1::ListUsersRequest { page_size, cursor });
        PageOf::from_wire(reply.users, reply.next_cursor).map_err(unreadable)
    }

    /// Shows a user and where they belong.
    pub async fn show_user(&mut self, name: UserName) -> Result<(UserRecord, Vec<MembershipRecord>), Fault> {
        let reply = call!(self.identity, show_user, v1::ShowUserRequest { name: name.to_string() });
        let memberships = reply.memberships.into_iter().map(TryInto::try_into).collect::<Result<_, _>>();
        Ok((answered(reply.user)?, memberships.map_err(unreadable)?))
    }

    /// Stops every token of a user.
    pub async fn disable_user(&mut self, name: UserName) -> Result<UserRecord, Fault> {
        let request = v1::DisableUserRequest { name: name.to_string() };
        answered(call!(self.identity, disable_user, request).user)
    }

    /// Lets a user's tokens work again.
    pub async fn enable_user(&mut self, name: UserName) -> Result<UserRecord, Fault> {
        let request = v1::EnableUserRequest { name: name.to_string() };
        answered(call!(self.identity, enable_user, request).user)
    }

    /// Sets or takes away a user's password. What browsers were given with the one until now ends.
    pub async fn set_password(&mut self, change: PasswordChange) -> Result<PasswordSet, Fault> {
        let reply = call!(self.identity, set_password, v1::SetPasswordRequest::from(change));
        let (sessions_ended, sessions_left) = (reply.sessions_ended, reply.sessions_left);
        Ok(PasswordSet { user: answered(reply.user)?, sessions_ended, sessions_left })
    }

    /// Removes a user; says who they were and how many tokens ended.
    ///
    /// The answer has the user as they were, how many of their tokens ended, and their own workspace if it stays.
    pub async fn delete_user(
        &mut self,
        name: UserName,
        dry_run: bool,
    ) -> Result<(UserRecord, u32, Option<String>), Fault> {
        let request = v1::DeleteUserRequest { name: name.to_string(), dry_run };
        let reply = call!(self.identity, delete_user, request);
        let kept = Some(reply.workspace_kept).filter(|name| !name.is_empty());
        Ok((answered(reply.user)?, reply.tokens_revoked, kept))
    }

    /// Makes a workspace.
    pub async fn create_workspace(
        &mut self,
        name: WorkspaceName,
        owner: Option<UserName>,
    ) -> Result<WorkspaceRecord, Fault> {
        let owner = owner.map(|owner| owner.to_string()).unwrap_or_default();
        let request = v1::CreateWorkspaceRequest { name: name.to_string(), owner };
        answered(call!(self.identity, create_workspace, request).workspace)
    }

    /// Lists workspaces by name.
    pub async fn list_workspaces(&mut self, page: PageAsk) -> Result<PageOf<WorkspaceRecord>, Fault> {
        let (page_size, cursor) = page.into_wire();
        let reply = call!(self.identity, list_workspaces, v1::ListWorkspacesRequest { page_size, cursor });
        PageOf::from_wire(reply.workspaces, reply.next_cursor).map_err(unreadable)
    }

    /// Removes a workspace; says what it was and how many tokens ended.
    pub async fn delete_workspace(
        &mut self,
        name: WorkspaceName,
        dry_run: bool,
    ) -> Result<(WorkspaceRecord, u32), Fault> {
        let request = v1::DeleteWorkspaceRequest { name: name.to_string(), dry_run };
        let reply = call!(self.identity, delete_workspace, request);
        Ok((answered(reply.workspace)?, reply.tokens_revoked))
    }

    /// Gives a user a role in a workspace.
    pub async fn add_member(
        &mut self,
        workspace: WorkspaceName,
        user: UserName,
        role: Role,
    ) -> Result<MemberRecord, Fault> {
        let (workspace, user) = (workspace.to_string(), user.to_string());
        let request = v1::AddMemberRequest { workspace, user, role: role_number(role) };
        answered(call!(self.identity, add_member, request).member)
    }

    /// Takes a user out of a workspace.
    pub async fn remove_member(&mut self, workspace: WorkspaceName, user: UserName) -> Result<MemberRecord, Fault> {
        let request = v1::RemoveMemberRequest { workspace: workspace.to_string(), user: user.to_string() };
        answered(call!(self.identity, remove_member, request).member)
    }

    /// Lists the members of a workspace.
    pub async fn list_members(&mut self, workspace: WorkspaceName) -> Result<Vec<MemberRecord>, Fault> {
        let request = v1::ListMembersRequest { workspace: workspace.to_string() };
        let reply = call!(self.identity, list_members, request);
        reply.members.into_iter().map(MemberRecord::try_from).collect::<Result<_, _>>().map_err(unreadable)
    }

    /// Lists repositories by path.
    pub async fn list_repositories(
        &mut self,
        workspace: Option<WorkspaceName>,
        page: PageAsk,
    ) -> Result<PageOf<RepositoryRecord>, Fault> {
        let (page_size, cursor) = page.into_wire();
        let workspace = workspace.map(|workspace| workspace.to_string()).unwrap_or_default();
        let request = v1::ListRepositoriesRequest { page_size, cursor, workspace };
        let reply = call!(self.identity, list_repositories, request);
        PageOf::from_wire(reply.repositories, reply.next_cursor).map_err(unreadable)
    }

    /// Asks how the server is.
    pub async fn server_status(&mut self) -> Result<ServerStatus, Fault> {
        Ok(call!(self.identity, server_status, v1::ServerStatusRequest {}).into())
    }
}
