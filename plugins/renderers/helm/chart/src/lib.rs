//! Helm charts: loading, dependencies, values, schemas, and what a chart's templates see.
//!
//! In the order of use: [`load_folder`] or [`load_archive`] returns a [`Chart`]. [`values`] combines the user's values.
//! [`dependencies`] selects the subcharts. [`compose`] returns the values that templates see, checked against the charts'
//! schemas. [`templates`] returns the templates with what each of them sees. [`manifest`] splits their output. All of it behaves
//! like `helm template` of Helm 4.3.1.

mod archive;
mod capabilities;
mod chart;
mod compose;
pub mod dependencies;
mod files;
mod glob;
mod ignore;
mod load;
mod lock;
pub mod manifest;
mod metadata;
mod pattern;
mod release;
mod schema;
mod scope;
pub mod values;
mod warning;
mod yaml;

pub use archive::ArchiveError;
pub use capabilities::{
    API_VERSIONS, Capabilities, Cluster, HELM_VERSION, HelmDefaults, KubeVersion, KubeVersionError,
};
pub use chart::{Chart, File};
pub use compose::{ComposeError, compose};
pub use ignore::IgnoreError;
pub use load::{
    Cause, Folder, FolderEntry, LoadError, Options, load_archive, load_folder, load_folders,
    load_metadata, vendored,
};
pub use lock::Lock;
pub use metadata::{DecodeError, Dependency, Maintainer, Metadata, MetadataError};
pub use pattern::{Pattern, PatternError};
pub use release::{Release, is_release_name};
pub use schema::SchemaError;
pub use scope::{Template, templates};
pub use values::coalesce::CoalesceError;
pub use warning::Warnings;
pub use yaml::{YamlError, read_values};
