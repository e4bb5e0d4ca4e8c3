//! The data of the store of one plugin call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pintle_core::{
    digest::Digest,
    plugin::{Fault, Limit, PluginId},
    readset::{Question, ReadSet},
};
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    capability::{
        arithmetic::Memo, cluster::ClusterAccess, context::Facts, http::HttpAccess, log::LogSink,
    },
    limits::Limits,
};

/// Ends a call from within the host with the fault that the caller sees.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Stop(pub(crate) Fault);

impl From<Limit> for Stop {
    fn from(limit: Limit) -> Self {
        Self(Fault::Limit(limit))
    }
}

/// The data of one store. A store serves one call, so nothing in here is ever reset.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) deadline: Deadline,
    pub(crate) memory: MemoryLimiter,
    pub(crate) traffic: Traffic,
    pub(crate) log: LogSink,
    pub(crate) reads: ReadSet,
    pub(crate) powers: Arc<Memo>,
    pub(crate) facts: Option<Arc<Facts>>,
    pub(crate) cluster: Option<ClusterAccess>,
    pub(crate) http: Option<HttpAccess>,
    pub(crate) wasi: Option<WasiCtx>,
}

impl State {
    /// Creates the state of a call that may only compute and log.
    pub(crate) fn new(
        plugin: &PluginId,
        limits: &Limits,
        deadline: Deadline,
        together: &Arc<Together>,
        powers: &Arc<Memo>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        Self {
            table,
            deadline,
            memory: MemoryLimiter::new(limits, Arc::clone(together)),
            traffic: Traffic {
                left: limits.host_calls,
                limit: limits.host_calls,
            },
            log: LogSink::new(plugin, limits.log),
            reads: ReadSet::default(),
            powers: Arc::clone(powers),
            facts: None,
            cluster: None,
            http: None,
            wasi: None,
        }
    }

    /// Counts a host call with this many bytes of arguments. Since the guest is running again, the previous answer has crossed.
    pub(crate) fn called(&mut self, bytes: usize) -> Result<(), Stop> {
        self.memory.answer_is_gone();
        self.traffic.charge(bytes)
    }

    /// Adds a question and its answer to the read set. A new question counts as memory of the guest: the guest could ask for new
    /// names for ever, and the host keeps each as long as the result is valid.
    pub(crate) fn record(&mut self, question: Question, answer: Digest) -> Result<(), Stop> {
        if self.reads.answer(&question).is_none() {
            let text = question.text().len() as u64;
            self.memory.take(text.saturating_add(QUESTION))?;
        }
        self.reads.record(question, answer);
        Ok(())
    }
}

/// The size in bytes of a question besides its text: its entry in the read set, the digest of its answer, and the allocator's
/// overhead.
const QUESTION: u64 = 160;

/// The shared types have no functions.
impl crate::bindings::wit::types::Host for State {}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: self.wasi.as_mut().expect(
                "made for each call of a component that imports WASI, and linked to no other",
            ),
            table: &mut self.table,
        }
    }
}

/// The time by which a call has to be done, including host calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    time: Duration,
}

impl Deadline {
    /// Creates the deadline of a call that may take this long from its start.
    pub(crate) fn after(started: Instant, time: Duration) -> Self {
        Self {
            at: started + time,
            time,
        }
    }

    /// Returns the instant.
    pub(crate) fn at(self) -> Instant {
        self.at
    }

    /// Returns how long the host may wait for somebody else. The wait ends long enough before the deadline for the guest to
    /// report the outcome. A call that the deadline itself ends is a fault of the plugin, and is not retried.
    pub(crate) fn for_waiting(self) -> Duration {
        let for_the_guest = (self.time / 4).min(Duration::from_secs(1));
        let left = self.at.saturating_duration_since(Instant::now());
        left.saturating_sub(for_the_guest)
    }

    /// Ends the call if its time is over. Host functions that compute call this, since neither the epoch nor the timer can
    /// interrupt them.
    pub(crate) fn check(self) -> Result<(), Stop> {
        if Instant::now() >= self.at {
            return Err(self.missed());
        }
        Ok(())
    }

