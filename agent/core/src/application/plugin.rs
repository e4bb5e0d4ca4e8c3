//! The `Plugin` resource.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Condition, SecretName};
use crate::{digest::Digest, duration::Span, plugin::Capability};

/// A plugin that applications may use by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginSpec {
    /// OCI reference with a tag or, better, a digest: `registry.example.com/plugins/guardrails:1.2.0`. Without it, the
    /// plugin of this name that is built in: to grant it something, to set limits or settings for all its uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Secret in the agent's namespace, of type `kubernetes.io/dockerconfigjson`, for the registry; its key `ca.crt`
    /// is trusted for a registry with its own certificate authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<SecretName>,
    /// Namespaces whose applications may use it, by name or with a `*` at the end: `shop`, `team-a-*`. All, if there is no such
    /// list. In other namespaces a plugin of this name that is built in stays as it is, without these grants and settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<BTreeSet<String>>,
    /// What the plugin may do beyond computing. It gets what it asks for **and** is granted here.
    #[serde(default)]
    pub grants: Grants,
    /// Bounds that differ from the agent's own.
    #[serde(default)]
    pub limits: Limits,
    /// Settings that uses of this plugin start from (JSON merge patch, RFC 7396).
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schemars(schema_with = "super::any_object")]
    pub settings: Value,
    /// How often a tag is resolved again; a digest never is.
    #[serde(default = "default_interval")]
    #[schemars(default = "default_interval")]
    pub interval: Span,
}

fn default_interval() -> Span {
    Span::seconds(600)
}

impl PluginSpec {
    /// Returns whether applications in a namespace may use this plugin.
    pub fn is_for(&self, namespace: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => namespace.starts_with(prefix),
            None => pattern == namespace,
        };
        self.namespaces
            .as_ref()
            .is_none_or(|patterns| patterns.iter().any(matches))
    }
}

/// What an operator grants. Empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Grants {
    /// Hosts for outgoing HTTP: `hooks.example.com`, `*.example.com`, `hooks.example.com:8443`. Private, loopback and
    /// link-local addresses are refused even then, unless `privateNetworks` is set.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub http_hosts: BTreeSet<String>,
    /// Whether granted hosts may have private, loopback or link-local addresses, or 168.63.129.16, which is the platform of
    /// Azure.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub private_networks: bool,
    /// Kinds that may be read from the cluster: `v1/ConfigMap`, or `*` for any. Applications read with the rights of
    /// their own service accounts.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub cluster_reads: BTreeSet<String>,
}

impl Grants {
    /// Returns the grants as capabilities.
    pub fn capabilities(&self) -> Vec<Capability> {
        let hosts = self.http_hosts.iter().cloned().map(Capability::HttpHost);
        hosts
            .chain(
                self.cluster_reads
                    .iter()
                    .cloned()
                    .map(Capability::ClusterRead),
            )
            .collect()
    }
}

/// Bounds on one call of a plugin. What is not given is the agent's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Wall time, host calls included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
    /// Memory of all the plugin's memories and tables together, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Size of the result, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_mib: Option<u32>,
}

/// What became of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Digest of the component that is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Digest of the OCI manifest to which the reference was resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// Its kind: renderer, policy, health or notifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The version that it states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What it may do: asked for and granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effective_grants: Vec<String>,
    /// What it asks for and is not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_grants: Vec<String>,
    /// `Ready`, in kstatus polarity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_for_the_namespaces_that_it_names() {
        let spec = |namespaces: serde_json::Value| {
            let spec = serde_json::json!({ "namespaces": namespaces });
            serde_json::from_value::<PluginSpec>(spec).unwrap()
        };
        let some = spec(serde_json::json!(["shop", "team-a-*"]));
        assert!(some.is_for("shop") && some.is_for("team-a-web"));
        assert!(!some.is_for("shop-2") && !some.is_for("team-a") && !some.is_for("team-b-web"));
        assert!(!spec(serde_json::json!([])).is_for("shop"));
        assert!(spec(serde_json::json!(null)).is_for("shop"));
        assert!(spec(serde_json::json!(["*"])).is_for("shop"));
    }
}
