//! A Kubernetes control plane for the tests alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use pintle_programs::{Program, Progress, to_stderr};

use crate::process::Process;
use crate::run_dir::RunDir;

/// The time limit for a start. A start takes 4 s on two idle cores, and a minute when six builds share them.
const START_LIMIT: Duration = Duration::from_mins(3);

/// Options for starting a [`ControlPlane`].
#[derive(Clone, Debug)]
pub struct ControlPlaneOptions {
    /// The number of fake nodes.
    pub nodes: u32,
    /// Whether clients' requests are logged, for [`ControlPlane::requests_since`].
    pub audit: bool,
    /// Additional flags for kube-apiserver, such as `--emulated-version=1.34`.
    pub api_server_args: Vec<String>,
    /// A file of kwok Stages in addition to those of `tests/cluster/stages.yaml`.
    pub stages: Option<PathBuf>,
    /// A persistent folder for its state. If unset, the state is in a [`RunDir`].
    pub dir: Option<PathBuf>,
    /// Whether it keeps running after this process has ended, and after the drop.
    pub detached: bool,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            nodes: 2,
            audit: true,
            api_server_args: Vec::new(),
            stages: None,
            dir: None,
            detached: false,
        }
    }
}

/// etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok's fake nodes in one child
/// process on loopback. Dropping it stops it.
#[derive(Debug)]
pub struct ControlPlane {
    executable: PathBuf,
    options: ControlPlaneOptions,
    state: State,
    process: Process,
}

#[derive(Debug)]
enum State {
    Fresh(RunDir),
    Given(PathBuf),
}

impl State {
    fn path(&self) -> &Path {
        match self {
            Self::Fresh(dir) => dir.path(),
            Self::Given(dir) => dir,
        }
    }
}

impl ControlPlane {
    /// Builds the program if needed, starts it, and waits until a pod can run.
    ///
    /// If the start fails, its folder is kept, and the error names the log.
    pub fn start(options: ControlPlaneOptions, progress: Progress<'_>) -> Result<Self> {
        let executable = Program::Cluster.build(progress)?;
        let mut state = match &options.dir {
            None => State::Fresh(RunDir::new("cluster")?),
            Some(dir) => {
                fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
                State::Given(
                    std::path::absolute(dir).with_context(|| format!("find {}", dir.display()))?,
                )
            }
        };
        match launch(&executable, &options, state.path()) {
            Ok(process) => Ok(Self {
                executable,
                options,
                state,
                process,
            }),
            Err(error) => {
                if let State::Fresh(dir) = &mut state {
                    dir.keep();
                }
                Err(error)
            }
        }
    }

    /// Returns the one control plane that the tests of this process share, started on first use. It ends with the process. Tests
    /// stay apart by using [`ControlPlane::namespace`].
    ///
    /// # Panics
    ///
    /// If it does not start, with the reason: no test that shares it could do better.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| {
            Self::start(ControlPlaneOptions::default(), &to_stderr)
                .map_err(|error| format!("{error:#}"))
        });
        match started {
            Ok(control_plane) => control_plane,
            Err(error) => panic!("the shared control plane did not start: {error}"),
        }
    }

    /// Returns the folder with its state and logs.
    pub fn dir(&self) -> &Path {
        self.state.path()
    }

    /// Returns the kubeconfig of an administrator, who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir().join("admin.kubeconfig")
    }

    /// Returns the path of a kubectl executable of the API server's version.
    pub fn kubectl_path(&self) -> PathBuf {
        self.executable.with_file_name("kubectl")
    }

    /// Returns the process that runs it all, for its usage and its log.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the API server's address, `https://127.0.0.1:PORT`. It stays the same across restarts.
    pub fn server(&self) -> Result<String> {
        self.kubectl(&[
            "config",
            "view",
            "--raw",
            "-o",
            "jsonpath={.clusters[0].cluster.server}",
        ])
    }

    /// Runs kubectl as the administrator and returns its output.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.run_kubectl(args, None)
    }

    /// Applies manifests as the administrator, server-side, with kubectl's field manager.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.run_kubectl(&["apply", "--server-side", "-f", "-"], Some(manifests))
            .map(drop)
    }

    fn run_kubectl(&self, args: &[&str], input: Option<&str>) -> Result<String> {
        let mut command = Command::new(self.kubectl_path());
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(args);
        let file = match input {
            None => None,
            Some(input) => Some(as_file(input)?),
        };
        command.stdin(file.map_or_else(Stdio::null, Stdio::from));
        let output = command.output().context("run kubectl")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "kubectl {}: {}: {}",
                args.join(" "),
                output.status,
                said.trim()
            );
        }
        String::from_utf8(output.stdout).context("kubectl printed what is not UTF-8")
    }

    /// Creates a namespace with a unique name that begins with `prefix`.
    ///
    /// It is not deleted when the test is over: deleting a namespace takes 5 s or more.
    pub fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{:08x}", rand::random::<u32>());
        self.kubectl(&["create", "namespace", &name])?;
        Ok(name)
    }

    /// Connects as the administrator. The client needs a tokio runtime, and works in that runtime only.
    pub async fn client(&self) -> Result<kube::Client> {
        connect(&self.kubeconfig()).await
    }

    /// Kills it with SIGKILL, like a machine that loses power. etcd's data stays.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops it gracefully, etcd last.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.terminate()?;
        if !status.success() {
            bail!(
                "the control plane stopped with {status}\n{}",
                self.process.log_tail()
            );
        }
        Ok(())
    }

    /// Starts it again with the same data at the same address, after [`ControlPlane::kill`] or [`ControlPlane::stop`]. If it is
    /// still running, it is killed first.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_running() {
            self.kill()?;
        }
        self.process = launch(&self.executable, &self.options, self.state.path())?;
        Ok(())
    }
}

/// Connects according to a kubeconfig's current context. The client needs a tokio runtime, and works in that runtime only.
pub async fn connect(kubeconfig: &Path) -> Result<kube::Client> {
    let reading = || format!("connect as {} says", kubeconfig.display());
    let parsed = Kubeconfig::read_from(kubeconfig).with_context(reading)?;
    let config = kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .with_context(reading)?;
    kube::Client::try_from(config).with_context(reading)
}

fn launch(executable: &Path, options: &ControlPlaneOptions, dir: &Path) -> Result<Process> {
    let mut command = Command::new(executable);
    command
        .arg("up")
        .arg("-dir")
        .arg(dir)
        .arg("-nodes")
        .arg(options.nodes.to_string());
    if options.audit {
        command.arg("-audit");
    }
    if let Some(stages) = &options.stages {
        command.arg("-stages").arg(stages);
    }
    if !options.api_server_args.is_empty() {
        command
            .arg("-apiserver-args")
            .arg(options.api_server_args.join(" "));
    }
    let log = dir.join("cluster.log");
    let mut process = if options.detached {
        Process::spawn_detached("the control plane", command, &log)?
    } else {
        command.arg("-exit-with-parent");
        Process::spawn("the control plane", command, &log)?
    };
    let line = process.line(START_LIMIT)?;
    if !line.starts_with("ready ") {
        bail!(
            "the control plane said {line:?}, and not that it is ready\n{}",
            process.log_tail()
        );
    }
    Ok(process)
}

/// Returns an unnamed file with the content `text`: a child can read it at its own pace, and no thread has to write it.
fn as_file(text: &str) -> Result<fs::File> {
    use std::io::{Seek as _, Write as _};
    let mut file = tempfile::tempfile().context("make a temporary file")?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.rewind())
        .context("write a temporary file")?;
    Ok(file)
}
