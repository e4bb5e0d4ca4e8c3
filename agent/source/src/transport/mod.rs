//! Bytes to and from a git server, bounded in time and amount.
//!
//! gix speaks the protocol, and blocks. The code that moves the bytes is ours and async, so that every wait has a limit and can
//! be cancelled, a certificate authority belongs to one repository, and a failure is known by its type rather than by the text
//! that gix wraps around it: the first part to fail leaves its error in the [`Conversation`].

pub(crate) mod http;
pub(crate) mod ssh;

use std::{
    future::Future,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use gix::protocol::transport::client::blocking_io::Transport;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Excess, SourceError},
    limits::Limits,
};

/// The bytes above which a list of references is long. Reading one takes some five times as many bytes of memory.
const LONG_LIST: u64 = 1 << 20;
/// The permits for reading long lists in this process, which has memory for this many of the largest ones.
static LONG_LISTS: Semaphore = Semaphore::const_new(2);
/// The bytes per second below which a server trickles, once it has been waited for longer than it may be silent. A healthy
/// server that has much to put together before it sends has sent more by the end.
const TRICKLE: u64 = 16 << 10;

/// A connection to a server.
pub(crate) type Connection = Box<dyn Transport + Send>;

/// The state that all parts of one conversation with a server share.
#[derive(Debug)]
pub(crate) struct Conversation {
    url: String,
    limits: Limits,
    runtime: Handle,
    deadline: Instant,
    stop: CancellationToken,
    /// A flag that gix checks between the steps of long computations.
    pub(crate) interrupt: AtomicBool,
    failure: Mutex<Option<SourceError>>,
    allowance: Mutex<(Excess, u64)>,
    received: AtomicU64,
    /// How long the server was waited for, and how many bytes arrived.
    pace: Mutex<(Duration, u64)>,
    /// The long list of references that is being read.
    list: Mutex<Option<LongList>>,
    /// Whether it is waiting for others on this machine, and not for the server.
    waits_here: AtomicBool,
}

/// The permit to read a long list of references.
#[derive(Debug)]
struct LongList {
    _turn: SemaphorePermit<'static>,
    /// When the permit is revoked. Others wait for it, and must not have to wait for a server that never finishes.
    until: Instant,
}

