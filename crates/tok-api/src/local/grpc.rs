//! One connection that speaks gRPC, until it ends.

use std::convert::Infallible;
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::listener::{LocalStream, PeerCredentials};

/// Calls at a time on one connection.
const CALLS: u32 = 32;
/// The headers of one call, in bytes.
const LARGEST_HEADERS: u32 = 16 * 1024;

/// Serves one connection until it ends or `stop`, after which calls under way finish. Who is on the other side goes
/// along with each request, as an extension.
pub async fn serve<F>(
    stream: LocalStream,
    peer: PeerCredentials,
    stop: CancellationToken,
    answer: impl Fn(hyper::Request<Body>) -> F + Send + Sync + 'static,
) where
    F: Future<Output = hyper::Response<Body>> + Send + 'static,
{
    let answer = Arc::new(answer);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        let answer = Arc::clone(&answer);
        async move { Ok::<_, Infallible>(answer(request.map(Body::new)).await) }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS)
        .max_header_list_size(LARGEST_HEADERS)
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
