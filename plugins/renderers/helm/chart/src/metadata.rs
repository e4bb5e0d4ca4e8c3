//! `Chart.yaml`: its content, and what is refused.

mod decode;

use std::collections::{BTreeMap, BTreeSet};

use pintle_gosemver::Version;
use pintle_gotemplate::{List, Map, Type, Value, value::Entries};
use thiserror::Error;

pub use decode::DecodeError;
pub(crate) use decode::decode_lock;

/// A maintainer of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Chart.yaml")]
pub struct Maintainer {
    pub name: String,
    pub email: String,
    pub url: String,
}

/// A chart that another one requires.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dependency {
    /// The name of the chart; after dependencies are processed, the alias if there is one.
    pub name: String,
    /// The version, or a range of versions.
    pub version: String,
    /// The location: `https://…`, `oci://…`, `file://…`, `@name`, or empty.
    pub repository: String,
    /// Comma-separated paths of values. The first one that is a boolean determines whether the chart is used.
    pub condition: String,
    /// Names in the table `tags` of the values that determine whether the chart is used.
    pub tags: Vec<String>,
    /// Whether the chart is used.
    pub enabled: bool,
    /// The values that the parent chart imports.
    pub import_values: Vec<Value>,
    /// An alternative name for the chart.
    pub alias: String,
}

/// The content of `Chart.yaml`.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of Chart.yaml")]
pub struct Metadata {
    pub name: String,
    pub home: String,
    pub sources: Vec<String>,
    pub version: String,
    pub description: String,
    pub keywords: Vec<String>,
    pub maintainers: Vec<Maintainer>,
    pub icon: String,
    pub api_version: String,
    pub condition: String,
    pub tags: String,
    pub app_version: String,
    pub deprecated: bool,
    pub annotations: Option<BTreeMap<String, String>>,
    pub kube_version: String,
    pub dependencies: Vec<Dependency>,
    /// Whether dependencies are specified, even as an empty list: Go's distinction between an empty slice and a nil one.
    pub has_dependencies: bool,
    pub chart_type: String,
}

/// Why Helm refuses the content of `Chart.yaml`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum MetadataError {
    #[error("validation: chart.metadata.apiVersion is required")]
    NoApiVersion,
    #[error("validation: chart.metadata.name is required")]
    NoName,
    #[error("validation: chart.metadata.name {0:?} is not allowed")]
    NameNotAllowed(String),
    #[error("validation: chart.metadata.name {0:?} is invalid")]
    InvalidName(String),
    #[error("validation: chart.metadata.version is required")]
    NoVersion,
    #[error("validation: chart.metadata.version {0:?} is invalid")]
    InvalidVersion(String),
    #[error("validation: chart.metadata.type must be application or library")]
    InvalidType,
    #[error("validation: dependency {0:?} has disallowed characters in the alias")]
    InvalidAlias(String),
    #[error("validation: more than one dependency with name or alias {0:?}")]
    DuplicateDependency(String),
}

impl Metadata {
    /// Cleans and checks the texts, as Helm does after reading the files of a chart.
    pub(crate) fn validate(&mut self) -> Result<(), MetadataError> {
        for text in [
            &mut self.name,
            &mut self.description,
            &mut self.home,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ]
        .into_iter()
        .chain(&mut self.sources)
        .chain(&mut self.keywords)
        {
            clean(text);
        }
        if self.api_version.is_empty() {
            return Err(MetadataError::NoApiVersion);
        }
        self.validate_name()?;
        if self.version.is_empty() {
            return Err(MetadataError::NoVersion);
        }
        if Version::parse(self.version.as_bytes()).is_err() {
            return Err(MetadataError::InvalidVersion(self.version.clone()));
        }
        if !matches!(&*self.chart_type, "" | "application" | "library") {
            return Err(MetadataError::InvalidType);
        }
        for maintainer in &mut self.maintainers {
            clean(&mut maintainer.name);
            clean(&mut maintainer.email);
            clean(&mut maintainer.url);
        }
        let mut known = BTreeSet::new();
        for dependency in &mut self.dependencies {
            dependency.validate()?;
            let key = if dependency.alias.is_empty() {
                &dependency.name
            } else {
                &dependency.alias
            };
            if !known.insert(key) {
                return Err(MetadataError::DuplicateDependency(key.clone()));
            }
        }
        Ok(())
    }

