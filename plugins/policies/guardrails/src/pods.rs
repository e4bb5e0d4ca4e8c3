//! Pods, wherever they are, and what they may do to the node.

use std::collections::BTreeSet;

use pintle_sdk::ObjectId;
use serde_json::Value;

use crate::{
    rules::Rule,
    settings::{Pods, matches_kind},
    violation::{self, Violation},
};

/// A pod, or the template of one.
pub(crate) struct Pod<'a> {
    /// The RFC 6901 pointer to what holds `metadata` and `spec`; empty for a pod itself.
    pointer: String,
    /// The same for all objects of the kind, with `*` for an item of a list or a map.
    template: &'a str,
    value: &'a Value,
}

/// A container of a pod.
pub(crate) struct Container<'a> {
    /// The RFC 6901 pointer into the object.
    pub(crate) pointer: String,
    /// Its name; empty if it has none.
    pub(crate) name: &'a str,
    /// The whole container.
    pub(crate) value: &'a Value,
}

impl<'a> Pod<'a> {
    /// Returns the RFC 6901 pointer to what holds `metadata` and `spec`.
    pub(crate) fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Returns the pointer at which objects of the kind have it, with `*` for an item of a list or a map.
    pub(crate) fn template(&self) -> &'a str {
        self.template
    }

    /// Returns whether it is a template, and not a pod itself.
    pub(crate) fn is_template(&self) -> bool {
        !self.pointer.is_empty()
    }

    /// Returns the metadata.
    pub(crate) fn metadata(&self) -> Option<&'a Value> {
        self.value.get("metadata")
    }

    /// Returns the spec.
    pub(crate) fn spec(&self) -> Option<&'a Value> {
        self.value.get("spec")
    }

    /// Returns the containers of all three kinds.
    pub(crate) fn containers(&self) -> impl Iterator<Item = Container<'a>> + '_ {
        ["containers", "initContainers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |field| {
                items(self.spec(), field).map(move |(index, value)| Container {
                    pointer: format!("{}/spec/{field}/{index}", self.pointer),
                    name: value
                        .get("name")
                        .and_then(Value::as_str)
                        .unwrap_or_default(),
                    value,
                })
            })
    }

    /// Returns the volumes with their pointers.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = (String, &'a Value)> + '_ {
        items(self.spec(), "volumes")
            .map(|(index, value)| (format!("{}/spec/volumes/{index}", self.pointer), value))
    }
}

/// Returns the items of a field that is a list, with their indices.
pub(crate) fn items<'a>(
    value: Option<&'a Value>,
    field: &str,
) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    value
        .and_then(|value| value.get(field))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
}

/// Returns where a built-in kind holds a pod, as a pointer to what has `metadata` and `spec`.
fn built_in(id: &ObjectId) -> Option<&'static str> {
    match (id.group(), id.kind.as_str()) {
        ("", "Pod") => Some(""),
        ("", "PodTemplate") => Some("/template"),
        ("", "ReplicationController")
        | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job") => Some("/spec/template"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

/// Returns where a kind holds pods according to the settings.
fn configured<'a>(settings: &'a Pods, id: &'a ObjectId) -> impl Iterator<Item = &'a str> {
    settings
        .templates
        .iter()
        .filter(move |template| matches_kind(std::slice::from_ref(&template.kind), id))
        .map(|template| template.pointer.as_str())
}

fn pointers<'a>(settings: &'a Pods, id: &'a ObjectId) -> impl Iterator<Item = &'a str> {
    built_in(id).into_iter().chain(configured(settings, id))
}

/// Follows a pointer in which `*` stands for every item of a list and every value of a map. Returns everything that it leads
/// to, each with a pointer to it alone.
fn follow<'a>(object: &'a Value, pointer: &str) -> Vec<(String, &'a Value)> {
    let mut found = vec![(String::new(), object)];
    for part in pointer.split('/').skip(1) {
        found = found
            .into_iter()
            .flat_map(|(at, value)| step(&at, value, part))
            .collect();
    }
    found
}

fn step<'a>(at: &str, value: &'a Value, part: &str) -> Vec<(String, &'a Value)> {
    match (part, value) {
        ("*", Value::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (format!("{at}/{index}"), item))
            .collect(),
        ("*", Value::Object(fields)) => fields
            .iter()
            .map(|(key, field)| (violation::pointer(at, key), field))
            .collect(),
        _ => value
            .pointer(&format!("/{part}"))
            .map(|found| (format!("{at}/{part}"), found))
            .into_iter()
            .collect(),
    }
}

