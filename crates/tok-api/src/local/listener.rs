//! The local socket: who connects to it, and which of its two languages they speak.
//!
//! The peer's user id comes from the kernel (`SO_PEERCRED`) and is an identity, not a permission: what it may do is
//! decided where everything is decided.

use std::collections::HashMap;
use std::io::Error;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use interprocess::local_socket::traits::StreamCommon;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::os::unix::uds_local_socket::Listener as BlockingListener;
use interprocess::os::unix::uds_local_socket::tokio::{Listener, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{Drained, Gate, Reminder};
use super::place::{self, Place, SocketFault};
use super::prefixed::{HTTP2_PREFACE, PrefixedStream, recognise};

/// How the helper starts: the version of its language, then an operation.
pub const HELPER_PREFACE: &[u8] = b"tok/1 ";

/// Limits of the local socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketLimits {
    /// Connections at a time; at the limit new ones wait in the kernel's queue.
    pub connections: usize,
    /// Connections at a time of one user; more are closed at once. Root has no such limit, so that an admin can always
    /// get in.
    pub per_user: usize,
    /// How long a client may take to show which language it speaks.
    pub first_bytes: Duration,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self { connections: 4096, per_user: 256, first_bytes: Duration::from_secs(5) }
    }
}

/// Who is on the other side, according to the kernel, at the time of its connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Process id: for logs only, it may be another process's by now.
    pub pid: Option<i32>,
}

/// A connection whose language is known, with every byte still to be read.
#[derive(Debug)]
pub enum LocalConnection {
    /// HTTP/2, that is gRPC: the CLI.
    Grpc(LocalStream),
    /// `tok/1 `: the credential helper.
    Helper(LocalStream),
    /// Neither. It said something, so it may be told what is spoken here.
    Unknown(LocalStream),
}

/// The stream of a local connection. It keeps its place among the connections until dropped.
pub type LocalStream = PrefixedStream<PlacedStream>;

/// The listener of the local socket.
#[derive(Debug)]
pub struct LocalListener {
    // In this order: first the socket's name goes, then the socket.
    place: Option<Place>,
    listener: Listener,
    limits: SocketLimits,
}

impl LocalListener {
    /// Takes a place in the file system, unless another daemon holds it. `mode` is the socket's: its write bits say
    /// who may connect.
    ///
    /// # Errors
    /// [`SocketFault`] says who or what is in the way.
    pub async fn bind(path: &Path, mode: u32, limits: SocketLimits) -> Result<Self, SocketFault> {
        let (listener, place) = place::take(path, mode).await?;
        Ok(Self { place: Some(place), listener, limits })
    }

    /// Takes over a listening socket that systemd passed; its place in the file system is systemd's. Must be called
    /// inside the runtime.
    ///
    /// # Errors
    /// If the operating system will not let it be polled.
    pub fn inherited(listener: UnixListener, limits: SocketLimits) -> Result<Self, Error> {
        let listener = Listener::try_from(BlockingListener::from(listener))?;
        Ok(Self { place: None, listener, limits })
    }

    /// Serves until `stop`; then removes the socket, lets the connections that are there finish for at most `drain`,
    /// and cuts the rest. `handle` is called for each connection that said something.
    pub async fn serve<H, F>(self, handle: H, stop: CancellationToken, drain: Duration) -> Drained
    where
        H: Fn(LocalConnection, PeerCredentials) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { place, listener, limits } = self;
        let cut = CancellationToken::new();
        let mut gate = Gate::new(limits.connections);
        let mut users = Users { limit: limits.per_user, ..Users::default() };
        let connections = TaskTracker::new();
        loop {
            let (stream, permit) = tokio::select! {
                taken = gate.take(|| listener.accept()) => taken,
                () = stop.cancelled() => break,
            };
            // A peer that is gone already has no credentials left to ask for.
            let Some(peer) = credentials(&stream) else { continue };
            let Some(user) = users.enter(peer) else { continue };
            let stream = PlacedStream { stream, _user: user, _permit: permit };
            let (handle, cut, stop) = (handle.clone(), cut.clone(), stop.clone());
            connections.spawn(async move {
                let serving = async move {
                    if let Some(connection) = greet(stream, limits.first_bytes, stop).await {
                        handle(connection, peer).await;
                    }
                };
                tokio::select! {
                    () = serving => {}
                    () = cut.cancelled() => tracing::info!(peer.uid, "Local connection cut: it was not done when the time for stopping was"),
                }
            });
        }
        drop(place);
        drop(listener);
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

/// Waits for the first bytes. Nothing, if they do not come in time or never.
async fn greet(stream: PlacedStream, patience: Duration, stop: CancellationToken) -> Option<LocalConnection> {
    let (spoken, stream) = tokio::select! {
        first = timeout(patience, recognise(stream, &[HTTP2_PREFACE, HELPER_PREFACE])) => first.ok()?.ok()?,
        () = stop.cancelled() => return None,
    };
    match spoken {
        Some(0) => Some(LocalConnection::Grpc(stream)),
        Some(_) => Some(LocalConnection::Helper(stream)),
        None if stream.prefix().is_empty() => None,
        None => Some(LocalConnection::Unknown(stream)),
    }
}

fn credentials(stream: &Stream) -> Option<PeerCredentials> {
    let peer = stream.peer_creds().ok()?;
    Some(PeerCredentials { uid: peer.euid()?, gid: peer.egid()?, pid: peer.pid() })
}

/// How many connections each user has.
#[derive(Debug, Default)]
struct Users {
    limit: usize,
    counts: Arc<Mutex<HashMap<u32, usize>>>,
    reminder: Reminder,
}

impl Users {
    /// A place for one more of this user's, if there is one.
    fn enter(&mut self, peer: PeerCredentials) -> Option<User> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer.uid).or_insert(0);
        if *count >= self.limit && peer.uid != 0 {
            let PeerCredentials { uid, pid, .. } = peer;
            let limit = self.limit;
            self.reminder
                .at_most(|| tracing::warn!(uid, pid, limit, "A user has all its local connections; more are closed"));
            return None;
        }
        *count += 1;
        Some(User { uid: peer.uid, counts: Arc::clone(&self.counts) })
    }
}

/// One connection of a user; it stops counting when dropped.
#[derive(Debug)]
struct User {
    uid: u32,
    counts: Arc<Mutex<HashMap<u32, usize>>>,
}

impl Drop for User {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.uid);
            }
        }
    }
}

/// An accepted stream with its places among all connections and among its user's.
#[derive(Debug)]
pub struct PlacedStream {
    stream: Stream,
    _user: User,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for PlacedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PlacedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