    fn validate_name(&self) -> Result<(), MetadataError> {
        match &*self.name {
            "" => Err(MetadataError::NoName),
            "." | ".." => Err(MetadataError::NameNotAllowed(self.name.clone())),
            name if name.contains('/') => Err(MetadataError::InvalidName(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Returns what templates see as `.Chart`, without `IsRoot`: a table whose keys are the names of Go's fields.
    pub(crate) fn to_map(&self) -> Map {
        let text = |text: &String| Value::from(text.as_str());
        let texts = |texts: &[String]| Value::list(texts.iter().map(text).collect());
        let maintainers = self.maintainers.iter().map(|maintainer| {
            table([
                ("Name", text(&maintainer.name)),
                ("Email", text(&maintainer.email)),
                ("URL", text(&maintainer.url)),
            ])
        });
        let annotations = match &self.annotations {
            Some(annotations) => {
                let entries = annotations.iter();
                let entries = entries.map(|(key, value)| (key.as_str().into(), text(value)));
                Map::with_entries(Type::STRING_MAP, entries.collect())
            }
            None => Map::nil(Type::STRING_MAP),
        };
        [
            ("Name", text(&self.name)),
            ("Home", text(&self.home)),
            ("Sources", texts(&self.sources)),
            ("Version", text(&self.version)),
            ("Description", text(&self.description)),
            ("Keywords", texts(&self.keywords)),
            ("Maintainers", Value::list(maintainers.collect())),
            ("Icon", text(&self.icon)),
            ("APIVersion", text(&self.api_version)),
            ("Condition", text(&self.condition)),
            ("Tags", text(&self.tags)),
            ("AppVersion", text(&self.app_version)),
            ("Deprecated", self.deprecated.into()),
            ("Annotations", annotations.into()),
            ("KubeVersion", text(&self.kube_version)),
            (
                "Dependencies",
                Value::list(self.dependencies.iter().map(Dependency::to_value).collect()),
            ),
            ("Type", text(&self.chart_type)),
        ]
        .into_iter()
        .collect()
    }
}

impl Dependency {
    fn validate(&mut self) -> Result<(), MetadataError> {
        for text in [
            &mut self.name,
            &mut self.version,
            &mut self.repository,
            &mut self.condition,
        ]
        .into_iter()
        .chain(&mut self.tags)
        {
            clean(text);
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if self.alias.bytes().all(good) {
            Ok(())
        } else {
            Err(MetadataError::InvalidAlias(self.name.clone()))
        }
    }

    fn to_value(&self) -> Value {
        let text = |text: &String| Value::from(text.as_str());
        table([
            ("Name", text(&self.name)),
            ("Version", text(&self.version)),
            ("Repository", text(&self.repository)),
            ("Condition", text(&self.condition)),
            ("Tags", Value::list(self.tags.iter().map(text).collect())),
            ("Enabled", self.enabled.into()),
            ("ImportValues", List::new(self.import_values.clone()).into()),
            ("Alias", text(&self.alias)),
        ])
    }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter();
    let entries: Entries = entries.map(|(key, value)| (key.into(), value)).collect();
    Map::from(entries).into()
}

/// Replaces every kind of white space with a space, and removes characters that cannot be printed.
///
/// Go uses Unicode's tables to determine what can be printed. This is an approximation: it removes controls, formats, surrogates,
/// and private or unassigned characters, as far as Rust's standard library knows them.
fn clean(text: &mut String) {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return;
    }
    let keep = |c: char| {
        let formats = matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}'
            | '\u{e0000}'..='\u{10ffff}');
        !c.is_control() && !formats
    };
    let cleaned = text.chars().filter_map(|c| {
        if c.is_whitespace() {
            Some(' ')
        } else {
            keep(c).then_some(c)
        }
    });
    *text = cleaned.collect();
}
