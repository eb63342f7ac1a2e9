//! Connections that stay open: HTTP/1.1 and HTTP/2 to the remote address, HTTP/2 to the local socket.

use std::net::SocketAddr;
use std::path::PathBuf;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Method};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tok_tests::environment::Environment;
use tokio::runtime::Runtime;

use super::asking::Question;
use crate::remote_grpc::http_body::Full;

/// By which door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Http,
    Grpc,
    Local,
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
}

impl Lines {
    pub(crate) fn open(environment: &Environment) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (address, socket): (_, PathBuf) = (environment.address(), environment.socket());
        let (grpc, local) = runtime.block_on(async {
            let remote = tokio::net::TcpStream::connect(address).await.unwrap();
            // Else each call waits for the server's delayed acknowledgement of its headers.
            remote.set_nodelay(true).unwrap();
            let (grpc, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(remote)).await.unwrap();
            tokio::spawn(connection);
            let local = tokio::net::UnixStream::connect(socket).await.unwrap();
            let (local, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(local)).await.unwrap();
            tokio::spawn(connection);
            (grpc, local)
        });
        Self { runtime, address, http: None, grpc, local }
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
        let Self { runtime, address, http, grpc, local } = self;
        runtime.block_on(async {
            let response = match door {
                Door::Grpc => grpc.send_request(request("tok").unwrap()).await.unwrap(),
                Door::Local => local.send_request(request("tok").unwrap()).await.unwrap(),
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
