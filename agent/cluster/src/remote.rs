//! Connections to other clusters, from a kubeconfig that someone else wrote.

use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};
use pintle_core::causes::chain;

use crate::connection::{ConnectError, Connection, Options};

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It is not a kubeconfig.
    #[error("it is no kubeconfig: {0}")]
    Malformed(String),
    /// Something that it refers to is missing from it.
    #[error("{what} `{name}` is not in it: there are {}", list(.known))]
    Missing {
        /// One of `context`, `cluster` or `user`.
        what: &'static str,
        /// The name that is missing.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// It would make the agent run a program, read one of its own files, or trust anyone.
    #[error("`{field}` of its {what} `{name}` is not allowed: {why}")]
    NotAllowed {
        /// One of `cluster` or `user`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The field.
        field: &'static str,
        /// Why, and what to do instead.
        why: &'static str,
    },
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    known.join(", ")
}

const NO_CONTEXT: &str = "it has no `current-context`; put the name of one of its contexts there";
const NO_PROGRAM: &str = "it would run a program in the agent; put a `token`, or `client-certificate-data` and \
                          `client-key-data`, into the kubeconfig";
const NO_FILE: &str = "it would read a file of the agent; put the content into the kubeconfig, in the field with `-data` or \
                       in `token`";
const NO_TRUST: &str = "anybody on the way could read and change what is sent; put the authority into \
                        `certificate-authority-data`";

impl Connection {
    /// Connects to the cluster that the current context of a kubeconfig names. No request is sent yet.
    ///
    /// The kubeconfig is not trusted: it may hold credentials, but nothing that runs a program in the agent or reads one of the
    /// agent's files. Writes go through the same fence as those of `home`.
    pub async fn remote(kubeconfig: &str, home: &Self) -> Result<Self, RemoteError> {
        let kubeconfig = checked(kubeconfig)?;
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(|error| RemoteError::Malformed(chain(&error)))?;
        let connection = Self::configured(config, &Options::default())?;
        Ok(match home.fence() {
            Some(fence) => connection.with_fence(fence.clone()),
            None => connection,
        })
    }
}

/// Returns a kubeconfig with its current context and nothing else.
fn checked(text: &str) -> Result<Kubeconfig, RemoteError> {
    let malformed = |detail: String| RemoteError::Malformed(detail);
    let mut all = Kubeconfig::from_yaml(text).map_err(|error| malformed(chain(&error)))?;
    let current = all
        .current_context
        .clone()
        .ok_or_else(|| malformed(NO_CONTEXT.to_owned()))?;
    let known = all.contexts.iter().map(|context| context.name.clone());
    let known = known.collect();
    all.contexts.retain(|context| context.name == current);
    let context = all
        .contexts
        .first()
        .and_then(|context| context.context.clone())
        .ok_or(RemoteError::Missing {
            what: "context",
            name: current,
            known,
        })?;
    let known = all.clusters.iter().map(|cluster| cluster.name.clone());
    let known = known.collect();
    all.clusters
        .retain(|cluster| cluster.name == context.cluster);
    let cluster = all
        .clusters
        .first()
        .and_then(|cluster| cluster.cluster.as_ref());
    let cluster = cluster.ok_or_else(|| RemoteError::Missing {
        what: "cluster",
        name: context.cluster.clone(),
        known,
    })?;
    check_cluster(&context.cluster, cluster)?;
    let user = context.user.unwrap_or_default();
    let known = all.auth_infos.iter().map(|user| user.name.clone());
    let known = known.collect();
    all.auth_infos.retain(|info| info.name == user);
    let info = all
        .auth_infos
        .first()
        .and_then(|info| info.auth_info.as_ref());
    let info = info.ok_or_else(|| RemoteError::Missing {
        what: "user",
        name: user.clone(),
        known,
    })?;
    check_user(&user, info)?;
    Ok(all)
}

fn check_cluster(name: &str, cluster: &Cluster) -> Result<(), RemoteError> {
    let refused = |field, why| RemoteError::NotAllowed {
        what: "cluster",
        name: name.to_owned(),
        field,
        why,
    };
    if cluster.certificate_authority.is_some() {
        return Err(refused("certificate-authority", NO_FILE));
    }
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(refused("insecure-skip-tls-verify", NO_TRUST));
    }
    let server = cluster.server.as_deref().unwrap_or_default();
    if !server.starts_with("https://") {
        return Err(refused("server", "expected https://…"));
    }
    Ok(())
}

