//! The `Application` and `Plugin` resources: what operators write, and the status that Pintle reports back.
//!
//! The CRDs, the reference and the schema of `pintle.yaml` are generated from these types.

mod cluster;
mod file;
mod origin;
mod plugin;
mod status;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    cluster::{ClusterTarget, KubeconfigSecret},
    file::{FileError, parse_file},
    plugin::{Grants, Limits, PluginSpec, PluginStatus},
    status::{
        ApplicationStatus, Condition, ConditionStatus, FightStatus, ObjectDrift, ObjectProblem,
        PROBLEM_LIMIT, Standing, TestResult,
    },
};
use crate::{
    digest::{Digest, ParseDigestError},
    drift::DriftSettings,
    duration::Span,
    names::ApplicationName,
    prune::PruneSettings,
    rollback::RollbackPolicy,
};

/// What to deploy, where it comes from, and the rules for deploying it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationSpec {
    /// Where the desired state comes from. Required in an Application. In a `pintle.yaml`, the source is the folder that contains
    /// the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub source: Option<Source>,
    /// The plugin that turns the source into objects. By default, the built-in renderer that recognises the files in the source,
    /// or the Plugin with the name of that renderer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renderer: Option<PluginUse>,
    /// How to fetch what the renderer requests from elsewhere, such as the charts that a chart depends on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub inputs: InputSettings,
    /// The environment in the source's `pintle.yaml` to apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The namespace for rendered objects that do not specify one; by default, the application's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Policies that judge each plan before anything is written. All of them are consulted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PluginUse>,
    /// Health checks that take precedence over the built-in one. The most exact match for a kind wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<PluginUse>,
    /// Notifiers that report on this application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifiers: Vec<NotifierUse>,
    /// Applications that must be Ready before anything new from this Application is rolled out. What already runs does not wait:
    /// meanwhile, its drift is repaired to match the last revision that was applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<ApplicationReference>,
    /// How often to check the source for a new revision, in addition to webhooks.
    #[serde(default = "default_interval")]
    #[schemars(default = "default_interval")]
    pub interval: Span,
    /// The time that objects have to become healthy after an apply.
    #[serde(default = "default_timeout")]
    #[schemars(default = "default_timeout")]
    pub timeout: Span,
    /// Stops all work on this application until it is unset. Nothing is deleted: the objects stay even if the Application is
    /// deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Whether the agent rolls back to the last healthy revision when a new one fails. A new commit that changes something
    /// supersedes the rollback.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rollback: RollbackPolicy,
    /// Which objects may be deleted when they leave the source.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prune: PruneSettings,
    /// How to handle changes that others make to the objects.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drift: DriftSettings,
    /// What happens to the objects when the Application is deleted. If `suspend` is true or `prune.enabled` is false, the objects
    /// stay regardless of this field.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deletion_policy: DeletionPolicy,
    /// The service account to use for every request for this application. It must be in the application's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// The cluster that the objects are deployed to; by default, the cluster of the Application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterTarget>,
}

impl Default for ApplicationSpec {
    fn default() -> Self {
        Self {
            source: None,
            renderer: None,
            inputs: InputSettings::default(),
            environment: None,
            namespace: None,
            policies: Vec::new(),
            health: Vec::new(),
            notifiers: Vec::new(),
            depends_on: Vec::new(),
            interval: default_interval(),
            timeout: default_timeout(),
            suspend: false,
            rollback: RollbackPolicy::default(),
            prune: PruneSettings::default(),
            drift: DriftSettings::default(),
            deletion_policy: DeletionPolicy::default(),
            service_account_name: None,
            cluster: None,
        }
    }
}

fn default_interval() -> Span {
    Span::seconds(300)
}

