//! Connections that stay open: HTTP/1.1 and HTTP/2 to the remote address, HTTP/2 to the local socket.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Method};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::unistd::{Uid, User};
use serde_json::Value;
use tok_tests::environment::{Environment, challenged};
use tokio::runtime::Runtime;

use super::asking::Question;
use crate::remote_grpc::http_body::Full;

/// A system user that is on every machine and is nobody's login.
const STRANGER: &str = "nobody";

/// By which door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Http,
    Grpc,
    /// The local socket, from root.
    Local,
    /// The same, from a system user who is no user here.
    Stranger,
    /// The same socket, with git's lines.
    Helper,
}

/// What came back, as far as a verdict needs it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Headers and trailers.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// One thread's connections.
pub(crate) struct Lines {
    runtime: Runtime,
    address: SocketAddr,
    http: Option<http1::SendRequest<Full>>,
    grpc: http2::SendRequest<Full>,
    local: http2::SendRequest<Full>,
    /// If there is a way to be one: only root can be somebody else.
    stranger: Option<http2::SendRequest<Full>>,
    socket: PathBuf,
}

impl Lines {
    pub(crate) fn open(environment: &Environment) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (address, socket): (_, PathBuf) = (environment.address(), environment.socket());
        let (grpc, local, stranger) = runtime.block_on(async {
            let remote = tokio::net::TcpStream::connect(address).await.unwrap();
            // Else each call waits for the server's delayed acknowledgement of its headers.
            remote.set_nodelay(true).unwrap();
            let (grpc, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(remote)).await.unwrap();
            tokio::spawn(connection);
            let local = over(UnixStream::connect(&socket).unwrap()).await;
            let stranger = match as_stranger(&socket) {
                Some(stream) => Some(over(stream).await),
                None => None,
            };
            (grpc, local, stranger)
        });
        Self { runtime, address, http: None, grpc, local, stranger, socket }
    }

    /// The lines that git sends for a repository, as the helper relays them.
    pub(crate) fn challenged(&self, repo: &str, right: &str) -> String {
        challenged(&self.address.to_string(), repo, right)
    }

    /// What the helper reads when it has relayed this.
    pub(crate) fn helper(&self, relayed: &str, stranger: bool) -> String {
        let stream = if stranger { as_stranger(&self.socket) } else { UnixStream::connect(&self.socket).ok() };
        let mut stream = stream.expect("the socket is there");
        stream.write_all(relayed.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// What the JSON API says to a token's holder: the status and the body, null if there is none.
    pub(crate) fn json(&mut self, method: &Method, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let mut question =
            Question { method: method.clone(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
        if !body.is_null() {
            question.body = body.to_string().into_bytes();
            question.headers.push(("content-type", "application/json".to_owned()));
        }
        if method != Method::GET {
            question.headers.push(("content-length", question.body.len().to_string()));
        }
        let answer = self.ask(Door::Http, &question, &[("authorization", format!("Bearer {token}"))]);
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// What `/authz/git` says about a `POST` to this path with this token: the status and the word for it.
    pub(crate) fn verdict(&mut self, path: &str, token: &str) -> (u16, String) {
        let headers = vec![("x-original-method", "POST".to_owned()), ("x-original-uri", path.to_owned())];
        let question = Question { method: Method::GET, path: "/authz/git".to_owned(), headers, body: Vec::new() };
        let answer = self.ask(Door::Http, &question, &[("authorization", format!("Bearer {token}"))]);
        (answer.status, answer.header("x-tok-error").to_owned())
    }

    pub(crate) fn ask(&mut self, door: Door, question: &Question, credentials: &[(&str, String)]) -> Answer {
        let request = |host: &str| {
            let builder = question.request(host);
            let builder = credentials.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
            builder.body(Full(Some(question.body.clone().into()).filter(|body: &hyper::body::Bytes| !body.is_empty())))
        };
        let host = self.address.to_string();
        let Self { runtime, address, http, grpc, local, stranger, socket: _ } = self;
        runtime.block_on(async {
            let response = match door {
                Door::Grpc => grpc.send_request(request("tok").unwrap()).await.unwrap(),
                Door::Local => local.send_request(request("tok").unwrap()).await.unwrap(),
                Door::Stranger => stranger.as_mut().unwrap().send_request(request("tok").unwrap()).await.unwrap(),
                Door::Helper => unreachable!("it does not speak HTTP"),
                Door::Http => {
                    let usable = match http {
                        Some(sender) => sender.ready().await.is_ok(),
                        None => false,
                    };
                    if !usable {
                        let stream = tokio::net::TcpStream::connect(*address).await.unwrap();
                        stream.set_nodelay(true).unwrap();
                        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                        tokio::spawn(connection);
                        *http = Some(sender);
                    }
                    http.as_mut().unwrap().send_request(request(&host).unwrap()).await.unwrap()
                }
            };
            let (parts, mut incoming): (_, Incoming) = response.into_parts();
            let (mut headers, mut body) = (parts.headers, Vec::new());
            while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut incoming).poll_frame(cx)).await {
                match frame.unwrap().into_data() {
                    Ok(data) => body.extend_from_slice(&data),
                    Err(frame) => headers.extend(frame.into_trailers().unwrap()),
                }
            }
            Answer { status: parts.status.as_u16(), headers, body }
        })
    }
}

/// HTTP/2 over a local socket.
async fn over(stream: UnixStream) -> http2::SendRequest<Full> {
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::UnixStream::from_std(stream).unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A connection from a system user who is no user here. The kernel remembers who connected, so a thread of its own becomes
/// that one and hands its connection over.
fn as_stranger(socket: &Path) -> Option<UnixStream> {
    if !stranger_there() {
        return None;
    }
    let nobody = User::from_name(STRANGER).unwrap().expect("every system has it").uid;
    let connect = move || {
        let uid = rustix::process::Uid::from_raw(nobody.as_raw());
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        UnixStream::connect(socket).unwrap()
    };
    Some(thread::scope(|scope| scope.spawn(connect).join().unwrap()))
}

/// Whether there can be a stranger: only root can be somebody else.
pub(crate) fn stranger_there() -> bool {
    Uid::effective().is_root()
}
