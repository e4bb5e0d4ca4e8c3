//! What plugins of every kind have in common.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::Problem;

/// A permission that a plugin asks the operator for. Nothing is granted that is not requested here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Outgoing HTTP to a host: `hooks.example.com`, `*.example.com:8443`.
    HttpHost(String),
    /// Reading objects of one kind from the cluster: `v1/ConfigMap`, `apps/v1/Deployment`, or `*` for any kind that
    /// the operator grants.
    ClusterRead(String),
}

/// What plugins of every kind have in common.
///
/// `Settings` is a serde struct. Give it `#[serde(deny_unknown_fields)]`, and give every optional field a default:
/// applications without settings pass `{}`. Its doc comments become the descriptions in the JSON Schema.
pub trait Plugin {
    /// The name: at most 63 lowercase letters, digits and inner `-`.
    const NAME: &'static str;
    /// The semantic version, usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// A one-line summary for people.
    const SUMMARY: &'static str;
    /// The settings that an application may set.
    type Settings: DeserializeOwned + JsonSchema;

    /// Returns what the plugin asks the operator for; nothing unless overridden.
    fn requests() -> Vec<Request> {
        Vec::new()
    }

    /// Checks what a schema cannot. The pointers of the problems point into the settings.
    ///
    /// This also runs before every other call, so no other function sees settings with problems.
    fn validate(settings: &Self::Settings) -> Vec<Problem> {
        let _ = settings;
        Vec::new()
    }
}