    /// Returns the fault of a call that took too long.
    pub(crate) fn missed(self) -> Stop {
        Limit::Time(self.time).into()
    }
}

/// Counts the bytes that cross through host calls, and the work that the host does within a call.
#[derive(Debug)]
pub(crate) struct Traffic {
    left: u64,
    limit: u64,
}

/// The number of bytes added for each host call: even an empty call costs the host something.
const CALL_BYTES: u64 = 64;

impl Traffic {
    /// Counts what a host call returns or, within [`State::called`], the call itself.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), Stop> {
        self.spend((bytes as u64).saturating_add(CALL_BYTES))
    }

    /// Counts work within a host call as if this many bytes had crossed.
    pub(crate) fn spend(&mut self, bytes: u64) -> Result<(), Stop> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Limit::HostCalls(self.limit).into()),
        }
    }
}

/// The memory of all running calls, so that many plugins together cannot do what none may do alone.
#[derive(Debug)]
pub(crate) struct Together {
    used: AtomicU64,
    limit: u64,
}

impl Together {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit,
        }
    }

    fn take(&self, bytes: u64) -> Result<(), Stop> {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit);
        match self
            .used
            .try_update(Ordering::AcqRel, Ordering::Acquire, fits)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(Stop(Fault::Unavailable {
                reason: format!(
                    "all running plugins together would use more than {} bytes of memory",
                    self.limit
                ),
                retry_after: Some(Duration::from_secs(1)),
            })),
        }
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// Limits memories and tables, summed over the store: many small memories do not get around the limit.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    used: u64,
    /// The memory that the host keeps for an answer to the guest until the answer has crossed.
    answer: u64,
    limit: u64,
    entries: u64,
    entry_limit: u64,
    together: Arc<Together>,
}

/// The size in bytes of a table entry.
const TABLE_ENTRY: u64 = 8;

/// The maximum number of instances, of memories and of tables in one store: far above what composed components have.
const OBJECTS: usize = 256;

impl MemoryLimiter {
    pub(crate) fn new(limits: &Limits, together: Arc<Together>) -> Self {
        Self {
            used: 0,
            answer: 0,
            limit: limits.memory,
            entries: 0,
            entry_limit: limits.table_entries,
            together,
        }
    }

    fn take(&mut self, bytes: u64) -> Result<(), Stop> {
        let used = self.used.saturating_add(bytes);
        if used > self.limit {
            return Err(Limit::Memory(self.limit).into());
        }
        self.take_of_all(bytes)?;
        self.used = used;
        Ok(())
    }

    fn take_of_all(&self, bytes: u64) -> Result<(), Stop> {
        let own = self.used.saturating_add(self.answer);
        if own.saturating_add(bytes) > self.together.limit {
            // It would fail even if no other call were running. It would be retried for ever, and meanwhile leave the others
            // little.
            return Err(Limit::MemoryOfAll(self.together.limit).into());
        }
        self.together.take(bytes)
    }

    /// Takes memory for more of an answer. It does not belong to the guest, so it counts towards the total for all calls and not
    /// towards the guest's own limit.
    pub(crate) fn take_for_answer(&mut self, bytes: u64) -> Result<(), Stop> {
        self.take_of_all(bytes)?;
        self.answer = self.answer.saturating_add(bytes);
        Ok(())
    }

    /// Releases the memory of an answer except for `crossing` bytes, which are on their way to the guest.
    pub(crate) fn answer_is_read(&mut self, crossing: u64) {
        let kept = crossing.min(self.answer);
        self.together.give_back(self.answer - kept);
        self.answer = kept;
    }

    /// Releases the memory of the last answer, which has crossed.
    pub(crate) fn answer_is_gone(&mut self) {
        self.answer_is_read(0);
    }

    /// Releases the memory of the guest, which is gone.
    pub(crate) fn guest_is_gone(&mut self) {
        self.answer_is_gone();
        self.together.give_back(self.used);
        self.used = 0;
    }

