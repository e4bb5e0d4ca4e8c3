//! The stages that the commands and the agent share: what a pull request's diff shows is what is written.

pub(crate) mod adopt;
pub(crate) mod catalog;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod health;
pub(crate) mod helm;
pub(crate) mod input;
pub(crate) mod inputs;
pub(crate) mod remotes;
pub(crate) mod render;
pub(crate) mod settings;
pub(crate) mod snapshot;
pub(crate) mod yaml;

/// Milliseconds since the epoch. The one place where the time of day is read.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time of day, RFC 3339 in UTC with seconds, as Kubernetes writes it.
pub(crate) fn now_text() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}
