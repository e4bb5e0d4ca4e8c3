//! The `Plugin` resource.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Condition, SecretName};
use crate::{digest::Digest, duration::Span, plugin::Capability};

/// A plugin that applications may use by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginSpec {
    /// An OCI reference with a tag or, better, a digest: `registry.example.com/plugins/guardrails:1.2.0`. Without an image, this
    /// Plugin configures the built-in plugin of the same name: its grants, and the limits or settings for all its uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A Secret of type `kubernetes.io/dockerconfigjson` in the agent's namespace, with credentials for the registry. The key
    /// `ca.crt` is for a registry with its own certificate authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<SecretName>,
    /// Namespaces whose applications may use the plugin, by name or with a `*` at the end: `shop`, `team-a-*`. If unset, all may.
    /// In other namespaces, a built-in plugin of this name stays as it is, without these grants and settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<BTreeSet<String>>,
    /// What the plugin may do beyond computing. A plugin gets only what it both asks for and is granted here.
    #[serde(default)]
    pub grants: Grants,
    /// Limits that differ from the agent's defaults.
    #[serde(default)]
    pub limits: Limits,
    /// Default settings for uses of this plugin. The settings of each use are merged into them (JSON merge patch, RFC 7396).
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schemars(schema_with = "super::any_object")]
    pub settings: Value,
    /// How often to resolve a tag again. A digest is never resolved again.
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

/// What an operator grants to a plugin. If empty, nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Grants {
    /// Hosts that the plugin may send HTTP requests to: `hooks.example.com`, `*.example.com`, `hooks.example.com:8443`. Even for
    /// these hosts, private, loopback and link-local addresses are refused unless `privateNetworks` is set.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub http_hosts: BTreeSet<String>,
    /// Whether granted hosts may have private, loopback or link-local addresses, or the address 168.63.129.16, which belongs to
    /// the Azure platform.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub private_networks: bool,
    /// Kinds that the plugin may read from the cluster: `v1/ConfigMap`, or `*` for any. Reads for an application use the
    /// permissions of its own service account.
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

/// Limits on one call of a plugin. The agent's defaults apply to what is not set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Maximum wall-clock time of a call, including host calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
    /// Maximum total size of the plugin's memories and tables, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Maximum size of the result, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_mib: Option<u32>,
}

/// The observed state of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginStatus {
    /// The generation of the spec that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Digest of the component in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Digest of the OCI manifest that the reference was resolved to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// The plugin's kind: renderer, policy, health or notifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The version that the plugin states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The plugin's description of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What the plugin may do: what it asks for and is granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effective_grants: Vec<String>,
    /// What the plugin asks for and is not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_grants: Vec<String>,
    /// The condition `Ready`, with the polarity of kstatus.
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
