//! Why a guest could not be built.

use std::io;
use std::path::PathBuf;

use crate::MissingToolchain;

/// Why a guest could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing on this machine compiles for Wasm.
    #[error(transparent)]
    Toolchain(#[from] MissingToolchain),

    /// Cargo could not be asked for the workspace.
    #[error("cannot ask Cargo for the workspace around {}", start.display())]
    Locate {
        /// Where the search began.
        start: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// There is no workspace.
    #[error("no Cargo workspace around {}: run this inside one: {output}", start.display())]
    NoWorkspace {
        /// Where the search began.
        start: PathBuf,
        /// What Cargo said.
        output: String,
    },

    /// Cargo could not be started.
    #[error("cannot run {} for the guest `{guest}`", cargo.display())]
    Cargo {
        /// The package.
        guest: String,
        /// The program.
        cargo: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The guest does not compile.
    #[error("the guest `{guest}` does not build with {toolchain}:\n{output}")]
    Build {
        /// The package.
        guest: String,
        /// Which toolchain was used.
        toolchain: &'static str,
        /// What Cargo said.
        output: String,
    },

    /// The module is no component of a Pintle plugin.
    #[error("the guest `{guest}` cannot be made a component")]
    Component {
        /// The package.
        guest: String,
        /// Why.
        source: anyhow::Error,
    },

    /// A file of the build could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A file of the build could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
