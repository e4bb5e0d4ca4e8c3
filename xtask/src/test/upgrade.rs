//! `cargo xtask test upgrade`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::workspace::{self, Workspace};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The commit whose agent takes turns with this one
    #[arg(long, value_name = "COMMIT", default_value = "HEAD~1")]
    from: String,
    /// How often one takes the other's place
    #[arg(long, value_name = "N", default_value_t = 8)]
    rounds: u32,
    /// Leaves out what runs both at the same time
    #[arg(long)]
    no_overlap: bool,
}

/// Builds both agents and the program that alternates them, and runs it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let target = Workspace::load()?.target_directory;
    let commit = resolve(&options.from)?;
    let folder = target.join("upgrade").join(&commit);
    let (other, source) = other(&commit, &folder)?;
    let mut build = workspace::cargo();
    build.args(["build", "--locked", "--workspace"]);
    build.args(["--bin", "pintle", "--bin", "upgrade"]);
    workspace::run(&mut build)?;
    let binaries = target.join("debug");
    let mut command = Command::new(binaries.join("upgrade"));
    command
        .env("PINTLE_BIN", binaries.join("pintle"))
        .arg("--other")
        .arg(other)
        .arg("--other-deploy")
        .arg(source.join("deploy"))
        .args(["--other-name", &commit[..commit.len().min(12)]])
        .args(["--rounds", &options.rounds.to_string()]);
    if options.no_overlap {
        command.arg("--no-overlap");
    }
    workspace::run(&mut command)
}

fn resolve(commit: &str) -> Result<String> {
    let output = Command::new("git")
        .current_dir(workspace::root())
        .args(["rev-parse", "--verify", "--quiet"])
        .arg(format!("{commit}^{{commit}}"))
        .output()
        .context("run git rev-parse")?;
    ensure!(
        output.status.success(),
        "{commit} is no commit of this repository"
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the agent of a commit and its source, built once and kept in the build folder.
///
/// The build has a folder of its own: Cargo names a crate of a workspace by its place in it, so it would mistake what it built
/// from one commit for that of another.
fn other(commit: &str, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let (source, kept) = (folder.join("source"), folder.join("pintle"));
    if kept.is_file() {
        return Ok((kept, source));
    }
    extract(commit, &source)?;
    let target = folder.with_file_name("build");
    let mut build = workspace::cargo();
    build
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", &target)
        .args(["build", "--locked", "--workspace", "--bin", "pintle"]);
    workspace::run(&mut build)?;
    // The file is complete or absent: its presence means that it was built.
    let part = folder.join("pintle.part");
    fs::copy(target.join("debug/pintle"), &part)
        .and_then(|_| fs::rename(&part, &kept))
        .with_context(|| format!("keep {}", kept.display()))?;
    Ok((kept, source))
}

/// Writes a commit's files into a folder.
fn extract(commit: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let mut archive = Command::new("git")
        .current_dir(workspace::root())
        .args(["archive", "--format=tar", commit])
        .stdout(Stdio::piped())
        .spawn()
        .context("run git archive")?;
    let files = archive.stdout.take().context("its output is a pipe")?;
    let mut unpack = Command::new("tar");
    unpack.arg("-x").arg("-C").arg(folder).stdin(files);
    workspace::run(&mut unpack)?;
    let status = archive.wait().context("wait for git archive")?;
    ensure!(status.success(), "git archive {commit}: {status}");
    Ok(())
}
