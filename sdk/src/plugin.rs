//! What plugins of every kind have in common.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::Problem;

/// What a plugin asks the operator for. Nothing is granted that is not asked for here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Outgoing HTTP to a host: `hooks.example.com`, `*.example.com:8443`.
    HttpHost(String),
    /// Reading objects of one kind from the cluster: `v1/ConfigMap`, `apps/v1/Deployment`, or `*` for any that the
    /// operator grants.
    ClusterRead(String),
}

/// What plugins of every kind have in common.
///
/// `Settings` is a serde struct. Give it `#[serde(deny_unknown_fields)]`, and every field that may be left out a
/// default: applications without settings give `{}`. Its doc comments become the descriptions in the JSON Schema.
pub trait Plugin {
    /// The name: lowercase letters, digits and inner `-`, at most 63.
    const NAME: &'static str;
    /// The semantic version: usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// One line for people.
    const SUMMARY: &'static str;
    /// What an application may set.
    type Settings: DeserializeOwned + JsonSchema;

    /// What to ask the operator for; nothing unless overridden.
    fn requests() -> Vec<Request> {
        Vec::new()
    }

    /// Checks what a schema cannot; pointers of the problems are into the settings.
    ///
    /// Runs before every other call as well: none of them sees settings with problems.
    fn validate(settings: &Self::Settings) -> Vec<Problem> {
        let _ = settings;
        Vec::new()
    }
}
