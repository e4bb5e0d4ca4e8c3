//! Kubeconfigs for service accounts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;

impl ControlPlane {
    /// Writes a kubeconfig with a token of a service account and no other credential, so that its user has the permissions of
    /// that account only. The token comes from the `TokenRequest` API and is valid for a day.
    ///
    /// The account is created if it does not exist. The namespace must exist.
    pub fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
        });
        self.apply(&account.to_string())?;
        let token = self.kubectl(&[
            "create",
            "token",
            name,
            "--namespace",
            namespace,
            "--duration",
            "24h",
        ])?;
        let path = self.dir().join(format!("{namespace}-{name}.kubeconfig"));
        write_token_kubeconfig(
            &path,
            &self.server()?,
            &self.dir().join("ca.crt"),
            namespace,
            token.trim(),
        )?;
        Ok(path)
    }
}

/// Writes a kubeconfig with one context. The context is named after the namespace, which is also its default namespace.
pub(crate) fn write_token_kubeconfig(
    path: &Path,
    server: &str,
    ca: &Path,
    namespace: &str,
    token: &str,
) -> Result<()> {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": namespace,
        "clusters": [{"name": "cluster", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": "account", "user": {"token": token}}],
        "contexts": [{"name": namespace, "context": {"cluster": "cluster", "user": "account", "namespace": namespace}}],
    });
    fs::write(path, kubeconfig.to_string()).with_context(|| format!("write {}", path.display()))
}

/// Reads the token and the default namespace from a kubeconfig that was written here.
pub(crate) fn read_token_kubeconfig(path: &Path) -> Result<(String, String)> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let kubeconfig: Value =
        serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    let at = |pointer| {
        let found = kubeconfig
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned);
        found.with_context(|| {
            format!(
                "{} has no {pointer}: is it from service_account_kubeconfig?",
                path.display()
            )
        })
    };
    Ok((
        at("/users/0/user/token")?,
        at("/contexts/0/context/namespace")?,
    ))
}
