//! What an application may set.

use std::collections::BTreeMap;

use pintle_sdk::{
    ObjectId, Problem,
    glob::Glob,
    schemars::{self, JsonSchema},
};
use serde::Deserialize;

use crate::rules::{Level, Rule};

/// Settings of the policy `guardrails`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Settings {
    /// What breaking a rule leads to, by the rule's name: `deny`, `warn`, `info` or `off`. Other rules keep their
    /// defaults.
    pub rules: BTreeMap<Rule, Level>,
    /// Objects that may break rules, each with the reason.
    pub exceptions: Vec<Exception>,
    /// What to make of a violation that the cluster already has.
    pub existing: Existing,
    /// Which images may be used.
    pub images: Images,
    /// Which labels objects must have.
    pub labels: Labels,
    /// What pods may do.
    pub pods: Pods,
    /// What may be deleted.
    pub deletions: Deletions,
}

/// What to make of a violation that the cluster already has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Existing {
    /// Warn of it at most, so that it never blocks a change which does not make it.
    #[default]
    Warn,
    /// Judge it as a new one.
    Deny,
}

/// Objects that may break rules. Every list that is given has to match; what breaks a rule becomes `info`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The rules that may be broken.
    #[schemars(length(min = 1))]
    pub rules: Vec<Rule>,
    /// Patterns of kinds: `DaemonSet`, `apps/*`.
    #[serde(default)]
    pub kinds: Vec<Glob>,
    /// Patterns of namespaces; objects without a namespace match none.
    #[serde(default)]
    pub namespaces: Vec<Glob>,
    /// Patterns of names.
    #[serde(default)]
    pub names: Vec<Glob>,
    /// Patterns of containers; what is about no container matches none.
    #[serde(default)]
    pub containers: Vec<Glob>,
    /// Why; shown wherever the exception is used.
    #[schemars(length(min = 1))]
    pub reason: String,
}

/// Which images may be used.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Images {
    /// Patterns of `registry/repository`: `ghcr.io/acme/**`, `docker.io/library/*`. One without `/` is a whole registry:
    /// `registry.k8s.io`, `*.example.com`. None: every registry is allowed.
    pub registries: Vec<Glob>,
    /// Patterns of tags that move.
    pub mutable_tags: Vec<Glob>,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            registries: Vec::new(),
            mutable_tags: vec![glob("latest")],
        }
    }
}

/// Which labels objects must have.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Labels {
    /// The labels.
    pub required: Vec<Label>,
    /// Patterns of the kinds that must have them: `Deployment`, `apps/*`.
    pub kinds: Vec<Glob>,
    /// Whether the pod templates of these kinds must have them too.
    pub pod_templates: bool,
}

impl Default for Labels {
    fn default() -> Self {
        Self {
            required: Vec::new(),
            kinds: vec![glob("*")],
            pod_templates: false,
        }
    }
}

/// A label that objects must have.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// The key.
    #[schemars(length(min = 1))]
    pub key: String,
    /// Patterns of the values that are allowed: `payments`, `team-*`. None: every value that is not empty.
    #[serde(default)]
    pub values: Vec<Glob>,
}

/// What pods may do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Pods {
    /// Capabilities that containers may add. Without a setting those of the Pod Security Standard "baseline".
    pub capabilities: Vec<String>,
    /// Sysctls that pods may set. Without a setting those of the Pod Security Standard "baseline".
    pub sysctls: Vec<String>,
    /// Patterns of paths of the host that may be mounted, without a `/` at the end: `/var/log/**`. A path with a part that
    /// is `..`, `.` or empty matches none.
    pub host_paths: Vec<Glob>,
    /// Kinds beside the built-in ones that hold pod templates.
    pub templates: Vec<Template>,
}

/// The capabilities that containers may add under the Pod Security Standard "baseline"
/// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>): those that container runtimes give anyway.
const BASELINE: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The sysctls that pods may set under the same standard. They belong to the pod alone, and harm no other.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

impl Default for Pods {
    fn default() -> Self {
        Self {
            capabilities: BASELINE.map(str::to_owned).into(),
            sysctls: SAFE_SYSCTLS.map(str::to_owned).into(),
            host_paths: Vec::new(),
            templates: Vec::new(),
        }
    }
}

/// A kind that holds a pod template.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Group and kind: `argoproj.io/Rollout`.
    pub kind: Glob,
    /// RFC 6901 pointer to the template, which holds the pod's `metadata` and `spec`: `/spec/template`. A part that is `*`
    /// stands for all items of a list and all values of a map: `/spec/tasks/*/template`.
    #[schemars(regex(pattern = "^/"))]
    pub pointer: String,
}