    /// Takes memory for what the host reads of the guest's result, until the call is over. It does not belong to the guest, so it
    /// counts towards the total for all calls and not towards the guest's own limit.
    pub(crate) fn take_for_result(&mut self, bytes: u64) -> Result<(), Fault> {
        let used = self.used.saturating_add(bytes);
        let limit = self.together.limit;
        if used > limit {
            // It would fail even if no other call were running.
            return Err(Fault::Contract(format!(
                "its result takes more than {limit} bytes of memory to read, which is what all plugins together have"
            )));
        }
        self.together.take(bytes).map_err(|stop| stop.0)?;
        self.used = used;
        Ok(())
    }
}

impl Drop for MemoryLimiter {
    fn drop(&mut self) {
        self.guest_is_gone();
    }
}

/// Ends the call when a growth is refused, rather than letting it fail within the guest. Most guests abort on such a failure
/// anyway, and an operator would see only a crash without a cause.
impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.take(desired.saturating_sub(current) as u64)?;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        self.entries = self.entries.saturating_add(more);
        if self.entries > self.entry_limit {
            return Err(Stop::from(Limit::Table(self.entry_limit)).into());
        }
        self.take(more.saturating_mul(TABLE_ENTRY))?;
        Ok(true)
    }

    fn instances(&self) -> usize {
        OBJECTS
    }

    fn tables(&self) -> usize {
        OBJECTS
    }

    fn memories(&self) -> usize {
        OBJECTS
    }
}

#[cfg(test)]
mod tests {
    use pintle_core::plugin::Kind;

    use super::*;
    use crate::bindings::wit::log;

    fn limiter(memory: u64, table_entries: u64) -> MemoryLimiter {
        within(memory, table_entries, &Arc::new(Together::new(1 << 30)))
    }

    fn within(memory: u64, table_entries: u64, together: &Arc<Together>) -> MemoryLimiter {
        let limits = Limits {
            memory,
            table_entries,
            ..Limits::default()
        };
        MemoryLimiter::new(&limits, Arc::clone(together))
    }

    fn state(limits: &Limits, together: &Arc<Together>) -> State {
        let plugin = PluginId {
            name: "p".into(),
            digest: Digest::of(""),
            kind: Kind::Renderer,
        };
        let deadline = Deadline::after(Instant::now(), Duration::from_hours(1));
        State::new(&plugin, limits, deadline, together, &Arc::default())
    }

    #[test]
    fn calls_share_what_there_is_and_give_it_back() {
        let together = Arc::new(Together::new(1000));
        let (mut one, mut two) = (within(800, 1, &together), within(800, 1, &together));
        assert!(one.memory_growing(0, 700, None).unwrap());
        let error = two.memory_growing(0, 400, None).unwrap_err();
        insta::assert_snapshot!(error, @"all running plugins together would use more than 1000 bytes of memory");
        assert!(two.memory_growing(0, 300, None).unwrap());
        drop(one);
        assert!(two.memory_growing(300, 800, None).unwrap());
    }

    #[test]
    fn who_alone_asks_for_more_than_all_have_fails_for_good() {
        let together = Arc::new(Together::new(1000));
        let mut one = within(2000, 1, &together);
        assert!(one.memory_growing(0, 900, None).unwrap());
        let error = one.memory_growing(900, 1500, None).unwrap_err();
        let Stop(fault) = error.downcast_ref::<Stop>().unwrap();
        assert!(!fault.is_retryable());
        insta::assert_snapshot!(fault, @"it asked for more than 1000 bytes of memory, which is what all running plugins have together; give the agent's pod more memory if this is expected");
    }

    #[test]
    fn an_answer_takes_of_what_all_have_until_the_next() {
        let together = Arc::new(Together::new(1000));
        let (mut one, mut two) = (within(400, 1, &together), within(400, 1, &together));
        assert!(one.memory_growing(0, 300, None).unwrap());
        one.take_for_answer(500).unwrap();
        one.take_for_answer(200).unwrap();
        let Stop(fault) = two.take_for_answer(1).unwrap_err();
        assert!(fault.is_retryable(), "{fault}");
        let Stop(fault) = one.take_for_answer(1).unwrap_err();
        assert!(!fault.is_retryable(), "{fault}");
        one.answer_is_gone();
        two.take_for_answer(700).unwrap();
        drop((one, two));
        within(1000, 1, &together).take_for_answer(1000).unwrap();
    }

