//! What templates can learn about the cluster and Helm: `.Capabilities`.

use std::{any::Any, cell::OnceCell, fmt, rc::Rc};

use pintle_gotemplate::{
    Args, Function, FunctionError, Kind, List, Named, Object, Text, Type, Value,
};
use thiserror::Error;

/// The version of Helm whose behaviour this crate reproduces, as `.Capabilities.HelmVersion.Version` gives it.
pub const HELM_VERSION: &str = "v4.3.1";

/// The version of the Kubernetes libraries that Helm is built with.
const KUBERNETES: &str = "v1.37";

/// The version of Go that the release was built with.
const GO_VERSION: &str = "go1.26.8";

/// Why a text is not a version of Kubernetes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KubeVersionError {
    /// The text does not begin with numbers.
    #[error("could not parse {0:?} as version")]
    NoNumbers(String),
    /// The text has only one number.
    #[error("illegal version string {0:?}")]
    OneNumber(String),
    /// The first number begins with a zero.
    #[error("illegal zero-prefixed version component {component:?} in {text:?}")]
    ZeroPrefixed {
        /// The number.
        component: String,
        /// The whole text.
        text: String,
    },
    /// A number is too large.
    #[error("illegal non-numeric version component {component:?} in {text:?}")]
    TooLarge {
        /// The number.
        component: String,
        /// The whole text.
        text: String,
    },
}

/// A version of Kubernetes, as `.Capabilities.KubeVersion` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeVersion {
    version: String,
    normalized: String,
    major: String,
    minor: String,
}

impl KubeVersion {
    /// Parses a version: two or more numbers separated by dots, optionally with `v` before them and anything after them.
    pub fn parse(text: &str) -> Result<Self, KubeVersionError> {
        let start = text.trim_start();
        let digits = start.strip_prefix('v').unwrap_or(start);
        let components = numbers(digits);
        match components.as_slice() {
            [] => return Err(KubeVersionError::NoNumbers(text.to_owned())),
            [_] => return Err(KubeVersionError::OneNumber(text.to_owned())),
            [first, ..] if first.len() > 1 && first.starts_with('0') => {
                return Err(KubeVersionError::ZeroPrefixed {
                    component: (*first).to_owned(),
                    text: text.to_owned(),
                });
            }
            _ => {}
        }
        let parsed = components.iter().map(|component| {
            component
                .parse::<u64>()
                .map(|number| number.to_string())
                .map_err(|_| KubeVersionError::TooLarge {
                    component: (*component).to_owned(),
                    text: text.to_owned(),
                })
        });
        let parsed: Vec<String> = parsed.collect::<Result<_, _>>()?;
        let version = if text.starts_with('v') {
            text.to_owned()
        } else {
            format!("v{text}")
        };
        Ok(Self {
            version,
            normalized: format!("v{}", parsed.join(".")),
            major: parsed[0].clone(),
            minor: parsed[1].clone(),
        })
    }

    /// Returns the version of the libraries that Helm is built with, which `helm template` uses without `--kube-version`.
    pub fn helm_default() -> Self {
        Self {
            version: format!("{KUBERNETES}.0"),
            normalized: format!("{KUBERNETES}.0"),
            major: "1".to_owned(),
            minor: "37".to_owned(),
        }
    }

    /// Returns the whole version: `v1.33.4-gke.1245000`.
    pub fn full(&self) -> &str {
        &self.version
    }

    /// Returns the numbers of the version, against which a chart's `kubeVersion` is checked: `v1.33.4`.
    pub fn normalized(&self) -> &str {
        &self.normalized
    }

    /// Returns what Go's `String` gives. A deep copy has no normalized version.
    fn text(&self) -> &str {
        if self.normalized.is_empty() {
            &self.version
        } else {
            &self.normalized
        }
    }

    /// Returns a copy with only the exported fields, which are all that a deep copy has.
    fn exported(&self) -> Self {
        Self {
            normalized: String::new(),
            ..self.clone()
        }
    }
}

/// Returns the numbers at the start of a text, separated by dots.
fn numbers(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        if end == 0 {
            return found;
        }
        found.push(&rest[..end]);
        match rest[end..].strip_prefix('.') {
            Some(behind) => rest = behind,
            None => return found,
        }
    }
}

/// A cluster that is queried only for what a chart looks at. A caller that caches a result by its dependencies therefore need not
/// record the rest.
pub trait Cluster {
    /// Returns the version of the cluster.
    fn kube_version(&self) -> KubeVersion;

    /// Returns the API versions that the cluster serves: `apps/v1`, `apps/v1/Deployment`.
    fn api_versions(&self) -> Vec<String>;
}

