//! The client: one connection to a daemon over a local socket, one method for each call.
//!
//! Answers come as the structs of [`convert`](crate::convert), failures as a [`Fault`], whatever broke.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use tok_model::kind::Role;
use tok_model::name::{UserName, WorkspaceName};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::convert::{
    AuditFilter, AuditRecord, CheckedToken, CreatedToken, MemberRecord, MembershipRecord, PageAsk, PageOf,
    RepositoryRecord, RevokedToken, ScopeRecord, ServerStatus, TokenDraft, TokenFilter, TokenRecord, UserRecord,
    Whoami, WorkspaceRecord, role_number,
};
use crate::endpoint::{DialError, Surroundings, dial};
use crate::fault::{Fault, FaultCode};
use crate::wire::v1;
use crate::wire::v1::audit_service_client::AuditServiceClient;
use crate::wire::v1::identity_service_client::IdentityServiceClient;
use crate::wire::v1::token_service_client::TokenServiceClient;

/// How long a call may take from its first byte to its answer.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// The metadata key that names the user a manager acts as.
pub const ACT_AS: &str = "tok-as";

/// Who calls, beyond what the socket says by itself.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// A token to be judged by, instead of the user ID of this process.
    pub token: Option<SecretString>,
    /// The user a manager acts as.
    pub act_as: Option<UserName>,
}

/// A connection to a daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    tokens: TokenServiceClient<Identified>,
    identity: IdentityServiceClient<Identified>,
    audit: AuditServiceClient<Identified>,
}

type Identified = InterceptedService<Channel, Identify>;

/// Puts who calls, and how long they will wait, on every call.
#[derive(Debug, Clone)]
struct Identify {
    authorization: Option<MetadataValue<Ascii>>,
    act_as: Option<MetadataValue<Ascii>>,
}

impl Identify {
    fn new(caller: &Caller) -> Result<Self, Fault> {
        let authorization = caller.token.as_ref().map(|token| {
            MetadataValue::try_from(format!("Bearer {}", token.expose_secret()))
                .map(|mut value| {
                    value.set_sensitive(true);
                    value
                })
                .map_err(|_| Fault::field("token", "the token has characters in it that no token has"))
        });
        let act_as = caller.act_as.as_ref().map(|user| {
            MetadataValue::try_from(user.as_str()).map_err(|_| Fault::field("as", "a user name is plain ASCII"))
        });
        Ok(Self { authorization: authorization.transpose()?, act_as: act_as.transpose()? })
    }
}

impl Interceptor for Identify {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(CALL_DEADLINE);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        if let Some(act_as) = &self.act_as {
            request.metadata_mut().insert(ACT_AS, act_as.clone());
        }
        Ok(request)
    }
}

/// One call: sends, waits, and makes a fault of whatever goes wrong.
macro_rules! call {
    ($service:expr, $method:ident, $request:expr) => {
        $service.$method($request).await.map_err(Fault::from)?.into_inner()
    };
}

impl Client {
    /// Connects to the first daemon that answers around here. If none does, the fault is `unavailable` and names every
    /// socket that was tried.
    pub async fn connect(surroundings: &Surroundings, caller: &Caller) -> Result<Self, Fault> {
        let identify = Identify::new(caller)?;
        let mut failures = Vec::new();
        for socket in surroundings.candidates() {
            match dial(&socket).await {
                Ok(stream) => return Self::over(stream, socket, identify).await,
                Err(DialError::Stranger { uid }) => return Err(stranger(&socket, uid)),
                Err(failure) => failures.push((socket, failure)),
            }
        }
        Err(nobody_answers(surroundings, &failures))
    }

