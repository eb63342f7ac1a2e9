//! How many requests are being answered, counted until the last byte of each answer was handed over.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;

/// A count of requests. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<watch::Sender<usize>>);

impl InFlight {
    /// How many there are now.
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Completes as soon as there is none.
    #[cfg(test)]
    pub(super) async fn none(&self) {
        self.none_for(Duration::ZERO).await;
    }

    /// Completes when there was none for so long.
    pub(super) async fn none_for(&self, long: Duration) {
        let mut changes = self.0.subscribe();
        loop {
            // The sender lives as long as `self`.
            let _ = changes.wait_for(|count| *count == 0).await;
            if timeout(long, changes.changed()).await.is_err() {
                return;
            }
        }
    }

    pub(super) fn enter(&self) -> Counted {
        self.0.send_modify(|count| *count += 1);
        Counted(self.clone())
    }
}

/// One request; it stops counting when dropped.
#[derive(Debug)]
pub(super) struct Counted(InFlight);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// An answer's body that keeps its request counted.
#[derive(Debug)]
pub struct CountedBody<B> {
    content: Content<B>,
    _counted: [Counted; 2],
}

#[derive(Debug)]
enum Content<B> {
    Service(B),
    Words(Option<&'static str>),
}

impl<B> CountedBody<B> {
    pub(super) fn service(body: B, counted: [Counted; 2]) -> Self {
        Self { content: Content::Service(body), _counted: counted }
    }

    pub(super) fn words(words: &'static str, counted: [Counted; 2]) -> Self {
        Self { content: Content::Words(Some(words)), _counted: counted }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for CountedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.content {
            Content::Service(body) => Pin::new(body).poll_frame(cx),
            Content::Words(words) => {
                Poll::Ready(words.take().map(|words| Ok(Frame::data(Bytes::from_static(words.as_bytes())))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Service(body) => body.is_end_stream(),
            Content::Words(words) => words.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Service(body) => body.size_hint(),
            Content::Words(words) => SizeHint::with_exact(words.map_or(0, str::len) as u64),
        }
    }
}
