//! One authorised request through `git http-backend`, streaming both ways.
//!
//! ```text
//! request body ──feed──> stdin  git-http-backend ─> receive-pack ─> index-pack
//! response body <─relay── stdout
//! log           <─collect─ stderr
//! ```
//!
//! One task per request drives all three. It ends the whole process group when the client goes away, when the body
//! breaks off, or when no byte moved for too long; so nobody can leave half a push behind, and a slow client costs a
//! process but never a thread.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::maybe_done;
use futures_util::stream::unfold;
use http_body_util::StreamBody;
use hyper::body::{Body as HttpBody, Frame};
use hyper::http::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::call::{GitCall, GitRequest, GitService};
use super::cgi::{self, BadHead, Head};
use super::child::{Activity, Group, Pipes, collect};
use super::fault::GatewayFault;
use super::packed::Unpacking;
use super::repositories::{Repositories, RepositoryFault};
use super::stream::{BodyBroke, feed, relay};
use super::{settings, settle, sweep};

/// Chunks of an answer that may wait for the client, 64 KiB each.
const WAITING_CHUNKS: usize = 2;

/// What the gateway allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayLimits {
    /// git children at a time.
    pub children: usize,
    /// How long a request waits for one of them to end before it is turned away.
    pub queue: Duration,
    /// How long no byte may move in either direction. git itself sends a sign of life every 5 s while it works.
    pub idle: Duration,
    /// The largest pack one push may bring, in bytes; 0 for no limit.
    pub largest_push: u64,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            children: 64,
            queue: Duration::from_secs(30),
            idle: Duration::from_secs(5 * 60),
            largest_push: 4 * 1024 * 1024 * 1024,
        }
    }
}

/// Serves repositories over smart HTTP. Knows nothing of tokens: what comes in was allowed.
#[derive(Debug, Clone)]
pub struct GitBackend {
    repositories: Repositories,
    limits: GatewayLimits,
    children: Arc<Semaphore>,
}

impl GitBackend {
    /// A backend for these repositories, run by the git that [`Repositories`] was opened with.
    pub fn new(repositories: Repositories, limits: GatewayLimits) -> Self {
        let children = Arc::new(Semaphore::new(limits.children));
        Self { repositories, limits, children }
    }

    /// The repositories it serves.
    pub fn repositories(&self) -> &Repositories {
        &self.repositories
    }

    #[cfg(test)]
    pub(super) fn running(&self) -> usize {
        self.limits.children - self.children.available_permits()
    }

    /// Completes when no child runs. For a clean stop, after the listener drained: an answer may be sent while git
    /// still tidies up.
    pub async fn idle(&self) {
        let all = u32::try_from(self.limits.children).unwrap_or(u32::MAX);
        let _ = self.children.acquire_many(all).await;
    }

