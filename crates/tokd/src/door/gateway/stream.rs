//! The two streams of a git request, each at the pace of its slower end.

use std::pin::{Pin, pin};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::backend::{Answer, Chunk};
use super::cgi;
use super::child::Activity;
use super::packed::{NotWhole, Unpacking};

/// The largest piece of an answer, in bytes: a pipe holds no more.
const CHUNK: usize = 64 * 1024;
/// Small pieces share a buffer as long as it has this much room, in bytes.
const LEAST_ROOM: usize = 8 * 1024;

/// Why a request's body is no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyBroke {
    /// It ended before it was complete.
    #[error("the request's body broke off: {0}")]
    Off(String),
    /// It came, but cannot be unpacked.
    #[error(transparent)]
    Packed(#[from] NotWhole),
}

/// Passes a request's body to git, one piece after the other and unpacked if it is packed, and closes git's input after the
/// last.
///
/// If git stops reading (a push over the limit, a full disk), the rest is read and thrown away: git clients look at
/// the answer, which says why, only after they sent everything. `activity` bounds how slowly.
pub(super) async fn feed<B, W>(
    body: B,
    mut input: Option<W>,
    mut packed: Option<Unpacking>,
    activity: &Activity,
) -> Result<(), BodyBroke>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display,
    W: AsyncWrite + Unpin,
{
    let mut body: Pin<&mut B> = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyBroke::Off(error.to_string()))?;
        activity.touch();
        let Ok(mut piece) = frame.into_data() else { continue };
        // Nobody needs to know what is in the rest that git does not read.
        while input.is_some() && !piece.is_empty() {
            let part = match &mut packed {
                Some(packed) => packed.unpack(&mut piece)?,
                None => std::mem::take(&mut piece),
            };
            pass(&mut input, part, activity).await;
        }
    }
    if let Some(packed) = packed.filter(|_| input.is_some()) {
        pass(&mut input, packed.end()?, activity).await;
    }
    Ok(())
}

/// Passes a piece to git, as long as it reads.
async fn pass<W: AsyncWrite + Unpin>(input: &mut Option<W>, mut piece: Bytes, activity: &Activity) {
    while let Some(pipe) = input
        && !piece.is_empty()
    {
        match pipe.write_buf(&mut piece).await {
            Ok(_) => activity.touch(),
            Err(_) => *input = None,
        }
    }
}

/// Passes git's answer to whoever waits for it: the head first, then the body.
///
/// With `last_words`, the newest piece always waits there for the next one; at the end it holds the last. Without a
/// head, `answer` is told so and nothing else is passed on. When nobody waits any more, the rest is thrown away: a git
/// that finds its output closed dies in the middle of what it does.
pub(super) async fn relay<R: AsyncRead + Unpin>(
    mut output: R,
    answer: oneshot::Sender<Answer>,
    chunks: &mpsc::Sender<Chunk>,
    mut last_words: Option<&mut Option<Bytes>>,
    activity: &Activity,
) {
    let head = cgi::read_head(&mut output).await;
    activity.touch();
    let first = match &head {
        Ok(Some(head)) => head.rest.clone(),
        Ok(None) | Err(_) => {
            let _ = answer.send(head);
            return;
        }
    };
    let mut wanted = answer.send(head).is_ok();
    let mut piece = first;
    let mut buffer = BytesMut::new();
    loop {
        if !piece.is_empty() {
            let next = match &mut last_words {
                Some(held) => held.replace(piece),
                None => Some(piece),
            };
            if let Some(next) = next
                && wanted
            {
                wanted = chunks.send(Ok(next)).await.is_ok();
            }
            activity.touch();
        }
        if buffer.capacity() < LEAST_ROOM {
            buffer.reserve(CHUNK);
        }
        match (&mut output).take(CHUNK as u64).read_buf(&mut buffer).await {
            Ok(1..) => piece = buffer.split().freeze(),
            Ok(0) | Err(_) => return,
        }
        activity.touch();
    }
}
