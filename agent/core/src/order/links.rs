//! What an object states about its place in the order, and what can be derived from its content.

use std::fmt;

use serde_json::Value;

use crate::{
    names::{DEPENDS_ON_ANNOTATION, WAVE_ANNOTATION},
    object::ObjectId,
};

/// Argo CD's annotation for the wave.
/// <https://argo-cd.readthedocs.io/en/stable/user-guide/sync-waves/>
const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";
/// The annotation of kpt, Config Sync and other tools built on cli-utils.
/// <https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/object/dependson/strings.go>
const DEPENDS_ON: &str = "config.kubernetes.io/depends-on";

/// An object's place in the order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Its wave. Each wave is healthy before the next is written.
    pub wave: i32,
    /// The objects that must be healthy before it is written, because its annotations say so.
    pub after: Vec<Reference>,
    /// The objects that must be written before it, because it refers to them and cannot do without them.
    pub needs: Vec<ObjectId>,
}

/// A reference to an object in an annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    text: String,
    group: Option<String>,
    kind: String,
    namespace: Option<String>,
    name: String,
}

/// The error for an annotation that does not describe an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The wave is not a number.
    #[error(
        "the annotation {annotation} is `{value}`: expected a whole number, such as \"-1\" or \"2\""
    )]
    Wave {
        /// The annotation.
        annotation: &'static str,
        /// Its value.
        value: String,
    },
    /// A dependency names no object.
    #[error(
        "the annotation {annotation} names `{value}`: expected objects as GROUP/KIND/NAMESPACE/NAME with commas between \
         them; GROUP and NAMESPACE may be left out"
    )]
    Reference {
        /// The annotation.
        annotation: &'static str,
        /// Its value.
        value: String,
    },
}

impl Links {
    /// Reads an object's place. `id` has the namespace in which the object will be.
    pub fn of(id: &ObjectId, object: &Value) -> Result<Self, LinkError> {
        let annotations = &object["metadata"]["annotations"];
        let mut links = Self {
            needs: needs(id, object),
            ..Self::default()
        };
        let waves = [WAVE_ANNOTATION, SYNC_WAVE];
        let wave = waves
            .into_iter()
            .find_map(|name| Some((name, annotations[name].as_str()?)));
        if let Some((annotation, value)) = wave {
            links.wave = value.trim().parse().map_err(|_| LinkError::Wave {
                annotation,
                value: value.to_owned(),
            })?;
        }
        for annotation in [DEPENDS_ON_ANNOTATION, DEPENDS_ON] {
            let Some(value) = annotations[annotation].as_str() else {
                continue;
            };
            for text in value
                .split(',')
                .map(str::trim)
                .filter(|text| !text.is_empty())
            {
                let reference = Reference::parse(text).ok_or_else(|| LinkError::Reference {
                    annotation,
                    value: text.to_owned(),
                })?;
                links.after.push(reference);
            }
        }
        Ok(links)
    }
}

