//! The Go programs, and how each is built.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::cache;
use crate::progress::Progress;

/// How often a build reports its progress.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A program of this project that is written in Go, because the code that it is built from is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The control plane, in `tests/cluster`.
    Cluster,
    /// Helm, as an oracle for the renderer `helm` and as a command, in `tests/oracle/helm`.
    Helm,
    /// The registry, git server and sink, in `tests/servers`.
    Servers,
    /// Flux's kustomize-controller, at the version in `tests/bench/flux/go.mod`, for the benchmark.
    ///
    /// Its definitions are beside the executable: see [`KUSTOMIZATION_CRD`].
    KustomizeController,
}

/// The file with the definition of Kustomizations, beside [`Program::KustomizeController`]'s executable.
pub const KUSTOMIZATION_CRD: &str = "kustomizations.yaml";

/// The module of Helm's library.
const HELM: &str = "helm.sh/helm/v4";

/// The module, which is also the package to build.
const KUSTOMIZE_CONTROLLER: &str = "github.com/fluxcd/kustomize-controller";

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Cluster => "testcluster",
            Self::Helm => "helm-oracle",
            Self::Servers => "testservers",
            Self::KustomizeController => "kustomize-controller",
        }
    }

    /// Returns the package to build, relative to the folder of the sources.
    fn package(self) -> &'static str {
        match self {
            Self::Cluster | Self::Helm | Self::Servers => ".",
            Self::KustomizeController => KUSTOMIZE_CONTROLLER,
        }
    }

    /// Returns the folder of the program's sources, a Go module.
    pub fn sources(self) -> PathBuf {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        tests.join(match self {
            Self::Cluster => "cluster",
            Self::Helm => "oracle/helm",
            Self::Servers => "servers",
            Self::KustomizeController => "bench/flux",
        })
    }

    /// Returns the version in `go.mod` of the module that the program is built from.
    pub fn version(self) -> Result<String> {
        self.list("{{.Version}}")
    }

    /// Returns the folder with the source of that module, and downloads it if needed.
    pub fn module(self) -> Result<PathBuf> {
        go(&self.sources(), &["mod", "download", self.module_path()])?;
        self.list("{{.Dir}}").map(PathBuf::from)
    }

    fn list(self, format: &str) -> Result<String> {
        go(
            &self.sources(),
            &["list", "-m", "-f", format, self.module_path()],
        )
    }

    fn module_path(self) -> &'static str {
        match self {
            Self::Cluster => "k8s.io/kubernetes",
            Self::Helm => HELM,
            Self::Servers => "cuelabs.dev/go/oci/ociregistry",
            Self::KustomizeController => KUSTOMIZE_CONTROLLER,
        }
    }

    /// Builds the program unless the cache folder has it, and returns the path of its executable.
    ///
    /// This needs Go. The first build of the control plane downloads about 600 MB of modules and takes some minutes. Later
    /// builds, after a change of its sources, take about 20 s. Two processes that build at the same time wait for each other.
    pub fn build(self, progress: Progress<'_>) -> Result<PathBuf> {
        let sources = self.sources();
        let programs = cache::dir()?.join("programs");
        fs::create_dir_all(&programs).with_context(|| format!("make {}", programs.display()))?;
        let version = go(&sources, &["env", "GOVERSION"])?;
        let digest = digest_of(&sources, &version)?;
        let dir = programs.join(format!("{}-{digest}", self.name()));
        let executable = dir.join(self.name());
        if executable.is_file() {
            return Ok(executable);
        }

        let lock_path = programs.join(format!("{}.lock", self.name()));
        let lock =
            File::create(&lock_path).with_context(|| format!("make {}", lock_path.display()))?;
        if lock.try_lock().is_err() {
            progress(&format!(
                "{}: another process builds it; waiting",
                self.name()
            ));
            lock.lock()
                .with_context(|| format!("lock {}", lock_path.display()))?;
        }
        if executable.is_file() {
            return Ok(executable);
        }
        remove_old(&programs, self.name(), &dir);
        self.compile(&sources, &executable, progress)?;
        Ok(executable)
    }

    fn compile(self, sources: &Path, executable: &Path, progress: Progress<'_>) -> Result<()> {
        let name = self.name();
        let start = Instant::now();
        progress(&format!(
            "{name}: building with Go{}",
            match self {
                Self::Cluster | Self::Helm | Self::KustomizeController => {
                    "; the first time this takes some minutes"
                }
                Self::Servers => "",
            }
        ));
        // The controller's module lists many dependencies that only its tests and tools need.
        if self != Self::KustomizeController {
            go(sources, &["mod", "download"])?;
        }
        let partial = executable.with_extension("partial");
        let mut command = go_command(sources);
        command
            .args(["build", "-v", "-buildvcs=false", "-ldflags"])
            .arg(self.ldflags()?)
            .arg("-o")
            .arg(&partial)
            .arg(self.package());
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start go build")?;
        // `go build -v` prints each package on a line of standard error, and prints errors there, too.
        let stderr = child.stderr.take().context("standard error is a pipe")?;
        let (mut compiled, mut errors, mut told) = (0_usize, Vec::new(), start);
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains(' ') {
                errors.push(line);
                continue;
            }
            compiled += 1;
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                progress(&format!(
                    "{name}: {compiled} packages after {} s, now {line}",
                    start.elapsed().as_secs()
                ));
            }
        }
        let status = child.wait().context("wait for go build")?;
        if !status.success() {
            bail!(
                "go build in {}: {status}\n{}",
                sources.display(),
                errors.join("\n")
            );
        }
        match self {
            Self::Cluster => link_kubectl(executable)?,
            Self::Helm | Self::Servers => {}
            Self::KustomizeController => copy_definitions(sources, executable)?,
        }
        fs::rename(&partial, executable)
            .with_context(|| format!("move the new {}", executable.display()))?;
        progress(&format!("{name}: built in {} s", start.elapsed().as_secs()));
        Ok(())
    }

    /// Returns flags that strip debug information and set the version in Kubernetes' packages as its own build does: clients ask
    /// the API server for it.
    fn ldflags(self) -> Result<String> {
        let mut flags = vec!["-s".to_owned(), "-w".to_owned()];
        if self == Self::Helm {
            // As in a release of the command: charts can query it.
            let version = self.version()?;
            flags.push(format!("-X {HELM}/internal/version.version={version}"));
        }
        if self == Self::Cluster {
            let version = self.version()?;
            let minor = version
                .split('.')
                .nth(1)
                .with_context(|| format!("the version {version} has a minor part"))?;
            for package in [
                "k8s.io/component-base/version",
                "k8s.io/client-go/pkg/version",
            ] {
                for (name, value) in [
                    ("gitVersion", version.as_str()),
                    ("gitMajor", "1"),
                    ("gitMinor", minor),
                ] {
                    flags.push(format!("-X {package}.{name}={value}"));
                }
            }
        }
        Ok(flags.join(" "))
    }
}

