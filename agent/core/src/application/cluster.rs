//! The cluster that an application deploys to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A cluster other than the one that the Application is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterTarget {
    /// The Secret that holds the kubeconfig of the cluster.
    pub kubeconfig: KubeconfigSecret,
    /// The service account to use for every request to the cluster. It must be in that cluster, in the namespace with the same
    /// name as the Application's namespace. By default, requests are made with the identity that the kubeconfig specifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

/// A kubeconfig in a Secret in the Application's namespace. It must be self-contained: nothing in it may run a program or read a
/// file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeconfigSecret {
    /// The name of the Secret. It is read as the Application's `serviceAccountName`.
    pub secret_name: String,
    /// The key in the Secret's data. The default is the key that Cluster API writes.
    #[serde(default = "default_key")]
    #[schemars(default = "default_key")]
    pub key: String,
}

fn default_key() -> String {
    "value".to_owned()
}

/// Writes `Secret prod, key value`, the form in which the status records where the objects are.
impl fmt::Display for ClusterTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KubeconfigSecret { secret_name, key } = &self.kubeconfig;
        write!(f, "Secret {secret_name}, key {key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_with_a_secret_and_its_key() {
        let read = |text: &str| serde_json::from_str::<ClusterTarget>(text);
        let short = read(r#"{"kubeconfig": {"secretName": "prod"}}"#).unwrap();
        assert_eq!(short.to_string(), "Secret prod, key value");
        assert_eq!(short.service_account_name, None);
        assert!(read(r#"{"kubeconfig": {"secretName": "prod", "namespace": "x"}}"#).is_err());
        assert!(read(r#"{"kubeconfig": {"path": "/etc/kubeconfig"}}"#).is_err());
    }
}