impl Reference {
    /// Parses `GROUP/KIND/NAMESPACE/NAME`, with GROUP and NAMESPACE optional, or the cli-utils form:
    /// `GROUP/namespaces/NAMESPACE/KIND/NAME`.
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (group, kind, namespace, name) = match parts[..] {
            [group, "namespaces", namespace, kind, name] => {
                (Some(group), kind, Some(namespace), name)
            }
            [group, kind, namespace, name] => (Some(group), kind, Some(namespace), name),
            [group, kind, name] => (Some(group), kind, None, name),
            [kind, name] => (None, kind, None, name),
            _ => return None,
        };
        let is_empty = kind.is_empty() || name.is_empty() || namespace.is_some_and(str::is_empty);
        (!is_empty).then(|| Self {
            text: text.to_owned(),
            group: group.map(ToOwned::to_owned),
            kind: kind.to_owned(),
            namespace: namespace.map(ToOwned::to_owned),
            name: name.to_owned(),
        })
    }

    pub(super) fn kind_and_name(&self) -> (&str, &str) {
        (&self.kind, &self.name)
    }

    /// Returns whether this refers to an object when it appears in an object in the namespace `from`.
    pub(super) fn means(&self, id: &ObjectId, from: Option<&str>) -> bool {
        let in_namespace = match &self.namespace {
            Some(namespace) => id.namespace.as_ref() == Some(namespace),
            None => id.namespace.is_none() || id.namespace.as_deref() == from,
        };
        self.kind == id.kind
            && self.name == id.name
            && in_namespace
            && self.group.as_ref().is_none_or(|group| *group == id.group)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns what an object certainly needs. Whether those objects exist is another question: they may come from elsewhere.
fn needs(id: &ObjectId, object: &Value) -> Vec<ObjectId> {
    let mut needs = Vec::new();
    let mut add = |group: &str, kind: &str, namespace: Option<&str>, name: &str| {
        needs.push(ObjectId {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(ToOwned::to_owned),
            name: name.to_owned(),
        });
    };
    let namespace = id.namespace.as_deref();
    if let Some(namespace) = namespace {
        add("", "Namespace", None, namespace);
    }
    // The API server reads a role before it binds it.
    // <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>
    if id.group == "rbac.authorization.k8s.io"
        && let Some(role) = object["roleRef"]["name"].as_str()
    {
        match object["roleRef"]["kind"].as_str() {
            Some("Role") => add(&id.group, "Role", namespace, role),
            Some("ClusterRole") => add(&id.group, "ClusterRole", None, role),
            _ => {}
        }
    }
    if let Some(pod) = pod_of(id, object) {
        pod_needs(pod, &mut |kind, name| match kind {
            "PriorityClass" => add("scheduling.k8s.io", kind, None, name),
            "RuntimeClass" => add("node.k8s.io", kind, None, name),
            _ => add("", kind, namespace, name),
        });
    }
    needs
}

/// Returns the pod specification of an object that creates pods.
fn pod_of<'a>(id: &ObjectId, object: &'a Value) -> Option<&'a Value> {
    let pointer = match (id.group.as_str(), id.kind.as_str()) {
        ("", "Pod") => "/spec",
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => "/spec/template/spec",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template/spec",
        _ => return None,
    };
    object.pointer(pointer)
}

