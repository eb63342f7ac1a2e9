//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::{Body, Incoming};
use hyper::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::in_flight::{Counted, CountedBody, Here, InFlight};
use super::limits::HttpLimits;
use super::seldom::Seldom;
use super::tls::Certificates;
use tok_api::local::prefixed::{HTTP2_PREFACE, PrefixedStream, recognise};

/// How long a connection that has no request left may take to say goodbye (HTTP/2 waits for the client's answer).
const GOODBYE: Duration = Duration::from_secs(1);

/// How every TLS connection starts: a record of the handshake, of whichever version (RFC 8446 section 5.1).
const TLS_RECORD: &[u8] = b"\x16\x03";

/// For who speaks plain HTTP where TLS is spoken. Nothing of their request was looked at.
const NOT_HTTPS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
    This address speaks TLS: its URL starts with https.\n";

/// What a connection needs to know of the server.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) limits: HttpLimits,
    /// None: plain HTTP.
    pub(super) tls: Option<Arc<Certificates>>,
    pub(super) in_flight: InFlight,
    /// No new requests.
    pub(super) stop: CancellationToken,
    /// No requests at all.
    pub(super) cut: CancellationToken,
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

impl Surroundings {
    /// Serves a connection until either side ends it.
    pub(super) async fn serve<S, B>(self, stream: TcpStream, peer: SocketAddr, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Fault>,
    {
        let cut = self.cut.clone();
        let cut = Seldom::new().or(cut.cancelled());
        tokio::select! {
            biased;
            result = self.speak(stream, service) => {
                if let Err(error) = result {
                    // A client that is slow, hostile or gone: nothing an admin could act on.
                    tracing::debug!(%peer, error, "Connection ended early");
                }
            }
            () = cut => tracing::info!(%peer, "Connection cut: it was not done when the time for stopping was"),
        }
    }

    async fn speak<S, B>(self, stream: TcpStream, service: S) -> Result<(), Fault>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Fault>,
    {
        // Requests and answers are written whole; waiting for more to send only delays them.
        stream.set_nodelay(true)?;
        let here = self.in_flight.part();
        // Innermost, so that no layer above can wait for a client without it.
        let stream = Impatient { inner: stream, limit: self.limits.unread, count: here.clone(), waiting: None };
        match self.tls.as_ref().map(|certificates| certificates.acceptor()) {
            None => self.converse(stream, here, service).await,
            // Boxed: a plain connection's task has no need of its room.
            Some(acceptor) => {
                Box::pin(async move {
                    match self.shake_hands(acceptor, stream).await? {
                        Some(stream) => self.converse(stream, here, service).await,
                        None => Ok(()),
                    }
                })
                .await
            }
        }
    }

    /// Agrees on keys, in the time that a client has for its first bytes: who takes longer keeps no place. Nothing, if
    /// the client speaks no TLS or the server stops.
    async fn shake_hands<I>(
        &self,
        acceptor: TlsAcceptor,
        stream: I,
    ) -> Result<Option<TlsStream<PrefixedStream<I>>>, Fault>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let shaking = async {
            let (spoken, mut stream) = recognise(stream, &[TLS_RECORD]).await?;
            if spoken.is_some() {
                return acceptor.accept(stream).await.map(Some);
            }
            if stream.prefix().first().is_some_and(u8::is_ascii_uppercase) {
                stream.write_all(NOT_HTTPS).await?;
                stream.shutdown().await?;
                // Until they have read it: closing on bytes unread would take it away from them.
                let _ = timeout(GOODBYE, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
            }
            Ok(None)
        };
        tokio::select! {
            shaken = timeout(self.limits.first_bytes, shaking) => Ok(shaken.map_err(|_| "no handshake in time")??),
            () = self.stop.cancelled() => Ok(None),
        }
    }

    async fn converse<I, S, B>(self, stream: I, here: Here, service: S) -> Result<(), Fault>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Fault>,
    {
        let first = tokio::select! {
            first = timeout(self.limits.first_bytes, recognise(stream, &[HTTP2_PREFACE])) => first,
            () = self.stop.cancelled() => return Ok(()),
        };
        let (spoken, stream) = first.map_err(|_| "no first bytes in time")??;
        let io = TokioIo::new(stream);
        let counted = here.clone();
        let answer = service_fn(move |request| {
            let counted = counted.enter();
            answer(panic::catch_unwind(AssertUnwindSafe(|| service.call(request))), counted)
        });
        if spoken.is_some() {
            self.see_through(self.limits.http2().serve_connection(io, answer), here, self.limits.idle).await
        } else {
            self.see_through(self.limits.http1().serve_connection(io, answer), here, self.limits.head).await
        }
    }

    /// Runs a connection until it ends, has had no request for too long, or the server stops.
    async fn see_through<C>(&self, connection: C, here: Here, idle: Duration) -> Result<(), Fault>
    where
        C: GracefulConnection,
        C::Error: Into<Fault>,
    {
        let mut connection = pin!(connection);
        let enough = Seldom::new().or(self.stop.cancelled()).or(here.none_for(idle));
        tokio::select! {
            biased;
            result = connection.as_mut() => return result.map_err(Into::into),
            () = enough => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            result = connection => result.map_err(Into::into),
            () = here.none_for(GOODBYE) => Ok(()),
        }
    }
}

/// Answers one request. A panic on the way, in the call or while its answer is waited for, is this request's end and
/// nobody else's.
async fn answer<F, B>(called: std::thread::Result<F>, counted: Counted) -> Result<Response<CountedBody<B>>, Infallible>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    let answered = match called {
        Ok(answering) => AssertUnwindSafe(answering).catch_unwind().await,
        Err(panicked) => Err(panicked),
    };
    Ok(match answered {
        Ok(Ok(response)) => response.map(|body| CountedBody::service(body, counted)),
        Ok(Err(never)) => match never {},
        Err(_) => {
            // What panicked, and where, the panic hook has logged already.
            tracing::error!("A request's handler panicked; its client was answered 500");
            let mut response = Response::new(CountedBody::words("tokd failed here; its log says why\n", counted));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, plain);
            response
        }
    })
}

/// A stream whose writes fail when the other side reads nothing for too long.
struct Impatient<S> {
    inner: S,
    limit: Duration,
    count: Here,
    /// While a write waits, its request counts, even if the answer's body was handed over completely.
    waiting: Option<(Pin<Box<Sleep>>, Counted)>,
}

impl<S> Impatient<S> {
    fn judge<T>(&mut self, written: Poll<Result<T, Error>>, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let Self { limit, count, waiting, .. } = self;
        let begin = || (Box::pin(sleep(*limit)), count.enter());
        let (patience, _) = waiting.get_or_insert_with(begin);
        patience.as_mut().poll(cx).map(|()| Err(Error::new(ErrorKind::TimedOut, "the client does not read its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
