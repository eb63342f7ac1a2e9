//! Who is answered before their question was read to its end is heard out first.
//!
//! An HTTP/2 stream is over with its answer, and libcurl (seen in 7.88, which Debian 12 has) fails if that comes while it
//! still has something to send: its user would see a broken connection, and neither a 401 nor why. The same goes for
//! clients of a proxy that speaks HTTP/2; and in HTTP/1 a connection that is closed on what was not read may take the
//! answer with it.
//!
//! Whoever waits to be told to go on (RFC 9110 section 10.1.1) has sent nothing yet, and is not asked to.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// How much of what nobody will read, in bytes: more than any call takes, and than git repeats after a 401.
const MOST: usize = 8 << 20;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many at a time, on all connections. Each holds its connection and some 13 KB, and needs no credential; who comes
/// beyond them is answered at once.
const AT_ONCE: usize = 256;

/// The places of those who are heard out. Clones share them.
#[derive(Debug, Clone)]
pub struct Hearing(Arc<Semaphore>);

impl Default for Hearing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Hearing {
    /// Gives the answer to a request that nobody read once its client has said what it wanted to say.
    pub async fn out(&self, request: Request<Incoming>, response: Response<Body>) -> Response<Body> {
        if goes_on(request.headers()) {
            self.listen(request.into_body()).await;
        }
        response
    }

    /// Lends a request's body to whoever may read it or not; [`Rest`] is what they leave of it.
    pub fn lend(&self, request: Request<Incoming>) -> (Request<Body>, Rest) {
        if request.body().is_end_stream() || !goes_on(request.headers()) {
            return (request.map(Body::new), Rest(None));
        }
        let (owner, back) = oneshot::channel();
        let request = request.map(|body| Body::new(Lent { body: Some(body), owner: Some(owner) }));
        (request, Rest(Some((self.clone(), back))))
    }

    async fn listen(&self, rest: Incoming) {
        if rest.is_end_stream() {
            return;
        }
        let Ok(_place) = self.0.try_acquire() else { return };
        let mut rest = Limited::new(rest, MOST);
        let listen = async { while let Some(Ok(_)) = rest.frame().await {} };
        // Whoever takes longer is answered all the same.
        let _ = timeout(PATIENCE, listen).await;
    }
}

/// Whether a client sends its body without being told to.
fn goes_on(headers: &HeaderMap) -> bool {
    !headers.get(EXPECT).is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// What was not read of a request's body that was [lent](Hearing::lend).
pub struct Rest(Option<(Hearing, oneshot::Receiver<Incoming>)>);

impl Rest {
    /// Gives the answer once the rest has come.
    pub async fn heard_out(self, response: Response<Body>) -> Response<Body> {
        // For whom was waited in vain once is not waited a second time.
        if response.status() != StatusCode::REQUEST_TIMEOUT
            && let Some((hearing, mut back)) = self.0
            && let Ok(rest) = back.try_recv()
        {
            hearing.listen(rest).await;
        }
        response
    }
}

/// A body that goes back to its owner when its reader has had enough.
struct Lent {
    /// None: it was read to its end.
    body: Option<Incoming>,
    owner: Option<oneshot::Sender<Incoming>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(owner)) = (self.body.take(), self.owner.take()) {
            // The connection may be gone, and with it whoever asked.
            let _ = owner.send(body);
        }
    }
}