/// What may be deleted. A replacement deletes too, and a hook that runs again does not.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deletions {
    /// Patterns of kinds that are not deleted: `StatefulSet`, `*.example.com/*`.
    pub kinds: Vec<Glob>,
    /// How many objects one plan may delete or replace.
    pub limit: u32,
}

impl Default for Deletions {
    fn default() -> Self {
        let kinds = [
            "Namespace",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "CustomResourceDefinition",
        ];
        Self {
            kinds: kinds.map(glob).into(),
            limit: 20,
        }
    }
}

fn glob(pattern: &str) -> Glob {
    Glob::parse(pattern).expect("the pattern of a default is well formed")
}

/// Returns whether one of the patterns matches the kind: `Deployment`, or with its group `apps/Deployment`.
pub(crate) fn matches_kind(patterns: &[Glob], id: &ObjectId) -> bool {
    patterns.iter().any(|pattern| {
        pattern.matches(&id.kind)
            || (!id.group().is_empty() && pattern.matches(&format!("{}/{}", id.group(), id.kind)))
    })
}

impl Settings {
    /// Returns the consequence of breaking a rule.
    pub fn level(&self, rule: Rule) -> Level {
        self.rules
            .get(&rule)
            .copied()
            .unwrap_or_else(|| rule.default_level())
    }

    /// Finds problems that the schema cannot express.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, exception) in self.exceptions.iter().enumerate() {
            exception_problems(exception, &format!("/exceptions/{index}"), &mut problems);
        }
        for (index, pattern) in self.images.registries.iter().enumerate() {
            let host = pattern.as_str().split('/').next().unwrap_or_default();
            if !host.contains(['.', ':', '*', '?', '[', '{']) && host != "localhost" {
                let message = format!("`{pattern}` does not begin with a registry");
                let hint = format!("write the registry too: `docker.io/{pattern}`");
                problems.push(
                    Problem::new(message)
                        .pointer(format!("/images/registries/{index}"))
                        .hint(hint),
                );
            }
        }
        for (index, label) in self.labels.required.iter().enumerate() {
            if label.key.is_empty() {
                problems.push(
                    Problem::new("a label needs a key")
                        .pointer(format!("/labels/required/{index}/key")),
                );
            }
        }
        for (index, pattern) in self.pods.host_paths.iter().enumerate() {
            let text = pattern.as_str();
            if text.len() > 1 && text.ends_with('/') {
                let path = text.trim_end_matches('/');
                problems.push(
                    Problem::new(format!(
                        "`{text}` matches no path, as paths end without `/`"
                    ))
                    .pointer(format!("/pods/hostPaths/{index}"))
                    .hint(format!(
                        "write `{path}` for itself, `{path}/**` for all below it"
                    )),
                );
            }
        }
        for (index, Template { pointer, .. }) in self.pods.templates.iter().enumerate() {
            let at = format!("/pods/templates/{index}/pointer");
            if !pointer.starts_with('/') {
                problems.push(
                    Problem::new(format!("`{pointer}` is no JSON pointer"))
                        .pointer(at)
                        .hint("write it with `/` before each part: `/spec/template`"),
                );
            } else if pointer
                .split('/')
                .any(|part| part != "*" && part.contains('*'))
            {
                problems.push(
                    Problem::new(format!("`{pointer}` has a `*` within a part"))
                        .pointer(at)
                        .hint("as a part of its own it stands for all items: `/spec/tasks/*/template`"),
                );
            }
        }
        problems
    }
}

fn exception_problems(exception: &Exception, at: &str, problems: &mut Vec<Problem>) {
    if exception.rules.is_empty() {
        problems.push(
            Problem::new("an exception names at least one rule").pointer(format!("{at}/rules")),
        );
    }
    if exception.rules.contains(&Rule::TooManyDeletions) {
        problems.push(
            Problem::new("`too-many-deletions` is about the whole plan and has no exceptions")
                .pointer(format!("{at}/rules"))
                .hint("raise `deletions.limit`, or set the rule to `warn`"),
        );
    }
    if exception.reason.trim().is_empty() {
        problems.push(Problem::new("an exception needs a reason").pointer(format!("{at}/reason")));
    }
    let lists = [
        &exception.kinds,
        &exception.namespaces,
        &exception.names,
        &exception.containers,
    ];
    if lists.iter().all(|list| list.is_empty()) {
        problems.push(
            Problem::new("an exception for everything switches the rule off")
                .pointer(at)
                .hint("give it kinds, namespaces, names or containers, or set the rule to `off` in `rules`"),
        );
    }
}