fn is_volume(id: &ObjectId) -> bool {
    (id.group(), id.kind.as_str()) == ("", "PersistentVolume")
}

/// Returns whether an object of this kind holds pods, or mounts of the host.
pub(crate) fn is_looked_into(settings: &Pods, id: &ObjectId) -> bool {
    is_volume(id) || pointers(settings, id).next().is_some()
}

/// Returns the pods of an object, each once, whichever pointers lead to it.
pub(crate) fn of<'a>(settings: &'a Pods, id: &'a ObjectId, object: &'a Value) -> Vec<Pod<'a>> {
    let mut seen = BTreeSet::new();
    let mut pods = Vec::new();
    for template in pointers(settings, id) {
        for (pointer, value) in follow(object, template) {
            if seen.insert(pointer.clone()) {
                pods.push(Pod {
                    pointer,
                    template,
                    value,
                });
            }
        }
    }
    pods
}

/// Checks that objects of the kinds in the settings have pods at all: a pointer that leads nowhere would silently let
/// everything through.
pub(crate) fn check_templates(
    settings: &Pods,
    id: &ObjectId,
    pods: &[Pod<'_>],
    found: &mut Vec<Violation>,
) {
    let tried: Vec<String> = configured(settings, id)
        .map(|pointer| format!("`{pointer}`"))
        .collect();
    let is_found = pods
        .iter()
        .any(|pod| pod.spec().is_some_and(Value::is_object));
    if tried.is_empty() || is_found {
        return;
    }
    found.push(Violation::new(
        Rule::PodTemplateMissing,
        "",
        format!(
            "no pod template is at {}: its pods are not looked at",
            tried.join(" or ")
        ),
        "let a pointer of `pods.templates` lead to what holds the `metadata` and `spec` of its pods",
    ));
}

/// Checks what a pod may do.
pub(crate) fn check(settings: &Pods, pod: &Pod<'_>, found: &mut Vec<Violation>) {
    check_namespaces(pod, found);
    for (pointer, volume) in pod.volumes() {
        if let Some(path) = forbidden_path(settings, volume, "hostPath") {
            let name = volume
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            found.push(mount(
                format!("{pointer}/hostPath"),
                format!("the volume `{name}` is the path `{path}` of the host"),
                path,
            ));
        }
    }
    if is_true(pod.spec(), "/securityContext/windowsOptions/hostProcess") {
        let pointer = format!(
            "{}/spec/securityContext/windowsOptions/hostProcess",
            pod.pointer
        );
        found.push(privileged(
            "the pod runs as a process of the host".to_owned(),
            pointer,
            None,
        ));
    }
    for container in pod.containers() {
        check_privileges(&container, found);
        check_capabilities(settings, &container, found);
        check_ports(&container, found);
    }
}

/// Checks that a `PersistentVolume` is not a path of a host. A local volume is mounted like any other path, on the node that it
/// is for.
pub(crate) fn check_volume(
    settings: &Pods,
    id: &ObjectId,
    object: &Value,
    found: &mut Vec<Violation>,
) {
    let Some(spec) = object.get("spec").filter(|_| is_volume(id)) else {
        return;
    };
    if let Some(path) = forbidden_path(settings, spec, "hostPath") {
        let message = format!("the volume is the path `{path}` of the host");
        found.push(mount("/spec/hostPath".to_owned(), message, path));
    }
    if let Some(path) = forbidden_path(settings, spec, "local") {
        let message = format!("the volume is local: the path `{path}` of its node");
        found.push(mount("/spec/local".to_owned(), message, path));
    }
}

fn is_true(value: Option<&Value>, pointer: &str) -> bool {
    value
        .and_then(|value| value.pointer(pointer))
        .and_then(Value::as_bool)
        == Some(true)
}

fn check_namespaces(pod: &Pod<'_>, found: &mut Vec<Violation>) {
    for (field, what) in [
        ("hostNetwork", "network"),
        ("hostPID", "processes"),
        ("hostIPC", "shared memory"),
    ] {
        if is_true(pod.spec(), &format!("/{field}")) {
            let pointer = format!("{}/spec/{field}", pod.pointer);
            let message = format!("the pod shares the host's {what}");
            let hint = format!("remove `{field}`");
            found.push(Violation {
                subject: field.to_owned(),
                ..Violation::new(Rule::HostNamespace, pointer, message, hint)
            });
        }
    }
}

/// Returns the path of the host that a volume mounts by a certain field, unless that path may be mounted.
fn forbidden_path<'a>(settings: &Pods, volume: &'a Value, field: &str) -> Option<&'a str> {
    let source = volume.get(field).filter(|source| !source.is_null())?;
    let path = source
        .get("path")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let is_allowed = plain(path).is_some_and(|path| {
        settings
            .host_paths
            .iter()
            .any(|pattern| pattern.matches(path))
    });
    (!is_allowed).then_some(path)
}

