//! Charts, and other archives of files: from registries and from chart repositories.

mod archive;
mod charts;
mod files;
mod helm;
mod index;
mod repository;
mod yaml;

pub use self::{
    archive::{Archive, ArchiveError, Layout},
    charts::{Artifact, ChartError, Charts, Logins, Place, Resolved, Wanted},
    files::Files,
    helm::{HelmConfig, HelmConfigError, HelmLocations},
    repository::RepositoryStage,
};
