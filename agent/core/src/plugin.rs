//! Plugins as the core knows them: their kinds, what they request, and how they fail.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    digest::Digest,
    problem::{self, Problem},
    readset::ReadSet,
};

/// The kinds of plugin, one WIT world each.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Turns a folder into objects.
    Renderer,
    /// Evaluates a whole plan before anything is written.
    Policy,
    /// Determines the health of an object.
    Health,
    /// Sends notifications.
    Notifier,
}

impl Kind {
    /// All kinds, in the order of the pipeline.
    pub const ALL: [Self; 4] = [Self::Renderer, Self::Policy, Self::Health, Self::Notifier];

    /// Returns the name, which is also that of the WIT package, `pintle:NAME`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Renderer => "renderer",
            Self::Policy => "policy",
            Self::Health => "health",
            Self::Notifier => "notifier",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of plugin: expected one of renderer, policy, health, notifier")]
pub struct ParseKindError(String);

impl FromStr for Kind {
    type Err = ParseKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| ParseKindError(text.to_owned()))
    }
}

/// Something that a plugin requests from the operator, or that an operator grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Capability {
    /// Outgoing HTTP to a host: `hooks.example.com`, `*.example.com:8443`, or `*` for any.
    HttpHost(String),
    /// Reading objects of one kind from the cluster: `v1/ConfigMap`.
    ClusterRead(String),
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HttpHost(host) => write!(f, "http host {host}"),
            Self::ClusterRead(kind) => write!(f, "cluster read of {kind}"),
        }
    }
}

/// A plugin's description of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// The plugin's name.
    pub name: String,
    /// Semantic version of the plugin.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// The JSON Schema 2020-12 of the settings.
    pub settings_schema: Value,
    /// The capabilities that it requests from the operator.
    pub requests: Vec<Capability>,
}

