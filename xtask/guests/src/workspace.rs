//! The workspace that guests belong to, and the folder of their build output.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;
use crate::cargo::scrub;

/// A Cargo workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the workspace around the package that Cargo runs, or else around the current folder.
    ///
    /// It is looked up at run time, because several checkouts may share a build directory.
    pub fn around_package() -> Result<Self, Error> {
        let package = env::var_os("CARGO_MANIFEST_DIR");
        let start = package.map_or_else(|| PathBuf::from("."), PathBuf::from);
        Self::around(&start)
    }

    /// Finds the workspace around a folder. A package outside any workspace counts as one.
    pub fn around(start: &Path) -> Result<Self, Error> {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        scrub(&mut command);
        let output = command
            .current_dir(start)
            .args(["locate-project", "--workspace", "--message-format", "plain"])
            .stdin(Stdio::null())
            .output()
            .map_err(|source| Error::Locate {
                start: start.to_owned(),
                source,
            })?;
        let manifest = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        match manifest.parent() {
            Some(root) if output.status.success() => Ok(Self {
                root: root.to_owned(),
            }),
            _ => Err(Error::NoWorkspace {
                start: start.to_owned(),
                output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }),
        }
    }

    /// Returns the folder of the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Returns the target directory of guests: `guests` in the outer target directory, so that every build script and test of one
/// build shares it.
///
/// Nested Cargo runs need a directory of their own, because the outer run holds the lock of its target directory. The outer
/// directory is the one that contains `out_dir`, or else the one that a developer's command would use.
pub(crate) fn guest_target_dir(workspace: &Workspace, out_dir: &Path) -> PathBuf {
    // Cargo tags the root of every target directory as a cache.
    let tagged = out_dir
        .ancestors()
        .filter(|folder| folder.join("CACHEDIR.TAG").exists())
        .last();
    let outer = tagged
        .map(Path::to_owned)
        .or_else(|| env::var_os("CARGO_TARGET_DIR").map(PathBuf::from))
        .unwrap_or_else(|| workspace.root().join("target"));
    outer.join("guests")
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let workspace = Workspace {
            root: PathBuf::from("/source"),
        };
        assert_eq!(
            guest_target_dir(&workspace, &out_dir),
            target.path().join("guests")
        );
    }
}
