//! A fleet in virtual time.
//!
//! The state machine of an application, its inventory, what may be pruned, the order of writes, plans and the stages that they go
//! through are the agent's own, from `pintle-core`. Everything around them is a model: people, git, an API server that is slow,
//! loses answers and refuses requests, watches that break, replicas that die, and the steps in which a run carries out what the
//! core decided. `docs/scale.md` says what the model covers and what it does not.

mod catalog;
mod check;
pub mod memory;
mod queue;
mod replica;
mod run;
pub mod scale;
mod schedule;
mod server;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use catalog::Catalog;
use schedule::Schedule;
use server::Broken;
use world::{Played, World};

/// The statistics of a search that found nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Searched {
    /// The number of schedules.
    pub schedules: u64,
    /// The number of events in virtual time.
    pub events: u64,
    /// The number of writes that the modelled server accepted.
    pub writes: u64,
    /// The number of requests, watches and runs that a fault hit.
    pub faults: u64,
    /// The longest virtual time from the last fault until there was nothing left to do, in milliseconds.
    pub longest: u64,
    /// The wall-clock time.
    pub took: Duration,
}

/// How many schedules a thread plays before it looks at the shared counter again.
const BATCH: u64 = 256;

/// Plays schedules with consecutive seeds on all cores. The search ends at the first schedule after which something does not
/// hold. The error has that schedule, reduced to the acts that matter, with its story and how to reproduce it.
pub fn search(seed: u64, schedules: u64, threads: usize) -> Result<Searched> {
    let start = Instant::now();
    let catalog = Catalog::new()?;
    let next = AtomicU64::new(0);
    let broken: Mutex<Option<(Schedule, Broken)>> = Mutex::new(None);
    let total = Mutex::new(Searched::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    if first >= schedules || lock(&broken).is_some() {
                        return;
                    }
                    let mut batch = Searched::default();
                    for number in first..(first + BATCH).min(schedules) {
                        let schedule = Schedule::from_seed(seed.wrapping_add(number));
                        match World::new(&catalog, &schedule, false).play() {
                            Ok(played) => batch.add(played),
                            Err(why) => {
                                lock(&broken).get_or_insert((schedule, why));
                                return;
                            }
                        }
                    }
                    lock(&total).merge(&batch);
                }
            });
        }
    });
    if let Some((schedule, why)) = lock(&broken).take() {
        bail!(failure(&catalog, schedule, &why));
    }
    let mut total = *lock(&total);
    total.took = start.elapsed();
    Ok(total)
}

impl Searched {
    fn add(&mut self, played: Played) {
        self.schedules += 1;
        self.events += played.events;
        self.writes += played.writes;
        self.faults += played.faults;
        self.longest = self.longest.max(played.settled);
    }

    fn merge(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.events += other.events;
        self.writes += other.writes;
        self.faults += other.faults;
        self.longest = self.longest.max(other.longest);
    }
}

/// Drops acts as long as something still breaks, and reports what is left.
fn failure(catalog: &Catalog, mut schedule: Schedule, why: &Broken) -> String {
    let (seed, all) = (schedule.seed, schedule.acts.len());
    let mut act = 0;
    while act < schedule.acts.len() {
        let less = schedule.without(act);
        if World::new(catalog, &less, false).play().is_err() {
            schedule = less;
        } else {
            act += 1;
        }
    }
    let mut world = World::new(catalog, &schedule, true);
    let less = world
        .play()
        .err()
        .map_or_else(|| why.0.clone(), |broken| broken.0);
    format!(
        "schedule {seed}: {}\nwith {} of its {all} acts: {less}\n{schedule:?}\n{}\nagain: cargo xtask sim schedules --seed \
         {seed} --schedules 1",
        why.0,
        schedule.acts.len(),
        world.story().join("\n")
    )
}

/// Locks a mutex. Nothing panics while it holds such a lock: a thread that does ends the scope.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
