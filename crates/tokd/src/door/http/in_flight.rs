//! How many requests are being answered, counted until the last byte of each answer was handed over.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// How many parts of the whole share a counter. Processors that count in one place wait for each other.
const SHARDS: usize = 16;

/// A count of the requests of all connections. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Whole>);

#[derive(Debug, Default)]
struct Whole {
    shards: [Shard; SHARDS],
    parts: AtomicUsize,
}

/// Alone in its lines of the processors' caches.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(AtomicUsize);

impl InFlight {
    /// How many there are now.
    pub fn count(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.0.load(Ordering::SeqCst)).sum()
    }

    /// The count of one connection, which is part of this one.
    pub(super) fn part(&self) -> Here {
        let shard = self.0.parts.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let (count, ended) = (AtomicUsize::new(0), AtomicU64::new(0));
        Here(Arc::new(Part { whole: Arc::clone(&self.0), shard, count, born: Instant::now(), ended }))
    }
}

/// A count of the requests of one connection. Clones count together.
///
/// Counting costs each request a few atomic operations and wakes nobody; whoever waits looks from time to time.
#[derive(Debug, Clone)]
pub(super) struct Here(Arc<Part>);

#[derive(Debug)]
struct Part {
    whole: Arc<Whole>,
    shard: usize,
    count: AtomicUsize,
    born: Instant,
    /// When a request last ended, in nanoseconds since `born`.
    ended: AtomicU64,
}

impl Part {
    fn shard(&self) -> &AtomicUsize {
        &self.whole.shards[self.shard].0
    }
}

impl Here {
    /// Completes when there was none for so long.
    pub(super) async fn none_for(&self, long: Duration) {
        let mut since = Instant::now();
        loop {
            sleep_until(since + long).await;
            let now = Instant::now();
            since = if self.0.count.load(Ordering::SeqCst) == 0 { since.max(self.last_end()) } else { now };
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
        self.0.shard().fetch_add(1, Ordering::SeqCst);
        Counted(self.clone())
    }
}

/// One request; it stops counting when dropped.
#[derive(Debug)]
pub(super) struct Counted(Here);

impl Drop for Counted {
    fn drop(&mut self) {
        let part = &*self.0.0;
        // First the time, then the count: whoever finds none also finds since when.
        let now = u64::try_from(part.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
        part.ended.fetch_max(now, Ordering::SeqCst);
        part.count.fetch_sub(1, Ordering::SeqCst);
        part.shard().fetch_sub(1, Ordering::SeqCst);
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
        let here = whole.part();
        let request = here.enter();
        assert_eq!(whole.count(), 1);
        let waiting = tokio::spawn({
            let here = here.clone();
            async move { here.none_for(LONG).await }
        });
        // Time itself is what is waited for here: the request outlasts what would be quiet without it.
        tokio::time::sleep(LONG * 3).await;
        assert!(!waiting.is_finished());
        let ended = Instant::now();
        drop(request);
        assert_eq!(whole.count(), 0);
        waiting.await.unwrap();
        assert!(ended.elapsed() >= LONG);
    }

    #[tokio::test]
    async fn without_any_request_quiet_begins_with_the_question() {
        let begin = Instant::now();
        InFlight::default().part().none_for(LONG).await;
        assert!(begin.elapsed() >= LONG);
    }

    #[test]
    fn all_connections_are_counted_together() {
        let whole = InFlight::default();
        let parts: Vec<Here> = (0..2 * SHARDS).map(|_| whole.part()).collect();
        let mut requests: Vec<Counted> = parts.iter().map(Here::enter).collect();
        assert_eq!(whole.count(), 2 * SHARDS);
        requests.truncate(3);
        assert_eq!(whole.count(), 3);
    }
}
