//! Who may converse with a server now.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most conversations with one host at a time.
const PER_HOST: usize = 5;

/// Turns of all repositories.
///
/// One host never has all of them: a host that accepts connections and then says nothing would keep every repository
/// elsewhere waiting.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    per_host: usize,
    /// Hosts that somebody converses with, or waits for.
    hosts: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// The right to one conversation. It ends with the drop.
#[derive(Debug)]
pub(crate) struct Turn {
    _of_host: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    /// Makes as many turns as there may be conversations at one time.
    pub(crate) fn new(concurrency: usize) -> Self {
        let all = concurrency.max(1);
        Self {
            all: Arc::new(Semaphore::new(all)),
            per_host: PER_HOST.min(all - 1).max(1),
            hosts: Mutex::default(),
        }
    }

    /// Waits for a turn with a host; nothing if there will be none any more.
    pub(crate) async fn take(&self, host: &str) -> Option<Turn> {
        // The host's comes first: who waits for it must not hold what others could use.
        let of_host = self.of(host).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn {
            _of_host: of_host,
            _of_all: of_all,
        })
    }

    fn of(&self, host: &str) -> Arc<Semaphore> {
        // Each change is one call of the standard library, so that a panic leaves nothing half done.
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = hosts.get(host).and_then(Weak::upgrade) {
            return turns;
        }
        hosts.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(self.per_host));
        hosts.insert(host.to_owned(), Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_host_leaves_a_turn_for_others() {
        for (concurrency, of_one) in [(2, 1), (3, 2), (8, 5)] {
            let turns = Turns::new(concurrency);
            let mut held = Vec::new();
            for _ in 0..of_one {
                held.push(turns.take("one").await.unwrap());
            }
            assert_eq!(turns.of("one").available_permits(), 0);
            held.push(turns.take("other").await.unwrap());
        }
    }

    #[tokio::test]
    async fn the_only_turn_is_anybodys() {
        let turns = Turns::new(0);
        drop(turns.take("one").await.unwrap());
        drop(turns.take("other").await.unwrap());
    }

    #[tokio::test]
    async fn hosts_that_nobody_converses_with_are_forgotten() {
        let turns = Turns::new(8);
        drop(turns.take("one").await.unwrap());
        let held = turns.take("other").await.unwrap();
        let known = turns.hosts.lock().unwrap().len();
        assert_eq!(known, 1);
        drop(held);
    }
}
