//! Which workspace the guests belong to, and where their build goes.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// A Cargo workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the workspace around the package that Cargo runs, or else around the current folder.
    ///
    /// Looked up at run time: a build directory may be shared by several checkouts.
    pub fn around_package() -> Result<Self, Error> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(package) => PathBuf::from(package),
            None => env::current_dir().map_err(|source| Error::Read {
                path: PathBuf::from("."),
                source,
            })?,
        };
        Self::around(&start)
    }

    /// Finds the workspace around a folder.
    pub fn around(start: &Path) -> Result<Self, Error> {
        let is_root = |folder: &&Path| {
            fs::read_to_string(folder.join("Cargo.toml"))
                .is_ok_and(|manifest| manifest.lines().any(|line| line.trim() == "[workspace]"))
        };
        let root = start.ancestors().find(is_root);
        root.map(|root| Self {
            root: root.to_owned(),
        })
        .ok_or_else(|| Error::NoWorkspace {
            start: start.to_owned(),
        })
    }

    /// The folder of the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// The target directory of guests: `guests` in the outer target directory, so that every build script and test of one
/// build shares it, or in `out_dir` itself when that is in none.
///
/// Nested Cargo runs need a directory of their own: the outer run holds the lock of its own one.
pub(crate) fn guest_target_dir(out_dir: &Path) -> PathBuf {
    // Cargo tags the root of every target directory as a cache.
    let outer = out_dir
        .ancestors()
        .filter(|folder| folder.join("CACHEDIR.TAG").exists())
        .last();
    outer.unwrap_or(out_dir).join("guests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_found_from_any_folder_in_it() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here
            .ancestors()
            .nth(2)
            .expect("xtask/guests is in the workspace");
        assert_eq!(
            Workspace::around(&here.join("src")).expect("found").root(),
            root
        );
    }

    #[test]
    fn without_a_workspace_the_error_says_where_the_search_began() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = Workspace::around(folder.path()).expect_err("there is none");
        assert!(
            error
                .to_string()
                .contains(&folder.path().display().to_string()),
            "{error}"
        );
    }

    #[test]
    fn guests_are_built_beside_the_outer_build() {
        let target = tempfile::tempdir().expect("a temporary folder");
        fs::write(target.path().join("CACHEDIR.TAG"), "").expect("written");
        let out_dir = target.path().join("debug/build/x-1/out");
        assert_eq!(guest_target_dir(&out_dir), target.path().join("guests"));
    }

    #[test]
    fn guests_outside_of_any_build_are_built_where_they_go() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(
            guest_target_dir(folder.path()),
            folder.path().join("guests")
        );
    }
}
