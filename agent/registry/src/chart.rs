//! Charts, and other archives of files: from registries and from chart repositories.

mod archive;
mod archives;
mod charts;
mod files;
mod helm;
mod index;
mod indexes;
mod place;
mod repository;
mod text;
mod yaml;

pub(crate) use self::{archive::ARCHIVE_ADVICE, archives::Archives, indexes::Indexes};
pub use self::{
    archive::{Archive, ArchiveError, Layout},
    charts::{Artifact, ChartError, Charts, Download, Logins, Resolved},
    files::Files,
    helm::{HelmConfig, HelmConfigError, HelmLocations},
    place::{Place, Wanted, shown_url},
    repository::RepositoryStage,
};
