//! The client: one connection to a daemon, over its local socket or over TLS, and one method for each call.
//!
//! Answers come as the structs of [`convert`](crate::convert), failures as a [`Fault`], whatever broke. Clones of a
//! [`Client`] share its connection, and many calls may be under way on it at a time.

pub mod agent;
mod audit;
mod authorization;
mod identity;
mod probe;
mod remote;
mod session;
mod tokens;
mod trust;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use tok_model::name::UserName;
use tok_model::url::Origin;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::Service as _;

use self::remote::Dialler;
pub(crate) use self::remote::{DialFault, certificate_trouble, trusting, words};
use crate::endpoint::{DialError, Surroundings, dial};
use crate::fault::{Fault, FaultCode};
use crate::wire::v1::audit_service_client::AuditServiceClient;
use crate::wire::v1::authorization_service_client::AuthorizationServiceClient;
use crate::wire::v1::identity_service_client::IdentityServiceClient;
use crate::wire::v1::session_service_client::SessionServiceClient;
use crate::wire::v1::token_service_client::TokenServiceClient;
use crate::wire::v1::trust_service_client::TrustServiceClient;

pub use probe::{Probe, Stage};
pub use remote::{CONNECT_DEADLINE, RemoteOptions};

/// How long a call may take from its first byte to its answer.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// The metadata key that names the user a manager acts as.
pub const ACT_AS: &str = "tok-as";

/// How often a quiet connection to a remote server is tried while a call waits, and how long it may stay silent then.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Who calls, beyond what the socket says by itself.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// A token to be judged by. Over the local socket, without one, it is the user ID of this process; a remote server
    /// knows nobody without one.
    pub token: Option<SecretString>,
    /// The user a manager acts as.
    pub act_as: Option<UserName>,
}

/// Where a daemon answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At a local socket.
    Socket(PathBuf),
    /// At a remote address.
    Server(Origin),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Server(origin) => origin.fmt(f),
        }
    }
}

/// A connection to a daemon. Clones share it. When it breaks, the next call makes it anew.
#[derive(Debug, Clone)]
pub struct Client {
    place: Place,
    channel: Channel,
    identify: Identify,
    tokens: TokenServiceClient<Identified>,
    identity: IdentityServiceClient<Identified>,
    authorization: AuthorizationServiceClient<Identified>,
    audit: AuditServiceClient<Identified>,
    session: SessionServiceClient<Identified>,
    trust: TrustServiceClient<Identified>,
}

type Identified = InterceptedService<Channel, Identify>;

/// Puts who calls, and how long they will wait, on every call.
#[derive(Debug, Clone)]
struct Identify {
    authorization: Option<MetadataValue<Ascii>>,
    act_as: Option<MetadataValue<Ascii>>,
    deadline: Duration,
}

impl Identify {
    fn new(caller: &Caller, deadline: Duration) -> Result<Self, Fault> {
        let authorization = caller.token.as_ref().map(|token| {
            // A chosen secret and a temporary token are written name:secret, which no other token has a colon for: Basic
            // (RFC 7617), the rest Bearer (RFC 6750).
            let text = token.expose_secret();
            let header = Zeroizing::new(if text.contains(':') {
                format!("Basic {}", *Zeroizing::new(STANDARD.encode(text)))
            } else {
                format!("Bearer {text}")
            });
            MetadataValue::try_from(header.as_str())
                .map(|mut value| {
                    value.set_sensitive(true);
                    value
                })
                .map_err(|_| Fault::field("token", "the token has characters in it that no token has"))
        });
        let act_as = caller.act_as.as_ref().map(|user| {
            MetadataValue::try_from(user.as_str()).map_err(|_| Fault::field("as", "a user name is plain ASCII"))
        });
        Ok(Self { authorization: authorization.transpose()?, act_as: act_as.transpose()?, deadline })
    }
}

impl Interceptor for Identify {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        // A call that may take longer says so itself.
        if !request.metadata().contains_key("grpc-timeout") {
            request.set_timeout(self.deadline);
        }
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
use call;

impl Client {
    /// Connects to the first daemon that answers on this machine.
    ///
    /// # Errors
    /// `unavailable` if none does, with every socket that was tried; `forbidden` if what answers there is a process of
    /// somebody else's, which is told nothing.
    pub async fn connect(surroundings: &Surroundings, caller: &Caller) -> Result<Self, Fault> {
        let identify = Identify::new(caller, CALL_DEADLINE)?;
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
        let channel = endpoint("http://localhost")?
            .connect_with_connector(connector)
            .await
            .map_err(|_| Fault::new(FaultCode::Unavailable, format!("{} hung up", socket.display())))?;
        Ok(Self::speaking(&channel, Place::Socket(socket), &identify))
    }

    /// Connects to a server elsewhere: `https`, or `http` on this machine. Whether it knows the caller is seen with the
    /// first call.
    ///
    /// # Errors
    /// `unavailable` if nobody answers there in time, or somebody whose certificate is not to be trusted; it says why
    /// and what helps. `invalid_argument` if the token would travel in the clear, or [`RemoteOptions::trust`] names no
    /// certificates.
    pub async fn remote(server: &Origin, caller: &Caller, options: &RemoteOptions) -> Result<Self, Fault> {
        let identify = Identify::new(caller, options.call_deadline)?;
        let dialler = Dialler::new(server, options)?;
        let mut first = Some(dialler.dial().await.map_err(|DialFault(fault)| fault)?);
        let connector = tower::service_fn(move |_| {
            let (stream, dialler) = (first.take(), dialler.clone());
            async move {
                match stream {
                    Some(stream) => Ok::<_, DialFault>(TokioIo::new(stream)),
                    None => dialler.dial().await.map(TokioIo::new),
                }
            }
        });
        let channel = endpoint(&server.to_string())?
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .connect_with_connector(connector)
            .await
            .map_err(|_| Fault::new(FaultCode::Unavailable, format!("{server} hung up")))?;
        Ok(Self::speaking(&channel, Place::Server(server.clone()), &identify))
    }

