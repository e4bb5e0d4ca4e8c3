//! The stages that the commands and the agent share: what a pull request's diff shows is what is written.

pub(crate) mod adopt;
pub(crate) mod catalog;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod disk;
pub(crate) mod health;
pub(crate) mod inputs;
pub(crate) mod remotes;
pub(crate) mod render;
pub(crate) mod results;
pub(crate) mod settings;
pub(crate) mod snapshot;
pub(crate) mod yaml;

use std::{sync::LazyLock, time::Instant};

/// Returns the milliseconds since the epoch. The time of day is read only here.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the milliseconds on a clock that starts at the time of day and only goes forward. Everything that waits uses it: by a
/// time of day that somebody sets, a pause of a second could last for hours.
pub(crate) fn steady_ms() -> u64 {
    static BEGIN: LazyLock<(u64, Instant)> = LazyLock::new(|| (now_ms(), Instant::now()));
    let (of_day, begin) = *BEGIN;
    let since = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    of_day.saturating_add(since)
}

/// Converts a moment of the steady clock to the time of day, as far as that is known now.
pub(crate) fn time_of_day(steady: u64) -> u64 {
    let now = steady_ms();
    now_ms()
        .saturating_add(steady.saturating_sub(now))
        .saturating_sub(now.saturating_sub(steady))
}

/// Returns the time of day as RFC 3339 in UTC with seconds, as Kubernetes writes it.
pub(crate) fn now_text() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}
