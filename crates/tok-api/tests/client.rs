//! The client against a real socket: who it says it is, what it makes of failures, and whom it does not speak to.

#![expect(clippy::unwrap_used, reason = "the daemon of these tests fails them where it stands")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use tok_api::client::{Caller, Client, Place};
use tok_api::convert::{PageAsk, TokenDraft, TokenFilter};
use tok_api::endpoint::Surroundings;
use tok_api::fault::{Fault, FaultCode};
use tok_api::wire::v1;
use tok_api::wire::v1::token_service_server::{TokenService, TokenServiceServer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tonic::codegen::tokio_stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// Remembers what each call carried, and answers with what the test wants to see come back.
#[derive(Default, Clone)]
struct Recorder(Arc<Mutex<Vec<MetadataMap>>>);

impl Recorder {
    fn seen(&self, key: &str) -> Option<String> {
        let calls = self.0.lock().unwrap();
        Some(calls.last()?.get(key)?.to_str().unwrap().to_owned())
    }

    fn record<T>(&self, request: Request<T>) -> T {
        self.0.lock().unwrap().push(request.metadata().clone());
        request.into_inner()
    }
}

fn token() -> v1::Token {
    v1::Token {
        id: "1b4e28ba-2fa1-4d2e-883f-0016d3cca427".to_owned(),
        kind: v1::TokenKind::Personal.into(),
        state: v1::TokenState::Active.into(),
        created_at: Some(prost_types::Timestamp { seconds: 1_795_000_000, nanos: 0 }),
        ..v1::Token::default()
    }
}

#[tonic::async_trait]
impl TokenService for Recorder {
    async fn create(&self, request: Request<v1::CreateTokenRequest>) -> Result<Response<v1::CreateTokenReply>, Status> {
        let name = self.record(request).name;
        Ok(Response::new(v1::CreateTokenReply {
            secret: "tokpat_text".to_owned(),
            token: Some(v1::Token { name, ..token() }),
        }))
    }

    async fn list(&self, request: Request<v1::ListTokensRequest>) -> Result<Response<v1::ListTokensReply>, Status> {
        let next_cursor = format!("after {}", self.record(request).page_size);
        Ok(Response::new(v1::ListTokensReply { tokens: vec![token(), token()], next_cursor }))
    }

    async fn show(&self, request: Request<v1::ShowTokenRequest>) -> Result<Response<v1::ShowTokenReply>, Status> {
        self.record(request);
        let matches = vec!["1b4e28ba… CI".to_owned(), "1b4e99ff… Old".to_owned()];
        Err(Fault::new(FaultCode::Ambiguous, "2 tokens begin with 1b4e").matches(matches).into())
    }

    async fn revoke(&self, _: Request<v1::RevokeTokenRequest>) -> Result<Response<v1::RevokeTokenReply>, Status> {
        Ok(Response::new(v1::RevokeTokenReply { token: None, ..v1::RevokeTokenReply::default() }))
    }

    async fn list_scopes(&self, _: Request<v1::ListScopesRequest>) -> Result<Response<v1::ListScopesReply>, Status> {
        Err(Fault::new(FaultCode::Unavailable, "the database is away").into())
    }

    async fn modify(&self, _: Request<v1::ModifyTokenRequest>) -> Result<Response<v1::ModifyTokenReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn rotate(&self, _: Request<v1::RotateTokenRequest>) -> Result<Response<v1::RotateTokenReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn revoke_many(&self, _: Request<v1::RevokeManyRequest>) -> Result<Response<v1::RevokeManyReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn revoke_secret(
        &self,
        _: Request<v1::RevokeSecretRequest>,
    ) -> Result<Response<v1::RevokeTokenReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn restore(&self, _: Request<v1::RestoreTokenRequest>) -> Result<Response<v1::RestoreTokenReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn import(&self, _: Request<v1::ImportTokensRequest>) -> Result<Response<v1::ImportTokensReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }
}

struct Daemon {
    calls: Recorder,
    socket: PathBuf,
    _directory: TempDir,
}

impl Daemon {
    /// Serves one connection.
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("tokd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let calls = Recorder::default();
        let service = TokenServiceServer::new(calls.clone());
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let incoming = tokio_stream::once(Ok::<_, std::io::Error>(stream));
            let _ = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await;
        });
        Self { calls, socket, _directory: directory }
    }
}

fn at(socket: &Path) -> Surroundings {
    Surroundings { explicit: Some(socket.to_owned()), ..Surroundings::default() }
}