fn default_timeout() -> Span {
    Span::seconds(300)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ApplicationSpec {
    /// Fills in what the operator left open from the `pintle.yaml` in the source.
    ///
    /// The file may choose the renderer, the target namespace and the health checks if the operator did not. It may also add
    /// policies, notifiers and ignored fields: it could as well leave those fields out of the objects. It never weakens what the
    /// operator set: service accounts, pruning, deletion, the drift mode and the operator's policies are out of its reach.
    #[must_use]
    pub fn completed_by(mut self, file: Self) -> Self {
        self.renderer = self.renderer.or(file.renderer);
        self.namespace = self.namespace.or(file.namespace);
        self.policies.extend(file.policies);
        self.health.extend(file.health);
        self.notifiers.extend(file.notifiers);
        self.drift.ignore.extend(file.drift.ignore);
        self
    }
}

/// How to fetch what a renderer requests from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InputSettings {
    /// A Secret of type `kubernetes.io/dockerconfigjson` in the application's namespace, with credentials for registries, and for
    /// chart repositories by their host and path. The key `ca.crt` is for servers with their own certificate authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretName>,
}

/// Where the desired state comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", try_from = "SourceFields")]
#[schemars(with = "SourceFields")]
pub enum Source {
    /// A folder in a git repository.
    Git(GitSource),
    /// A chart, or another archive of files, in a registry.
    Oci(OciSource),
    /// A chart in a chart repository.
    Chart(ChartSource),
}

impl Source {
    /// Returns the folder within the source that is rendered.
    pub fn path(&self) -> &str {
        match self {
            Self::Git(git) => &git.path,
            Self::Oci(oci) => &oci.path,
            Self::Chart(_) => "",
        }
    }

    /// Returns the Secret with the credentials.
    pub const fn credentials(&self) -> Option<&SecretName> {
        match self {
            Self::Git(git) => git.credentials.as_ref(),
            Self::Oci(oci) => oci.credentials.as_ref(),
            Self::Chart(chart) => chart.credentials.as_ref(),
        }
    }
}

/// A source as it is written. API servers accept no alternatives in a schema, so a validation rule requires exactly one of the
/// fields.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceFields {
    /// A folder in a git repository.
    git: Option<GitSource>,
    /// A chart, or another archive of files, in a registry.
    oci: Option<OciSource>,
    /// A chart in a chart repository.
    chart: Option<ChartSource>,
}

impl TryFrom<SourceFields> for Source {
    type Error = &'static str;

    fn try_from(fields: SourceFields) -> Result<Self, Self::Error> {
        match (fields.git, fields.oci, fields.chart) {
            (Some(git), None, None) => Ok(Self::Git(git)),
            (None, Some(oci), None) => Ok(Self::Oci(oci)),
            (None, None, Some(chart)) => Ok(Self::Chart(chart)),
            (None, None, None) => Err("expected one of `git`, `oci` and `chart`, found none"),
            _ => Err("expected one of `git`, `oci` and `chart`, found several"),
        }
    }
}

/// A chart in a registry, or another artifact whose one layer is an archive of files (tar, gzip).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciSource {
    /// URL of the artifact, without a version: `oci://registry.example.com/charts/web`.
    pub url: String,
    /// The tag to follow. At most one of tag, semver and digest may be set; if none is, the highest release is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The range whose highest tag is followed, in Helm's syntax: `^1.2`, `1.2.x`, `>=1.2, <2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// The digest of the manifest of a fixed artifact: `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The folder within the artifact; by default, the whole artifact.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// A Secret in the application's namespace, either of type `kubernetes.io/dockerconfigjson`, or with the keys `username` and
    /// `password`. The key `ca.crt` is for a registry with its own certificate authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretName>,
}

/// A chart in a chart repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChartSource {
    /// URL of the repository, without `index.yaml`: `https://charts.example.com`.
    pub repository: String,
    /// The name of the chart.
    pub name: String,
    /// A version, or a range in Helm's syntax: `1.2.3`, `^1.2`, `>=1.2, <2`. By default, the highest release.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// A Secret in the application's namespace, with the keys `username` and `password`, or `bearerToken`. The key `ca.crt` is
    /// for a server with its own certificate authority, and `.dockerconfigjson` for charts that the repository keeps in a
    /// registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretName>,
}

