//! Which kinds the API server serves, and under which resource names.

mod following;
mod served;
mod standing;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, OnceLock},
};

use pintle_core::{inventory::Inventory, object::ObjectId};
use serde_json::Value;

pub use self::served::Discovery;
use crate::request::encode;

/// A kind at one version, and the resource name under which the server serves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceType {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The plural name, as used in paths.
    pub plural: String,
    /// Whether its objects are namespaced.
    pub namespaced: bool,
    /// Whether it can be watched; a few kinds can only be created.
    pub watchable: bool,
}

impl ResourceType {
    /// Returns `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Returns the path of a collection, or of one object in it.
    pub(crate) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.push_str("/namespaces/");
            path.push_str(&encode(namespace));
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(&encode(name));
        }
        path
    }

    /// Returns the type of Secrets, which every API server has.
    pub(crate) fn secrets() -> Self {
        Self::of_core("Secret", "secrets")
    }

    /// Returns the type of `ConfigMaps`, which every API server has.
    pub(crate) fn config_maps() -> Self {
        Self::of_core("ConfigMap", "configmaps")
    }

    fn of_core(kind: &str, plural: &str) -> Self {
        Self {
            group: String::new(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
            watchable: true,
        }
    }

    /// Returns the identity of an object in a namespace.
    pub(crate) fn id(&self, namespace: &str, name: impl Into<String>) -> ObjectId {
        ObjectId {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: Some(namespace.to_owned()),
            name: name.into(),
        }
    }

    /// Returns the path of an object.
    pub(crate) fn path_of(&self, id: &ObjectId) -> String {
        self.path(id.namespace.as_deref(), Some(&id.name))
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind, self.api_version())
    }
}

/// An error: a kind that the API server does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the API server has no kind {kind} in {}{hint}", group_version(.group, .version))]
pub struct UnknownKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// What may be the reason.
    pub hint: KindHint,
}

/// Why a kind may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindHint {
    /// Nothing points to any cause other than a missing definition.
    Nothing,
    /// The kind is served at these other versions.
    Served(Vec<String>),
    /// These kinds have similar names, each as `Kind (apiVersion)`.
    Similar(Vec<String>),
    /// The `APIService` of the version names a server that does not answer: the kind may exist.
    Unanswered(String),
}

impl fmt::Display for KindHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str(": is its CRD installed?"),
            Self::Served(versions) => write!(f, ": it is served at {}", versions.join(", ")),
            Self::Similar(kinds) => {
                write!(
                    f,
                    ": is its CRD installed, or is {} meant?",
                    kinds.join(" or ")
                )
            }
            Self::Unanswered(service) => write!(
                f,
                ", as far as is known: the API server that the APIService {service} names does not answer"
            ),
        }
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// All kinds known to be served at one moment.
#[derive(Debug, Clone, Default)]
pub struct Kinds {
    /// The types by group, then by kind; the preferred version first.
    types: BTreeMap<String, BTreeMap<String, Vec<ResourceType>>>,
    /// The cached result of [`Kinds::api_versions`], once it has been asked for: every run does.
    api_versions: OnceLock<Arc<[String]>>,
    /// The groups and versions whose kinds may not all be known, because their own API server does not answer.
    stale: BTreeSet<(String, String)>,
    /// Whether some of these kinds are not listed by the server but may be served all the same.
    is_doubtful: bool,
}