fn check_user(name: &str, user: &AuthInfo) -> Result<(), RemoteError> {
    let refused = |field, why| RemoteError::NotAllowed {
        what: "user",
        name: name.to_owned(),
        field,
        why,
    };
    let programs = [
        ("exec", user.exec.is_some()),
        ("auth-provider", user.auth_provider.is_some()),
    ];
    if let Some((field, _)) = programs.into_iter().find(|(_, is_there)| *is_there) {
        return Err(refused(field, NO_PROGRAM));
    }
    let files = [
        ("tokenFile", user.token_file.is_some()),
        ("client-certificate", user.client_certificate.is_some()),
        ("client-key", user.client_key.is_some()),
    ];
    match files.into_iter().find(|(_, is_there)| *is_there) {
        Some((field, _)) => Err(refused(field, NO_FILE)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: prod\n\
             contexts: [{{name: prod, context: {{cluster: prod, user: deployer}}}}]\n\
             clusters: [{{name: prod, cluster: {{{cluster}}}}}, {{name: other, cluster: {{server: 'http://x'}}}}]\n\
             users: [{{name: deployer, user: {{{user}}}}}, {{name: other, user: {{tokenFile: /etc/shadow}}}}]\n"
        )
    }

    fn said(text: &str) -> String {
        match checked(text) {
            Ok(_) => "taken".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    const SERVER: &str = "server: 'https://prod.example.com'";

    #[test]
    fn what_runs_programs_reads_files_or_trusts_anybody_is_refused() {
        assert_eq!(said(&kubeconfig(SERVER, "token: abc")), "taken");
        let users = [
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: sh}",
            "auth-provider: {name: gcp, config: {cmd-path: sh}}",
            "tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token",
            "client-certificate: /a, client-key-data: YQ==",
            "client-key: /a, client-certificate-data: YQ==",
        ];
        let users = users.map(|user| said(&kubeconfig(SERVER, user)));
        let clusters = [
            "server: 'https://a', certificate-authority: /etc/passwd",
            "server: 'https://a', insecure-skip-tls-verify: true",
            "server: 'http://a'",
            "server: ''",
        ];
        let clusters = clusters.map(|cluster| said(&kubeconfig(cluster, "token: abc")));
        let all = [&users[..], &clusters[..]].concat().join("\n");
        insta::assert_snapshot!(all, @r"
        `exec` of its user `deployer` is not allowed: it would run a program in the agent; put a `token`, or `client-certificate-data` and `client-key-data`, into the kubeconfig
        `auth-provider` of its user `deployer` is not allowed: it would run a program in the agent; put a `token`, or `client-certificate-data` and `client-key-data`, into the kubeconfig
        `tokenFile` of its user `deployer` is not allowed: it would read a file of the agent; put the content into the kubeconfig, in the field with `-data` or in `token`
        `client-certificate` of its user `deployer` is not allowed: it would read a file of the agent; put the content into the kubeconfig, in the field with `-data` or in `token`
        `client-key` of its user `deployer` is not allowed: it would read a file of the agent; put the content into the kubeconfig, in the field with `-data` or in `token`
        `certificate-authority` of its cluster `prod` is not allowed: it would read a file of the agent; put the content into the kubeconfig, in the field with `-data` or in `token`
        `insecure-skip-tls-verify` of its cluster `prod` is not allowed: anybody on the way could read and change what is sent; put the authority into `certificate-authority-data`
        `server` of its cluster `prod` is not allowed: expected https://…
        `server` of its cluster `prod` is not allowed: expected https://…
        ");
    }

    #[test]
    fn what_is_missing_is_named() {
        let good = kubeconfig(SERVER, "token: abc");
        for (from, to) in [
            ("current-context: prod", "current-context: dev"),
            ("cluster: prod, user", "cluster: dev, user"),
            ("user: deployer", "user: nobody"),
        ] {
            let error = checked(&good.replace(from, to)).unwrap_err();
            assert!(matches!(error, RemoteError::Missing { .. }), "{error}");
        }
        for bad in ["", "[]", "a: [", "current-context: 1"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        insta::assert_snapshot!(said(&good.replace("current-context: prod", "current-context: dev")), @"context `dev` is not in it: there are prod");
        insta::assert_snapshot!(said(&good.replace("current-context: prod", "")), @"it is no kubeconfig: it has no `current-context`; put the name of one of its contexts there");
    }

    #[test]
    fn nothing_but_the_current_context_is_kept() {
        let kept = checked(&kubeconfig(SERVER, "token: abc")).unwrap();
        assert_eq!((kept.clusters.len(), kept.auth_infos.len()), (1, 1));
    }
}
