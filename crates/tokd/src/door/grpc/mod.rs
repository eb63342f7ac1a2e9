//! gRPC: what the CLI and other programs speak. Each call is the service function of the same name; this door only
//! translates.

mod audit;
mod authorization;
mod identity;
mod tokens;

use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use tok_api::convert::parsed;
use tok_api::fault::Fault;
use tok_api::wire::{FILE_DESCRIPTOR_SET, v1};
use tok_model::decide::Caller;
use tok_model::name::UserName;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower::ServiceExt as _;
use v1::audit_service_server::AuditServiceServer;
use v1::authorization_service_server::AuthorizationServiceServer;
use v1::identity_service_server::IdentityServiceServer;
use v1::token_service_server::TokenServiceServer;

use super::socket::listener::{LocalStream, PeerCredentials};
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
            .add_service(AuthorizationServiceServer::new(door.clone()).max_decoding_message_size(LARGEST_REQUEST))
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
