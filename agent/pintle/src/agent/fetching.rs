//! What the renders of one application ask for from elsewhere, while it is fetched.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pintle_core::digest::Digest;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// The fetch of an application that is under way, if there is one.
///
/// It does not end with the run that waits for it: commits may come faster than a slow host sends, and what each of them began anew
/// would never be there. The next run that asks for the same waits until it has ended, and asks again, for what is newer by then:
/// what was brought is in the cache. One that asks for something else, or for nothing, ends it, and so does the end of the application.
/// What it brought is let go of at its end, if nobody waits for it any more: nothing but the cache has it then.
#[derive(Debug, Default)]
pub(crate) struct Fetching(Mutex<Option<UnderWay>>);

#[derive(Debug)]
struct UnderWay {
    /// Names what is fetched, and with what.
    what: Digest,
    task: AbortOnDropHandle<()>,
}

impl Fetching {
    /// Fetches. Whoever waits for it may go: a fetch that has begun goes on, and one that waits for another is left out.
    pub(crate) async fn fetch<T: Send + 'static>(
        &self,
        what: Digest,
        fetch: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (give, given) = oneshot::channel();
        self.begin(what, async move {
            if !give.is_closed() {
                let fetched = fetch.await;
                // Who has gone meanwhile asks again.
                let _ = give.send(fetched);
            }
        });
        given
            .await
            .expect("it is ended by nobody while it is waited for")
    }

    /// Ends what is under way.
    pub(crate) fn end(&self) {
        drop(self.lock().take());
    }

    fn begin(&self, what: Digest, fetch: impl Future<Output = ()> + Send + 'static) {
        let mut under_way = self.lock();
        let same = under_way.take().filter(|before| before.what == what);
        let task = tokio::spawn(async move {
            if let Some(before) = same {
                // Its panic is its own.
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
        // What is under way is known as a whole whatever happened to whoever held it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::task::yield_now;

    use super::*;

    /// Begins a fetch that nobody waits for any more. It goes on when the first of what is returned is used or dropped, and
    /// the second tells that it has come to its end.
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
