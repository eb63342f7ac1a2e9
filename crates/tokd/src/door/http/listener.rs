//! The remote listener: takes connections as long as it can bear them, and stops without losing a request.

use std::convert::Infallible;
use std::io::Error;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::http::{Request, Response};
use hyper::service::Service;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Surroundings;
use super::in_flight::InFlight;
use super::limits::HttpLimits;
use super::tls::Certificates;
use tok_api::local::gate::{Drained, Gate};

/// The TCP listener of the remote address.
#[derive(Debug)]
pub struct HttpListener {
    listener: tokio::net::TcpListener,
    limits: HttpLimits,
    tls: Option<Arc<Certificates>>,
    in_flight: InFlight,
}

impl HttpListener {
    /// Takes over a bound socket: our own, or one that systemd passed. Must be called inside the runtime.
    ///
    /// # Errors
    /// If the operating system will not let it be polled.
    pub fn new(listener: TcpListener, limits: HttpLimits) -> Result<Self, Error> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(Self { listener, limits, tls: None, in_flight: InFlight::default() })
    }

    /// The same, with TLS around everything if there are certificates.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Certificates>>) -> Self {
        Self { tls, ..self }
    }

    #[cfg(test)]
    fn in_flight(&self) -> InFlight {
        self.in_flight.clone()
    }

    /// Serves until `stop`; then takes no new connection, lets the requests that are there finish for at most
    /// `drain`, and cuts the rest. `service_for` makes a service for each connection from its peer's address.
    pub async fn serve<F, S, B>(self, service_for: F, stop: CancellationToken, drain: Duration) -> Drained
    where
        F: Fn(SocketAddr) -> S,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { listener, limits, tls, in_flight } = self;
        let cut = CancellationToken::new();
        let under_way = in_flight.clone();
        let surroundings = Surroundings { limits, tls, in_flight, stop: stop.clone(), cut: cut.clone() };
        let mut gate = Gate::new(limits.connections);
        let connections = TaskTracker::new();
        loop {
            let ((stream, peer), place) = tokio::select! {
                taken = gate.take(|| listener.accept()) => taken,
                () = stop.cancelled() => break,
            };
            let service = service_for(peer);
            let serving = surroundings.clone().serve(stream, peer, service);
            connections.spawn(async move {
                serving.await;
                drop(place);
            });
        }
        // From here on a new client is refused at once and can try another replica.
        drop(listener);
        let requests = under_way.count();
        tracing::debug!(
            requests,
            connections = connections.len(),
            "No new connections; {requests} requests may finish"
        );
        connections.close();
        if timeout(drain, connections.wait()).await.is_ok() {
            return Drained { cut: 0 };
        }
        let left = connections.len();
        cut.cancel();
        connections.wait().await;
        Drained { cut: left }
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
