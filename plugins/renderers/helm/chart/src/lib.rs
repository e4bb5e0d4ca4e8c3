//! Helm charts: loading, dependencies, values, schemas, and what a chart's templates see.

mod capabilities;
mod release;

pub use capabilities::{API_VERSIONS, Capabilities, HELM_VERSION, KubeVersion, KubeVersionError};
pub use release::{Release, is_release_name};
