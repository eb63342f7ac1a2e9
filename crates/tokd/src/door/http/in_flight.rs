//! How many requests are being answered, counted until the last byte of each answer was handed over.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// A count of requests. Clones count together.
///
/// Counting costs each request a few atomic operations and wakes nobody; whoever waits looks from time to time.
#[derive(Debug, Clone)]
pub struct InFlight(Arc<State>);

#[derive(Debug)]
struct State {
    count: AtomicUsize,
    born: Instant,
    /// When a request last ended, in nanoseconds since `born`.
    ended: AtomicU64,
    /// Whoever counts here counts there, too.
    whole: Option<InFlight>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self::new(None)
    }
}

impl InFlight {
    fn new(whole: Option<Self>) -> Self {
        let (count, ended) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self(Arc::new(State { count, born: Instant::now(), ended, whole }))
    }

    /// A new count of a part, such as one connection, of what is counted here.
    pub(super) fn part(&self) -> Self {
        Self::new(Some(self.clone()))
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Completes when there was none for so long.
    pub(super) async fn none_for(&self, long: Duration) {
        let mut since = Instant::now();
        loop {
            sleep_until(since + long).await;
            let now = Instant::now();
            since = if self.count() == 0 { since.max(self.last_end()) } else { now };
            if since + long <= now {
                return;
            }
        }
    }

    fn last_end(&self) -> Instant {
        self.0.born + Duration::from_nanos(self.0.ended.load(Ordering::SeqCst))
    }

    pub(super) fn enter(&self) -> Counted {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        if let Some(whole) = &self.0.whole {
            whole.0.count.fetch_add(1, Ordering::SeqCst);
        }
        Counted(self.clone())
    }
}

/// One request; it stops counting when dropped.
#[derive(Debug)]
pub(super) struct Counted(InFlight);

impl Drop for Counted {
    fn drop(&mut self) {
        let State { count, born, ended, whole } = &*self.0.0;
        // First the time, then the count: whoever finds none also finds since when.
        let now = u64::try_from(born.elapsed().as_nanos()).unwrap_or(u64::MAX);
        ended.fetch_max(now, Ordering::SeqCst);
        count.fetch_sub(1, Ordering::SeqCst);
        if let Some(whole) = whole {
            whole.0.count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// An answer's body that keeps its request counted.
#[derive(Debug)]
pub struct CountedBody<B> {
    content: Content<B>,
    _counted: Counted,
}

#[derive(Debug)]
enum Content<B> {
    Service(B),
    Words(Option<&'static str>),
}

impl<B> CountedBody<B> {
    pub(super) fn service(body: B, counted: Counted) -> Self {
        Self { content: Content::Service(body), _counted: counted }
    }

    pub(super) fn words(words: &'static str, counted: Counted) -> Self {
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

#[cfg(test)]
impl InFlight {
    /// Completes soon after there is none.
    pub async fn none(&self) {
        while self.count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn quiet_begins_with_the_last_end() {
        let whole = InFlight::default();
        let part = whole.part();
        let request = part.enter();
        assert_eq!((part.count(), whole.count()), (1, 1));
        let waiting = tokio::spawn({
            let part = part.clone();
            async move { part.none_for(LONG).await }
        });
        // Time itself is what is waited for here: the request outlasts what would be quiet without it.
        tokio::time::sleep(LONG * 3).await;
        assert!(!waiting.is_finished());
        let ended = Instant::now();
        drop(request);
        assert_eq!((part.count(), whole.count()), (0, 0));
        waiting.await.unwrap();
        assert!(ended.elapsed() >= LONG);
    }

    #[tokio::test]
    async fn without_any_request_quiet_begins_with_the_question() {
        let begin = Instant::now();
        InFlight::default().none_for(LONG).await;
        assert!(begin.elapsed() >= LONG);
    }
}
