//! Who may converse with a server now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pintle_core::turns::Book;
pub(crate) use pintle_core::turns::Heard;
use tokio::sync::oneshot;

/// Turns of all repositories.
#[derive(Debug)]
pub(crate) struct Turns {
    book: SharedBook,
}

type SharedBook = Arc<Mutex<Book<oneshot::Sender<Turn>>>>;

/// The right to one conversation. It ends with the drop.
#[derive(Debug)]
pub(crate) struct Turn {
    book: SharedBook,
    host: String,
    heard: Heard,
}

impl Turns {
    /// Makes as many turns as there may be conversations at one time.
    pub(crate) fn new(concurrency: usize) -> Self {
        Self {
            book: Arc::new(Mutex::new(Book::new(concurrency))),
        }
    }

    /// Waits for a turn with a host; nothing if there will be none any more.
    pub(crate) async fn take(&self, host: &str) -> Option<Turn> {
        let (give, given) = oneshot::channel();
        lock(&self.book).wait(host, give);
        serve(&self.book);
        given.await.ok()
    }
}

impl Turn {
    /// Ends it with what was heard.
    pub(crate) fn end(mut self, heard: Heard) {
        self.heard = heard;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_go_to_the_next_who_still_waits() {
        let turns = Arc::new(Turns::new(1));
        let wait = |host: &'static str| {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.take(host).await })
        };
        let held = turns.take("one").await.unwrap();
        let gone = wait("two");
        tokio::task::yield_now().await;
        gone.abort();
        assert!(gone.await.is_err());
        let next = wait("three");
        held.end(Heard::Answer);
        drop(next.await.unwrap().unwrap());
        for after in ["four", "five"] {
            drop(turns.take(after).await.unwrap());
        }
    }
}
