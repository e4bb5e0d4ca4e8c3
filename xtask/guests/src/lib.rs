//! Builds Wasm guests as components, on any machine: with an installed target, with Debian's packages, or with rustup.
//!
//! This is for build scripts and developer commands. A guest is a package of a Cargo workspace. It is built in a nested Cargo run
//! with a target directory of its own, `guests` in the outer one, and with the profile `guest` of its workspace.
//!
//! ```no_run
//! use pintle_guests::Guest;
//!
//! # fn main() -> Result<(), pintle_guests::Error> {
//! let out_dir = std::path::PathBuf::from("target/components");
//! let artifacts = pintle_guests::build(&[Guest::new("pintle-renderer-manifests")], &out_dir)?;
//! pintle_guests::rerun_if_changed(&artifacts);
//! # Ok(())
//! # }
//! ```

mod cargo;
mod component;
mod error;
mod toolchain;
mod workspace;

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use component::{Interfaces, interfaces};
pub use error::Error;
pub use toolchain::{DEBIAN_PACKAGES, MissingToolchain, TARGET, Toolchain};
pub use workspace::Workspace;

/// A package to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    package: String,
}

impl Guest {
    /// Names a package of the workspace.
    pub fn new(package: impl Into<String>) -> Self {
        Self {
            package: package.into(),
        }
    }

    /// Returns the package's name, which is also the artifact's name.
    pub fn package(&self) -> &str {
        &self.package
    }
}

/// A guest that has been built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The package's name.
    pub name: String,
    /// The path of the component: `NAME.wasm` in the output directory.
    pub path: PathBuf,
    /// The bytes of the component.
    pub bytes: Vec<u8>,
    /// The digest of the component, `sha256:...`.
    pub digest: String,
    /// The files that the component was built from: the sources of the guest and of the workspace's crates that it uses.
    pub inputs: Vec<PathBuf>,
}

/// Builds guests of the workspace around the running package, and writes them as components to `out_dir`.
///
/// The running package is the one that Cargo runs: the package of a build script, a test, or a developer command.
pub fn build(guests: &[Guest], out_dir: &Path) -> Result<Vec<Artifact>, Error> {
    build_in(&Workspace::around_package()?, guests, out_dir)
}

/// Builds guests of a workspace, and writes them as components to `out_dir`.
///
/// An unchanged component is not written again, so that whatever includes it is not rebuilt either.
pub fn build_in(
    workspace: &Workspace,
    guests: &[Guest],
    out_dir: &Path,
) -> Result<Vec<Artifact>, Error> {
    let toolchain = Toolchain::find()?;
    let out_dir = &std::path::absolute(out_dir).map_err(|source| Error::Write {
        path: out_dir.to_owned(),
        source,
    })?;
    let target_dir = workspace::guest_target_dir(workspace, out_dir);
    fs::create_dir_all(out_dir).map_err(|source| Error::Write {
        path: out_dir.to_owned(),
        source,
    })?;
    guests
        .iter()
        .map(|guest| build_one(workspace, &toolchain, &target_dir, guest, out_dir))
        .collect()
}

fn build_one(
    workspace: &Workspace,
    toolchain: &Toolchain,
    target_dir: &Path,
    guest: &Guest,
    out_dir: &Path,
) -> Result<Artifact, Error> {
    let name = guest.package.clone();
    let module = cargo::build(workspace, toolchain, target_dir, guest)?;
    let bytes = fs::read(&module.path).map_err(|source| Error::Read {
        path: module.path.clone(),
        source,
    })?;
    let bytes = component::encode(&bytes).map_err(|source| Error::Component {
        guest: name.clone(),
        source,
    })?;
    let path = out_dir.join(format!("{name}.wasm"));
    if fs::read(&path).ok().as_ref() != Some(&bytes) {
        fs::write(&path, &bytes).map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
    }
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
    Ok(Artifact {
        name,
        path,
        bytes,
        digest,
        inputs: module.inputs,
    })
}

/// Tells Cargo to rerun the build script when a source of these artifacts changes.
#[expect(
    clippy::print_stdout,
    reason = "this is how a build script talks to Cargo"
)]
pub fn rerun_if_changed(artifacts: &[Artifact]) {
    let mut inputs: Vec<_> = artifacts
        .iter()
        .flat_map(|artifact| &artifact.inputs)
        .collect();
    inputs.sort();
    inputs.dedup();
    for input in inputs {
        println!("cargo::rerun-if-changed={}", input.display());
    }
}
