//! Errors of building a guest.

use std::io;
use std::path::PathBuf;

use crate::MissingToolchain;

/// The reason why a guest could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No compiler on this machine targets Wasm.
    #[error(transparent)]
    Toolchain(#[from] MissingToolchain),

    /// Cargo could not be run to locate the workspace.
    #[error("cannot ask Cargo for the workspace around {}", start.display())]
    Locate {
        /// The folder where the search began.
        start: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// There is no workspace.
    #[error("no Cargo workspace around {}: run this inside one: {output}", start.display())]
    NoWorkspace {
        /// The folder where the search began.
        start: PathBuf,
        /// Cargo's output.
        output: String,
    },

    /// Cargo could not be started.
    #[error("cannot run {} for the guest `{guest}`", cargo.display())]
    Cargo {
        /// The guest's package.
        guest: String,
        /// The Cargo executable.
        cargo: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// The guest does not compile.
    #[error("the guest `{guest}` does not build with {toolchain}:\n{output}")]
    Build {
        /// The guest's package.
        guest: String,
        /// The toolchain that was used.
        toolchain: &'static str,
        /// Cargo's output.
        output: String,
    },

    /// The module is not a component of a Pintle plugin.
    #[error("the guest `{guest}` cannot be made a component")]
    Component {
        /// The guest's package.
        guest: String,
        /// The cause.
        source: anyhow::Error,
    },

    /// A file of the build could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// A file of the build could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