    /// Answers one request that somebody was allowed to make. The answer's body ends when git ended; a push is then
    /// on the disk. Dropping the body (or this future) stops git.
    ///
    /// # Errors
    /// [`GatewayFault`], before the first byte of an answer. What goes wrong later breaks the body off, so that the
    /// client notices.
    pub async fn serve<B>(&self, request: GitRequest<B>) -> Result<Response<Body>, GatewayFault>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display + Send,
    {
        let packed = match request.headers.content_encoding.as_deref() {
            None | Some("identity") => None,
            Some("gzip" | "x-gzip") => Some(Unpacking::begin()),
            Some(other) => return Err(GatewayFault::Encoding { encoding: other.to_owned() }),
        };
        let repo = request.repo.clone();
        let Some(path) = self.repositories.locate(&repo).await.map_err(unreadable)? else {
            return Err(GatewayFault::NoRepository { repo });
        };
        let permit = self.wait_for_a_child().await?;

        let began = settle::begin();
        let (group, pipes) = self.start(&request)?;
        let (chunks, mut waiting) = mpsc::channel(WAITING_CHUNKS);
        let (head, answered) = oneshot::channel();
        let (heard, whole) = oneshot::channel();
        let settling = (request.call == GitCall::Exchange(GitService::ReceivePack)).then_some((path, began));
        let run = Run {
            title: format!("{} {repo}", request.call.service().as_str()),
            program: self.repositories.program.clone(),
            group,
            idle: self.limits.idle,
            heard,
            settling,
            permit,
        };
        let push = request.call.service().writes();
        tokio::spawn(run.drive((request.body, packed), pipes, head, chunks));

        let head = match answered.await.unwrap_or(Ok(None)) {
            Ok(Some(head)) => head,
            // It may be the question's fault.
            Ok(None) => return Err(whole.await.ok().and_then(Result::err).unwrap_or(GatewayFault::NoAnswer { repo })),
            Err(bad) => return Err(bad.into()),
        };
        // git gives the head at once. nginx takes it for the end of the question and would pass on no more of a push; what
        // a push is answered is never needed to go on with it. Who reads may have to be answered in between.
        let first = tokio::select! {
            biased;
            heard = whole => match heard {
                Ok(Err(fault)) => return Err(fault),
                Ok(Ok(())) | Err(_) => None,
            },
            first = waiting.recv(), if !push => first,
        };
        let body = StreamBody::new(unfold((first, waiting), async move |(first, mut waiting)| {
            let chunk: Chunk = match first {
                Some(chunk) => chunk,
                None => waiting.recv().await?,
            };
            Some((chunk.map(Frame::data), (None, waiting)))
        }));
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }

    async fn wait_for_a_child(&self) -> Result<OwnedSemaphorePermit, GatewayFault> {
        let waited = self.limits.queue;
        let permit = timeout(waited, Arc::clone(&self.children).acquire_owned()).await;
        // The semaphore is never closed.
        permit.ok().and_then(Result::ok).ok_or(GatewayFault::Busy { children: self.limits.children, waited })
    }

    fn start<B>(&self, request: &GitRequest<B>) -> Result<(Group, Pipes), GatewayFault> {
        let program = &self.repositories.program;
        let mut command = program.backend();
        settings::apply(&mut command, program.version(), request.call.service(), self.limits.largest_push);
        cgi::describe(&mut command, self.repositories.root(), request);
        command.stdin(std::process::Stdio::piped());
        Group::start(command).map_err(GatewayFault::Start)
    }
}

fn unreadable(fault: RepositoryFault) -> GatewayFault {
    match fault {
        RepositoryFault::Disk { source, .. } => GatewayFault::Disk(source),
        other => GatewayFault::Disk(std::io::Error::other(other)),
    }
}

/// A piece of an answer, or the reason why there are no more.
pub(super) type Chunk = Result<Bytes, std::io::Error>;
/// What became of an answer's head.
pub(super) type Answer = Result<Option<Head>, BadHead>;

/// Why a request is over.
#[derive(Debug)]
enum Over {
    /// git ended by itself and the client sent all it had.
    Ended,
    /// The client closed the connection.
    ClientGone,
    /// The request's body broke off.
    BodyBroke(BodyBroke),
    /// No byte moved for too long.
    Silent,
}

/// One request being served.
struct Run {
    title: String,
    program: super::program::GitProgram,
    group: Group,
    idle: Duration,
    /// Told when the client has sent all it had, or that it is no use; dropped if neither will be known.
    heard: oneshot::Sender<Result<(), GatewayFault>>,
    settling: Option<(PathBuf, SystemTime)>,
    permit: OwnedSemaphorePermit,
}

