//! Fetching what the renders of one application ask for from other hosts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pintle_core::digest::Digest;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// An application's fetch in progress, if there is one.
///
/// A fetch does not end with the run that waits for it: commits may come faster than a slow host sends, and a fetch that each of
/// them restarted would never finish. The next run that asks for the same waits until the fetch has ended, and then asks again
/// for whatever is newer by then. What was fetched is in the cache. A run that asks for something else, or for nothing, ends the
/// fetch, and so does the end of the application. If nobody waits for the result any more, it is dropped when the fetch ends:
/// then only the cache has it.
#[derive(Debug, Default)]
pub(crate) struct Fetching(Mutex<Option<UnderWay>>);

#[derive(Debug)]
struct UnderWay {
    /// Identifies what is fetched, and with what.
    what: Digest,
    task: AbortOnDropHandle<()>,
}

impl Fetching {
    /// Fetches. The caller may stop waiting: a fetch that has begun continues, and one that waits for another is skipped.
    pub(crate) async fn fetch<T: Send + 'static>(
        &self,
        what: Digest,
        fetch: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (give, given) = oneshot::channel();
        self.begin(what, async move {
            if !give.is_closed() {
                let fetched = fetch.await;
                // A caller that has gone in the meantime asks again.
                let _ = give.send(fetched);
            }
        });
        given
            .await
            .expect("it is ended by nobody while it is waited for")
    }

    /// Ends the fetch in progress.
    pub(crate) fn end(&self) {
        drop(self.lock().take());
    }

    fn begin(&self, what: Digest, fetch: impl Future<Output = ()> + Send + 'static) {
        let mut under_way = self.lock();
        let same = under_way.take().filter(|before| before.what == what);
        let task = tokio::spawn(async move {
            if let Some(before) = same {
                // A panic of the earlier fetch concerns only that one.
                let _ = before.task.await;
            }
            fetch.await;
        });
        *under_way = Some(UnderWay {
            what,
            task: AbortOnDropHandle::new(task),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Option<UnderWay>> {
        // The value is complete at all times, even if a holder of the lock has panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::task::yield_now;

    use super::*;

    /// Begins a fetch that nobody waits for any more. It continues when the returned sender is used or dropped, and the receiver
    /// is notified when the fetch has ended.
    async fn left(
        fetching: &Fetching,
        what: Digest,
    ) -> (oneshot::Sender<()>, oneshot::Receiver<()>) {
        let (started, begun) = oneshot::channel();
        let (open, gate) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let mut waiting = Box::pin(fetching.fetch(what, async move {
            started.send(()).unwrap();
            let _ = gate.await;
            let _ = end.send(());
        }));
        assert!(waiting.as_mut().now_or_never().is_none());
        begun.await.unwrap();
        drop(waiting);
        (open, ended)
    }

    #[tokio::test]
    async fn a_fetch_goes_on_without_who_waited_for_it_and_the_next_one_comes_after_it() {
        let fetching = Fetching::default();
        let what = Digest::of("a chart");
        let (open, mut ended) = left(&fetching, what).await;

        let (ask, asked) = oneshot::channel();
        let given_up = fetching.fetch(what, async move { ask.send(()) });
        assert!(given_up.now_or_never().is_none());
        let next = fetching.fetch(what, async move { ended.try_recv() });
        let mut next = Box::pin(next);
        assert!(next.as_mut().now_or_never().is_none());
        yield_now().await;
        assert!(next.as_mut().now_or_never().is_none());
        drop(open);
        assert_eq!(next.await, Ok(()), "the first has come to its end before");
        assert!(asked.await.is_err(), "nobody waits for the second");
    }

    #[tokio::test]
    async fn a_fetch_ends_for_another_one_for_none_and_with_its_application() {
        let fetching = Fetching::default();
        let (_open, ended) = left(&fetching, Digest::of("a chart")).await;
        let other = Digest::of("another chart");
        assert_eq!(fetching.fetch(other, async { 1 }).await, 1);
        assert!(ended.await.is_err());

        let (_open, ended) = left(&fetching, other).await;
        fetching.end();
        assert!(ended.await.is_err());

        let (_open, ended) = left(&fetching, other).await;
        drop(fetching);
        assert!(ended.await.is_err());
    }
}
