//! Access to registries and chart repositories: pushes and pulls, with every digest verified.
//!
//! [`Registry`] is for plugins as Wasm OCI artifacts, and [`Charts`] for charts and other archives of files, from registries
//! and from chart repositories.
//!
//! A plugin's artifact has the layout of CNCF TAG Runtime: an OCI image manifest, a config of type
//! `application/vnd.wasm.config.v0+json`, and one layer `application/wasm`, which is the component.
//!
//! Nothing that a registry says is trusted. Manifest, config and component are verified against their digests and their
//! declared sizes. Everything that is read into memory, error messages included, has a limit, and so does every wait.
//! Credentials go to the registry that they are for, or to the token service that it names, over TLS. Only loopback, and hosts
//! that the operator lists, may be spoken to without TLS.
//!
//! This crate does not retry failures: [`RegistryError::is_retryable`] and [`RegistryError::retry_after`], and those of
//! [`ChartError`], let the caller decide.

mod auth;
mod cache;
mod chart;
mod component;
mod config;
mod content;
mod credentials;
mod error;
mod link;
mod manifest;
mod options;
mod push;
mod reference;
mod registry;
mod rests;
mod room;
mod session;
mod shared;
mod tags;
mod transport;
mod turns;

pub use chart::{
    Archive, ArchiveError, Artifact, ChartError, Charts, Download, Files, HelmConfig,
    HelmConfigError, HelmLocations, Layout, Logins, Place, RepositoryStage,
    Resolved as ResolvedChart, Wanted, shown_url,
};
pub use component::{ComponentError, Interface, PluginInterface, wit};
pub use config::{ComponentMetadata, WasmConfig};
pub use credentials::{
    Credentials, CredentialsError, DockerConfig, HelperError, Keychain, Locations, NoEntry,
    ParseConfigError, Secret,
};
pub use error::{Cause, Part, RegistryError, SetupError, Shown, Stage, TlsProblem};
pub use options::{CacheOptions, Options};
pub use push::{Metadata, Pushed};
pub use reference::{ParseReferenceError, Reference, Repository, Target};
pub use registry::{Inspected, Pulled, PulledArchive, Registry, Resolved};
pub use shared::Shared;
pub use transport::check_authorities;
