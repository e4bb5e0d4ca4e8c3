//! Finds a compiler for Wasm on this machine.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::scrub;

/// The target of all guests. A component built for it has no way to even name a clock.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The packages for `apt-get install` on Debian, where rustup cannot download the target. Any `lld` will do.
pub const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "rust-web-src", "cargo-web", "lld"];

/// The oldest compiler that builds this workspace: its major and minor version.
const OLDEST: (u32, u32) = (1, 95);

/// A compiler for Wasm, and how to make Cargo use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The name for messages.
    pub(crate) name: &'static str,
    pub(crate) cargo: PathBuf,
    pub(crate) args: Vec<&'static str>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// The folder with the source of the standard library, if that is built as well.
    pub(crate) library: Option<PathBuf>,
}

impl Toolchain {
    /// Finds the first available of these: the current toolchain with the target installed, Debian's packages, and the current
    /// toolchain after rustup has added the target to it.
    ///
    /// This installs no packages of the operating system.
    pub fn find() -> Result<Self, MissingToolchain> {
        let mut tried = Vec::new();
        let mut keep = |reason: String| tried.push(reason);
        Self::installed()
            .map_err(&mut keep)
            .or_else(|()| Self::debian().map_err(&mut keep))
            .or_else(|()| Self::added_by_rustup().map_err(&mut keep))
            .map_err(|()| MissingToolchain { tried })
    }

    /// Returns the toolchain's name, for messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the toolchain that builds the rest of the workspace, if the target is installed in it.
    fn installed() -> Result<Self, String> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let folder =
            answer(Command::new(&rustc).args(["--print", "target-libdir", "--target", TARGET]))?;
        let has_std = fs::read_dir(&folder).is_ok_and(|files| {
            files
                .flatten()
                .any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
        });
        if !has_std {
            return Err(format!(
                "the current toolchain has no target {TARGET}: nothing in {folder}"
            ));
        }
        Ok(Self {
            name: "the current toolchain",
            cargo: env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from),
            args: Vec::new(),
            environment: vec![("RUSTC", rustc)],
            library: None,
        })
    }

    /// Returns the toolchain of Debian's packages. They contain no compiled standard library for the target, but its vendored
    /// source, which is built as well.
    fn debian() -> Result<Self, String> {
        let (rustc, cargo) = (Path::new("/usr/bin/rustc"), Path::new("/usr/bin/cargo"));
        if !rustc.exists() || !cargo.exists() {
            return Err("Debian's rustc-web and cargo-web are not installed".to_owned());
        }
        let version = answer(Command::new(rustc).arg("--version"))?;
        if parse_version(&version).is_none_or(|version| version < OLDEST) {
            return Err(format!(
                "{} is older than {}.{}: {version}",
                rustc.display(),
                OLDEST.0,
                OLDEST.1
            ));
        }
        let sysroot = answer(Command::new(rustc).args(["--print", "sysroot"]))?;
        let library = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
        if !library.join("Cargo.lock").exists() {
            return Err(format!(
                "Debian's rust-web-src is not installed: nothing in {}",
                library.display()
            ));
        }
        let linker = newest_linker(env::var_os("PATH").iter().flat_map(env::split_paths))
            .ok_or("Debian's lld is not installed: no wasm-ld in PATH")?;
        Ok(Self {
            name: "Debian's toolchain",
            cargo: cargo.to_owned(),
            args: vec!["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="],
            environment: vec![
                ("RUSTC", rustc.into()),
                // Building the standard library is unstable in Cargo, and this compiler is a stable one.
                ("RUSTC_BOOTSTRAP", "1".into()),
                ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker.into()),
            ],
            library: Some(library),
        })
    }

    fn added_by_rustup() -> Result<Self, String> {
        answer(Command::new("rustup").args(["target", "add", TARGET]))?;
        Self::installed()
    }
}

/// Nothing on this machine compiles for Wasm. The message says what was tried and what to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingToolchain {
    tried: Vec<String>,
}

impl fmt::Display for MissingToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "no toolchain on this machine compiles plugins to WebAssembly"
        )?;
        for reason in &self.tried {
            writeln!(f, "  - {}", reason.trim().replace('\n', "\n    "))?;
        }
        writeln!(f, "run one of these and build again:")?;
        writeln!(f, "  rustup target add {TARGET}")?;
        write!(
            f,
            "  apt-get update && apt-get install -y {}",
            DEBIAN_PACKAGES.join(" ")
        )
    }
}

impl std::error::Error for MissingToolchain {}

/// Runs a program and returns its output, or why it failed.
fn answer(command: &mut Command) -> Result<String, String> {
    scrub(command);
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} failed: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Parses `rustc 1.96.0 (...)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split_whitespace().nth(1)?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Finds the `wasm-ld-N` with the highest N, or else `wasm-ld`: Debian installs each LLVM under names of its own.
fn newest_linker(folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let linkers = folders
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .filter_map(|file| {
            let name = file.file_name();
            let version = match name.to_str()?.strip_prefix("wasm-ld")? {
                "" => 0,
                rest => rest.strip_prefix('-')?.parse::<u32>().ok()?,
            };
            Some((version, file.path()))
        });
    linkers
        .max_by_key(|(version, _)| *version)
        .map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_compiler_prints() {
        assert_eq!(
            parse_version("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"),
            Some((1, 96))
        );
        assert_eq!(parse_version("rustc 1.63.0"), Some((1, 63)));
        assert_eq!(parse_version("rustc"), None);
        assert_eq!(parse_version("rustc nightly"), None);
    }

    #[test]
    fn the_newest_linker_is_taken() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let newest =
            || newest_linker([folder.path().to_owned(), PathBuf::from("/nonexistent")].into_iter());
        assert_eq!(newest(), None);
        for (name, expected) in [
            ("wasm-ld", "wasm-ld"),
            ("wasm-ld-9", "wasm-ld-9"),
            ("wasm-ld-22", "wasm-ld-22"),
            ("wasm-ld-14", "wasm-ld-22"),
            ("wasm-ldx", "wasm-ld-22"),
            ("wasm-ld-99.bak", "wasm-ld-22"),
        ] {
            fs::write(folder.path().join(name), "").expect("written");
            assert_eq!(newest(), Some(folder.path().join(expected)), "after {name}");
        }
    }

    #[test]
    fn a_missing_toolchain_says_what_to_run() {
        let error = MissingToolchain {
            tried: vec![
                "the current toolchain has no target wasm32-unknown-unknown: nothing in /lib/wasm32".to_owned(),
                "Debian's rustc-web and cargo-web are not installed".to_owned(),
                "rustup failed: error: could not download file\nerror: offline".to_owned(),
            ],
        };
        insta::assert_snapshot!(error, @r"
        no toolchain on this machine compiles plugins to WebAssembly
          - the current toolchain has no target wasm32-unknown-unknown: nothing in /lib/wasm32
          - Debian's rustc-web and cargo-web are not installed
          - rustup failed: error: could not download file
            error: offline
        run one of these and build again:
          rustup target add wasm32-unknown-unknown
          apt-get update && apt-get install -y rustc-web rust-web-src cargo-web lld
        ");
    }
}
