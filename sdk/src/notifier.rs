//! Notifiers, which tell somebody about events.

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
    /// A unique id. It is the same on every retry, so receivers can drop duplicates.
    pub id: String,
    /// A stable reason: `converged`, `drift-repaired`, `policy-denied`, `prune-refused`, `degraded`, ...
    pub reason: String,
    /// The severity.
    pub severity: Severity,
    /// A one-line message for people. The details say which application it is about.
    pub message: String,
    /// The time, in milliseconds since the epoch.
    pub time_ms: u64,
    /// Application, revision, digests, findings and objects, as documented for the reason.
    pub details: Value,
}

/// A plugin that tells somebody about events. Called again with the same event after [`Failure::Unavailable`].
pub trait Notifier: Plugin {
    /// Delivers one event.
    fn notify(settings: &Self::Settings, event: &Event, http: &dyn Http) -> Result<(), Failure>;
}
