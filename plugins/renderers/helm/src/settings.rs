//! What an application may set.

use std::collections::BTreeMap;

use pintle_sdk::{
    Problem,
    schemars::{self, JsonSchema},
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Settings of the renderer `helm`.
///
/// Values are put together as `helm template` does, each over the one before: the chart's `values.yaml`, `valuesFiles` in
/// their order, `values`, `setJson`, `set`, `setString`, `setFile`, `setLiteral`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own in the settings, as it is a flag of Helm's"
)]
pub struct Settings {
    /// The release's name, `.Release.Name` in templates; the application's name unless set. At most 53 characters.
    pub release_name: Option<String>,
    /// The release's namespace, `.Release.Namespace` in templates; the application's namespace unless set.
    pub namespace: Option<String>,
    /// A chart from elsewhere; unless set, the chart is the application's folder.
    pub chart: Option<ChartSource>,
    /// Values over those of all files, as an object. `null` takes a default of the chart away.
    pub values: Map<String, Value>,
    /// Paths of files with values, relative to the application's folder; later files win.
    pub values_files: Vec<String>,
    /// Values as `--set` takes them: `a.b=1,c[0]=x`. Numbers, booleans and `null` are recognised.
    pub set: Vec<String>,
    /// Values as `--set-string` takes them: every value is a text.
    pub set_string: Vec<String>,
    /// Values as `--set-json` takes them: `a.b={"c": 1}`, or one whole object.
    pub set_json: Vec<String>,
    /// Values as `--set-file` takes them: `a.b=path`; the value is the content of the file, as text.
    pub set_file: Vec<String>,
    /// Values as `--set-literal` takes them: `a.b=value`; all after the `=` is the text.
    pub set_literal: Vec<String>,
    /// Contents of files that are not in the application's folder, by the path under which `valuesFiles` or `setFile`
    /// name them. The command line fills it; in a repository, put the file beside the application.
    pub file_contents: BTreeMap<String, Content>,
    /// The version of Kubernetes to render for, `.Capabilities.KubeVersion`; the cluster's unless set.
    pub kube_version: Option<String>,
    /// API versions besides those of the cluster for `.Capabilities.APIVersions`: `monitoring.coreos.com/v1`, or with a
    /// kind: `monitoring.coreos.com/v1/ServiceMonitor`.
    pub api_versions: Vec<String>,
    /// Whether the objects in `crds/` are part of the result: on, so that definitions follow the chart. `helm template`
    /// leaves them out unless it is told otherwise, and Helm never updates them.
    pub include_crds: bool,
    /// Whether hooks are left out.
    pub no_hooks: bool,
    /// Whether test hooks are left out.
    pub skip_tests: bool,
    /// Patterns of the templates whose objects are wanted, as `--show-only` takes them: `templates/deployment.yaml`,
    /// `charts/*/templates/*.yaml`; all unless set. One that matches nothing is refused.
    pub show_only: Vec<String>,
    /// Whether values are not checked against `values.schema.json`.
    pub skip_schema_validation: bool,
    /// Whether the notes of subcharts are part of the notes.
    pub sub_notes: bool,
    /// Whether `.Release.IsUpgrade` is true rather than `.Release.IsInstall`. Off, so that a render does not depend on
    /// what was there before.
    pub is_upgrade: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            release_name: None,
            namespace: None,
            chart: None,
            values: Map::new(),
            values_files: Vec::new(),
            set: Vec::new(),
            set_string: Vec::new(),
            set_json: Vec::new(),
            set_file: Vec::new(),
            set_literal: Vec::new(),
            file_contents: BTreeMap::new(),
            kube_version: None,
            api_versions: Vec::new(),
            include_crds: true,
            no_hooks: false,
            skip_tests: false,
            show_only: Vec::new(),
            skip_schema_validation: false,
            sub_notes: false,
            is_upgrade: false,
        }
    }
}

/// What is in a file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Content {
    /// A text.
    Text(String),
    /// Any bytes.
    Bytes(Encoded),
}

/// Bytes that need not be a text.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Encoded {
    /// The bytes in base64 (RFC 4648, section 4).
    pub base64: String,
}

/// A chart in a registry or in a chart repository: `oci`, or `repository` and `name`; and `version`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct ChartSource {
    /// The chart in an OCI registry: `oci://registry.example.com/charts/web`, without a tag.
    pub oci: Option<String>,
    /// The URL of a chart repository, which has an `index.yaml`.
    pub repository: Option<String>,
    /// The chart's name in the repository.
    pub name: Option<String>,
    /// The exact version.
    pub version: String,
    /// `sha256:...` of the archive in a repository, of the manifest in a registry; what does not have it is refused.
    pub digest: Option<String>,
}

impl Settings {
    /// Finds problems that the schema cannot express.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(name) = &self.release_name
            && !pintle_helm_chart::is_release_name(name)
        {
            problems.push(
                Problem::new(format!("`{name}` is no release name"))
                    .pointer("/releaseName")
                    .hint(
                        "use lowercase letters, digits, inner `-` and `.`, at most 53 characters",
                    ),
            );
        }
        if let Some(version) = &self.kube_version
            && let Err(error) = pintle_helm_chart::KubeVersion::parse(version)
        {
            problems.push(
                Problem::new(error.to_string())
                    .pointer("/kubeVersion")
                    .hint("write a version such as `v1.36.3`"),
            );
        }
        if let Some(chart) = &self.chart {
            chart.problems(&mut problems);
        }
        problems
    }
}

impl ChartSource {
    fn problems(&self, problems: &mut Vec<Problem>) {
        let mut problem = |pointer: &str, message: &str, hint: &str| {
            problems.push(Problem::new(message).pointer(pointer).hint(hint));
        };
        match (&self.oci, &self.repository) {
            (Some(_), Some(_)) => problem(
                "/chart",
                "both `oci` and `repository` are set",
                "name one of them",
            ),
            (None, None) => problem(
                "/chart",
                "neither `oci` nor `repository` is set",
                "name one of them, or leave `chart` out to render the folder",
            ),
            (Some(oci), None) if !oci.starts_with("oci://") => problem(
                "/chart/oci",
                "the reference does not begin with `oci://`",
                "write `oci://registry.example.com/charts/web`",
            ),
            (None, Some(_)) if self.name.is_none() => problem(
                "/chart/name",
                "a chart in a repository needs a name",
                "name the chart as the repository's index does",
            ),
            _ => {}
        }
        if self.version.is_empty() {
            problem(
                "/chart/version",
                "a chart from elsewhere needs a version",
                "write the exact version: the next commit must not render another chart",
            );
        }
    }
}
