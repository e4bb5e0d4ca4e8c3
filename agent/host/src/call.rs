//! One call of a plugin: a fresh store, all limits, and a single fault if it fails.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use pintle_core::{
    plugin::{Fault, Kind, PluginError, PluginId, Stage},
    readset::ReadSet,
    seed::Seed,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout_at,
};
use tracing::Instrument;
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::{
    Observer,
    capability::{
        arithmetic::Memo,
        cluster::ClusterAccess,
        context::Facts,
        http::{HttpAccess, HttpClients},
    },
    compiled::Compiled,
    engine::{self, Ticker},
    fault,
    grants::EffectiveGrants,
    limits::Limits,
    state::{Deadline, State, Together},
    wasi::{self, Pure},
};

/// The resources that all plugins of a host share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
    pub(crate) places: Places,
    pub(crate) memory: Arc<Together>,
    pub(crate) powers: Arc<Memo>,
    pub(crate) http: HttpClients,
    pub(crate) observer: Arc<dyn Observer>,
}

/// Permits for calls that run at once.
///
/// Neither one plugin nor the network can take all of them: calls that hang leave at least half to the others.
pub(crate) struct Places {
    /// One permit for each call that the pool has room for. A call whose instance takes up the room of several calls needs as
    /// many permits of each kind.
    all: Semaphore,
    /// Permits for calls that wait for the network.
    networked: Semaphore,
    calls: u32,
}

impl Places {
    pub(crate) fn new(calls: u32) -> Self {
        Self {
            all: Semaphore::new(calls as usize),
            networked: Self::half(calls),
            calls,
        }
    }

    /// Creates the permits of one plugin.
    pub(crate) fn share(&self) -> Semaphore {
        Self::half(self.calls)
    }

    fn half(calls: u32) -> Semaphore {
        Semaphore::new(engine::share(calls) as usize)
    }

    /// Waits for permits of this weight, which is at most one share. All calls acquire the kinds of permits in the same order, so
    /// calls never deadlock.
    async fn take<'p>(
        &'p self,
        share: &'p Semaphore,
        weight: u32,
        is_networked: bool,
    ) -> [Option<SemaphorePermit<'p>>; 3] {
        const OPEN: &str = "never closed";
        let own = share.acquire_many(weight).await.expect(OPEN);
        let network = if is_networked {
            Some(self.networked.acquire_many(weight).await.expect(OPEN))
        } else {
            None
        };
        let place = self.all.acquire_many(weight).await.expect(OPEN);
        [Some(own), network, Some(place)]
    }
}

/// The caller of one plugin.
pub(crate) struct Caller {
    pub(crate) id: PluginId,
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) limits: Limits,
    pub(crate) grants: Arc<EffectiveGrants>,
    /// The permits of this plugin.
    pub(crate) share: Semaphore,
    pub(crate) shared: Arc<Shared>,
}

/// What a call is given besides its arguments. By default nothing.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) facts: Option<Arc<Facts>>,
    pub(crate) cluster: Option<ClusterAccess>,
    pub(crate) http: Option<HttpAccess>,
    pub(crate) pure: Option<Pure>,
}

