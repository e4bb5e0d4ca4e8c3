//! Random schedules of changes and faults against a real control plane, and what must hold after each.
//!
//! A [`Schedule`] is generated from a seed: applications, a series of commits, hand edits, deletions and changes of settings, and
//! what goes wrong in the meantime. It runs with a real agent as a child process. Proxies ([`pintle_harness::Proxy`]) stand
//! between the agent and everything that it talks to. Then the faults stop, and the following must hold:
//!
//! 1. It converges: the cluster has what is in git, no more and no less, and each application reports so.
//! 2. Every write is explained: what was written to an object is what git said about it at some time, only objects that git had
//!    dropped, whose application somebody had deleted, or that belong to a hook were deleted, nothing goes back to what git had said before, and nothing
//!    is written once everything is as it should be.
//! 3. Nothing outside the inventories is touched.
//! 4. No application starves: each converges, whatever happened to the others.
//! 5. The contents of Secrets are in Secrets only: not in a status, an Event, a message or the log.
//!
//! When a seed runs again, the following repeats: the schedule itself, and what happens to each request of the agent, which
//! depends on the seed, the request's method and path, and how often it was sent before. The following does not: how long real
//! processes take, and therefore which requests the agent sends, and where in its work a kill hits it.

mod arena;
mod charts;
mod checks;
mod cluster;
mod crew;
mod director;
mod extras;
mod faults;
mod model;
mod order;
mod schedule;
mod secrecy;
mod story;
mod trouble;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use schedule::Schedule;

use arena::Arena;

/// The options of a run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The first schedule's seed. Each further schedule's seed is one more.
    pub seed: u64,
    /// The number of schedules.
    pub schedules: u64,
    /// How many schedules run at the same time, each with an agent of its own.
    pub lanes: usize,
}

/// The statistics of a run in which nothing broke.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// The number of schedules.
    pub schedules: u64,
    /// The number of requests from the agents to the API server that went through the proxies.
    pub requests: u64,
    /// The number of requests, of whatever kind, that a fault hit.
    pub faults: u64,
    /// How often an agent was killed or ended by itself, and was restarted.
    pub restarts: u64,
    /// The wall-clock time.
    pub took: Duration,
}

/// Runs schedules, and ends with the first one after which something does not hold. The error has its story, and how to reproduce
/// it.
///
/// `tell` receives a line after each schedule.
pub fn run(options: &Options, tell: &(dyn Fn(&str) + Sync)) -> Result<Summary> {
    let start = Instant::now();
    let arena = Arena::start(options.lanes.max(1))?;
    let next = AtomicU64::new(0);
    let broken = Mutex::new(None);
    let total = Mutex::new(Summary::default());
    let alone = options.schedules == 1;
    std::thread::scope(|scope| {
        for lane in arena.lanes() {
            let (arena, next, broken, total) = (&arena, &next, &broken, &total);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.schedules || lock(broken).is_some() {
                        return;
                    }
                    let schedule = Schedule::from_seed(options.seed.wrapping_add(number));
                    match director::play(arena, lane, &schedule, alone) {
                        Ok(played) => {
                            let mut total = lock(total);
                            total.schedules += 1;
                            total.requests += played.requests;
                            total.faults += played.faults;
                            total.restarts += played.restarts;
                            tell(&format!(
                                "seed {}: {} acts, {} requests, {} faults, {} restarts, {:.1} s, converged {:.1} s after \
                                 the last fault",
                                schedule.seed,
                                schedule.acts.len(),
                                played.requests,
                                played.faults,
                                played.restarts,
                                played.took.as_secs_f64(),
                                played.converged.as_secs_f64(),
                            ));
                        }
                        Err(failure) => {
                            lock(broken).get_or_insert(failure);
                        }
                    }
                }
            });
        }
    });
    if let Some(failure) = lock(&broken).take() {
        arena.keep();
        bail!(failure);
    }
    let mut total = *lock(&total);
    total.took = start.elapsed();
    Ok(total)
}

/// Locks a mutex. Nothing panics while it holds such a lock: a lane that does ends the scope.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