impl Run {
    async fn drive<B>(
        self,
        (body, packed): (B, Option<Unpacking>),
        pipes: Pipes,
        head: oneshot::Sender<Answer>,
        chunks: mpsc::Sender<Chunk>,
    ) where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: std::fmt::Display + Send,
    {
        let Self { title, program, group, idle, heard, settling, permit } = self;
        let mut heard = Some(heard);
        let activity = Activity::begin();
        let mut said = String::new();
        let mut held = None;
        let mut quarantine = None;
        let (over, group) = {
            let mut feeding = Box::pin(feed(body, pipes.input, packed, &activity));
            // A push's last words are held back until the push is on the disk.
            let last_words = settling.is_some().then_some(&mut held);
            let mut relaying = pin!(maybe_done(relay(pipes.output, head, &chunks, last_words, &activity)));
            let mut collecting = pin!(maybe_done(collect(pipes.complaints, &mut said)));
            let (mut fed, mut relayed, mut collected) = (false, false, false);
            let over = loop {
                if fed && relayed && collected {
                    break Over::Ended;
                }
                tokio::select! {
                    result = &mut feeding, if !fed => match result {
                        Ok(()) => {
                            fed = true;
                            // Whoever ends before it is accepted leaves it; afterwards nobody could say where it is.
                            quarantine = settling.as_ref().and_then(|_| group.quarantine());
                            let _ = heard.take().map(|heard| heard.send(Ok(())));
                        }
                        Err(broke) => break Over::BodyBroke(broke),
                    },
                    () = &mut relaying, if !relayed => relayed = true,
                    () = &mut collecting, if !collected => collected = true,
                    () = chunks.closed() => break Over::ClientGone,
                    () = activity.quiet_for(idle) => break Over::Silent,
                }
            };
            match (over, settling.as_ref()) {
                (Over::Ended, _) => (Over::Ended, Some(group)),
                (over, settling) => {
                    let quarantine = group.quarantine().or(quarantine.take());
                    // A push ends by itself when its input does (no request of receive-pack's is a part of another),
                    // and then it cleans up best.
                    drop(feeding);
                    let all_gone = async { tokio::join!(relaying, collecting) };
                    group.end(settling.is_some(), all_gone.map(|_| ())).await;
                    if let (Some(quarantine), Some((repository, _))) = (quarantine, settling) {
                        sweep::discard(&quarantine, repository).await;
                    }
                    (over, None)
                }
            }
        };
        let took_ms = u64::try_from(activity.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Some(group) = group else {
            drop(permit);
            tracing::info!(request = title, took_ms, reason = %over, git = said, "{title}: git was stopped");
            // Not before nothing of it is left.
            if let (Over::BodyBroke(BodyBroke::Packed(why)), Some(heard)) = (over, heard) {
                let _ = heard.send(Err(GatewayFault::Packed(why)));
            }
            let _ = timeout(idle, chunks.send(Err(std::io::Error::other("git was stopped")))).await;
            return;
        };
        let (push, status) = (settling.is_some(), group.finish().await);
        if let (Some(quarantine), Some((repository, _))) = (quarantine, &settling) {
            sweep::discard(&quarantine, repository).await;
        }
        let settled = match settling {
            Some((path, began)) => settle::settle(&program, &path, began).await,
            None => Ok(()),
        };
        drop(permit);
        let last = match (settled, status) {
            (Err(error), _) => {
                tracing::error!(request = title, %error, "A push cannot be made durable; its client is not told that it succeeded");
                Some(Err(error))
            }
            // Only a signal cuts an answer short without git noticing; an exit status comes after a proper last word.
            (Ok(()), Some(status)) if status.code().is_none() => {
                tracing::warn!(request = title, took_ms, %status, git = said, "{title}: git was killed");
                Some(Err(std::io::Error::other("git was killed")))
            }
            // A push is answered with a report. Who hears nothing must not take that for one.
            (Ok(()), status) if push && held.is_none() && !(said.is_empty() && status.is_some_and(|s| s.success())) => {
                tracing::warn!(request = title, took_ms, git = said, "{title}: git ended without a report");
                Some(Err(std::io::Error::other("git ended without a report")))
            }
            (Ok(()), status) => {
                let clean = status.is_some_and(|status| status.success());
                if clean && said.is_empty() {
                    tracing::debug!(request = title, took_ms, "{title}: done");
                } else {
                    tracing::info!(request = title, took_ms, clean, git = said, "{title}: done");
                }
                held.map(Ok)
            }
        };
        if let Some(last) = last {
            let _ = timeout(idle, chunks.send(last)).await;
        }
    }
}

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended => f.write_str("git ended"),
            Self::ClientGone => f.write_str("the client closed the connection"),
            Self::BodyBroke(broke) => broke.fmt(f),
            Self::Silent => f.write_str("no byte moved for too long"),
        }
    }
}