impl Kinds {
    /// Finds a kind at a version.
    pub fn find(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<&ResourceType, UnknownKind> {
        let versions = self.versions(group, kind);
        if let Some(found) = versions.iter().find(|found| found.version == version) {
            return Ok(found);
        }
        Err(UnknownKind {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            hint: self.hint(group, version, kind),
        })
    }

    fn hint(&self, group: &str, version: &str, kind: &str) -> KindHint {
        if let Some(service) = self.unanswered(group, version) {
            return KindHint::Unanswered(service);
        }
        let served = self.versions(group, kind).iter();
        let served: Vec<String> = served.map(ResourceType::api_version).collect();
        if !served.is_empty() {
            return KindHint::Served(served);
        }
        let similar = self.similar(group, kind);
        if similar.is_empty() {
            return KindHint::Nothing;
        }
        KindHint::Similar(similar)
    }

    /// Finds a kind at the version that the server prefers.
    pub fn preferred(&self, group: &str, kind: &str) -> Option<&ResourceType> {
        self.versions(group, kind).first()
    }

    /// Returns the kinds of the inventory's entries, as far as they are served at the versions that it names.
    pub fn recorded(&self, inventory: &Inventory) -> impl Iterator<Item = &ResourceType> {
        inventory
            .entries()
            .filter_map(|entry| self.find(&entry.group, &entry.version, &entry.kind).ok())
    }

    /// Finds a kind at a version or, if that version is not served, at another: an object exists at every served version.
    pub(crate) fn find_at_any(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<&ResourceType, UnknownKind> {
        self.find(group, version, kind)
            .or_else(|unknown| self.preferred(group, kind).ok_or(unknown))
    }

    /// Lists each `apiVersion` and each `apiVersion/Kind`, sorted, as templates ask for them (`.Capabilities` in Helm).
    pub fn api_versions(&self) -> Arc<[String]> {
        Arc::clone(self.api_versions.get_or_init(|| self.list_versions()))
    }

    fn list_versions(&self) -> Arc<[String]> {
        let mut all: Vec<String> = Vec::new();
        for found in self.kinds().flatten() {
            let api_version = found.api_version();
            all.push(format!("{api_version}/{}", found.kind));
            all.push(api_version);
        }
        all.sort();
        all.dedup();
        all.into()
    }

    /// Returns the kinds, each with all its versions.
    fn kinds(&self) -> impl Iterator<Item = &Vec<ResourceType>> {
        self.types.values().flat_map(BTreeMap::values)
    }

    /// Adds the kinds that a custom resource definition defines, at the versions that it serves.
    pub fn learn(&mut self, definition: &Value) {
        let types = types_of_definition(definition);
        if let Some(first) = types.first() {
            let (group, kind) = (first.group.clone(), first.kind.clone());
            self.types.entry(group).or_default().insert(kind, types);
            self.api_versions = OnceLock::new();
        }
    }

    fn versions(&self, group: &str, kind: &str) -> &[ResourceType] {
        self.types
            .get(group)
            .and_then(|kinds| kinds.get(kind))
            .map_or(&[], Vec::as_slice)
    }

    fn similar(&self, group: &str, kind: &str) -> Vec<String> {
        let mut near: Vec<(usize, &ResourceType)> = self
            .kinds()
            .filter_map(|versions| versions.first())
            .map(|found| {
                let elsewhere = usize::from(found.group != group);
                (
                    distance(&found.kind.to_lowercase(), &kind.to_lowercase()) * 2 + elsewhere,
                    found,
                )
            })
            .filter(|(distance, _)| *distance <= 5)
            .collect();
        near.sort();
        near.into_iter()
            .take(3)
            .map(|(_, found)| format!("{} ({})", found.kind, found.api_version()))
            .collect()
    }

    fn add(&mut self, found: ResourceType) {
        let versions = self
            .types
            .entry(found.group.clone())
            .or_default()
            .entry(found.kind.clone())
            .or_default();
        if !versions.iter().any(|known| known.version == found.version) {
            versions.push(found);
            self.api_versions = OnceLock::new();
        }
    }

    /// Reads an `APIGroupDiscoveryList`.
    pub(crate) fn read(&mut self, list: &Value) {
        for group in items(list, "items") {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            for version in items(group, "versions") {
                let version_name = version["version"].as_str().unwrap_or_default();
                if version["freshness"] == "Stale" {
                    self.stale
                        .insert((name.to_owned(), version_name.to_owned()));
                }
                for resource in items(version, "resources") {
                    if let Some(found) = read_resource(name, version_name, resource) {
                        self.add(found);
                    }
                }
            }
        }
    }
}

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn read_resource(group: &str, version: &str, resource: &Value) -> Option<ResourceType> {
    let can = |verb: &str| items(resource, "verbs").iter().any(|known| known == verb);
    // What cannot be patched cannot be applied: reviews, bindings.
    if !can("patch") {
        return None;
    }
    Some(ResourceType {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: resource["responseKind"]["kind"].as_str()?.to_owned(),
        plural: resource["resource"].as_str()?.to_owned(),
        namespaced: resource["scope"] == "Namespaced",
        watchable: can("watch"),
    })
}

/// Returns the types that a custom resource definition defines: its served versions, the stored one first.
pub(crate) fn types_of_definition(definition: &Value) -> Vec<ResourceType> {
    let spec = &definition["spec"];
    let (Some(group), Some(kind), Some(plural)) = (
        spec["group"].as_str(),
        spec["names"]["kind"].as_str(),
        spec["names"]["plural"].as_str(),
    ) else {
        return Vec::new();
    };
    let mut versions: Vec<&Value> = items(spec, "versions")
        .iter()
        .filter(|version| version["served"] == true)
        .collect();
    versions.sort_by_key(|version| version["storage"] != true);
    versions
        .into_iter()
        .filter_map(|version| {
            Some(ResourceType {
                group: group.to_owned(),
                version: version["name"].as_str()?.to_owned(),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
                namespaced: spec["scope"] == "Namespaced",
                watchable: true,
            })
        })
        .collect()
}

/// Counts the insertions, deletions and replacements between two short words (Levenshtein distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use insta::assert_snapshot;
    use serde_json::json;

    /// Returns a few kinds that every server has, and a custom one.
    pub(crate) fn kinds() -> Kinds {
        let resource = |kind: &str, plural: &str, scope: &str| {
            json!({"resource": plural, "scope": scope, "responseKind": {"kind": kind},
                "verbs": ["create", "delete", "get", "list", "patch", "watch"]})
        };
        let mut kinds = Kinds::default();
        kinds.read(&json!({"items": [
            {"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [
                resource("Namespace", "namespaces", "Cluster"),
                resource("ConfigMap", "configmaps", "Namespaced"),
                resource("Secret", "secrets", "Namespaced"),
                resource("Service", "services", "Namespaced"),
                {"resource": "bindings", "scope": "Namespaced", "responseKind": {"kind": "Binding"}, "verbs": ["create"]}
            ]}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
                resource("Deployment", "deployments", "Namespaced")
            ]}]},
            {"metadata": {"name": "networking.k8s.io"}, "versions": [{"version": "v1", "resources": [
                resource("Ingress", "ingresses", "Namespaced")
            ]}]},
            {"metadata": {"name": "apiextensions.k8s.io"}, "versions": [{"version": "v1", "resources": [
                resource("CustomResourceDefinition", "customresourcedefinitions", "Cluster")
            ]}]}
        ]}));
        kinds.learn(&definition());
        kinds
    }

    pub(crate) fn definition() -> Value {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
                "versions": [{"name": "v1alpha1", "served": false}, {"name": "v1beta1", "served": true}, {"name": "v1", "served": true, "storage": true}]}
        })
    }

    #[test]
    fn paths_are_those_of_the_api() {
        let kinds = kinds();
        let path = |group, version, kind, namespace, name| {
            kinds
                .find(group, version, kind)
                .unwrap()
                .path(namespace, name)
        };
        assert_eq!(
            path("", "v1", "ConfigMap", Some("shop"), Some("a")),
            "/api/v1/namespaces/shop/configmaps/a"
        );
        assert_eq!(
            path("apps", "v1", "Deployment", None, None),
            "/apis/apps/v1/deployments"
        );
        assert_eq!(
            path("", "v1", "Namespace", Some("ignored"), Some("shop")),
            "/api/v1/namespaces/shop"
        );
    }

    #[test]
    fn a_definition_teaches_its_served_versions() {
        let kinds = kinds();
        assert_eq!(
            kinds.preferred("example.com", "Widget").unwrap().version,
            "v1"
        );
        assert!(kinds.find("example.com", "v1beta1", "Widget").is_ok());
        assert!(
            kinds
                .api_versions()
                .contains(&"example.com/v1/Widget".to_owned())
        );
        assert!(kinds.api_versions().contains(&"v1".to_owned()));
    }

    #[test]
    fn what_is_learned_is_listed_although_that_was_asked_for_before() {
        let mut kinds = Kinds::default();
        assert!(kinds.api_versions().is_empty());
        kinds.learn(&definition());
        let learned = kinds.api_versions();
        assert!(learned.contains(&"example.com/v1/Widget".to_owned()));
        kinds.add(ResourceType::secrets());
        assert_eq!(kinds.api_versions().len(), learned.len() + 2);
    }

    #[test]
    fn an_unknown_kind_is_met_with_what_there_is() {
        let error = |group, version, kind| kinds().find(group, version, kind).unwrap_err();
        assert_snapshot!(error("example.com", "v1alpha1", "Widget"), @"the API server has no kind Widget in example.com/v1alpha1: it is served at example.com/v1, example.com/v1beta1");
        assert_snapshot!(error("extensions", "v1beta1", "Ingress"), @"the API server has no kind Ingress in extensions/v1beta1: is its CRD installed, or is Ingress (networking.k8s.io/v1) meant?");
        assert_snapshot!(error("apps", "v1", "Deploymnet"), @"the API server has no kind Deploymnet in apps/v1: is its CRD installed, or is Deployment (apps/v1) meant?");
        assert_snapshot!(error("", "v1", "Binding"), @"the API server has no kind Binding in v1: is its CRD installed?");
    }

    #[test]
    fn a_version_whose_api_server_does_not_answer_may_have_a_kind_that_is_not_known() {
        let mut kinds = Kinds::default();
        kinds.read(&json!({"items": [
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1beta1", "freshness": "Stale"}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "freshness": "Current"}]}
        ]}));
        assert!(kinds.is_stale("metrics.k8s.io") && !kinds.is_stale("apps"));
        let error = |group, version| kinds.find(group, version, "Thing").unwrap_err();
        assert_snapshot!(error("metrics.k8s.io", "v1beta1"), @"the API server has no kind Thing in metrics.k8s.io/v1beta1, as far as is known: the API server that the APIService v1beta1.metrics.k8s.io names does not answer");
        assert_snapshot!(error("apps", "v1"), @"the API server has no kind Thing in apps/v1: is its CRD installed?");
    }

    #[test]
    fn an_object_is_looked_for_where_its_kind_is_served_now() {
        let kinds = kinds();
        let version = |version| {
            let found = kinds.find_at_any("example.com", version, "Widget");
            found.unwrap().version.clone()
        };
        assert_eq!(
            (version("v1beta1"), version("v1alpha1")),
            ("v1beta1".into(), "v1".into())
        );
        let unknown = kinds
            .find_at_any("example.com", "v1", "Gadget")
            .unwrap_err();
        assert_eq!(unknown.kind, "Gadget");
    }

    #[test]
    fn malformed_lists_and_definitions_teach_nothing() {
        let mut kinds = Kinds::default();
        kinds.read(&json!({"items": [{"versions": "x"}, {"versions": [{"resources": [{}]}]}]}));
        kinds.learn(&json!({"spec": {"group": 5}}));
        kinds.learn(&Value::Null);
        assert!(kinds.api_versions().is_empty());
    }
}