/// The exact identity of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginId {
    /// The name under which it is configured.
    pub name: String,
    /// Digest of the component.
    pub digest: Digest,
    /// Its kind.
    pub kind: Kind,
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` ({})", self.kind, self.name, self.digest)
    }
}

/// What a plugin was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Compiling and linking the component.
    Load,
    /// `describe`.
    Describe,
    /// `validate`.
    Validate,
    /// `detect`.
    Detect,
    /// `inputs`.
    Inputs,
    /// `render`.
    Render,
    /// `evaluate`.
    Evaluate,
    /// `judges`.
    Judges,
    /// `assess`.
    Assess,
    /// `notify`.
    Notify,
}

impl Stage {
    /// Returns the name for messages and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Describe => "describe",
            Self::Validate => "validate",
            Self::Detect => "detect",
            Self::Inputs => "inputs",
            Self::Render => "render",
            Self::Evaluate => "evaluate",
            Self::Judges => "judges",
            Self::Assess => "assess",
            Self::Notify => "notify",
        }
    }

    /// Returns what the plugin was asked to do, phrased to follow "failed to". Not every function name is a verb.
    const fn task(self) -> &'static str {
        match self {
            Self::Inputs => "say what it needs from elsewhere",
            Self::Judges => "say what it judges",
            _ => self.name(),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The limit that a plugin exceeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// Wall-clock time, including host calls.
    #[error("it ran longer than {0:?}")]
    Time(Duration),
    /// Memory, summed over the store.
    #[error("it asked for more than {0} bytes of memory")]
    Memory(u64),
    /// Memory of all running calls: a single call asked for more.
    #[error(
        "it asked for more than {0} bytes of memory, which is what all running plugins have together"
    )]
    MemoryOfAll(u64),
    /// Entries in the tables, instances or memories of the store.
    #[error("it asked for more than {0} table entries")]
    Table(u64),
    /// Open handles to host resources.
    #[error("it held more than {0} handles")]
    Handles(u64),
    /// Bytes that cross from guest to host in one call, or that the plugin reads from the host.
    #[error("it moved more than {0} bytes through host calls")]
    HostCalls(u64),
    /// Bytes of a single answer from the cluster.
    #[error("the answer to one of its reads of the cluster is larger than {0} bytes")]
    Answer(u64),
    /// Bytes of the plugin's result.
    #[error("its result is larger than {0} bytes")]
    Output(u64),
    /// Bytes of the plugin's log messages.
    #[error("it logged more than {0} bytes")]
    Log(u64),
}

impl Limit {
    /// Returns the name for metric labels.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Time(_) => "time",
            Self::Memory(_) | Self::MemoryOfAll(_) => "memory",
            Self::Table(_) => "table",
            Self::Handles(_) => "handles",
            Self::HostCalls(_) => "host-calls",
            Self::Answer(_) => "answer",
            Self::Output(_) => "output",
            Self::Log(_) => "log",
        }
    }

    /// Returns what to do if the plugin needs this much.
    const fn remedy(&self) -> &'static str {
        match self {
            Self::MemoryOfAll(_) => "give the agent's pod more memory if this is expected",
            Self::Answer(_) => "let it read by namespace or by name",
            _ => "raise `limits` of the Plugin if this is expected",
        }
    }
}

/// The reason why a plugin call has no result. A refusal, a trap and an exceeded limit are three different things.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The plugin refused its input, which stays unacceptable until it changes.
    #[error("{}", problem::lines(.0))]
    Refused(Vec<Problem>),
    /// Something that the plugin needs did not answer.
    #[error("{reason}")]
    Unavailable {
        /// What did not answer.
        reason: String,
        /// How long to wait before asking it again.
        retry_after: Option<Duration>,
    },
    /// This machine's copy of the source cannot be read. It may be damaged or missing, and a fetch repairs it.
    #[error("{0}")]
    Unreadable(String),
    /// The plugin crashed, which is a defect of the plugin.
    #[error("it crashed: {0}")]
    Trap(String),
    /// The plugin exceeded a limit set by the operator.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Limit(Limit),
    /// The plugin returned something that violates the contract, which is a defect of the plugin.
    #[error("it broke the contract: {0}")]
    Contract(String),
    /// The component cannot be loaded at all.
    #[error("{0}")]
    Unloadable(String),
}

impl Fault {
    /// Returns whether the same call may succeed later without any change.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unreadable(_))
    }

    /// Returns the name for metric labels.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Unavailable { .. } | Self::Unreadable(_) => "unavailable",
            Self::Trap(_) => "trap",
            Self::Limit(_) => "limit",
            Self::Contract(_) => "contract",
            Self::Unloadable(_) => "unloadable",
        }
    }
}

/// A failed call, with everything that a person needs to find the culprit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{plugin} failed to {}", .stage.task())]
pub struct PluginError {
    /// The plugin.
    pub plugin: Box<PluginId>,
    /// What it was asked to do.
    pub stage: Stage,
    /// What happened.
    #[source]
    pub fault: Fault,
    /// What the call had read from the cluster by then. If that caused the failure, the same call may succeed once it changes.
    pub looked_up: ReadSet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_words() {
        let told = |stage| {
            let plugin = PluginId {
                name: "helm".to_owned(),
                digest: Digest::of(""),
                kind: Kind::Renderer,
            };
            let error = PluginError {
                plugin: Box::new(plugin),
                stage,
                fault: Fault::Trap("unreachable".to_owned()),
                looked_up: ReadSet::default(),
            };
            let text = error.to_string();
            text.rsplit_once(") ").unwrap().1.to_owned()
        };
        for (stage, text) in [
            (Stage::Load, "failed to load"),
            (Stage::Inputs, "failed to say what it needs from elsewhere"),
            (Stage::Render, "failed to render"),
            (Stage::Judges, "failed to say what it judges"),
            (Stage::Notify, "failed to notify"),
        ] {
            assert_eq!(told(stage), text);
        }
    }
}