/// A folder in a git repository, at a branch, tag, version range or commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitSource {
    /// URL of the repository: `https://…`, `http://…`, `ssh://…` or `git@host:path`. The command line also accepts `file://…`.
    pub url: String,
    /// The branch to follow. At most one of branch, tag, semver and commit may be set; if none is, the repository's default
    /// branch is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The tag to deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The range whose highest tag is followed, in Helm's syntax: `^1.2`, `1.2.x`, `>=1.2, <2`. A leading `v` in tags is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// The full id of a fixed commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The folder within the repository; by default, the whole repository.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// A Secret in the application's namespace, with the keys `username` and `password`, or `bearerToken`, or `identity` (an SSH
    /// private key) and `known_hosts`. The key `ca.crt` is for a server with its own certificate authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretName>,
}

/// The artifact that is followed in a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OciReference {
    /// A tag.
    Tag(String),
    /// The highest tag in a version range.
    Semver(String),
    /// The artifact whose manifest has this digest.
    Digest(Digest),
}

/// The error for a source that does not say clearly which artifact it follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OciReferenceError {
    /// More than one reference was given.
    #[error("the source names {}: expected at most one of tag, semver and digest", .0.join(" and "))]
    Ambiguous(Vec<&'static str>),
    /// The digest is malformed.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
}

impl OciSource {
    /// Returns the artifact that is followed; if nothing is given, any release.
    pub fn reference(&self) -> Result<OciReference, OciReferenceError> {
        let given = [
            ("tag", &self.tag),
            ("semver", &self.semver),
            ("digest", &self.digest),
        ];
        let given: Vec<_> = given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect();
        Ok(match given[..] {
            [] => OciReference::Semver("*".to_owned()),
            [("tag", tag)] => OciReference::Tag(tag.to_owned()),
            [("semver", range)] => OciReference::Semver(range.to_owned()),
            [(_, digest)] => OciReference::Digest(digest.parse()?),
            _ => {
                let names = given.iter().map(|(name, _)| *name);
                return Err(OciReferenceError::Ambiguous(names.collect()));
            }
        })
    }
}

/// The revision that is followed in a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// The branch that the repository's HEAD names.
    Default,
    /// A branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// The highest tag in a version range.
    Semver(String),
    /// A commit, by its full id.
    Commit(String),
}

/// More than one reference was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the source names {}: expected at most one of branch, tag, semver and commit", .given.join(" and "))]
pub struct AmbiguousReference {
    /// The references that were given.
    pub given: Vec<&'static str>,
}

impl GitSource {
    /// Returns the reference that is followed.
    pub fn reference(&self) -> Result<Reference, AmbiguousReference> {
        let given = [
            ("branch", self.branch.clone().map(Reference::Branch)),
            ("tag", self.tag.clone().map(Reference::Tag)),
            ("semver", self.semver.clone().map(Reference::Semver)),
            ("commit", self.commit.clone().map(Reference::Commit)),
        ];
        let mut given: Vec<_> = given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        match given.len() {
            0 => Ok(Reference::Default),
            1 => Ok(given.remove(0).1),
            _ => Err(AmbiguousReference {
                given: given.into_iter().map(|(name, _)| name).collect(),
            }),
        }
    }
}

/// A reference to another Application.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationReference {
    /// The name of the Application.
    pub name: String,
    /// The namespace of the Application; by default, the namespace of the Application that refers to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl ApplicationReference {
    /// Returns the name of the application that it refers to from an Application in `namespace`.
    pub fn resolve(&self, namespace: &str) -> ApplicationName {
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        ApplicationName::new(namespace, &self.name)
    }
}

/// A Secret in the same namespace.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretName {
    /// The name of the Secret.
    pub name: String,
}

/// A plugin with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginUse {
    /// The name of a Plugin resource or of a built-in plugin. The command line also accepts a file or an OCI reference.
    pub plugin: String,
    /// Settings for the plugin, in the format that the plugin's own schema describes: see `pintle plugin inspect`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schemars(schema_with = "any_object")]
    pub settings: Value,
}

