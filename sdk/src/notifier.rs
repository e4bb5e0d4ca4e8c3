//! Notifiers tell somebody.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Failure, Http, Plugin};

/// How much an event matters. In settings and messages: `info`, `warn`, `error`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look soon.
    Warn,
    /// Something has failed.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Unique; the same on every retry, so that receivers can drop repeats.
    pub id: String,
    /// Stable: `converged`, `drift-repaired`, `policy-denied`, `prune-refused`, `degraded`, ...
    pub reason: String,
    /// How much it matters.
    pub severity: Severity,
    /// One line for people. Which application it is about is in the details.
    pub message: String,
    /// Milliseconds since the epoch.
    pub time_ms: u64,
    /// Application, revision, digests, findings, objects: as documented for the reason.
    pub details: Value,
}

/// Tells somebody. Called again with the same event after [`Failure::Unavailable`].
pub trait Notifier: Plugin {
    /// Delivers one event.
    fn notify(settings: &Self::Settings, event: &Event, http: &dyn Http) -> Result<(), Failure>;
}