    /// Connects as `tok` does when it is given no flags: to the server that `TOK_SERVER` names, else over the local socket
    /// (`TOK_SOCKET`, or where one usually is), with the token in `TOK_TOKEN`, acting as `TOK_USER`. Empty variables count
    /// as unset.
    ///
    /// # Errors
    /// `invalid_argument` with the variable that makes no sense; else as [`connect`](Self::connect) and
    /// [`remote`](Self::remote).
    pub async fn from_environment() -> Result<Self, Fault> {
        let variable = |name: &str| match std::env::var(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(Fault::field(name, "the variable is no text")),
        };
        let caller = Caller {
            token: variable("TOK_TOKEN")?.map(SecretString::from),
            act_as: crate::convert::optional("TOK_USER", &variable("TOK_USER")?.unwrap_or_default())?,
        };
        match variable("TOK_SERVER")? {
            Some(url) => {
                let server = crate::convert::parsed("TOK_SERVER", &url)?;
                Self::remote(&server, &caller, &RemoteOptions::default()).await
            }
            None => {
                let socket = variable("TOK_SOCKET")?.map(PathBuf::from);
                Self::connect(&Surroundings::of_process(socket), &caller).await
            }
        }
    }

    fn speaking(channel: &Channel, place: Place, identify: &Identify) -> Self {
        Self {
            place,
            channel: channel.clone(),
            identify: identify.clone(),
            tokens: TokenServiceClient::with_interceptor(channel.clone(), identify.clone()),
            identity: IdentityServiceClient::with_interceptor(channel.clone(), identify.clone()),
            authorization: AuthorizationServiceClient::with_interceptor(channel.clone(), identify.clone()),
            audit: AuditServiceClient::with_interceptor(channel.clone(), identify.clone()),
            session: SessionServiceClient::with_interceptor(channel.clone(), identify.clone()),
            trust: TrustServiceClient::with_interceptor(channel.clone(), identify.clone()),
        }
    }

    /// Passes on a call of somebody else's as it is, with this client's credential unless it brings its own. For an
    /// agent in the middle: it needs to know neither the call nor its answer.
    pub async fn forward(&self, mut request: http::Request<Body>) -> http::Response<Body> {
        let headers = request.headers_mut();
        if !headers.contains_key(http::header::AUTHORIZATION)
            && let Some(authorization) = self.identify.authorization.clone()
            && let Ok(mut value) = http::HeaderValue::from_bytes(authorization.as_bytes())
        {
            value.set_sensitive(true);
            headers.insert(http::header::AUTHORIZATION, value);
        }
        let mut channel = self.channel.clone();
        let passed = async {
            std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
            channel.call(request).await
        };
        passed.await.unwrap_or_else(|error| Status::from_error(Box::new(error)).into_http())
    }

    /// Where the daemon answered.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

// Without a deadline: each call brings its own.
fn endpoint(url: &str) -> Result<Endpoint, Fault> {
    let broken = |error: &dyn fmt::Display| Fault::new(FaultCode::Internal, error);
    Endpoint::from_shared(url.to_owned())
        .map_err(|error| broken(&error))?
        .user_agent(concat!("tok/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| broken(&error))
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
        (Some(_), _) => {
            "start it (`systemctl start tokd`, `tokd dev`), or check `--socket` and TOK_SOCKET; `tokd dev` prints the socket that it listens on"
        }
        (None, _) => {
            "`tok login <server>` if the server is elsewhere; on the server start one with `tokd dev` or `systemctl start tokd`, or name its socket with `--socket` or TOK_SOCKET"
        }
    };
    Fault::new(FaultCode::Unavailable, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::TokenRecord;
    use crate::wire::v1;

    #[test]
    fn a_token_is_marked_so_that_nothing_logs_it() {
        let caller = Caller { token: Some("tokpat_abc".into()), act_as: None };
        let mut identify = Identify::new(&caller, CALL_DEADLINE).unwrap();
        let request = identify.call(Request::new(())).unwrap();
        assert!(request.metadata().get("authorization").unwrap().is_sensitive());
        assert!(!format!("{request:?}{identify:?}{caller:?}").contains("tokpat_abc"));
        let broken = Caller { token: Some("tokpat_\n".into()), act_as: None };
        assert_eq!(Identify::new(&broken, CALL_DEADLINE).unwrap_err().code, FaultCode::InvalidArgument);
    }

    #[test]
    fn an_answer_without_what_it_is_about_is_our_trouble_and_not_the_callers() {
        let fault = answered::<v1::Token, TokenRecord>(None).unwrap_err();
        assert_eq!(fault.code, FaultCode::Internal);
        let fault = answered::<_, TokenRecord>(Some(v1::Token::default())).unwrap_err();
        assert!(fault.code == FaultCode::Internal && fault.hint.unwrap().contains("versions"), "{}", fault.message);
    }
}
