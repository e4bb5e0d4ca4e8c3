//! Why a chart gives no release.

use pintle_helm_chart::{CoalesceError, ComposeError, manifest::ManifestError};
use thiserror::Error;

use crate::engine::RenderError;

/// Why a chart gives no release. The texts are Helm's where it has one.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ReleaseError {
    /// The release's name is none that Helm takes.
    #[error(
        "release name check failed: {0:?} is not made of lowercase letters, digits, inner `-` and `.`, or has more than 53 characters"
    )]
    Name(String),
    /// It only has definitions for other charts.
    #[error("{0} charts are not installable")]
    NotInstallable(String),
    /// Dependencies in `Chart.yaml` have no chart in `charts/`, by name.
    #[error("found in Chart.yaml, but missing in charts/ directory: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// Values do not fit the dependencies.
    #[error("chart dependencies processing failed: {0}")]
    Dependencies(CoalesceError),
    /// The values are not what the charts ask for.
    #[error(transparent)]
    Values(#[from] ComposeError),
    /// The chart is for other versions of Kubernetes.
    #[error("chart requires kubeVersion: {wanted} which is incompatible with Kubernetes {found}")]
    KubeVersion {
        /// The range in `Chart.yaml`.
        wanted: String,
        /// The version that is rendered for.
        found: String,
    },
    /// A template has failed.
    #[error(transparent)]
    Template(#[from] RenderError),
    /// What a template gave is no manifest.
    #[error("{error}")]
    Manifest {
        /// Why.
        error: Box<ManifestError>,
        /// The line of the template, from 1, as [`Lines`](super::Lines) has it.
        line: usize,
    },
}