/// A notifier with its settings and secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotifierUse {
    /// The name of a Plugin resource or of a built-in plugin.
    pub plugin: String,
    /// Settings for the plugin, in the format that the plugin's own schema describes: see `pintle plugin inspect`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schemars(schema_with = "any_object")]
    pub settings: Value,
    /// Values for `${secret:NAME}` in the settings, by NAME: at most 32, of at most 64 KiB each. The host inserts them into the
    /// request; the plugin never holds them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretKey>,
}

/// One value in a Secret in the application's namespace.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The name of the Secret.
    pub name: String,
    /// The key in the Secret's data.
    pub key: String,
}

/// What happens to an application's objects when the Application is deleted.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum DeletionPolicy {
    /// The objects are deleted as by pruning, which may be off: protected kinds stay unless allowed.
    #[default]
    Delete,
    /// The objects stay, and are no longer managed.
    Orphan,
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn at_most_one_reference() {
        let source = |more: Value| {
            let mut value = json!({"url": "https://example.com/a.git"});
            value
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            serde_json::from_value::<GitSource>(value)
                .unwrap()
                .reference()
        };
        assert_eq!(source(json!({})), Ok(Reference::Default));
        assert_eq!(
            source(json!({"tag": "v1"})),
            Ok(Reference::Tag("v1".into()))
        );
        let error = source(json!({"tag": "v1", "branch": "main"})).unwrap_err();
        insta::assert_snapshot!(error, @"the source names branch and tag: expected at most one of branch, tag, semver and commit");
    }

    #[test]
    fn a_source_is_exactly_one_thing() {
        let read = |value: Value| serde_json::from_value::<Source>(value);
        let chart = json!({"chart": {"repository": "https://charts.example.com", "name": "web", "version": "^1"}});
        let source = read(chart.clone()).unwrap();
        assert_eq!(serde_json::to_value(&source).unwrap(), chart);
        let said: Vec<String> = [
            json!({}),
            json!({"svn": {}}),
            json!({"oci": {"url": "oci://a/b"}, "git": {"url": "https://a"}}),
            json!({"oci": {"url": "oci://a/b", "version": "1"}}),
        ]
        .map(|value| read(value).unwrap_err().to_string())
        .to_vec();
        insta::assert_snapshot!(said.join("\n"), @r"
        expected one of `git`, `oci` and `chart`, found none
        unknown field `svn`, expected one of `git`, `oci`, `chart`
        expected one of `git`, `oci` and `chart`, found several
        unknown field `version`, expected one of `url`, `tag`, `semver`, `digest`, `path`, `credentials`
        ");
    }

    #[test]
    fn at_most_one_artifact() {
        let source = |more: Value| {
            let mut value = json!({"url": "oci://registry.example.com/web"});
            value
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            serde_json::from_value::<OciSource>(value)
                .unwrap()
                .reference()
        };
        assert_eq!(source(json!({})), Ok(OciReference::Semver("*".into())));
        assert_eq!(
            source(json!({"tag": "1.0"})),
            Ok(OciReference::Tag("1.0".into()))
        );
        let digest = Digest::of("a");
        assert_eq!(
            source(json!({"digest": digest})),
            Ok(OciReference::Digest(digest))
        );
        assert!(source(json!({"digest": "sha256:1"})).is_err());
        let error = source(json!({"tag": "1.0", "semver": "1"})).unwrap_err();
        insta::assert_snapshot!(error, @"the source names tag and semver: expected at most one of tag, semver and digest");
    }

    #[test]
    fn a_file_completes_but_never_weakens() {
        let policy = |name: &str| PluginUse {
            plugin: name.into(),
            settings: Value::Null,
        };
        let operator = ApplicationSpec {
            policies: vec![policy("theirs")],
            ..Default::default()
        };
        let file = ApplicationSpec {
            policies: vec![policy("ours")],
            renderer: Some(policy("manifests")),
            service_account_name: Some("cluster-admin".into()),
            prune: PruneSettings {
                max_percent: 100,
                ..Default::default()
            },
            ..Default::default()
        };
        let spec = operator.completed_by(file);
        assert_eq!(spec.renderer.unwrap().plugin, "manifests");
        assert_eq!(spec.policies.len(), 2);
        assert_eq!(
            (spec.service_account_name, spec.prune),
            (None, PruneSettings::default())
        );
    }
}
