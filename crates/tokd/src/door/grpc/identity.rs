//! Who there is, who belongs where, and who is asking.

use tok_api::convert::{NewMember, NewUser, NewWorkspace, PageAsk, PasswordChange, optional, parsed};
use tok_api::wire::v1;
use tonic::{Request, Response};
use v1::identity_service_server::IdentityService;

use super::{Door, Reply};

#[tonic::async_trait]
impl IdentityService for Door {
    async fn whoami(&self, request: Request<v1::WhoamiRequest>) -> Reply<v1::WhoamiReply> {
        let caller = self.caller(&request).await?;
        Ok(Response::new(self.service.whoami(&caller)?.into()))
    }

    async fn create_user(&self, request: Request<v1::CreateUserRequest>) -> Reply<v1::CreateUserReply> {
        let caller = self.caller(&request).await?;
        let new = NewUser::try_from(request.into_inner())?;
        let user = self.service.create_user(&caller, new).await?;
        Ok(Response::new(v1::CreateUserReply { user: Some(user.into()) }))
    }

    async fn list_users(&self, request: Request<v1::ListUsersRequest>) -> Reply<v1::ListUsersReply> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let page = PageAsk::from_wire(request.page_size, request.cursor);
        Ok(Response::new(self.service.list_users(&caller, page).await?.into()))
    }

    async fn show_user(&self, request: Request<v1::ShowUserRequest>) -> Reply<v1::ShowUserReply> {
        let caller = self.caller(&request).await?;
        let name = parsed("name", &request.into_inner().name)?;
        let (user, memberships) = self.service.show_user(&caller, name).await?;
        let memberships = memberships.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ShowUserReply { user: Some(user.into()), memberships }))
    }

    async fn disable_user(&self, request: Request<v1::DisableUserRequest>) -> Reply<v1::DisableUserReply> {
        let caller = self.caller(&request).await?;
        let name = parsed("name", &request.into_inner().name)?;
        let user = self.service.set_user_enabled(&caller, name, false).await?;
        Ok(Response::new(v1::DisableUserReply { user: Some(user.into()) }))
    }

    async fn enable_user(&self, request: Request<v1::EnableUserRequest>) -> Reply<v1::EnableUserReply> {
        let caller = self.caller(&request).await?;
        let name = parsed("name", &request.into_inner().name)?;
        let user = self.service.set_user_enabled(&caller, name, true).await?;
        Ok(Response::new(v1::EnableUserReply { user: Some(user.into()) }))
    }

    async fn delete_user(&self, request: Request<v1::DeleteUserRequest>) -> Reply<v1::DeleteUserReply> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let name = parsed("name", &request.name)?;
        let (user, tokens_revoked, kept) = self.service.delete_user(&caller, name, request.dry_run).await?;
        let workspace_kept = kept.unwrap_or_default();
        Ok(Response::new(v1::DeleteUserReply { user: Some(user.into()), tokens_revoked, workspace_kept }))
    }

    async fn create_workspace(&self, request: Request<v1::CreateWorkspaceRequest>) -> Reply<v1::CreateWorkspaceReply> {
        let caller = self.caller(&request).await?;
        let new = NewWorkspace::try_from(request.into_inner())?;
        let workspace = self.service.create_workspace(&caller, new).await?;
        Ok(Response::new(v1::CreateWorkspaceReply { workspace: Some(workspace.into()) }))
    }

    async fn list_workspaces(&self, request: Request<v1::ListWorkspacesRequest>) -> Reply<v1::ListWorkspacesReply> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let page = PageAsk::from_wire(request.page_size, request.cursor);
        Ok(Response::new(self.service.list_workspaces(&caller, page).await?.into()))
    }

    async fn delete_workspace(&self, request: Request<v1::DeleteWorkspaceRequest>) -> Reply<v1::DeleteWorkspaceReply> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let name = parsed("name", &request.name)?;
        let (workspace, tokens_revoked) = self.service.delete_workspace(&caller, name, request.dry_run).await?;
        Ok(Response::new(v1::DeleteWorkspaceReply { workspace: Some(workspace.into()), tokens_revoked }))
    }

    async fn add_member(&self, request: Request<v1::AddMemberRequest>) -> Reply<v1::AddMemberReply> {
        let caller = self.caller(&request).await?;
        let new = NewMember::try_from(request.into_inner())?;
        let member = self.service.add_member(&caller, new).await?;
        Ok(Response::new(v1::AddMemberReply { member: Some(member.into()) }))
    }

    async fn remove_member(&self, request: Request<v1::RemoveMemberRequest>) -> Reply<v1::RemoveMemberReply> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let (workspace, user) = (parsed("workspace", &request.workspace)?, parsed("user", &request.user)?);
        let member = self.service.remove_member(&caller, workspace, user).await?;
        Ok(Response::new(v1::RemoveMemberReply { member: Some(member.into()) }))
    }

    async fn list_members(&self, request: Request<v1::ListMembersRequest>) -> Reply<v1::ListMembersReply> {
        let caller = self.caller(&request).await?;
        let workspace = parsed("workspace", &request.into_inner().workspace)?;
        let members = self.service.list_members(&caller, workspace).await?;
        Ok(Response::new(v1::ListMembersReply { members: members.into_iter().map(Into::into).collect() }))
    }

    async fn list_repositories(
        &self,
        request: Request<v1::ListRepositoriesRequest>,
    ) -> Reply<v1::ListRepositoriesReply> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let workspace = optional("workspace", &request.workspace)?;
        let page = PageAsk::from_wire(request.page_size, request.cursor);
        Ok(Response::new(self.service.list_repositories(&caller, page, workspace).await?.into()))
    }

    async fn server_status(&self, request: Request<v1::ServerStatusRequest>) -> Reply<v1::ServerStatusReply> {
        let caller = self.caller(&request).await?;
        Ok(Response::new(self.service.status(&caller).await?.into()))
    }

    async fn set_password(&self, request: Request<v1::SetPasswordRequest>) -> Reply<v1::SetPasswordReply> {
        let caller = self.caller(&request).await?;
        let change = PasswordChange::try_from(request.into_inner())?;
        Ok(Response::new(self.service.set_password(&caller, change).await?.into()))
    }
}
