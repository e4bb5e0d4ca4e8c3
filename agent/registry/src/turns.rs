//! Who may speak to a host now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pintle_core::turns::{Book, Heard};
use tokio::sync::oneshot;

use crate::error::Cause;

/// Pulls, pushes and questions under way at one time. What comes of so many may be in memory at once.
const AT_ONCE: usize = 8;

/// Turns with registries and chart repositories. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    book: SharedBook,
}

type SharedBook = Arc<Mutex<Book<oneshot::Sender<Turn>>>>;

/// The right to speak to a host. It ends with the drop.
#[derive(Debug)]
pub(crate) struct Turn {
    book: SharedBook,
    host: String,
    heard: Heard,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            book: Arc::new(Mutex::new(Book::new(AT_ONCE))),
        }
    }
}

impl Turns {
    /// Waits for a turn with a host.
    pub(crate) async fn take(&self, host: &str) -> Turn {
        let (give, given) = oneshot::channel();
        lock(&self.book).wait(host, give);
        serve(&self.book);
        given.await.expect("who waits is in the book until then")
    }
}

impl Turn {
    /// Ends it with what came of it.
    pub(crate) fn end<T>(mut self, result: &Result<T, Cause>) {
        self.heard = heard(result);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.book).end(&self.host, self.heard);
        serve(&self.book);
    }
}

fn lock(book: &SharedBook) -> MutexGuard<'_, Book<oneshot::Sender<Turn>>> {
    // Nothing in it can panic between two changes that belong together.
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives turns to all who can have one now.
fn serve(book: &SharedBook) {
    loop {
        let next = lock(book).next(oneshot::Sender::is_closed);
        let Some((host, give)) = next else { return };
        let turn = Turn {
            book: Arc::clone(book),
            host,
            heard: Heard::Nothing,
        };
        // Who has gone meanwhile leaves it to the others by dropping it.
        let _ = give.send(turn);
    }
}

/// Returns what a result tells of its host. That there is no such chart is an answer, too.
fn heard<T>(result: &Result<T, Cause>) -> Heard {
    match result {
        Err(Cause::Unreachable { .. } | Cause::Timeout { .. }) => Heard::Silence,
        Err(Cause::Interrupted { .. } | Cause::Tls { .. } | Cause::Disk { .. }) => Heard::Nothing,
        Ok(_) | Err(_) => Heard::Answer,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_who_says_nothing_is_silent() {
        let host = || "registry.example.com".to_owned();
        let of = |cause: Cause| heard::<()>(&Err(cause));
        let timeout = Cause::Timeout {
            host: host(),
            total: true,
            limit: Duration::from_secs(1),
        };
        let not_found = Cause::NotFound {
            host: host(),
            part: "archive",
            message: None,
        };
        let broken = Cause::Interrupted {
            host: host(),
            reason: String::new(),
        };
        assert_eq!(heard(&Ok(())), Heard::Answer);
        assert_eq!(
            [timeout, not_found, broken].map(of),
            [Heard::Silence, Heard::Answer, Heard::Nothing]
        );
    }

    #[tokio::test]
    async fn a_host_that_was_silent_has_one_turn() {
        let turns = Turns::default();
        let silence: Result<(), Cause> = Err(Cause::Unreachable {
            host: "silent".to_owned(),
            reason: String::new(),
        });
        turns.take("silent").await.end(&silence);
        let held = turns.take("silent").await;
        let clone = turns.clone();
        let next = tokio::spawn(async move { clone.take("silent").await });
        tokio::task::yield_now().await;
        // Others do not wait for it.
        for _ in 0..AT_ONCE {
            drop(turns.take("other").await);
        }
        assert!(!next.is_finished());
        held.end(&Ok(()));
        drop(next.await.unwrap());
    }
}