/// The cluster that `helm template` assumes.
#[derive(Clone, Copy, Debug, Default)]
pub struct HelmDefaults;

impl Cluster for HelmDefaults {
    fn kube_version(&self) -> KubeVersion {
        KubeVersion::helm_default()
    }

    fn api_versions(&self) -> Vec<String> {
        API_VERSIONS.iter().map(|one| (*one).to_owned()).collect()
    }
}

/// The capabilities of a cluster, and the version of Helm that renders: Helm's `*common.Capabilities`.
pub struct Capabilities {
    known: Rc<Known>,
    is_deep_copy: bool,
}

/// A cluster and its answers so far. Copies share them, because the cluster is queried only for what a chart looks at.
struct Known {
    cluster: Box<dyn Cluster>,
    kube_version: OnceCell<KubeVersion>,
    api_versions: OnceCell<Value>,
}

impl Capabilities {
    /// Creates the capabilities of a cluster.
    pub fn new(cluster: impl Cluster + 'static) -> Self {
        Self {
            known: Rc::new(Known {
                cluster: Box::new(cluster),
                kube_version: OnceCell::new(),
                api_versions: OnceCell::new(),
            }),
            is_deep_copy: false,
        }
    }

    /// Returns the version of the cluster.
    pub fn kube_version(&self) -> &KubeVersion {
        let known = &self.known;
        known
            .kube_version
            .get_or_init(|| known.cluster.kube_version())
    }

    /// Returns the version as templates see it.
    fn shown_version(&self) -> KubeVersion {
        if self.is_deep_copy {
            self.kube_version().exported()
        } else {
            self.kube_version().clone()
        }
    }

    fn api_versions(&self) -> Value {
        let versions = || {
            let versions = self.known.cluster.api_versions();
            let versions = versions.into_iter().map(Value::from);
            List::typed(Type::Named(&VERSION_SET), versions.collect()).into()
        };
        self.known.api_versions.get_or_init(versions).clone()
    }

    fn helm_version() -> Value {
        Value::object(BuildInfo)
    }
}

static CAPABILITIES: Named = Named {
    name: "*common.Capabilities",
    kind: Kind::Pointer,
    underlying: None,
    methods: &[],
};
static KUBE_VERSION: Named = Named {
    name: "common.KubeVersion",
    kind: Kind::Struct,
    underlying: None,
    methods: &[],
};
static BUILD_INFO: Named = Named {
    name: "version.BuildInfo",
    kind: Kind::Struct,
    underlying: None,
    methods: &[],
};
static VERSION_SET: Named = Named {
    name: "common.VersionSet",
    kind: Kind::Slice,
    underlying: Some(Type::STRING_SLICE),
    methods: &[Function::method("Has", &[Type::String], |_, args| {
        let wanted = args.text(1)?;
        let served = args.list(0)?;
        let found = served
            .items()
            .iter()
            .any(|one| one.as_text() == Some(wanted));
        Ok(found.into())
    })],
};

impl fmt::Debug for Capabilities {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Capabilities").finish_non_exhaustive()
    }
}

