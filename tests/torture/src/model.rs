//! What git has and had: the truth that the cluster is compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The kinds that schedules use. All of them can exist in each namespace without running pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
    ServiceAccount,
    Service,
    Deployment,
    /// The kind of hooks, and of nothing else.
    Job,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::ConfigMap,
        Self::Secret,
        Self::ServiceAccount,
        Self::Service,
        Self::Deployment,
        Self::Job,
    ];
    /// The kinds of objects that stay.
    pub(crate) const LASTING: [Self; 5] = [
        Self::ConfigMap,
        Self::Secret,
        Self::ServiceAccount,
        Self::Service,
        Self::Deployment,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::Deployment => "Deployment",
            Self::Job => "Job",
        }
    }

    /// Returns the plural name, as in paths.
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
            Self::ServiceAccount => "serviceaccounts",
            Self::Service => "services",
            Self::Deployment => "deployments",
            Self::Job => "jobs",
        }
    }

    pub(crate) const fn group(self) -> &'static str {
        match self {
            Self::Deployment => "apps",
            Self::Job => "batch",
            _ => "",
        }
    }
}

/// One object of an application, by kind and name. The namespace is the schedule's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

/// The events of hooks: they run before each release, whatever its kind. The names are those that charts use, too.
const HOOK_EVENTS: &str = "pre-install,pre-upgrade,pre-rollback";

/// Returns the key of an application's hook.
pub(crate) fn hook(application: &str) -> Key {
    Key {
        kind: Kind::Job,
        name: format!("{application}-hook"),
    }
}

/// The beginning of every value of a Secret, so that it is recognised wherever it turns up.
pub(crate) const HIDDEN: &str = "hidden";

/// Returns a value of a Secret, as the API represents it.
pub(crate) fn hidden(what: &str) -> String {
    STANDARD.encode(format!("{HIDDEN} {what}"))
}

/// Returns an object's manifest in one of its versions.
pub(crate) fn manifest(key: &Key, version: u32) -> Value {
    let api_version = match key.kind.group() {
        "" => "v1".to_owned(),
        group => format!("{group}/v1"),
    };
    let mut metadata = json!({"name": key.name});
    if key.kind == Kind::Job {
        metadata["annotations"] = json!({"helm.sh/hook": HOOK_EVENTS});
    }
    let mut object =
        json!({"apiVersion": api_version, "kind": key.kind.name(), "metadata": metadata});
    let value = format!("version {version}");
    let name = &key.name;
    let rest = match key.kind {
        Kind::ConfigMap => json!({"data": {"value": value, "same": "always"}}),
        Kind::Secret => json!({"data": {"value": hidden(&format!("{name} {value}"))}}),
        Kind::ServiceAccount => json!({"automountServiceAccountToken": version.is_multiple_of(2)}),
        Kind::Service => json!({"spec": {
            "selector": {"app": name}, "ports": [{"port": 8000 + version, "name": "main"}],
        }}),
        Kind::Deployment => json!({"spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": format!("registry.k8s.io/pause:3.{version}")}]},
            },
        }}),
        Kind::Job => json!({"spec": {
            "backoffLimit": 0,
            "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": format!("registry.k8s.io/pause:3.{version}")}],
            }},
        }}),
    };
    if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
        object.extend(rest);
    }
    object
}

/// Returns the fields of a manifest, or of what was written to an object, that are the object's content.
pub(crate) fn content(object: &Value) -> BTreeMap<&str, &Value> {
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(field, _)| {
            !matches!(
                field.as_str(),
                "apiVersion" | "kind" | "metadata" | "status"
            )
        })
        .map(|(field, value)| (field.as_str(), value))
        .collect()
}

/// Returns whether an object has all of a manifest's content. Anything else in the object is the server's.
pub(crate) fn is_as(live: &Value, manifest: &Value) -> bool {
    let wanted = content(manifest);
    wanted
        .into_iter()
        .all(|(field, value)| live.get(field).is_some_and(|live| covers(live, value)))
}

fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(field, value)| live.get(field).is_some_and(|live| covers(live, value))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(live, wanted)| covers(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

/// What git says, by application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Desired {
    pub(crate) applications: BTreeMap<String, BTreeMap<Key, u32>>,
}

/// What git ever said, and which deletions were requested.
#[derive(Debug, Default)]
pub(crate) struct History {
    versions: BTreeMap<Key, BTreeSet<u32>>,
    /// Objects that a commit lacked after an earlier one had them, and objects of a deleted application.
    dropped: BTreeSet<Key>,
    known: BTreeSet<Key>,
}

impl History {
    /// Records a commit.
    pub(crate) fn commit(&mut self, desired: &Desired) {
        let objects = || desired.applications.values().flatten();
        for (key, version) in objects() {
            self.versions
                .entry(key.clone())
                .or_default()
                .insert(*version);
        }
        let now: BTreeSet<Key> = objects().map(|(key, _)| key.clone()).collect();
        self.dropped.extend(self.known.difference(&now).cloned());
        self.known.extend(now);
    }

    /// Records that an application is deleted with everything that it has.
    pub(crate) fn application_deleted(&mut self, desired: &Desired, application: &str) {
        let objects = desired.applications.get(application).into_iter().flatten();
        self.dropped.extend(objects.map(|(key, _)| key.clone()));
    }

    /// Returns whether git ever said exactly this about an object.
    pub(crate) fn explains_write(&self, key: &Key, written: &Value) -> bool {
        !self.versions(key, written).is_empty()
    }

    /// Returns the versions of an object with exactly this content, the oldest one first: some kinds have few distinct versions.
    pub(crate) fn versions(&self, key: &Key, written: &Value) -> Vec<u32> {
        let versions = self.versions.get(key).into_iter().flatten().copied();
        let written = content(written);
        versions
            .filter(|version| content(&manifest(key, *version)) == written)
            .collect()
    }

    /// Returns whether an object was ever meant to go.
    pub(crate) fn is_dropped(&self, key: &Key) -> bool {
        self.dropped.contains(key)
    }

    /// Returns whether an object may have been deleted: a hook is deleted before it runs again.
    pub(crate) fn explains_deletion(&self, key: &Key) -> bool {
        self.is_dropped(key) || (key.kind == Kind::Job && self.known.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            kind: Kind::ConfigMap,
            name: name.to_owned(),
        }
    }

    fn desired(objects: &[(&str, u32)]) -> Desired {
        let objects = objects
            .iter()
            .map(|(name, version)| (key(name), *version))
            .collect();
        Desired {
            applications: BTreeMap::from([("a".to_owned(), objects)]),
        }
    }

    #[test]
    fn only_what_git_said_explains_a_write_and_only_what_it_dropped_a_deletion() {
        let mut history = History::default();
        history.commit(&desired(&[("one", 1), ("two", 1)]));
        history.commit(&desired(&[("one", 2)]));
        for (name, version, explained) in [
            ("one", 1, true),
            ("one", 2, true),
            ("one", 3, false),
            ("three", 1, false),
        ] {
            let written = manifest(&key(name), version);
            assert_eq!(
                history.explains_write(&key(name), &written),
                explained,
                "{name} {version}"
            );
        }
        let mut more = manifest(&key("one"), 1);
        more["data"]["extra"] = "x".into();
        assert!(!history.explains_write(&key("one"), &more));
        assert!(history.explains_deletion(&key("two")));
        assert!(!history.explains_deletion(&key("one")));
        history.application_deleted(&desired(&[("one", 2)]), "a");
        assert!(history.explains_deletion(&key("one")));
    }

    #[test]
    fn a_server_may_add_but_not_change() {
        let wanted = manifest(&key("one"), 1);
        let mut live = wanted.clone();
        live["metadata"]["uid"] = "1".into();
        assert!(is_as(&live, &wanted));
        live["data"]["value"] = "edited".into();
        assert!(!is_as(&live, &wanted));
    }
}