    async fn over(
        stream: interprocess::local_socket::tokio::Stream,
        socket: PathBuf,
        identify: Identify,
    ) -> Result<Self, Fault> {
        let mut first = Some(stream);
        let again = socket.clone();
        // The first connection is the one that was just made; a later one goes through the same checks.
        let connector = tower::service_fn(move |_| {
            let (stream, socket) = (first.take(), again.clone());
            async move {
                match stream {
                    Some(stream) => Ok::<_, DialError>(TokioIo::new(stream)),
                    None => dial(&socket).await.map(TokioIo::new),
                }
            }
        });
        // The name is for HTTP/2's sake alone.
        let channel = Endpoint::from_static("http://localhost")
            .user_agent(concat!("tok/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| Fault::new(FaultCode::Internal, error))?
            .timeout(CALL_DEADLINE)
            .connect_with_connector(connector)
            .await
            .map_err(|_| Fault::new(FaultCode::Unavailable, format!("{} hung up", socket.display())))?;
        Ok(Self {
            socket,
            tokens: TokenServiceClient::with_interceptor(channel.clone(), identify.clone()),
            identity: IdentityServiceClient::with_interceptor(channel.clone(), identify.clone()),
            audit: AuditServiceClient::with_interceptor(channel, identify),
        })
    }

    /// The socket that answered.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes a token.
    pub async fn create_token(&mut self, draft: TokenDraft) -> Result<CreatedToken, Fault> {
        let request = v1::CreateTokenRequest::from(draft);
        call!(self.tokens, create, request).try_into().map_err(unreadable)
    }

    /// Lists tokens, newest first.
    pub async fn list_tokens(&mut self, filter: TokenFilter, page: PageAsk) -> Result<PageOf<TokenRecord>, Fault> {
        let reply = call!(self.tokens, list, filter.into_request(page));
        PageOf::from_wire(reply.tokens, reply.next_cursor).map_err(unreadable)
    }

    /// Finds one token by ID, ID prefix or token prefix.
    pub async fn show_token(&mut self, reference: String) -> Result<TokenRecord, Fault> {
        let reply = call!(self.tokens, show, v1::ShowTokenRequest { reference });
        answered(reply.token)
    }

    /// Revokes a token; with `dry_run` it says what would happen.
    pub async fn revoke_token(
        &mut self,
        reference: String,
        reason: Option<String>,
        dry_run: bool,
    ) -> Result<RevokedToken, Fault> {
        let reason = reason.unwrap_or_default();
        let request = v1::RevokeTokenRequest { reference, reason, dry_run };
        call!(self.tokens, revoke, request).try_into().map_err(unreadable)
    }

    /// Lists every scope.
    pub async fn list_scopes(&mut self) -> Result<Vec<ScopeRecord>, Fault> {
        let reply = call!(self.tokens, list_scopes, v1::ListScopesRequest {});
        Ok(reply.scopes.into_iter().map(ScopeRecord::from).collect())
    }

    /// Asks what a token's text is.
    pub async fn check_token(&mut self, secret: &SecretString) -> Result<CheckedToken, Fault> {
        let request = v1::CheckTokenRequest { secret: secret.expose_secret().to_owned() };
        call!(self.tokens, check, request).try_into().map_err(unreadable)
    }

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

    /// Lists what happened.
    pub async fn list_events(&mut self, filter: AuditFilter, page: PageAsk) -> Result<PageOf<AuditRecord>, Fault> {
        let reply = call!(self.audit, list_events, filter.into_request(page));
        PageOf::from_wire(reply.events, reply.next_cursor).map_err(unreadable)
    }
}

/// The one message that an answer is about.
fn answered<W, T: TryFrom<W, Error = Fault>>(message: Option<W>) -> Result<T, Fault> {
    message.ok_or_else(|| Fault::new(FaultCode::Internal, "it is empty")).and_then(T::try_from).map_err(unreadable)
}

/// A bad field of a request is the caller's fault; of an answer it is ours.
fn unreadable(fault: Fault) -> Fault {
    let Fault { message, .. } = fault;
    Fault::new(FaultCode::Internal, format!("this tok cannot read the daemon's answer: {message}"))
        .hint("tok and tokd are of different versions: compare `tok --version` with `tokd --version`")
}

fn stranger(socket: &Path, uid: u32) -> Fault {
    let message = format!("not speaking to {}: what answers there runs as user ID {uid}", socket.display());
    Fault::new(FaultCode::Forbidden, message).hint(
        "tok trusts a daemon that runs as you, as root or as the system user tokd; check `--socket` and TOK_SOCKET",
    )
}

fn nobody_answers(surroundings: &Surroundings, failures: &[(PathBuf, DialError)]) -> Fault {
    let refused = |failure: &DialError| matches!(failure, DialError::Closed(error) if error.kind() == std::io::ErrorKind::PermissionDenied);
    let tried: Vec<_> = failures.iter().map(|(socket, failure)| format!("{} ({failure})", socket.display())).collect();
    let message = format!("no tokd answers; tried {}", tried.join(", "));
    let hint = match (&surroundings.explicit, failures.iter().any(|(_, failure)| refused(failure))) {
        (_, true) => "ask an administrator to let your user open the socket (its directory and its group)",
        (Some(_), _) => "check `--socket` and TOK_SOCKET; `tokd dev` prints the socket that it listens on",
        (None, _) => {
            "start one with `tokd dev` or `systemctl start tokd`, or name its socket with `--socket` or TOK_SOCKET"
        }
    };
    Fault::new(FaultCode::Unavailable, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_marked_so_that_nothing_logs_it() {
        let caller = Caller { token: Some("tokpat_abc".into()), act_as: None };
        let mut identify = Identify::new(&caller).unwrap();
        let request = identify.call(Request::new(())).unwrap();
        assert!(request.metadata().get("authorization").unwrap().is_sensitive());
        assert!(!format!("{request:?}{identify:?}{caller:?}").contains("tokpat_abc"));
        let broken = Caller { token: Some("tokpat_\n".into()), act_as: None };
        assert_eq!(Identify::new(&broken).unwrap_err().code, FaultCode::InvalidArgument);
    }
}
