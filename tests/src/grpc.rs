//! gRPC as a client speaks it that knows nothing of tok: one HTTP/2 connection, messages written byte by byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use crate::environment::Environment;
use crate::tls;

/// A message, or several, as the wire has them.
type Whole = http_body::Full;

/// As little of a body as a request needs.
pub mod http_body {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::{Body, Bytes, Frame};

    /// All at once.
    pub struct Full(pub Option<Bytes>);

    impl Body for Full {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_none()
        }
    }
}

/// One HTTP/2 connection to the remote address.
pub struct Channel {
    /// It lives on this.
    pub runtime: Runtime,
    /// Takes requests.
    pub sender: hyper::client::conn::http2::SendRequest<Whole>,
    authority: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Of HTTP.
    pub http: StatusCode,
    /// What came, without its frames.
    pub messages: Vec<Vec<u8>>,
    /// Headers and trailers.
    pub metadata: HeaderMap,
}

impl Answer {
    /// The status of the call.
    pub fn status(&self) -> u32 {
        let status = self.metadata.get("grpc-status").unwrap_or_else(|| panic!("no grpc-status: {self:?}"));
        status.to_str().expect("a status is text").parse().expect("a status is a number")
    }

    /// The `tok.v1.Fault` in the details, as its fields.
    pub fn fault(&self) -> BTreeMap<u64, Vec<u8>> {
        let packed = self.metadata.get("grpc-status-details-bin").unwrap_or_else(|| panic!("no details: {self:?}"));
        let text = packed.to_str().expect("details are text").trim_end_matches('=');
        let status = fields(&STANDARD_NO_PAD.decode(text).expect("details are base64"));
        let any = fields(&last(&status, 3));
        assert_eq!(last(&any, 1), b"type.googleapis.com/tok.v1.Fault");
        fields(&last(&any, 2)).into_iter().collect()
    }

    /// The code in it.
    pub fn fault_code(&self) -> String {
        String::from_utf8(self.fault()[&1].clone()).expect("a code is text")
    }
}

impl Channel {
    /// To the daemon of this environment.
    pub fn open(environment: &Environment) -> Self {
        Self::through(environment, environment.address())
    }

    /// By way of somebody in between.
    pub fn through(environment: &Environment, address: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let secure = environment.url().starts_with("https");
        let config = secure.then(|| tls::configuration(&environment.authority().trust(), &["h2"]));
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
            // A call is written in pieces, and waited for.
            stream.set_nodelay(true).expect("TCP has this option");
            match config {
                None => shake_hands(stream).await,
                Some(config) => {
                    let name = "localhost".try_into().expect("localhost is a name");
                    let stream = TlsConnector::from(Arc::clone(&config))
                        .connect(name, stream)
                        .await
                        .expect("the server is who it says");
                    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                    shake_hands(stream).await
                }
            }
        });
        Self { runtime, sender, authority: environment.host() }
    }

    /// The answer to a call.
    pub fn call(&mut self, method: &str, message: &[u8], metadata: &[(&str, &str)]) -> Answer {
        self.attempt(method, message, metadata).unwrap_or_else(|| panic!("no answer to {method}"))
    }

    /// The answer, unless the connection ends before it.
    pub fn attempt(&mut self, method: &str, message: &[u8], metadata: &[(&str, &str)]) -> Option<Answer> {
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).expect("it is small").to_be_bytes());
        framed.extend(message);
        let mut request = Request::post(format!("https://{}/{method}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        let request = request.body(http_body::Full(Some(framed.into()))).expect("the request is one");
        let Self { runtime, sender, .. } = self;
        runtime.block_on(async {
            let response = sender.send_request(request).await.ok()?;
            Some(collect(response).await)
        })
    }

    /// So many more connections to the same server.
    pub fn connections(&self, count: usize) -> Vec<hyper::client::conn::http2::SendRequest<Whole>> {
        let address: SocketAddr = self.authority.parse().expect("it is an address");
        self.runtime.block_on(async {
            let mut senders = Vec::new();
            for _ in 0..count {
                let stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
                senders.push(shake_hands(stream).await);
            }
            senders
        })
    }

    /// What comes of an empty message, unless the connection ends before; for whoever does not wait for it.
    pub fn ask(
        &self,
        mut sender: hyper::client::conn::http2::SendRequest<Whole>,
        method: &str,
        metadata: &[(&str, &str)],
    ) -> impl Future<Output = Option<Answer>> + Send + use<> {
        let request = Request::post(format!("https://{}/{method}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = metadata.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(http_body::Full(Some(vec![0; 5].into()))).expect("the request is one");
        async move {
            let response = sender.send_request(request).await.ok()?;
            Some(collect(response).await)
        }
    }

    /// One request on a reflection stream, and the first field of its answer that is no echo of it.
    pub fn reflect(&mut self, version: &str, request: &[u8], wanted: u64) -> Vec<(u64, Vec<u8>)> {
        let method = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let answer = self.call(&method, request, &[]);
        assert_eq!(answer.status(), 0, "{answer:?}");
        fields(&last(&fields(&answer.messages[0]), wanted))
    }
}

async fn shake_hands<S>(stream: S) -> hyper::client::conn::http2::SendRequest<Whole>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.expect("the server speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn collect(response: Response<Incoming>) -> Answer {
    let (parts, mut body) = response.into_parts();
    let mut metadata = parts.headers;
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.expect("the answer comes whole");
        match frame.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => metadata.extend(frame.into_trailers().expect("what is no data is trailers")),
        }
    }
    let mut messages = Vec::new();
    let mut rest = Bytes::from(bytes);
    while rest.len() >= 5 && parts.status == 200 {
        let length = u32::from_be_bytes(rest[1..5].try_into().expect("four bytes")) as usize;
        messages.push(rest[5..5 + length].to_vec());
        rest = rest.slice(5 + length..);
    }
    Answer { http: parts.status, messages, metadata }
}

// ---- protocol buffers, by hand -----------------------------------------------------------------------------------------

/// A field whose value is text or a message.
pub fn field(number: u64, value: &[u8]) -> Vec<u8> {
    let mut bytes = varint(number << 3 | 2);
    bytes.extend(varint(value.len() as u64));
    bytes.extend(value);
    bytes
}

/// A number as the wire has it.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits are a byte") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits are a byte"));
    bytes
}

/// Every field with its bytes; those of a number are its digits.
pub fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes);
        let value = match key & 7 {
            0 => take_varint(&mut bytes).to_string().into_bytes(),
            2 => {
                let length = usize::try_from(take_varint(&mut bytes)).expect("it is small");
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                value.to_vec()
            }
            wire => panic!("wire type {wire}"),
        };
        found.push((key >> 3, value));
    }
    found
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("the message is whole");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Every value of a field.
pub fn each(fields: &[(u64, Vec<u8>)], number: u64) -> Vec<Vec<u8>> {
    fields.iter().filter(|(found, _)| *found == number).map(|(_, value)| value.clone()).collect()
}

/// The value of a field that is there.
pub fn last(fields: &[(u64, Vec<u8>)], number: u64) -> Vec<u8> {
    each(fields, number).pop().unwrap_or_else(|| panic!("no field {number} in {fields:?}"))
}

/// The same as text.
pub fn text(fields: &[(u64, Vec<u8>)], number: u64) -> String {
    String::from_utf8(last(fields, number)).expect("the field is text")
}
