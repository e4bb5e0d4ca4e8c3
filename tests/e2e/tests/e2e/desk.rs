//! The command line as a user runs it at their desk.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use pintle_harness::{GitRepo, RunDir, agent};

use crate::world::{namespace, world};

/// A folder, a namespace, and the user who works on both.
pub(crate) struct Desk {
    pub(crate) namespace: String,
    pub(crate) repository: GitRepo,
    kubeconfig: std::path::PathBuf,
    pub(crate) home: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        Self::in_namespace(&namespace(prefix)?)
    }

    /// Returns a desk in an existing namespace.
    pub(crate) fn in_namespace(namespace: &str) -> Result<Self> {
        Ok(Self {
            repository: world().servers.repository(&format!("{namespace}-desk"))?,
            kubeconfig: world()
                .control_plane
                .service_account_kubeconfig(namespace, "deployer")?,
            home: tempfile::tempdir()?,
            namespace: namespace.to_owned(),
        })
    }

    /// Returns a pintle command that is ready to run in the folder.
    pub(crate) fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = pintle(args, &self.kubeconfig, self.home.path())?;
        command.current_dir(self.repository.work());
        Ok(command)
    }

    /// Runs pintle in the folder, and checks its exit code.
    pub(crate) fn pintle(&self, args: &[&str], expected: i32) -> Result<String> {
        run(self.command(args)?, args, expected)
    }

    /// Counts the writes of this desk's user since a mark, dry runs excluded.
    pub(crate) fn writes_since(&self, mark: u64) -> Result<BTreeMap<String, usize>> {
        let user = format!("system:serviceaccount:{}:deployer", self.namespace);
        let mut writes = BTreeMap::new();
        for request in world().control_plane.requests_since(mark)? {
            let is_ours = request.user == user && request.namespace == self.namespace;
            if is_ours && request.is_write() && !request.uri.contains("dryRun=") {
                let object = format!("{} {}/{}", request.verb, request.resource, request.name);
                *writes.entry(object).or_default() += 1;
            }
        }
        Ok(writes)
    }

    /// Runs kubectl in the namespace, as an administrator.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Result<String> {
        let all = [&["--namespace", self.namespace.as_str()], args].concat();
        world().control_plane.kubectl(&all)
    }
}

/// Returns a pintle command that is ready to run as an administrator, in no particular folder.
pub(crate) fn of_administrator(args: &[&str], home: &Path) -> Result<Command> {
    let mut command = pintle(args, &world().control_plane.kubeconfig(), home)?;
    command.current_dir(home);
    Ok(command)
}

/// Runs pintle as an administrator, in no particular folder, and checks its exit code.
pub(crate) fn as_administrator(args: &[&str], expected: i32) -> Result<String> {
    let home = tempfile::tempdir()?;
    run(of_administrator(args, home.path())?, args, expected)
}

/// Runs pintle as an administrator, checks its exit code, and parses its standard output as one document.
pub(crate) fn document(args: &[&str], expected: i32) -> Result<serde_json::Value> {
    let home = tempfile::tempdir()?;
    let output = of_administrator(args, home.path())?.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.code() != Some(expected) {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("pintle {}: {}\n{said}", args.join(" "), output.status);
    }
    serde_json::from_str(&text).with_context(|| format!("no one document: {text}"))
}

fn pintle(args: &[&str], kubeconfig: &Path, home: &Path) -> Result<Command> {
    let mut command = Command::new(agent::executable()?);
    command
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .env("XDG_CACHE_HOME", cache())
        .env("HOME", home);
    Ok(command)
}

fn run(mut command: Command, args: &[&str], expected: i32) -> Result<String> {
    let output = command.output().context("start pintle")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() != Some(expected) {
        bail!(
            "pintle {}: {}, expected {expected}\n{text}\n{said}",
            args.join(" "),
            output.status
        );
    }
    Ok(text + &said)
}

/// Returns where compiled plugins are cached for all tests of this process. Nothing drops the folder: the folders of the next run
/// sweep it away.
fn cache() -> &'static Path {
    static CACHE: std::sync::OnceLock<RunDir> = std::sync::OnceLock::new();
    CACHE
        .get_or_init(|| RunDir::new("desk").expect("a folder can be made"))
        .path()
}