#[tokio::test]
async fn calls_carry_who_calls_and_answers_come_back() {
    let daemon = Daemon::start();
    let caller = Caller { token: Some(SecretString::from("tokpat_abc")), act_as: Some("alice".parse().unwrap()) };
    let mut client = Client::connect(&at(&daemon.socket), &caller).await.unwrap();
    assert!(!format!("{client:?}{caller:?}").contains("tokpat_abc"));

    let draft = TokenDraft { name: "CI".to_owned(), ..TokenDraft::default() };
    let made = client.create_token(draft).await.unwrap();
    assert_eq!((made.secret.expose_secret(), made.token.name.as_str()), ("tokpat_text", "CI"));
    assert_eq!(daemon.calls.seen("authorization").unwrap(), "Bearer tokpat_abc");
    assert_eq!(daemon.calls.seen("tok-as").unwrap(), "alice");
    assert!(daemon.calls.seen("grpc-timeout").is_some());

    let page = client.list_tokens(TokenFilter::default(), PageAsk { size: Some(2), cursor: None }).await.unwrap();
    assert_eq!((page.rows.len(), page.next_cursor.as_deref()), (2, Some("after 2")));
}

#[tokio::test]
async fn a_caller_without_a_token_sends_none() {
    let daemon = Daemon::start();
    let mut client = Client::connect(&at(&daemon.socket), &Caller::default()).await.unwrap();
    client.list_tokens(TokenFilter::default(), PageAsk::default()).await.unwrap();
    assert_eq!(daemon.calls.seen("authorization"), None);
    assert_eq!(daemon.calls.seen("tok-as"), None);
}

#[tokio::test]
async fn failures_arrive_as_they_were_sent() {
    let daemon = Daemon::start();
    let mut client = Client::connect(&at(&daemon.socket), &Caller::default()).await.unwrap();
    let fault = client.show_token("1b4e".to_owned()).await.unwrap_err();
    assert_eq!((fault.code, fault.matches.len()), (FaultCode::Ambiguous, 2));
    let fault = client.list_scopes().await.unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), (FaultCode::Unavailable, "the database is away"));
    // An answer without its record, and a call that this daemon does not know.
    let fault = client.revoke_token("1b4e".to_owned(), None, true).await.unwrap_err();
    assert!(fault.code == FaultCode::Internal && fault.message.contains("token"), "{fault:?}");
    let fault = client.check_token(&"tokpat_x".into()).await.unwrap_err();
    assert!(fault.code == FaultCode::Internal && fault.hint.unwrap().contains("versions"));
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_says_where_it_looked() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.sock");
    let fault = Client::connect(&at(&missing), &Caller::default()).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Unavailable);
    assert!(fault.message.contains("none.sock (no such socket)"), "{}", fault.message);

    let dead = directory.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let fault = Client::connect(&at(&dead), &Caller::default()).await.unwrap_err();
    assert!(fault.message.contains("nobody listens there any more"), "{}", fault.message);

    let long = directory.path().join("x".repeat(200));
    let fault = Client::connect(&at(&long), &Caller::default()).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Unavailable);
}

#[tokio::test]
async fn a_stale_socket_does_not_hide_a_living_one() {
    let daemon = Daemon::start();
    let runtime = tempfile::tempdir().unwrap();
    std::fs::create_dir(runtime.path().join("tok")).unwrap();
    drop(UnixListener::bind(runtime.path().join("tok/agent.sock")).unwrap());
    let state = tempfile::tempdir().unwrap();
    std::fs::create_dir(state.path().join("tok")).unwrap();
    std::os::unix::fs::symlink(&daemon.socket, state.path().join("tok/tokd.sock")).unwrap();
    let surroundings = Surroundings {
        runtime_dir: Some(runtime.path().to_owned()),
        state_home: Some(state.path().to_owned()),
        ..Surroundings::default()
    };
    // An installed daemon on the machine that runs the test would answer first, and rightly so.
    let client = Client::connect(&surroundings, &Caller::default()).await.unwrap();
    let Place::Socket(socket) = client.place() else { panic!("{:?}", client.place()) };
    assert!(*socket != runtime.path().join("tok/agent.sock"));
    if socket.starts_with(state.path()) {
        // git's helper does not look there by itself; and a named socket it always has to be told of.
        assert_eq!(surroundings.unknown_to_helper().await.as_ref(), Some(socket));
    }
    let named = Surroundings { explicit: Some("relative.sock".into()), ..surroundings.clone() };
    assert!(named.unknown_to_helper().await.unwrap().is_absolute());
    let known = Surroundings { explicit: Some("/run/tok/tokd.sock".into()), ..surroundings };
    assert_eq!(known.unknown_to_helper().await, None);
}

#[tokio::test]
async fn a_daemon_that_hangs_up_is_unavailable_and_never_a_refusal() {
    let directory = tempfile::tempdir().unwrap();
    for greeting in [&b""[..], b"quit=1\n\n", b"HTTP/1.1 401 Unauthorized\r\n\r\n"] {
        let socket = directory.path().join(format!("{}.sock", greeting.len()));
        let listener = UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting).await.unwrap();
        });
        let outcome = async {
            let mut client = Client::connect(&at(&socket), &Caller::default()).await?;
            client.list_tokens(TokenFilter::default(), PageAsk::default()).await.map(|_| ())
        };
        let fault = outcome.await.unwrap_err();
        server.await.unwrap();
        assert_eq!(fault.code, FaultCode::Unavailable, "{greeting:?}: {fault:?}");
    }
}