/// Links `kubectl` to the executable, which is kubectl when called by that name.
fn link_kubectl(executable: &Path) -> Result<()> {
    let link = executable.with_file_name("kubectl");
    let _ = fs::remove_file(&link); // of a build that did not finish
    let target = executable.file_name().context("an executable has a name")?;
    symlink(target, &link).with_context(|| format!("link {}", link.display()))
}

/// Copies the custom resource definition that belongs to the program out of its module.
fn copy_definitions(sources: &Path, executable: &Path) -> Result<()> {
    let module = go(
        sources,
        &["list", "-m", "-f", "{{.Dir}}", KUSTOMIZE_CONTROLLER],
    )?;
    let from =
        Path::new(&module).join("config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml");
    // The module cache is read-only, and a copy of the file would be, too.
    let text = fs::read(&from).with_context(|| format!("read {}", from.display()))?;
    let to = executable.with_file_name(KUSTOMIZATION_CRD);
    fs::write(&to, text).with_context(|| format!("write {}", to.display()))
}

/// Returns a Go command with `-trimpath`. Without it on every command, all packages would be compiled again for another checkout.
fn go_command(dir: &Path) -> Command {
    let given = std::env::var("GOFLAGS").unwrap_or_default();
    let flags = if given.split(' ').any(|flag| flag == "-trimpath") {
        given
    } else {
        format!("{given} -trimpath")
    };
    let mut command = Command::new("go");
    command.current_dir(dir).env("GOFLAGS", flags.trim_start());
    command
}

fn go(dir: &Path, args: &[&str]) -> Result<String> {
    let output = go_command(dir).args(args).output().context(
        "run `go`: the test control plane and servers are Go programs; install Go 1.26 or newer from https://go.dev/dl",
    )?;
    if !output.status.success() {
        bail!(
            "go {} in {}: {}",
            args.join(" "),
            dir.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Computes a digest over the compiler's version and the names and contents of all files in a folder, which has no sub-folders.
fn digest_of(sources: &Path, version: &str) -> Result<String> {
    let reading = || format!("read {}", sources.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(sources).with_context(reading)? {
        files.push(entry.with_context(reading)?.path());
    }
    files.sort();
    let mut hash = Sha256::new_with_prefix(version);
    for file in files {
        let content = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    Ok(hex::encode(&hash.finalize()[..8]))
}

/// Removes builds of other sources, 180 MB each, except for the newest one: two checkouts may take turns.
fn remove_old(programs: &Path, name: &str, new: &Path) {
    let _ = fs::create_dir(new);
    let mut others: Vec<_> = fs::read_dir(programs)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry.path() != new
                && entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(&format!("{name}-"))
        })
        .collect();
    others.sort_by_key(|entry| {
        entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
    });
    others.pop();
    for entry in others {
        let _ = fs::remove_dir_all(entry.path());
    }
}
