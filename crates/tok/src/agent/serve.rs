//! The agent's life: from taking its place to letting go of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tok_api::local::listener::{LocalConnection, LocalListener, PeerCredentials, SocketLimits};
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::keeper::{Keeper, Settings};
use super::{door, grpc, hardening, place};
use crate::exit::Failure;

/// Only this user, and root.
const MODE: u32 = 0o600;
/// Connections at a time; more wait. A process has 1024 descriptors, as a rule.
const CONNECTIONS: usize = 512;
/// How long conversations under way may take when it ends.
const DRAIN: Duration = Duration::from_secs(2);
/// How often tokens about to end are looked for, and whether there was work.
const TICK: Duration = Duration::from_secs(10);

/// Runs until it is stopped or idle.
pub(crate) async fn run(settings: Settings) -> Result<(), Failure> {
    log();
    let memory_locked = hardening::apply();
    let passed = passed()?;
    let socket = place::socket()?;
    let listener = listen(passed, &socket).await?;
    let stop = CancellationToken::new();
    signals(&stop)?;
    let keeper = Arc::new(Keeper::new(settings, &socket, memory_locked));
    tokio::spawn(upkeep(Arc::clone(&keeper), stop.clone()));
    let (serving, ending) = (Arc::clone(&keeper), stop.clone());
    let handle = move |connection: LocalConnection, peer: PeerCredentials| {
        let (keeper, stop) = (Arc::clone(&serving), ending.clone());
        answer(keeper, connection, peer, stop)
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(socket = %socket.display(), memory_locked, "The agent serves {}", socket.display());
    listener.serve(handle, stop, DRAIN).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    keeper.close();
    tracing::info!("Stopped");
    Ok(())
}

async fn answer(keeper: Arc<Keeper>, connection: LocalConnection, peer: PeerCredentials, stop: CancellationToken) {
    let own = grpc::is_own_user(peer);
    if !own && peer.uid != 0 {
        tracing::warn!(peer.uid, peer.pid, "Another user's process was turned away");
        return;
    }
    match connection {
        // Root may stop it, and is refused everything else there.
        LocalConnection::Grpc(stream) => grpc::serve(keeper, stream, peer, stop).await,
        LocalConnection::Helper(stream) if own => {
            let answering = |request| async move { door::answer(&keeper, &request).await };
            tok_api::local::helper::serve(stream, peer, answering).await;
        }
        LocalConnection::Helper(_) => {
            tracing::warn!(peer.uid, peer.pid, "Root's helper was turned away: this agent is another user's");
        }
        LocalConnection::Unknown(mut stream) => {
            let _ = stream.write_all(b"this socket speaks gRPC and tok/1; use `tok` or git-credential-tok\n").await;
        }
    }
}

/// The socket that systemd passed.
fn passed() -> Result<Option<std::os::unix::net::UnixListener>, Failure> {
    let mut passed = listenfd::ListenFd::from_env();
    for index in 0..passed.len() {
        if let Ok(Some(listener)) = passed.take_unix_listener(index) {
            rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)
                .map_err(|why| Failure::local(format!("the socket that systemd passed cannot be used: {why}")))?;
            return Ok(Some(listener));
        }
    }
    Ok(None)
}

async fn listen(passed: Option<std::os::unix::net::UnixListener>, socket: &Path) -> Result<LocalListener, Failure> {
    // All that connect are one user's.
    let limits = SocketLimits { connections: CONNECTIONS, per_user: CONNECTIONS, ..SocketLimits::default() };
    match passed {
        Some(listener) => LocalListener::inherited(listener, limits)
            .map_err(|why| Failure::local(format!("the socket that systemd passed cannot be used: {why}"))),
        None => {
            place::private_directory(socket)?;
            LocalListener::bind(socket, MODE, limits).await.map_err(Failure::local)
        }
    }
}

fn signals(stop: &CancellationToken) -> Result<(), Failure> {
    let failed = |why| Failure::local(format!("signals cannot be waited for: {why}"));
    let mut ending =
        [signal(SignalKind::terminate()).map_err(failed)?, signal(SignalKind::interrupt()).map_err(failed)?];
    // The terminal it was started from may close.
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        let [terminate, interrupt] = &mut ending;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {}
            }
        }
        tracing::info!("Stopping");
        stop.cancel();
    });
    Ok(())
}

/// Renews what is about to end, and ends an agent that nobody needs.
async fn upkeep(keeper: Arc<Keeper>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = sleep(keeper.tick(TICK)) => {}
            () = stop.cancelled() => return,
        }
        // Whoever logged out meanwhile has no session here any more.
        let _ = keeper.book.logins();
        for session in keeper.book.sessions() {
            session.renew_due();
        }
        if keeper.is_idle() {
            tracing::info!("Stopping: there was no work for a while");
            stop.cancel();
        }
    }
}

/// On stderr, which is the journal's or a file's. Nothing that is logged here is a secret.
fn log() {
    let filter = EnvFilter::try_from_env("TOK_LOG").unwrap_or_else(|_| EnvFilter::new("warn,tok=info"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).try_init();
}

/// The file that an agent in the background writes its log to.
pub(super) fn log_file(socket: &Path) -> PathBuf {
    socket.with_extension("log")
}
