//! Turns that decide which conversation with a server may run now.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The most conversations with one host at a time.
const PER_HOST: usize = 5;
/// The number of hosts that are remembered with what was heard of them. Above it, only hosts with a conversation in progress
/// are remembered.
const REMEMBERED: usize = 1000;

/// The turns of all repositories.
///
/// One host never has all of them: a host that accepts connections and then says nothing would keep every repository elsewhere
/// waiting. A host that was silent the last time has a single turn until it answers, and all such hosts together have half of
/// the turns. However many silent hosts there are, those that answer find a turn.
#[derive(Debug)]
pub(crate) struct Turns {
    book: SharedBook,
}

type SharedBook = Arc<Mutex<Book<oneshot::Sender<Turn>>>>;

/// The permit for one conversation. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    book: SharedBook,
    host: String,
    heard: Heard,
}

/// What a conversation reveals about its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The host answered.
    Answer,
    /// There was no connection, or nothing or hardly anything arrived in time.
    Silence,
    /// Nothing: what went wrong has other reasons.
    Nothing,
}

impl Turns {
    /// Creates as many turns as there may be conversations at one time.
    pub(crate) fn new(concurrency: usize) -> Self {
        Self {
            book: Arc::new(Mutex::new(Book::new(concurrency))),
        }
    }

    /// Waits for a turn with a host; returns `None` if there will be no more turns.
    pub(crate) async fn take(&self, host: &str) -> Option<Turn> {
        let (give, given) = oneshot::channel();
        lock(&self.book).wait(host, give);
        serve(&self.book);
        given.await.ok()
    }
}