    #[test]
    fn what_is_on_its_way_takes_memory_until_the_guest_calls_again() {
        let together = Arc::new(Together::new(1000));
        let mut state = state(&Limits::default(), &together);
        let mut other = within(1000, 1, &together);
        state.memory.take_for_answer(800).unwrap();
        state.memory.answer_is_read(300);
        assert!(other.take_for_answer(701).is_err());
        other.take_for_answer(700).unwrap();
        log::Host::write(&mut state, log::Level::Debug, String::new()).unwrap();
        other.take_for_answer(300).unwrap();
    }

    #[test]
    fn results_take_of_what_all_have_and_not_of_what_the_guest_had() {
        let together = Arc::new(Together::new(1000));
        let (mut one, mut two) = (within(400, 1, &together), within(400, 1, &together));
        assert!(one.memory_growing(0, 400, None).unwrap());
        one.guest_is_gone();
        one.take_for_result(900).unwrap();
        let error = two.take_for_result(200).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        let error = one.take_for_result(200).unwrap_err();
        insta::assert_snapshot!(error, @"it broke the contract: its result takes more than 1000 bytes of memory to read, which is what all plugins together have");
        drop(one);
        two.take_for_result(1000).unwrap();
    }

    #[test]
    fn what_was_asked_takes_memory_once() {
        let limits = Limits {
            memory: 1000,
            ..Limits::default()
        };
        let mut state = state(&limits, &Arc::new(Together::new(1 << 30)));
        let mut ask = |name: String| state.record(Question::Stat(name), Digest::of(""));
        for _ in 0..100 {
            ask("a".repeat(100)).unwrap();
        }
        ask("b".repeat(100)).unwrap();
        ask("c".repeat(100)).unwrap();
        let error = ask("d".repeat(100)).unwrap_err();
        insta::assert_snapshot!(error, @"it asked for more than 1000 bytes of memory; raise `limits` of the Plugin if this is expected");
        assert_eq!(state.reads.len(), 3);
    }

    #[test]
    fn a_deadline_ends_what_asks_for_it() {
        let started = Instant::now();
        let hour = Deadline::after(started, Duration::from_hours(1));
        assert!(hour.check().is_ok());
        let over = Deadline::after(started, Duration::ZERO);
        insta::assert_snapshot!(over.check().unwrap_err(), @"it ran longer than 0ns; raise `limits` of the Plugin if this is expected");
    }

    #[test]
    fn waiting_leaves_the_guest_time_before_the_deadline() {
        let (started, seconds) = (Instant::now(), Duration::from_secs);
        let left = |time| Deadline::after(started, time).for_waiting();
        assert!((seconds(20)..=seconds(29)).contains(&left(seconds(30))));
        assert!(left(seconds(1)) <= Duration::from_millis(750));
        assert_eq!(left(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn memories_and_tables_are_summed() {
        let mut limiter = limiter(1000, 100);
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        let error = limiter.memory_growing(400, 601, None).unwrap_err();
        insta::assert_snapshot!(error, @"it asked for more than 1000 bytes of memory; raise `limits` of the Plugin if this is expected");
    }

    #[test]
    fn table_entries_count_as_memory_and_by_number() {
        let mut limiter = limiter(1000, 100);
        assert!(limiter.table_growing(0, 90, None).unwrap());
        assert!(
            limiter.memory_growing(0, 281, None).is_err(),
            "90 × 8 + 281"
        );
        let error = limiter.table_growing(90, 101, None).unwrap_err();
        insta::assert_snapshot!(error, @"it asked for more than 100 table entries; raise `limits` of the Plugin if this is expected");
    }

    #[test]
    fn growth_beyond_a_memorys_own_maximum_fails_in_the_guest_and_counts_nothing() {
        let mut limiter = limiter(1000, 100);
        assert!(!limiter.memory_growing(0, 2000, Some(500)).unwrap());
        assert!(limiter.memory_growing(0, 1000, None).unwrap());
    }
}