impl Caller {
    /// Runs `call` in a fresh store and `finish` on its result. Any failure is reported with the plugin and the stage.
    ///
    /// The deadline counts from the start of the call. It includes host calls but not the wait for a permit. A guest that
    /// computes is interrupted by the epoch; one that waits for the host, by the timer. Every few milliseconds, a guest that
    /// computes yields the thread to others. If the host panics while it serves the call or reads the result, that is a fault of
    /// this call and ends nothing else.
    pub(crate) async fn run<T, R>(
        &self,
        stage: Stage,
        setup: Setup,
        call: impl for<'s> FnOnce(&'s mut Store<State>) -> BoxFuture<'s, wasmtime::Result<T>>,
        finish: impl FnOnce(T, State) -> Result<R, Fault>,
    ) -> Result<R, PluginError> {
        let span = tracing::debug_span!(
            "plugin",
            plugin = self.id.name,
            digest = %self.id.digest,
            kind = self.id.kind.name(),
            stage = stage.name(),
        );
        let place = self.place(stage).await;
        let started = Instant::now();
        let outcome = self
            .attempt(stage, started, setup, call)
            .instrument(span)
            .await;
        drop(place);
        let outcome = outcome.and_then(|(value, state)| {
            let looked_up = state.reads.of_cluster();
            panic::catch_unwind(AssertUnwindSafe(|| finish(value, state)))
                .unwrap_or_else(|panic| Err(fault::panicked(&*panic)))
                .map_err(|fault| (fault, looked_up))
        });
        let fault = outcome.as_ref().err().map(|(fault, _)| fault);
        self.shared
            .observer
            .called(&self.id, stage, started.elapsed(), fault);
        outcome.map_err(|(fault, looked_up)| PluginError {
            looked_up,
            ..self.failed(stage, fault)
        })
    }

    /// Wraps a fault with the plugin and the stage in which it occurred.
    pub(crate) fn failed(&self, stage: Stage, fault: Fault) -> PluginError {
        PluginError {
            plugin: Box::new(self.id.clone()),
            stage,
            fault,
            looked_up: ReadSet::default(),
        }
    }

    /// Waits for the permits of a call.
    async fn place(&self, stage: Stage) -> [Option<SemaphorePermit<'_>>; 3] {
        // Only `notify` uses the network, so loading a notifier does not wait for calls that hang.
        let is_networked = stage == Stage::Notify;
        let places = &self.shared.places;
        places
            .take(&self.share, self.compiled.weight, is_networked)
            .await
    }

    async fn attempt<T>(
        &self,
        stage: Stage,
        started: Instant,
        setup: Setup,
        call: impl for<'s> FnOnce(&'s mut Store<State>) -> BoxFuture<'s, wasmtime::Result<T>>,
    ) -> Result<(T, State), (Fault, ReadSet)> {
        let deadline = Deadline::after(started, self.limits.time(stage));
        let _running = self.shared.ticker.run();
        let mut store = self.store(setup, deadline);
        store.epoch_deadline_callback(move |_| {
            deadline.check()?;
            Ok(UpdateDeadline::Yield(1))
        });
        store.set_epoch_deadline(1);
        // After a panic the store is not used again, so its state does not matter.
        let called = AssertUnwindSafe(call(&mut store)).catch_unwind();
        let fault = match timeout_at(deadline.at().into(), called).await {
            Ok(Ok(Ok(value))) => {
                let mut left = store.into_data();
                left.memory.guest_is_gone();
                return Ok((value, left));
            }
            Ok(Err(panic)) => return Err((fault::panicked(&*panic), ReadSet::default())),
            Ok(Ok(Err(error))) => fault::classify(&error, store.data(), &self.limits),
            Err(_) => deadline.missed().0,
        };
        Err((fault, store.data().reads.of_cluster()))
    }

    fn store(&self, setup: Setup, deadline: Deadline) -> Store<State> {
        let mut state = State::new(
            &self.id,
            &self.limits,
            deadline,
            &self.shared.memory,
            &self.shared.powers,
        );
        if self.compiled.world.wasi {
            state.wasi = Some(match self.id.kind {
                Kind::Notifier => wasi::effectful(&state.log),
                Kind::Renderer | Kind::Policy | Kind::Health => {
                    wasi::pure(setup.pure.unwrap_or_else(|| self.unasked()), &state.log)
                }
            });
        }
        state.facts = setup.facts;
        state.cluster = setup.cluster;
        state.http = setup.http;
        let mut store = Store::new(&self.shared.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(usize::try_from(self.limits.output).unwrap_or(usize::MAX));
        store.set_max_component_handles(self.limits.handles as usize);
        store
    }

    /// Returns the time and random seed for calls that belong to no application, such as `describe`. They are always the same for
    /// one component.
    fn unasked(&self) -> Pure {
        Pure {
            time: Duration::ZERO,
            seed: Seed::from_text(&self.id.digest.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_the_place_of_several_calls_leaves_half_to_others() {
        let places = Places::new(4);
        let (large, other) = (places.share(), places.share());
        let held = places.take(&large, 2, false).await;
        assert!(places.take(&large, 2, false).now_or_never().is_none());
        assert!(places.take(&other, 2, false).now_or_never().is_some());
        drop(held);
        assert!(places.take(&large, 2, false).now_or_never().is_some());
    }

    #[tokio::test]
    async fn all_that_wait_for_the_network_leave_half_to_others() {
        let places = Places::new(4);
        let (large, small) = (places.share(), places.share());
        let _held = places.take(&large, 2, true).await;
        assert!(places.take(&small, 1, true).now_or_never().is_none());
        assert!(places.take(&small, 1, false).now_or_never().is_some());
    }
}
