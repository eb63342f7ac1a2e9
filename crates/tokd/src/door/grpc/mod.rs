//! gRPC: what the CLI and other programs speak, over the local socket and over the remote address. Each call is the
//! service function of the same name; this door only translates.

mod audit;
mod authorization;
mod deadline;
mod health;
mod identity;
mod session;
mod tokens;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{StatusCode, Version};
use tok_api::convert::{LARGEST_IMPORT, parsed};
use tok_api::fault::{Fault, FaultCode};
use tok_api::wire::{FILE_DESCRIPTOR_SET, v1};
use tok_model::audit::Source;
use tok_model::decide::Caller;
use tok_model::name::UserName;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_server::HealthServer;
use tower::ServiceExt as _;
use v1::audit_service_server::AuditServiceServer;
use v1::authorization_service_server::AuthorizationServiceServer;
use v1::identity_service_server::IdentityServiceServer;
use v1::session_service_server::SessionServiceServer;
use v1::token_service_server::TokenServiceServer;
use v1::trust_service_server::TrustServiceServer;

use self::health::Pulse;
use super::http::answer;
use super::http::source::{Proxies, agent};
use crate::metrics;
use crate::service::Service;
use tok_api::local::listener::{LocalStream, PeerCredentials};

/// The largest message either way. A page of a thousand tokens is some 600 KiB.
const LARGEST_REQUEST: usize = 64 * 1024;
/// For what may carry a file to bring in, with some room around it.
const LARGEST_WITH_FILE: usize = LARGEST_IMPORT + LARGEST_REQUEST;

/// Every gRPC service of tokd.
#[derive(Clone)]
pub struct GrpcDoor {
    routes: Routes,
    service: Arc<Service>,
}

/// Which method is called, as in `TokenService/Create`: what the audit trail says of the call.
#[derive(Debug, Clone)]
struct Operation(String);

impl Operation {
    /// From a request's path, `/tok.v1.TokenService/Create`.
    fn of(path: &str) -> Self {
        let method = path.trim_start_matches('/');
        Self(method.strip_prefix("tok.v1.").unwrap_or(method).to_owned())
    }
}

#[derive(Clone)]
struct Door {
    service: Arc<Service>,
    proxies: Proxies,
    stop: CancellationToken,
}

/// Whoever calls over the remote address: nothing is known of them but what they send, and from where.
#[derive(Debug, Clone, Copy)]
struct RemotePeer(SocketAddr);

/// Whether a request is meant for this door, by what it carries.
pub fn is_call(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

impl GrpcDoor {
    /// Puts the services on one door. `proxies` are believed about the addresses of remote callers; watchers of its
    /// health leave with `stop`.
    pub fn new(
        service: Arc<Service>,
        proxies: Proxies,
        stop: CancellationToken,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let health = HealthServer::new(Pulse::new(Arc::clone(&service), stop.clone()));
        let door = Door { service: Arc::clone(&service), proxies, stop };
        let described = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let routes = Routes::new(TokenServiceServer::new(door.clone()).max_decoding_message_size(LARGEST_WITH_FILE))
            .add_service(IdentityServiceServer::new(door.clone()).max_decoding_message_size(LARGEST_REQUEST))
            .add_service(AuthorizationServiceServer::new(door.clone()).max_decoding_message_size(LARGEST_REQUEST))
            .add_service(AuditServiceServer::new(door.clone()).max_decoding_message_size(LARGEST_REQUEST))
            .add_service(SessionServiceServer::new(door.clone()).max_decoding_message_size(LARGEST_REQUEST))
            .add_service(TrustServiceServer::new(door).max_decoding_message_size(LARGEST_REQUEST))
            .add_service(health.max_decoding_message_size(LARGEST_REQUEST))
            .add_service(described().build_v1()?.max_decoding_message_size(LARGEST_REQUEST))
            // The same under its earlier name, which many clients ask for first.
            .add_service(described().build_v1alpha()?.max_decoding_message_size(LARGEST_REQUEST));
        Ok(Self { routes: routes.prepare(), service })
    }

    /// Answers a call from the remote address.
    pub async fn answer(&self, mut request: hyper::Request<Incoming>, peer: SocketAddr) -> hyper::Response<Body> {
        let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        // Such as application/grpc-web, which is another protocol.
        if !matches!(kind.strip_prefix(b"application/grpc"), Some(b"" | [b'+' | b';', ..])) {
            return answer::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "of gRPC's kinds application/grpc is spoken here");
        }
        if request.version() != Version::HTTP_2 {
            return answer::text(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC is spoken over HTTP/2");
        }
        request.extensions_mut().insert(RemotePeer(peer));
        self.call(request.map(tonic::body::Body::new)).await.map(Body::new)
    }

    /// One call, for as long as its caller waits.
    async fn call(&self, mut request: hyper::Request<tonic::body::Body>) -> hyper::Response<tonic::body::Body> {
        let Operation(operation) = Operation::of(request.uri().path());
        request.extensions_mut().insert(Operation(operation.clone()));
        let local = request.extensions().get::<PeerCredentials>().is_some();
        let deadline = deadline::of(request.headers());
        let answering = self.routes.clone().oneshot(request);
        let response = match tokio::time::timeout(deadline, answering).await {
            Ok(Ok(response)) => explained(response),
            Ok(Err(never)) => match never {},
            Err(_) => late().into_http(),
        };
        // A failure is in the headers; where there is none, all went well.
        let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
        // What there is no such method of would be a label of the caller's own making.
        let known = code != Code::Unimplemented && operation.contains("Service/") && !operation.contains('.');
        let operation = if known { operation.as_str() } else { metrics::OTHER };
        let door = if local { metrics::Door::Socket } else { metrics::Door::Grpc };
        self.service.requests().count(door, operation, metrics::Outcome::of_code(code));
        response
    }

    /// Serves one connection until it ends or `stop`, after which calls under way finish.
    pub async fn serve(self, stream: LocalStream, peer: PeerCredentials, stop: CancellationToken) {
        let door = Arc::new(self);
        let answer = move |request| {
            let door = Arc::clone(&door);
            async move { door.call(request).await }
        };
        tok_api::local::grpc::serve(stream, peer, stop, answer).await;
    }
}

/// What the library refuses before any call of ours begins, with a code that stays and what to do.
fn explained(response: hyper::Response<tonic::body::Body>) -> hyper::Response<tonic::body::Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    if !status.details().is_empty() {
        return response;
    }
    let said = status.message();
    let (code, fault) = match status.code() {
        Code::Unimplemented => {
            let fault = Fault::new(FaultCode::NotFound, "there is no such call here");
            (Code::Unimplemented, fault.hint("server reflection lists the calls; `tok --version` and `tokd --version` say whether the two are of one age"))
        }
        Code::ResourceExhausted | Code::OutOfRange => {
            let fault = Fault::new(FaultCode::TooLarge, format!("the message is larger than this call takes ({said})"));
            (Code::ResourceExhausted, fault.hint("send less at a time"))
        }
        // Its own word for bytes that are no message, which is no fault of ours.
        Code::Internal => {
            let fault =
                Fault::new(FaultCode::InvalidArgument, format!("these bytes are no message of this call ({said})"));
            (Code::InvalidArgument, fault.hint("compare the message with what server reflection says of it"))
        }
        _ => return response,
    };
    let whole = Status::from(fault);
    Status::with_details(code, whole.message(), whole.details().to_vec().into()).into_http()
}

