//! Why a chart cannot be loaded.

use thiserror::Error;

use crate::{
    archive::ArchiveError,
    ignore::IgnoreError,
    metadata::{DecodeError, MetadataError},
    yaml::YamlError,
};

/// Why a chart cannot be loaded, and which of its files is the reason.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("cannot load {path}: {cause}")]
pub struct LoadError {
    /// The path of the file, relative to the chart being loaded.
    pub path: String,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong with a file of a chart.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Cause {
    /// The file cannot be read.
    #[error("{0}")]
    Read(String),
    /// All files together are larger than Helm allows.
    #[error(
        "chart exceeds maximum decompressed size of {} bytes",
        crate::archive::MAX_SIZE
    )]
    TooLarge,
    /// Folders or charts are nested too deeply.
    #[error("folders or charts are nested too deeply")]
    TooDeep,
    /// The file does not exist.
    #[error("Chart.yaml file is missing")]
    NoMetadata,
    /// A folder in `charts/` whose name ends with `.tgz`.
    #[error("a folder has the name of a packed chart")]
    FolderNamedArchive,
    /// The file is malformed YAML, or not a table.
    #[error("{0}")]
    Yaml(#[from] YamlError),
    /// A field has the wrong type.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// Helm refuses the content.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
    /// The format is not one of Helm's.
    #[error("unsupported chart version: apiVersion {0:?} is neither v1 nor v2")]
    ApiVersion(String),
    /// The file is not a packed chart.
    #[error("{0}")]
    Archive(#[from] ArchiveError),
    /// The file has malformed rules.
    #[error("{0}")]
    Ignore(#[from] IgnoreError),
}

impl LoadError {
    pub(super) fn new(path: &str, cause: Cause) -> Self {
        Self {
            path: path.to_owned(),
            cause,
        }
    }

    /// Returns the same error for a chart in a folder of another chart.
    pub(super) fn within(mut self, folder: &str) -> Self {
        self.path = if self.path.is_empty() {
            folder.to_owned()
        } else {
            format!("{folder}/{}", self.path)
        };
        self
    }

    /// Returns advice on how to fix the error, if there is any.
    pub fn hint(&self) -> Option<&'static str> {
        match &self.cause {
            Cause::NoMetadata if self.path.contains("charts/") => Some(
                "only charts belong in charts/; a name that begins with `_` or `.` is left out, and so is what .helmignore names",
            ),
            Cause::NoMetadata => Some("a chart needs a Chart.yaml at its top"),
            Cause::TooLarge => Some("leave files that templates do not need out by .helmignore"),
            _ => None,
        }
    }
}
