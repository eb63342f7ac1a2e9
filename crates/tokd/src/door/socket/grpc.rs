//! gRPC over the local socket: what the CLI speaks. Each call is the service function of the same name; this file
//! only translates.

use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use secrecy::zeroize::Zeroizing;
use tok_api::convert::{
    AuditFilter, NewMember, NewToken, NewUser, NewWorkspace, PageAsk, TokenFilter, optional, parsed,
};
use tok_api::fault::Fault;
use tok_api::wire::{FILE_DESCRIPTOR_SET, v1};
use tok_model::decide::Caller;
use tok_model::name::UserName;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower::ServiceExt as _;
use v1::audit_service_server::{AuditService, AuditServiceServer};
use v1::identity_service_server::{IdentityService, IdentityServiceServer};
use v1::token_service_server::{TokenService, TokenServiceServer};

use super::listener::{LocalStream, PeerCredentials};
use crate::service::Service;

/// The largest message either way. A page of a thousand tokens is some 600 KiB.
const LARGEST_REQUEST: usize = 64 * 1024;

/// Every gRPC service of tokd.
#[derive(Clone)]
pub struct GrpcDoor {
    routes: Routes,
}

#[derive(Clone)]
struct Door {
    service: Arc<Service>,
}

impl GrpcDoor {
    /// Puts the services on one door.
    pub fn new(service: Arc<Service>) -> Result<Self, tonic_reflection::server::Error> {
        let door = Door { service };
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let routes = Routes::new(TokenServiceServer::new(door.clone()).max_decoding_message_size(LARGEST_REQUEST))
            .add_service(IdentityServiceServer::new(door.clone()).max_decoding_message_size(LARGEST_REQUEST))
            .add_service(AuditServiceServer::new(door).max_decoding_message_size(LARGEST_REQUEST))
            .add_service(reflection);
        Ok(Self { routes: routes.prepare() })
    }

    /// Serves one connection until it ends or `stop`, after which calls under way finish.
    pub async fn serve(self, stream: LocalStream, peer: PeerCredentials, stop: CancellationToken) {
        let routes = self.routes;
        let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            routes.clone().oneshot(request.map(tonic::body::Body::new))
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(hyper_util::rt::TokioTimer::new())
            .max_concurrent_streams(32)
            .max_header_list_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer.uid, %error, "A local gRPC connection broke off");
        }
    }
}

impl Door {
    /// Who calls: the peer of the socket, or the token they sent.
    async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let peer = request
            .extensions()
            .get::<PeerCredentials>()
            .ok_or_else(|| Status::internal("a local connection without a peer"))?;
        let metadata = request.metadata();
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let acting_as: Option<UserName> = match metadata.get("tok-as") {
            None => None,
            Some(value) => Some(
                value
                    .to_str()
                    .map_err(|_| Fault::field("tok-as", "a user's name is ASCII"))
                    .and_then(|name| parsed("tok-as", name))?,
            ),
        };
        let agent = text("user-agent").map(|agent| agent.chars().filter(|c| !c.is_control()).take(200).collect());
        Ok(self.service.caller_local(peer.uid, metadata.as_ref(), acting_as, agent).await?)
    }
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl TokenService for Door {
    async fn create(&self, request: Request<v1::CreateTokenRequest>) -> Reply<v1::CreateTokenReply> {
        let caller = self.caller(&request).await?;
        let new = NewToken::try_from(request.into_inner())?;
        Ok(Response::new(self.service.create_token(&caller, new).await?.into()))
    }

    async fn list(&self, request: Request<v1::ListTokensRequest>) -> Reply<v1::ListTokensReply> {
        let caller = self.caller(&request).await?;
        let (filter, page): (TokenFilter, PageAsk) = request.into_inner().try_into()?;
        Ok(Response::new(self.service.list_tokens(&caller, filter, page).await?.into()))
    }

    async fn show(&self, request: Request<v1::ShowTokenRequest>) -> Reply<v1::ShowTokenReply> {
        let caller = self.caller(&request).await?;
        let reference = parsed("reference", &request.into_inner().reference)?;
        let token = self.service.show_token(&caller, reference).await?;
        Ok(Response::new(v1::ShowTokenReply { token: Some(token.into()) }))
    }

    async fn revoke(&self, request: Request<v1::RevokeTokenRequest>) -> Reply<v1::RevokeTokenReply> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let reference = parsed("reference", &request.reference)?;
        let reason = Some(request.reason).filter(|reason| !reason.is_empty());
        Ok(Response::new(self.service.revoke_token(&caller, reference, reason, request.dry_run).await?.into()))
    }

    async fn list_scopes(&self, request: Request<v1::ListScopesRequest>) -> Reply<v1::ListScopesReply> {
        // Public knowledge: asked before anybody has a user.
        drop(request);
        let scopes = tok_model::scope::Scope::every().map(Into::into).collect();
        Ok(Response::new(v1::ListScopesReply { scopes }))
    }

    async fn check(&self, request: Request<v1::CheckTokenRequest>) -> Reply<v1::CheckTokenReply> {
        let caller = self.caller(&request).await?;
        let secret = Zeroizing::new(request.into_inner().secret);
        Ok(Response::new(self.service.check_token(&caller, &secret).await?.into()))
    }
}

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
}

#[tonic::async_trait]
impl AuditService for Door {
    async fn list_events(&self, request: Request<v1::ListEventsRequest>) -> Reply<v1::ListEventsReply> {
        let caller = self.caller(&request).await?;
        let (filter, page): (AuditFilter, PageAsk) = request.into_inner().try_into()?;
        Ok(Response::new(self.service.list_audit(&caller, filter, page).await?.into()))
    }
}