/// Adds the objects without which pods cannot be created or started.
fn pod_needs(pod: &Value, add: &mut dyn FnMut(&str, &str)) {
    fn items(value: &Value) -> impl Iterator<Item = &Value> {
        value.as_array().into_iter().flatten()
    }
    let mut named = |kind: &str, reference: &Value, field: &str| {
        if reference["optional"] != Value::Bool(true)
            && let Some(name) = reference[field].as_str()
        {
            add(kind, name);
        }
    };
    named("ServiceAccount", pod, "serviceAccountName");
    named("PriorityClass", pod, "priorityClassName");
    named("RuntimeClass", pod, "runtimeClassName");
    for volume in items(&pod["volumes"]) {
        named("ConfigMap", &volume["configMap"], "name");
        named("Secret", &volume["secret"], "secretName");
        named(
            "PersistentVolumeClaim",
            &volume["persistentVolumeClaim"],
            "claimName",
        );
        for source in items(&volume["projected"]["sources"]) {
            named("ConfigMap", &source["configMap"], "name");
            named("Secret", &source["secret"], "name");
        }
    }
    for containers in ["containers", "initContainers"] {
        for container in items(&pod[containers]) {
            for variable in items(&container["env"]) {
                named(
                    "ConfigMap",
                    &variable["valueFrom"]["configMapKeyRef"],
                    "name",
                );
                named("Secret", &variable["valueFrom"]["secretKeyRef"], "name");
            }
            for source in items(&container["envFrom"]) {
                named("ConfigMap", &source["configMapRef"], "name");
                named("Secret", &source["secretRef"], "name");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(group: &str, kind: &str, namespace: Option<&str>, name: &str) -> ObjectId {
        ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.map(ToOwned::to_owned),
            name: name.into(),
        }
    }

    fn annotated(annotations: Value) -> Result<Links, LinkError> {
        let object = json!({"metadata": {"annotations": annotations}});
        Links::of(&id("", "ConfigMap", Some("shop"), "a"), &object)
    }

    #[test]
    fn annotations_of_others_are_understood_and_ours_count() {
        let wave = |annotations| annotated(annotations).unwrap().wave;
        assert_eq!(wave(json!({"pintle.dev/wave": "-3", SYNC_WAVE: "7"})), -3);
        assert_eq!(wave(json!({SYNC_WAVE: " 7 "})), 7);
        assert_eq!(wave(json!({})), 0);
        let all = json!({
            "pintle.dev/depends-on": "apps/Deployment/shop/db, ConfigMap/b,/Namespace/shop",
            DEPENDS_ON: "apps/namespaces/other/Deployment/db",
        });
        let after = annotated(all).unwrap().after;
        let means = |index: usize, id: &ObjectId| after[index].means(id, Some("shop"));
        assert!(means(0, &id("apps", "Deployment", Some("shop"), "db")));
        assert!(means(1, &id("", "ConfigMap", Some("shop"), "b")));
        assert!(!means(1, &id("", "ConfigMap", Some("other"), "b")));
        assert!(means(2, &id("", "Namespace", None, "shop")));
        assert!(means(3, &id("apps", "Deployment", Some("other"), "db")));
        assert!(!means(3, &id("apps", "Deployment", Some("shop"), "db")));
    }

    #[test]
    fn what_says_nothing_is_refused_with_what_would() {
        let said = [
            json!({"pintle.dev/wave": "first"}),
            json!({SYNC_WAVE: "1.5"}),
            json!({"pintle.dev/depends-on": "db"}),
            json!({"pintle.dev/depends-on": "apps/Deployment//db"}),
        ]
        .map(|annotations| annotated(annotations).unwrap_err().to_string());
        insta::assert_snapshot!(said.join("\n"), @r#"
        the annotation pintle.dev/wave is `first`: expected a whole number, such as "-1" or "2"
        the annotation argocd.argoproj.io/sync-wave is `1.5`: expected a whole number, such as "-1" or "2"
        the annotation pintle.dev/depends-on names `db`: expected objects as GROUP/KIND/NAMESPACE/NAME with commas between them; GROUP and NAMESPACE may be left out
        the annotation pintle.dev/depends-on names `apps/Deployment//db`: expected objects as GROUP/KIND/NAMESPACE/NAME with commas between them; GROUP and NAMESPACE may be left out
        "#);
    }

    #[test]
    fn what_pods_cannot_do_without_is_found() {
        let object = json!({"spec": {"template": {"spec": {
            "serviceAccountName": "web",
            "volumes": [
                {"configMap": {"name": "settings"}}, {"secret": {"secretName": "tls", "optional": true}},
                {"persistentVolumeClaim": {"claimName": "data"}}, {"projected": {"sources": [{"secret": {"name": "token"}}]}},
                {"emptyDir": {}},
            ],
            "containers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "a"}}}, {"name": "B", "value": "b"}]}],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "more"}}]}],
        }}}});
        let links = Links::of(&id("apps", "Deployment", Some("shop"), "web"), &object).unwrap();
        let found: Vec<String> = links.needs.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "Namespace shop",
                "ServiceAccount shop/web",
                "ConfigMap shop/settings",
                "PersistentVolumeClaim shop/data",
                "Secret shop/token",
                "Secret shop/key",
                "ConfigMap shop/more"
            ]
        );
        let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "reader"}});
        let id = id(
            "rbac.authorization.k8s.io",
            "RoleBinding",
            Some("shop"),
            "x",
        );
        let links = Links::of(&id, &binding).unwrap();
        assert_eq!(
            links.needs[1].to_string(),
            "ClusterRole.rbac.authorization.k8s.io reader"
        );
    }
}