/// Returns a path without a `/` at its end; `None` if a pattern would see a different path than the node does: parts that are
/// `..`, `.` or empty lead elsewhere than they say.
fn plain(path: &str) -> Option<&str> {
    if path == "/" {
        return Some(path);
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let inner = path.strip_prefix('/').unwrap_or(path);
    inner
        .split('/')
        .all(|part| !matches!(part, "" | "." | ".."))
        .then_some(path)
}

fn mount(pointer: String, message: String, path: &str) -> Violation {
    let hint =
        "use a ConfigMap, a claim or an emptyDir; `pods.hostPaths` lists paths that may be mounted";
    Violation {
        subject: path.to_owned(),
        ..Violation::new(Rule::HostPath, pointer, message, hint)
    }
}

fn privileged(message: String, pointer: String, container: Option<String>) -> Violation {
    let hint = "remove it; a container that needs one right may be given that capability";
    Violation {
        container,
        ..Violation::new(Rule::PrivilegedContainer, pointer, message, hint)
    }
}

fn check_privileges(container: &Container<'_>, found: &mut Vec<Violation>) {
    let Container {
        pointer,
        name,
        value,
    } = container;
    let owner = Some((*name).to_owned());
    if is_true(Some(value), "/securityContext/privileged") {
        let pointer = format!("{pointer}/securityContext/privileged");
        found.push(privileged(
            format!("the container `{name}` is privileged"),
            pointer,
            owner.clone(),
        ));
    }
    if is_true(Some(value), "/securityContext/windowsOptions/hostProcess") {
        let pointer = format!("{pointer}/securityContext/windowsOptions/hostProcess");
        found.push(privileged(
            format!("the container `{name}` runs as a process of the host"),
            pointer,
            owner.clone(),
        ));
    }
    if is_true(Some(value), "/securityContext/allowPrivilegeEscalation") {
        found.push(Violation {
            container: owner,
            ..Violation::new(
                Rule::PrivilegeEscalation,
                format!("{pointer}/securityContext/allowPrivilegeEscalation"),
                format!("the container `{name}` may gain more rights than it starts with"),
                "set `allowPrivilegeEscalation: false`",
            )
        });
    }
}

fn check_capabilities(settings: &Pods, container: &Container<'_>, found: &mut Vec<Violation>) {
    let bare = |name: &str| {
        name.to_ascii_uppercase()
            .trim_start_matches("CAP_")
            .to_owned()
    };
    let allowed: Vec<String> = settings
        .capabilities
        .iter()
        .map(|name| bare(name))
        .collect();
    let capabilities = container.value.pointer("/securityContext/capabilities");
    for (index, added) in items(capabilities, "add") {
        let added = added.as_str().unwrap_or_default();
        if !allowed.contains(&bare(added)) {
            found.push(Violation {
                container: Some(container.name.to_owned()),
                subject: bare(added),
                ..Violation::new(
                    Rule::CapabilityAdded,
                    format!(
                        "{}/securityContext/capabilities/add/{index}",
                        container.pointer
                    ),
                    format!(
                        "the container `{}` adds the capability `{added}`",
                        container.name
                    ),
                    "remove it; `pods.capabilities` lists those that may be added",
                )
            });
        }
    }
}

fn check_ports(container: &Container<'_>, found: &mut Vec<Violation>) {
    for (index, port) in items(Some(container.value), "ports") {
        let Some(number) = port
            .get("hostPort")
            .and_then(Value::as_u64)
            .filter(|number| *number != 0)
        else {
            continue;
        };
        found.push(Violation {
            container: Some(container.name.to_owned()),
            subject: number.to_string(),
            ..Violation::new(
                Rule::HostPort,
                format!("{}/ports/{index}/hostPort", container.pointer),
                format!(
                    "the container `{}` takes the port {number} of the host",
                    container.name
                ),
                "use a Service",
            )
        });
    }
}
