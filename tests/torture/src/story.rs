//! What happened in a schedule, for finding out why it broke.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Instant;

use crate::lock;
use crate::schedule::Schedule;

/// What was done, and when.
#[derive(Debug)]
pub(crate) struct Story {
    start: Instant,
    lines: Mutex<String>,
}

impl Story {
    pub(crate) fn begin(schedule: &Schedule) -> Self {
        let mut lines = String::new();
        let _ = writeln!(
            lines,
            "replicas: {}, before the applications: {}, under leases: {}, charts: {:?}, waiting for health: {:?}, \
             telling: {:?}, {:?}",
            schedule.replicas,
            schedule.agent_first,
            schedule.leased,
            schedule.charted,
            schedule.judged,
            schedule.telling,
            schedule.weather
        );
        Self {
            start: Instant::now(),
            lines: Mutex::new(lines),
        }
    }

    pub(crate) fn tell(&self, what: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        let _ = writeln!(lock(&self.lines), "{seconds:7.3} s  {what}");
    }

    /// Returns what to print when something does not hold.
    pub(crate) fn failure(&self, schedule: &Schedule, broken: &anyhow::Error, log: &str) -> String {
        let seed = schedule.seed;
        format!(
            "schedule {seed}: {broken:#}\n\n{}\nthe agents' logs: {log}\nagain: cargo xtask test torture --seed {seed} \
             --schedules 1",
            lock(&self.lines)
        )
    }
}
