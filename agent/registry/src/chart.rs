//! Charts and other archives of files, from registries and chart repositories.

mod archive;
mod archives;
mod charts;
mod fetch;
mod files;
mod helm;
mod incoming;
mod index;
mod indexes;
mod packed;
mod place;
mod repository;
mod yaml;

pub(crate) use self::{archive::ARCHIVE_ADVICE, archives::Archives, indexes::Indexes};
pub use self::{
    archive::{ArchiveError, Layout},
    charts::{Artifact, ChartError, Charts, Download, Logins, Resolved},
    files::Files,
    helm::{HelmConfig, HelmConfigError, HelmLocations},
    packed::Archive,
    place::{Place, Wanted, shown_url},
    repository::RepositoryStage,
};
