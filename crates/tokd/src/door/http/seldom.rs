//! Waiting for what seldom happens, beside something that happens all the time.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// The first of some futures to complete, each polled only after it was woken itself.
///
/// A connection's task runs for each packet. In a plain `select!`, each time would also ask whether the daemon stops,
/// which takes a lock that all connections share.
pub(super) struct Seldom<'f>(FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send + 'f>>>);

impl<'f> Seldom<'f> {
    /// Of none: never completes.
    pub(super) fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    /// Or when that completes.
    #[must_use]
    pub(super) fn or(self, future: impl Future<Output = ()> + Send + 'f) -> Self {
        self.0.push(Box::pin(future));
        self
    }
}

impl Future for Seldom<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.poll_next_unpin(cx) {
            Poll::Ready(Some(())) => Poll::Ready(()),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn completes_with_the_first_and_polls_nobody_in_vain() {
        let (say, said) = oneshot::channel::<()>();
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let quiet = poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::Pending
        });
        let mut seldom = Seldom::new().or(quiet).or(async {
            let _ = said.await;
        });
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(Pin::new(&mut seldom).poll(&mut cx).is_pending());
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        say.send(()).unwrap();
        seldom.await;
    }
}
