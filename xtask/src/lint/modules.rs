//! Rust files that no `mod` declares: they are not compiled, and a test in one never runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::workspace::{Package, Workspace};

/// Returns the Rust files of each package that none of its targets reaches.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let root = &workspace.root;
    let files: Vec<PathBuf> = workspace
        .files(&["rs"])?
        .iter()
        .map(|file| root.join(file))
        .collect();
    let mut problems = Vec::new();
    for package in &workspace.packages {
        let reached = reached_by(package)?;
        for file in files
            .iter()
            .filter(|file| owner(file) == Some(package.dir()))
        {
            if !reached.contains(file) {
                let shown = file.strip_prefix(root).unwrap_or(file).display();
                problems.push(format!(
                    "{shown}: no `mod` of {} declares it, so it is not compiled",
                    package.name
                ));
            }
        }
    }
    Ok(problems)
}

/// Returns the folder of the package that a file is in: the innermost one with a manifest, which may belong to another workspace.
fn owner(file: &Path) -> Option<&Path> {
    file.ancestors()
        .skip(1)
        .find(|folder| folder.join("Cargo.toml").is_file())
}

fn reached_by(package: &Package) -> Result<BTreeSet<PathBuf>> {
    let roots: Vec<PathBuf> = package
        .targets
        .iter()
        .map(|target| target.src_path.clone())
        .collect();
    let mut reached = BTreeSet::new();
    let mut open: Vec<(PathBuf, bool)> = roots.into_iter().map(|root| (root, true)).collect();
    while let Some((file, is_root)) = open.pop() {
        if !reached.insert(file.clone()) {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let candidates = declared(&text)
            .into_iter()
            .flat_map(|module| module.candidates(&file, is_root));
        open.extend(
            candidates
                .filter(|candidate| candidate.is_file())
                .map(|candidate| (candidate, false)),
        );
    }
    Ok(reached)
}

/// A declaration `mod name;`, possibly with a `#[path]`.
#[derive(Debug, PartialEq, Eq)]
struct Module {
    name: String,
    path: Option<String>,
}

impl Module {
    /// Returns where Rust looks for the module that `file` declares.
    fn candidates(self, file: &Path, is_root: bool) -> Vec<PathBuf> {
        let parent = file.parent().unwrap_or(Path::new(""));
        if let Some(path) = self.path {
            return vec![parent.join(path)];
        }
        let in_its_own_folder = is_root || file.file_name().is_some_and(|name| name == "mod.rs");
        let folder = if in_its_own_folder {
            parent.to_owned()
        } else {
            file.with_extension("")
        };
        vec![
            folder.join(format!("{}.rs", self.name)),
            folder.join(&self.name).join("mod.rs"),
        ]
    }
}

/// Finds declarations line by line, which is how rustfmt writes them.
fn declared(text: &str) -> Vec<Module> {
    let mut path = None;
    let mut modules = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            path = rest.split('"').next().map(str::to_owned);
        } else if let Some(name) = declaration(line) {
            modules.push(Module {
                name: name.to_owned(),
                path: path.take(),
            });
        } else if !line.starts_with("#[") {
            path = None;
        }
    }
    modules
}

fn declaration(line: &str) -> Option<&str> {
    let mut line = line
        .split_once("//")
        .map_or(line, |(code, _)| code)
        .trim_end();
    if let Some(rest) = line.strip_prefix("pub") {
        line = rest.trim_start();
        if line.starts_with('(') {
            line = line.split_once(')')?.1.trim_start();
        }
    }
    line.strip_prefix("mod ")?.strip_suffix(';').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_found_in_all_their_forms() {
        let text = "
            mod a;
            pub mod b; // why
            pub(crate) mod c;
            #[cfg(test)]
            #[path = \"other/d_tests.rs\"]
            mod d;
            mod inline { }
            // mod comment;
        ";
        let names: Vec<_> = declared(text)
            .into_iter()
            .map(|module| (module.name, module.path))
            .collect();
        let plain = |name: &str| (name.to_owned(), None);
        assert_eq!(
            names,
            [
                plain("a"),
                plain("b"),
                plain("c"),
                ("d".to_owned(), Some("other/d_tests.rs".to_owned()))
            ]
        );
    }

    #[test]
    fn modules_are_looked_for_where_rust_does() {
        let candidates = |file: &str, is_root| {
            Module {
                name: "m".to_owned(),
                path: None,
            }
            .candidates(Path::new(file), is_root)
        };
        assert_eq!(
            candidates("src/lib.rs", true),
            [PathBuf::from("src/m.rs"), "src/m/mod.rs".into()]
        );
        assert_eq!(
            candidates("src/a.rs", false),
            [PathBuf::from("src/a/m.rs"), "src/a/m/mod.rs".into()]
        );
        assert_eq!(
            candidates("src/a/mod.rs", false),
            [PathBuf::from("src/a/m.rs"), "src/a/m/mod.rs".into()]
        );
    }

    #[test]
    fn a_file_that_nothing_declares_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let root = write("src/lib.rs", "mod a;\n");
        let a = write("src/a.rs", "mod b;\n");
        let b = write("src/a/b.rs", "");
        let lost = write("src/a/lost.rs", "mod b;\n");
        let package = Package {
            name: "example".to_owned(),
            manifest_path: dir.path().join("Cargo.toml"),
            dependencies: Vec::new(),
            targets: vec![crate::workspace::Target {
                src_path: root.clone(),
            }],
        };
        let reached = reached_by(&package).unwrap();
        assert_eq!(reached, BTreeSet::from([root, a, b]));
        assert!(!reached.contains(&lost));
    }
}