/// The same code that gRPC has for it, with our details.
fn late() -> Status {
    let fault = Fault::new(FaultCode::Unavailable, "the call took longer than its caller wanted to wait")
        .hint("give it a longer deadline; if that does not help, tokd's log says what it waits for");
    let status = Status::from(fault);
    Status::with_details(Code::DeadlineExceeded, status.message(), status.details().to_vec().into())
}

impl Door {
    /// Who calls: over the local socket its peer or the token they sent, over the remote address nobody without a token.
    async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.caller_rotating(request, None).await
    }

    /// The same; a rotation names its idempotency key, since whoever repeats one may present what the first gave up.
    async fn caller_rotating<T>(&self, request: &Request<T>, key: Option<&str>) -> Result<Caller, Status> {
        let headers = request.metadata().as_ref();
        let acting_as: Option<UserName> = match headers.get("tok-as") {
            None => None,
            Some(value) => Some(
                value
                    .to_str()
                    .map_err(|_| Fault::field("tok-as", "a user's name is ASCII"))
                    .and_then(|name| parsed("tok-as", name))?,
            ),
        };
        let mut caller = if let Some(peer) = request.extensions().get::<PeerCredentials>() {
            self.service.caller_local(peer.uid, headers, acting_as, agent(headers), key).await?
        } else {
            let RemotePeer(peer) = request
                .extensions()
                .get::<RemotePeer>()
                .ok_or_else(|| Status::internal("a connection without a peer"))?;
            let source = self.proxies.source(headers, *peer);
            self.service.caller_remote(headers, acting_as, source, key).await?
        };
        caller.source.operation = request.extensions().get().map(|Operation(name)| name.clone());
        self.service.note_call(&caller);
        Ok(caller)
    }

    /// The same, for what needs no credential: a bad one is as good as none, as it is over HTTP.
    async fn caller_or_nobody<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        match self.caller(request).await {
            Err(status) if status.code() == Code::Unauthenticated => Ok(Caller::anonymous(self.source(request)?)),
            other => other,
        }
    }

    /// From where a call comes, for what does not ask who calls.
    fn source<T>(&self, request: &Request<T>) -> Result<Source, Status> {
        let headers = request.metadata().as_ref();
        let peer = request.extensions().get::<PeerCredentials>();
        let mut source = match (peer, request.extensions().get::<RemotePeer>()) {
            (Some(peer), _) => Source { uid: Some(peer.uid), agent: agent(headers), ..Source::default() },
            (None, Some(RemotePeer(peer))) => self.proxies.source(headers, *peer),
            (None, None) => return Err(Status::internal("a connection without a peer")),
        };
        source.operation = request.extensions().get().map(|Operation(name)| name.clone());
        Ok(source)
    }
}

type Reply<T> = Result<Response<T>, Status>;