impl Conversation {
    /// Begins a conversation. It must run outside of async code, on a thread that may block.
    pub(crate) fn new(
        url: String,
        limits: Limits,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            url,
            limits,
            runtime,
            deadline: Instant::now() + limits.total,
            stop,
            interrupt: AtomicBool::new(false),
            failure: Mutex::default(),
            allowance: Mutex::new((Excess::References, limits.refs)),
            received: AtomicU64::new(0),
            pace: Mutex::default(),
            list: Mutex::default(),
            waits_here: AtomicBool::new(false),
        })
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Sets [`Conversation::interrupt`] at the deadline and when the process stops, for as long as the guard lives.
    pub(crate) fn watch(self: &Arc<Self>) -> Watch {
        let this = Arc::clone(self);
        Watch(self.runtime.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep_until(this.deadline) => {
                    this.fail(this.overdue());
                }
                () = this.stop.cancelled() => {
                    this.fail(SourceError::Stopped { url: this.url() });
                }
            }
            this.interrupt.store(true, Ordering::Relaxed);
        }))
    }

    /// Limits the bytes that may arrive from now on, and names what there is too much of if more do.
    pub(crate) fn allow(&self, what: Excess, bytes: u64) {
        *self
            .allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = (what, bytes);
        self.received.store(0, Ordering::Relaxed);
        self.end_list();
    }

    /// Records that no list of references is being read any more, or held in the form in which it was read.
    pub(crate) fn end_list(&self) {
        *self.list() = None;
    }

    fn list(&self) -> MutexGuard<'_, Option<LongList>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> MutexGuard<'_, (Duration, u64)> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the server took its time and sent hardly anything. Time spent waiting for others on this machine does
    /// not count.
    pub(crate) fn has_trickled(&self) -> bool {
        let (waited, bytes) = *self.pace();
        let enough = u128::from(TRICKLE) * waited.as_millis() / 1000;
        waited > self.limits.idle && u128::from(bytes) < enough
    }

    /// Counts received bytes against the allowance. Once a list of references becomes long, waits for the permit to read such a
    /// list.
    fn receive(&self, bytes: usize) -> io::Result<()> {
        self.pace().1 += bytes as u64;
        let received = self.received.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let (what, limit) = *self
            .allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if received > limit {
            return Err(self.give_up(SourceError::TooLarge {
                url: self.url(),
                what,
                limit,
            }));
        }
        if what == Excess::References && received > LONG_LIST && self.list().is_none() {
            let turn = self
                .turn(&LONG_LISTS)
                .map_err(|error| self.give_up(error))?;
            *self.list() = Some(LongList {
                _turn: turn,
                until: Instant::now() + self.limits.idle,
            });
        }
        Ok(())
    }

    /// Waits for a future, as long as the limits allow.
    fn wait<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> io::Result<T> {
        let soon = Instant::now() + limit;
        let list = self.list().as_ref().map(|list| list.until);
        let until = soon.min(self.deadline).min(list.unwrap_or(soon));
        let late = || {
            if until == self.deadline {
                self.overdue()
            } else if Some(until) == list {
                self.slow_list()
            } else {
                self.timeout(doing, limit)
            }
        };
        let begun = Instant::now();
        let outcome = self.wait_until(until, future, late);
        self.pace().0 += begun.elapsed();
        outcome.map_err(|error| self.give_up(error))
    }

    fn wait_until<T>(
        &self,
        until: Instant,
        future: impl Future<Output = T>,
        late: impl FnOnce() -> SourceError,
    ) -> Result<T, SourceError> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(SourceError::Stopped { url: self.url() }),
                value = future => Ok(value),
                () = tokio::time::sleep_until(until) => Err(late()),
            }
        })
    }

    /// Waits for others on this machine.
    fn wait_here<T>(&self, future: impl Future<Output = T>) -> Result<T, SourceError> {
        self.waits_here.store(true, Ordering::Relaxed);
        let outcome = self.wait_until(self.deadline, future, || self.overdue());
        self.waits_here.store(false, Ordering::Relaxed);
        outcome.inspect_err(|error| self.fail(error.clone()))
    }

    /// Waits for something that does not signal its changes.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), SourceError> {
        self.wait_here(async move { tokio::time::sleep(time).await })
    }

    /// Waits for a turn, of which there are fewer than conversations.
    pub(crate) fn turn<'a>(
        &self,
        turns: &'a Semaphore,
    ) -> Result<SemaphorePermit<'a>, SourceError> {
        let turn = self.wait_here(turns.acquire())?;
        // This happens only if the semaphore is closed.
        turn.map_err(|_| SourceError::Stopped { url: self.url() })
    }

    /// Returns the reason why the conversation did not end in time.
    fn overdue(&self) -> SourceError {
        if self.waits_here.load(Ordering::Relaxed) {
            return SourceError::Busy {
                url: self.url(),
                limit: self.limits.total,
            };
        }
        self.timeout("was being read", self.limits.total)
    }

    fn timeout(&self, doing: &'static str, limit: Duration) -> SourceError {
        SourceError::Timeout {
            url: self.url(),
            doing,
            limit,
        }
    }

    /// Returns the error for a long list that is given up so that others can read theirs. It does not blame the server: what
    /// that had sent was in time.
    fn slow_list(&self) -> SourceError {
        SourceError::SlowList {
            url: self.url(),
            limit: self.limits.idle,
        }
    }

    /// Records why the conversation failed. The first failure counts, as later ones follow from it.
    pub(crate) fn fail(&self, error: SourceError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            *failure = Some(error);
        }
    }

    /// Records the failure, and returns an error that stands for it.
    fn give_up(&self, error: SourceError) -> io::Error {
        self.fail(error);
        // Not of a kind that gix reacts to, such as by asking for other credentials.
        io::Error::other("the transport failed")
    }

    /// Forgets a failure that has been dealt with.
    pub(crate) fn forgive(&self) {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Returns why it failed, if the transport knows.
    pub(crate) fn failure(&self) -> Option<SourceError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Ends [`Conversation::watch`] when dropped.
#[derive(Debug)]
pub(crate) struct Watch(tokio::task::JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::runtime::Runtime;

    use super::*;

    /// Begins a conversation with no server.
    pub(crate) fn conversation(runtime: &Runtime, limits: Limits) -> Arc<Conversation> {
        let handle = runtime.handle().clone();
        Conversation::new("URL".to_owned(), limits, handle, CancellationToken::new())
    }

    #[test]
    fn who_has_waited_for_others_here_blames_no_server() {
        let runtime = Runtime::new().unwrap();
        let limits = Limits {
            total: Duration::from_millis(1),
            ..Limits::default()
        };
        let begin = || conversation(&runtime, limits);
        let nobody_has = Semaphore::new(0);
        let errors = [
            begin().turn(&nobody_has).unwrap_err(),
            begin().pause(Duration::from_hours(1)).unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_retryable() && !error.is_silence(), "{error}");
            assert_eq!(
                error.to_string(),
                "URL was not read within 1 ms: it waited for other fetches on this machine"
            );
        }
        let slow = begin();
        let never = std::future::pending::<()>();
        slow.wait("sent nothing", Duration::from_hours(1), never)
            .unwrap_err();
        assert!(slow.failure().unwrap().is_silence());
    }

    #[test]
    fn a_server_that_takes_its_time_for_hardly_anything_trickles() {
        let runtime = Runtime::new().unwrap();
        let limits = Limits {
            idle: Duration::from_millis(1),
            ..Limits::default()
        };
        let begin = || conversation(&runtime, limits);
        let time = Duration::from_millis(10);
        let slow = begin();
        assert!(!slow.has_trickled());
        let sleep = async move { tokio::time::sleep(time).await };
        slow.wait("sent nothing", Duration::from_hours(1), sleep)
            .unwrap();
        slow.receive(1).unwrap();
        assert!(slow.has_trickled());
        slow.receive(usize::try_from(LONG_LIST).unwrap() - 1)
            .unwrap();
        assert!(!slow.has_trickled(), "it has sent a lot meanwhile");
        let held_up = begin();
        held_up.pause(time).unwrap();
        assert!(!held_up.has_trickled(), "it was not the server");
    }

    #[test]
    fn who_is_slow_with_a_long_list_is_not_silent() {
        let runtime = Runtime::new().unwrap();
        let limits = Limits {
            idle: Duration::from_millis(1),
            ..Limits::default()
        };
        let slow = conversation(&runtime, limits);
        slow.allow(Excess::References, 2 * LONG_LIST);
        slow.receive(1 + usize::try_from(LONG_LIST).unwrap())
            .unwrap();
        let never = std::future::pending::<()>();
        slow.wait("sent nothing", Duration::from_hours(1), never)
            .unwrap_err();
        let error = slow.failure().unwrap();
        assert!(error.is_retryable() && !error.is_silence(), "{error}");
        assert_eq!(
            error.to_string(),
            "URL has a long list of branches and tags, the rest of which did not come within 1 ms: delete those that nobody needs"
        );
    }
}