impl Turn {
    /// Ends the turn with what was heard.
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

/// Gives turns to all waiters that can have one now.
fn serve(book: &SharedBook) {
    loop {
        let next = lock(book).next(oneshot::Sender::is_closed);
        let Some((host, give)) = next else { return };
        let turn = Turn {
            book: Arc::clone(book),
            host,
            heard: Heard::Nothing,
        };
        // A waiter that has gone in the meantime leaves the turn to the others by dropping it.
        let _ = give.send(turn);
    }
}

/// The record of who has turns, and who waits for one.
#[derive(Debug)]
struct Book<W> {
    all: usize,
    per_host: usize,
    for_silent: usize,
    held: usize,
    /// The hosts with a conversation in progress, and those that were silent the last time.
    hosts: HashMap<String, Host>,
    /// The waiters, in the order in which they came.
    waiting: VecDeque<(String, W)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Host {
    held: usize,
    is_silent: bool,
}

impl<W> Book<W> {
    fn new(concurrency: usize) -> Self {
        let all = concurrency.max(1);
        Self {
            all,
            per_host: PER_HOST.min(all - 1).max(1),
            for_silent: (all / 2).max(1),
            held: 0,
            hosts: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    fn wait(&mut self, host: &str, who: W) {
        self.waiting.push_back((host.to_owned(), who));
    }

    /// Gives a turn to the first waiter that can have one, and returns it with its host.
    fn next(&mut self, is_gone: impl Fn(&W) -> bool) -> Option<(String, W)> {
        self.waiting.retain(|(_, who)| !is_gone(who));
        if self.held >= self.all {
            return None;
        }
        let silent = self.hosts.values().filter(|host| host.is_silent);
        let is_left_for_silent = silent.map(|host| host.held).sum::<usize>() < self.for_silent;
        let can_have = |(name, _): &(String, W)| {
            let host = self.hosts.get(name).copied().unwrap_or_default();
            if host.is_silent {
                host.held == 0 && is_left_for_silent
            } else {
                host.held < self.per_host
            }
        };
        let index = self.waiting.iter().position(can_have)?;
        let (name, who) = self.waiting.remove(index)?;
        self.held += 1;
        self.hosts.entry(name.clone()).or_default().held += 1;
        Some((name, who))
    }

    /// Takes back a turn.
    fn end(&mut self, name: &str, heard: Heard) {
        let Some(host) = self.hosts.get_mut(name) else {
            return;
        };
        self.held -= 1;
        host.held -= 1;
        match heard {
            Heard::Answer => host.is_silent = false,
            Heard::Silence => host.is_silent = true,
            Heard::Nothing => {}
        }
        if host.held == 0 && !host.is_silent {
            self.hosts.remove(name);
        }
        if self.hosts.len() > REMEMBERED {
            self.hosts.retain(|_, host| host.held > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives turns to all waiters that can have one, and returns their hosts in order.
    fn served(book: &mut Book<u32>) -> Vec<String> {
        std::iter::from_fn(|| book.next(|_| false))
            .map(|(host, _)| host)
            .collect()
    }

    fn wait(book: &mut Book<u32>, host: &str, count: u32) {
        for number in 0..count {
            book.wait(host, number);
        }
    }

    /// Holds a conversation with a host that nobody else waits for.
    fn converse(book: &mut Book<u32>, host: &str, heard: Heard) {
        book.wait(host, 0);
        assert_eq!(served(book), [host]);
        book.end(host, heard);
    }

    #[test]
    fn one_host_leaves_a_turn_for_others() {
        for (concurrency, of_one) in [(2, 1), (3, 2), (8, 5)] {
            let mut book = Book::new(concurrency);
            wait(&mut book, "one", 10);
            wait(&mut book, "other", 1);
            let mut expected = vec!["one"; of_one];
            expected.push("other");
            assert_eq!(served(&mut book), expected);
            book.end("one", Heard::Nothing);
            assert_eq!(served(&mut book), ["one"]);
        }
    }

    #[test]
    fn a_silent_host_has_one_turn_until_it_answers() {
        let mut book = Book::new(8);
        wait(&mut book, "one", 20);
        assert_eq!(served(&mut book).len(), 5);
        for _ in 0..4 {
            book.end("one", Heard::Silence);
            assert_eq!(served(&mut book).len(), 0);
        }
        for heard in [Heard::Silence, Heard::Nothing, Heard::Silence] {
            book.end("one", heard);
            assert_eq!(served(&mut book), ["one"]);
        }
        book.end("one", Heard::Answer);
        assert_eq!(served(&mut book).len(), 5);
    }

    #[test]
    fn silent_hosts_leave_half_of_the_turns_to_those_that_answer() {
        let mut book = Book::new(8);
        let silent: Vec<String> = (0..10).map(|number| format!("silent-{number}")).collect();
        for host in &silent {
            converse(&mut book, host, Heard::Silence);
        }
        for host in &silent {
            wait(&mut book, host, 10);
        }
        wait(&mut book, "well", 10);
        let mut expected = silent[..4].to_vec();
        expected.extend(std::iter::repeat_n("well".to_owned(), 4));
        assert_eq!(served(&mut book), expected);
        // Neither kind of host takes the turns of the other.
        book.end("well", Heard::Answer);
        assert_eq!(served(&mut book), ["well"]);
        book.end("silent-0", Heard::Silence);
        assert_eq!(served(&mut book), ["silent-0"]);
        // A host that answers joins the others, and waits as they do.
        book.end("silent-1", Heard::Answer);
        assert_eq!(served(&mut book), ["silent-1"]);
        book.end("silent-0", Heard::Nothing);
        assert_eq!(served(&mut book), ["silent-0"]);
    }

    #[test]
    fn silence_while_all_is_well_elsewhere_takes_nothing_away() {
        let mut book = Book::new(2);
        converse(&mut book, "silent", Heard::Silence);
        wait(&mut book, "silent", 1);
        wait(&mut book, "well", 2);
        assert_eq!(served(&mut book), ["silent", "well"]);
        let mut only = Book::new(0);
        converse(&mut only, "silent", Heard::Silence);
        converse(&mut only, "silent", Heard::Answer);
        converse(&mut only, "well", Heard::Answer);
    }

    #[test]
    fn who_does_not_wait_any_more_gets_no_turn() {
        let mut book = Book::new(8);
        wait(&mut book, "one", 3);
        assert_eq!(
            book.next(|number| *number == 0),
            Some(("one".to_owned(), 1))
        );
        assert_eq!(book.next(|_| true), None);
        assert!(book.waiting.is_empty());
    }

    #[test]
    fn hosts_that_nobody_converses_with_are_forgotten() {
        let mut book = Book::new(8);
        converse(&mut book, "one", Heard::Answer);
        converse(&mut book, "two", Heard::Nothing);
        assert_eq!(book.hosts.len(), 0);
        for number in 0..3 * REMEMBERED {
            converse(&mut book, &number.to_string(), Heard::Silence);
            assert!(book.hosts.len() <= REMEMBERED);
        }
        assert!(!book.hosts.is_empty() && book.held == 0);
    }

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
        drop(turns.take("four").await.unwrap());
        assert_eq!(lock(&turns.book).held, 0);
    }
}
