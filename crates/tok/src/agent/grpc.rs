//! gRPC on the agent's socket: its own service, and every other call passed on to the server of a login.

use std::sync::Arc;

use tok_api::client::agent::not_yours;
use tok_api::convert::optional;
use tok_api::fault::{Fault, FaultCode};
use tok_api::local::listener::{LocalStream, PeerCredentials};
use tok_api::wire::agent as wire;
use tok_api::wire::agent::agent_service_server::{AgentService, AgentServiceServer};
use tok_model::url::Origin;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{Service as _, http};
use tonic::{Request, Response, Status};

use super::keeper::Keeper;
use crate::logins::{Choice, Profile, Trouble};

/// The metadata key that names the login to pass a call on with.
const PROFILE: &str = "tok-profile";

/// Answers one connection.
pub(super) async fn serve(keeper: Arc<Keeper>, stream: LocalStream, peer: PeerCredentials, stop: CancellationToken) {
    let own = AgentServiceServer::new(Own { keeper: Arc::clone(&keeper), stop: stop.clone() });
    let answer = move |request: http::Request<Body>| {
        let (mut own, keeper) = (own.clone(), Arc::clone(&keeper));
        async move {
            if request.uri().path().starts_with("/tok.agent.v1.") {
                own.call(request).await.unwrap_or_else(|never| match never {})
            } else if is_own_user(peer) {
                keeper.touch();
                pass_on(&keeper, request).await.unwrap_or_else(|fault| Status::from(fault).into_http())
            } else {
                not_yours().into_http()
            }
        }
    };
    tok_api::local::grpc::serve(stream, peer, stop, answer).await;
}

/// Whether the agent is this peer's.
pub(super) fn is_own_user(peer: PeerCredentials) -> bool {
    peer.uid == rustix::process::geteuid().as_raw()
}

async fn pass_on(keeper: &Keeper, request: http::Request<Body>) -> Result<http::Response<Body>, Fault> {
    if keeper.is_locked() {
        return Err(locked());
    }
    let profile = request.headers().get(PROFILE).and_then(|name| name.to_str().ok());
    let profile: Option<Profile> =
        profile.map(|name| name.parse().map_err(|why| Fault::field(PROFILE, why))).transpose()?;
    let logins = keeper
        .book
        .logins()
        .map_err(|trouble| Fault::new(FaultCode::Unauthenticated, trouble.message).hint(trouble.hint))?;
    let login = match logins.for_commands(profile.as_ref()) {
        Choice::One(login, _) => login,
        Choice::None(_) => {
            return Err(Fault::new(FaultCode::Unauthenticated, "nobody is logged in anywhere from here")
                .hint("`tok login https://your.server`, or name a daemon's socket with `--socket`"));
        }
        Choice::Ambiguous(several) => {
            let (message, hint) = Choice::ambiguous(&several);
            return Err(Fault::new(FaultCode::Ambiguous, message).hint(hint));
        }
    };
    let client = keeper.book.session(login).connection().await?;
    Ok(client.forward(request).await)
}

fn locked() -> Fault {
    Fault::new(FaultCode::Forbidden, "the agent is locked, and answers nobody").hint("`tok agent unlock`")
}

/// What only the agent itself is asked.
#[derive(Clone)]
struct Own {
    keeper: Arc<Keeper>,
    stop: CancellationToken,
}

type Reply<T> = Result<Response<T>, Status>;

/// A peer that may ask this.
fn yours<T>(request: &Request<T>) -> Result<(), Status> {
    let own = request.extensions().get::<PeerCredentials>().is_some_and(|peer| is_own_user(*peer));
    if own { Ok(()) } else { Err(not_yours()) }
}

fn refused(trouble: Trouble) -> Status {
    Fault::new(FaultCode::Forbidden, trouble.message).hint(trouble.hint).into()
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[tonic::async_trait]
impl AgentService for Own {
    async fn status(&self, request: Request<wire::StatusRequest>) -> Reply<wire::StatusReply> {
        yours(&request)?;
        Ok(Response::new(self.keeper.status().into()))
    }

    async fn lock(&self, request: Request<wire::LockRequest>) -> Reply<wire::LockReply> {
        yours(&request)?;
        let forgotten = self.keeper.lock().map_err(refused)?;
        tracing::info!("Locked");
        Ok(Response::new(wire::LockReply { forgotten: small(forgotten) }))
    }

    async fn unlock(&self, request: Request<wire::UnlockRequest>) -> Reply<wire::UnlockReply> {
        yours(&request)?;
        let logins = self.keeper.unlock().map_err(refused)?;
        tracing::info!("Unlocked");
        Ok(Response::new(wire::UnlockReply { logins: small(logins) }))
    }

    async fn forget(&self, request: Request<wire::ForgetRequest>) -> Reply<wire::ForgetReply> {
        yours(&request)?;
        let server: Option<Origin> = optional("server", &request.get_ref().server)?;
        let forgotten = self.keeper.forget(server.as_ref());
        Ok(Response::new(wire::ForgetReply { forgotten: small(forgotten) }))
    }

    async fn stop(&self, request: Request<wire::StopRequest>) -> Reply<wire::StopReply> {
        let root = request.extensions().get::<PeerCredentials>().is_some_and(|peer| peer.uid == 0);
        if !root {
            yours(&request)?;
        }
        tracing::info!("Stopping: asked to");
        self.stop.cancel();
        Ok(Response::new(wire::StopReply {}))
    }
}