impl Object for Capabilities {
    fn go_type(&self) -> Type {
        Type::Named(&CAPABILITIES)
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        match name {
            b"KubeVersion" => Some(Value::object(self.shown_version())),
            b"APIVersions" => Some(self.api_versions()),
            b"HelmVersion" => Some(Self::helm_version()),
            _ => None,
        }
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("KubeVersion", Value::object(Copied(self.shown_version()))),
            ("APIVersions", self.api_versions()),
            ("HelmVersion", Self::helm_version()),
        ]
    }

    fn json_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        Some(self.fields())
    }

    fn deep_copied(&self) -> Option<Value> {
        Some(Value::object(Self {
            known: self.known.clone(),
            is_deep_copy: true,
        }))
    }

    fn to_plain(&self) -> Value {
        plain(self.fields())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

const KUBE_VERSION_METHODS: &[Function] = &[
    Function::method("String", &[], |_, args| {
        Ok(kube_version(args)?.text().into())
    }),
    Function::method("GitVersion", &[], |_, args| {
        Ok(kube_version(args)?.full().into())
    }),
];

fn kube_version(args: Args<'_>) -> Result<&KubeVersion, FunctionError> {
    args.receiver()
}

impl Object for KubeVersion {
    fn go_type(&self) -> Type {
        Type::Named(&KUBE_VERSION)
    }

    fn method(&self, name: &[u8]) -> Option<&'static Function> {
        Function::find(KUBE_VERSION_METHODS, name)
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        let text = match name {
            b"Version" => &self.version,
            b"Major" => &self.major,
            b"Minor" => &self.minor,
            _ => return None,
        };
        Some(text.as_str().into())
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("Version", self.version.as_str().into()),
            ("normalizedVersion", self.normalized.as_str().into()),
            ("Major", self.major.as_str().into()),
            ("Minor", self.minor.as_str().into()),
        ]
    }

    fn string(&self) -> Option<Text> {
        Some(self.text().into())
    }

    fn json_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        let mut fields = self.fields();
        fields.retain(|(name, _)| *name != "normalizedVersion");
        Some(fields)
    }

    fn copied(&self) -> Option<Value> {
        Some(Value::object(Copied(self.clone())))
    }

    fn to_plain(&self) -> Value {
        plain(self.json_fields().unwrap_or_default())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A version that was passed through a function.
#[derive(Debug)]
struct Copied(KubeVersion);

impl Object for Copied {
    fn go_type(&self) -> Type {
        self.0.go_type()
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        self.0.field(name)
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        self.0.fields()
    }

    fn json_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        self.0.json_fields()
    }

    fn deep_copied(&self) -> Option<Value> {
        Some(Value::object(Self(self.0.exported())))
    }

    fn to_plain(&self) -> Value {
        self.0.to_plain()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// How Helm was built: `.Capabilities.HelmVersion`.
#[derive(Debug)]
struct BuildInfo;

impl BuildInfo {
    /// The name of the field, its name in JSON, and its value.
    const FIELDS: [(&'static str, &'static str, &'static str); 5] = [
        ("Version", "version", HELM_VERSION),
        ("GitCommit", "git_commit", ""),
        ("GitTreeState", "git_tree_state", ""),
        ("GoVersion", "go_version", GO_VERSION),
        ("KubeClientVersion", "kube_client_version", KUBERNETES),
    ];
}

impl Object for BuildInfo {
    fn go_type(&self) -> Type {
        Type::Named(&BUILD_INFO)
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        let mut fields = Self::FIELDS.iter();
        let (_, _, value) = fields.find(|(field, _, _)| field.as_bytes() == name)?;
        Some((*value).into())
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        let fields = Self::FIELDS.iter();
        fields
            .map(|(name, _, value)| (*name, (*value).into()))
            .collect()
    }

    fn json_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        // Go's struct tags omit empty fields.
        let fields = Self::FIELDS
            .iter()
            .filter(|(_, _, value)| !value.is_empty());
        Some(
            fields
                .map(|(_, name, value)| (*name, (*value).into()))
                .collect(),
        )
    }

    fn to_plain(&self) -> Value {
        plain(self.json_fields().unwrap_or_default())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn plain(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name, value.to_plain()));
    Value::Map(fields.collect())
}

/// The API versions that `helm template` assumes: those of the Kubernetes libraries that Helm is built with.
pub const API_VERSIONS: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "lifecycle.k8s.io/v1alpha1",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_kubernetes_reads_them() {
        for (text, full, normalized, major, minor) in [
            (
                "v1.33.4-gke.1245000",
                "v1.33.4-gke.1245000",
                "v1.33.4",
                "1",
                "33",
            ),
            ("1.30", "v1.30", "v1.30", "1", "30"),
            ("1.30.", "v1.30.", "v1.30", "1", "30"),
            ("v1.22+", "v1.22+", "v1.22", "1", "22"),
            ("1.02.3.4", "v1.02.3.4", "v1.2.3.4", "1", "2"),
        ] {
            let version = KubeVersion::parse(text).expect(text);
            assert_eq!(version.full(), full);
            assert_eq!(version.normalized(), normalized);
            assert_eq!(version.field(b"Major"), Some(major.into()));
            assert_eq!(version.field(b"Minor"), Some(minor.into()));
        }
    }

    #[test]
    fn the_default_is_a_version() {
        let default = KubeVersion::helm_default();
        assert_eq!(KubeVersion::parse(default.full()), Ok(default));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for (text, message) in [
            ("", "could not parse \"\" as version"),
            ("latest", "could not parse \"latest\" as version"),
            ("v1", "illegal version string \"v1\""),
            (
                "01.2",
                "illegal zero-prefixed version component \"01\" in \"01.2\"",
            ),
            (
                "1.99999999999999999999",
                "illegal non-numeric version component \"99999999999999999999\" in \"1.99999999999999999999\"",
            ),
        ] {
            let error = KubeVersion::parse(text).expect_err(text);
            assert_eq!(error.to_string(), message);
        }
    }
}
