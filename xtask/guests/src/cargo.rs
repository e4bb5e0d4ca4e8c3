//! The nested Cargo run.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Error, Guest, TARGET, Toolchain, Workspace};

/// The profile of guests, defined in the workspace's `Cargo.toml`.
const PROFILE: &str = "guest";

/// 128-bit vectors, which every engine that runs components supports: text is searched 16 bytes at a time. Their results are the
/// same on every machine. The relaxed instructions, whose results are not, are a separate feature.
const FEATURES: &str = "-Ctarget-feature=+simd128";

/// A core module.
pub(crate) struct Module {
    pub(crate) path: PathBuf,
    /// The files of the workspace that it was built from.
    pub(crate) inputs: Vec<PathBuf>,
}

/// Compiles a guest to a core module.
///
/// Each guest has its own run: Cargo then unifies features only over what that guest uses, so the bytes do not depend on what
/// else is built.
pub(crate) fn build(
    workspace: &Workspace,
    toolchain: &Toolchain,
    target_dir: &Path,
    guest: &Guest,
) -> Result<Module, Error> {
    // A build never changes the workspace's lock file. A new package has no lock file yet.
    let locked = workspace
        .root()
        .join("Cargo.lock")
        .exists()
        .then_some("--locked");
    let mut command = Command::new(&toolchain.cargo);
    scrub(&mut command);
    command
        .current_dir(workspace.root())
        // `cargo rustc` sets the crate type here rather than in the guest's manifest. With an `rlib` beside it, Cargo would skip
        // link-time optimisation, and native builds would link a library that nobody wants.
        .args([
            "rustc",
            "--lib",
            "--crate-type",
            "cdylib",
            "--target",
            TARGET,
            "--profile",
            PROFILE,
        ])
        .args(["--package", guest.package()])
        .args(locked)
        .args(&toolchain.args)
        .envs(
            toolchain
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .env("CARGO_TARGET_DIR", target_dir)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags(workspace, toolchain, target_dir),
        )
        .stdin(Stdio::null());
    let output = command.output().map_err(|source| Error::Cargo {
        guest: guest.package().to_owned(),
        cargo: toolchain.cargo.clone(),
        source,
    })?;
    if !output.status.success() {
        return Err(Error::Build {
            guest: guest.package().to_owned(),
            toolchain: toolchain.name(),
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    let stem = guest.package().replace('-', "_");
    let folder = target_dir.join(TARGET).join(PROFILE);
    let inputs = inputs(workspace, &folder.join(format!("{stem}.d")))?;
    Ok(Module {
        path: folder.join(format!("{stem}.wasm")),
        inputs,
    })
}

/// Removes environment variables that an outer Cargo run has set and that an inner run would obey or be confused by.
pub(crate) fn scrub(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_outer_cargo) {
            command.env_remove(name);
        }
    }
}

fn is_of_outer_cargo(name: &str) -> bool {
    /// Access to registries and the number of jobs: the user's settings, which also apply to the inner run.
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_TERM_",
    ];
    const DROPPED: [&str; 4] = ["CARGO", "CLIPPY_", "DEP_", "RUST"];
    /// Variables for build scripts, and library paths, which point to the outer toolchain's compiler libraries.
    const DROPPED_WHOLE: [&str; 9] = [
        "DEBUG",
        "DYLD_FALLBACK_LIBRARY_PATH",
        "HOST",
        "LD_LIBRARY_PATH",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "TARGET",
    ];
    // RUSTUP_TOOLCHAIN selects the toolchain itself.
    let kept = name.starts_with("RUSTUP_") || KEPT.iter().any(|prefix| name.starts_with(prefix));
    !kept
        && (DROPPED_WHOLE.contains(&name) || DROPPED.iter().any(|prefix| name.starts_with(prefix)))
}

/// Returns compiler flags, separated as Cargo expects them. Paths of this machine are replaced, so that the same sources produce
/// the same bytes elsewhere.
///
/// Path dependencies outside the workspace are left as they are: Cargo makes their absolute paths a part of symbol names, so the
/// bytes would differ anyway.
fn flags(workspace: &Workspace, toolchain: &Toolchain, target_dir: &Path) -> OsString {
    let mut flags = OsString::from(FEATURES);
    let mut remap = |from: &Path, to: &str| {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    };
    // The last match wins, so the more specific paths come later.
    let home = cargo_home();
    remap(&home, "/cargo");
    for registry in fs::read_dir(home.join("registry/src"))
        .into_iter()
        .flatten()
        .flatten()
    {
        remap(&registry.path(), "/registry");
    }
    remap(workspace.root(), "/source");
    remap(target_dir, "/target");
    if let Some(library) = &toolchain.library {
        remap(library, "/rustc/library");
    }
    flags
}

fn cargo_home() -> PathBuf {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .unwrap_or_else(|| PathBuf::from("/nonexistent"))
}

/// Returns the files that a module was built from: those in Cargo's own list, and the manifests beside them.
fn inputs(workspace: &Workspace, list: &Path) -> Result<Vec<PathBuf>, Error> {
    let text = fs::read_to_string(list).map_err(|source| Error::Read {
        path: list.to_owned(),
        source,
    })?;
    let mut inputs =
        BTreeSet::from(["Cargo.toml", "Cargo.lock"].map(|file| workspace.root().join(file)));
    for source in parse_dependencies(&text) {
        let path = workspace.root().join(source);
        let mut folders = path
            .ancestors()
            .skip(1)
            .take_while(|folder| *folder != workspace.root());
        if let Some(package) = folders.find(|folder| folder.join("Cargo.toml").exists()) {
            inputs.insert(package.join("Cargo.toml"));
        }
        inputs.insert(path);
    }
    Ok(inputs.into_iter().collect())
}

/// Parses make's format, `output: input input`, in which a backslash escapes the spaces in a name.
fn parse_dependencies(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (_, line) in text.lines().filter_map(|line| line.split_once(": ")) {
        let mut name = String::new();
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' if characters.peek() == Some(&' ') => name.extend(characters.next()),
                ' ' => names.push(std::mem::take(&mut name)),
                _ => name.push(character),
            }
        }
        names.push(name);
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_run_inherits_the_users_settings_only() {
        for dropped in [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_CFG_UNIX",
            "CARGO_TARGET_DIR",
            "RUSTC",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "OUT_DIR",
            "LD_LIBRARY_PATH",
            "DEP_Z_ROOT",
            "CLIPPY_ARGS",
        ] {
            assert!(is_of_outer_cargo(dropped), "{dropped}");
        }
        for kept in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_MAKEFLAGS",
            "RUSTUP_TOOLCHAIN",
            "HOSTNAME",
        ] {
            assert!(!is_of_outer_cargo(kept), "{kept}");
        }
    }

    #[test]
    fn dependency_lists_are_those_of_make() {
        assert_eq!(
            parse_dependencies("/t/a.wasm: /w/a b/lib.rs\n"),
            ["/w/a", "b/lib.rs"]
        );
        assert_eq!(
            parse_dependencies("/t/a.wasm: /w/a\\ b/lib.rs /w/c.rs\n"),
            ["/w/a b/lib.rs", "/w/c.rs"]
        );
        assert!(parse_dependencies("").is_empty());
    }
}
