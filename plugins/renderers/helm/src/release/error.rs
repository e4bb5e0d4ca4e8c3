//! Why a chart cannot be rendered to a release.

use pintle_helm_chart::{CoalesceError, ComposeError, manifest::ManifestError};
use thiserror::Error;

use crate::engine::RenderError;

/// Why a chart cannot be rendered to a release. The messages are Helm's where it has one.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ReleaseError {
    /// Helm does not accept the release's name.
    #[error(
        "release name check failed: {0:?} is not made of lowercase letters, digits, inner `-` and `.`, or has more than 53 characters"
    )]
    Name(String),
    /// The chart only has definitions for other charts.
    #[error("{0} charts are not installable")]
    NotInstallable(String),
    /// The names of dependencies in `Chart.yaml` that have no chart in `charts/`.
    #[error("found in Chart.yaml, but missing in charts/ directory: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// The values do not fit the dependencies.
    #[error("chart dependencies processing failed: {0}")]
    Dependencies(CoalesceError),
    /// The values do not meet the charts' requirements.
    #[error(transparent)]
    Values(#[from] ComposeError),
    /// The chart requires other versions of Kubernetes.
    #[error("chart requires kubeVersion: {wanted} which is incompatible with Kubernetes {found}")]
    KubeVersion {
        /// The range in `Chart.yaml`.
        wanted: String,
        /// The version that the chart is rendered for.
        found: String,
    },
    /// A template failed.
    #[error(transparent)]
    Template(#[from] RenderError),
    /// The output of a template is not a manifest.
    #[error("{error}")]
    Manifest {
        /// The reason.
        error: Box<ManifestError>,
        /// The line of the template, from 1, as [`Lines`](super::Lines) has it.
        line: usize,
    },
}
