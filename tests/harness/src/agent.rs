//! The agent as a child process, with the permissions that `deploy/` gives it and no others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::control_plane::ControlPlane;
use crate::port::Port;
use crate::process::Process;
use crate::run_dir::RunDir;
use crate::wait::until;

/// The namespace that `deploy/install.yaml` creates.
pub const AGENT_NAMESPACE: &str = "pintle-system";

/// How long the agent may take to read the Applications.
const READY_LIMIT: Duration = Duration::from_mins(1);

/// Options for starting an [`Agent`].
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The `pintle` to start. If unset, it is [`executable`].
    pub executable: Option<PathBuf>,
    /// The kubeconfig that determines its permissions.
    pub kubeconfig: PathBuf,
    /// Additional arguments for `pintle agent`.
    pub args: Vec<String>,
    /// Additional environment variables.
    pub env: Vec<(String, String)>,
    /// A persistent folder for its cache and log. If unset, they are in a [`RunDir`].
    pub dir: Option<PathBuf>,
    /// Whether it keeps running after this process has ended, and after the drop.
    pub detached: bool,
}

impl AgentOptions {
    /// Returns the options of an agent that works without a lease and logs at `info`.
    pub fn new(kubeconfig: PathBuf) -> Self {
        Self {
            executable: None,
            kubeconfig,
            args: vec!["--no-lease".to_owned()],
            env: Vec::new(),
            dir: None,
            detached: false,
        }
    }
}

/// A running `pintle agent`. Dropping it stops it gracefully, and panics if the agent ever panicked and nobody else has its log.
#[derive(Debug)]
pub struct Agent {
    executable: PathBuf,
    options: AgentOptions,
    dir: PathBuf,
    ports: (Port, Port),
    process: Process,
    // Dropped after the process, which writes into it.
    fresh: Option<RunDir>,
}

/// Finds the `pintle` that was built with this test or command: `$PINTLE_BIN`, or else the one beside it.
pub fn executable() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PINTLE_BIN") {
        return Ok(path.into());
    }
    program("pintle")
}

/// Finds a program of the workspace, given its package name, that was built with this test or command.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this executable")?;
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "no `{name}` beside {}: run `cargo build -p {name}` first",
            own.display()
        )
    })
}

/// Installs the custom resource definitions and the agent's accounts from `deploy/`, as an operator would, and returns a
/// kubeconfig with a token of the agent's account.
pub fn install(control_plane: &ControlPlane, deploy: &Path) -> Result<PathBuf> {
    for file in ["crds", "install.yaml", "applier-cluster-admin.yaml"] {
        let path = deploy.join(file);
        let path = path.to_str().context("the path of deploy/ is UTF-8")?;
        control_plane.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", path])?;
    }
    for crd in ["applications.pintle.dev", "plugins.pintle.dev"] {
        let crd = format!("crd/{crd}");
        control_plane.kubectl(&["wait", &crd, "--for=condition=Established", "--timeout=60s"])?;
    }
    control_plane.service_account_kubeconfig(AGENT_NAMESPACE, "pintle-agent")
}

impl Agent {
    /// Starts the agent and waits until `/readyz` reports that it is ready.
    pub fn start(options: AgentOptions) -> Result<Self> {
        let mut agent = Self::launch(options)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts the agent without waiting for it.
    pub fn launch(options: AgentOptions) -> Result<Self> {
        let executable = match &options.executable {
            Some(given) => given.clone(),
            None => executable()?,
        };
        let fresh = match &options.dir {
            Some(_) => None,
            None => Some(RunDir::new("agent")?),
        };
        let dir = match (&options.dir, &fresh) {
            (Some(dir), _) => dir.clone(),
            (None, Some(fresh)) => fresh.path().to_owned(),
            (None, None) => bail!("a folder is given or made"),
        };
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let ports = (Port::free()?, Port::free()?);
        let process = spawn(&executable, &options, &dir, &ports)?;
        Ok(Self {
            executable,
            options,
            dir,
            ports,
            process,
            fresh,
        })
    }

    /// Returns the base URL of `/metrics`, `/healthz` and `/readyz`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.0)
    }

    /// Returns the base URL of the webhook receiver.
    pub fn webhooks(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.1)
    }

    /// Notifies the agent of a push to a repository, as GitLab would: with the token from the Secret `pintle-webhook`.
    pub fn tell_of_push(&self, repository: &str, token: &str) -> Result<()> {
        let body = serde_json::json!({ "project": { "git_http_url": repository } }).to_string();
        let head = format!(
            "POST /webhook/gitlab HTTP/1.0\r\nX-Gitlab-Token: {token}\r\nX-Gitlab-Event: Push Hook\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        match ask(&self.webhooks(), &head, &body).map_err(anyhow::Error::msg)? {
            (202, _) => Ok(()),
            (status, said) => bail!("the webhook receiver answers {status}: {said}"),
        }
    }

    /// Returns the process, for its usage and its log.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the folder with its cache and log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Returns its exit status, or `None` if it has not ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops it with SIGTERM. Fails unless it ends by itself with success.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.terminate()?;
        if !status.success() {
            bail!("the agent ended with {status}: {}", self.process.log_tail());
        }
        Ok(())
    }

    /// Starts it again with the same cache, without waiting until it is ready.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = spawn(&self.executable, &self.options, &self.dir, &self.ports)?;
        Ok(())
    }

    /// Waits until it has read the Applications.
    pub fn wait_ready(&mut self) -> Result<()> {
        let url = format!("{}/readyz", self.url());
        let process = &mut self.process;
        until("the agent is ready", READY_LIMIT, || {
            if !process.is_running() {
                bail!("the agent ended: {}", process.log_tail());
            }
            Ok(get(&url).map(|_| ()))
        })
    }

    /// Returns the sum over all series of a metric, 0 if there are none.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = get(&format!("{}/metrics", self.url())).map_err(anyhow::Error::msg)?;
        let series = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        Ok(series
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum())
    }
}

impl Drop for Agent {
    /// Checks the log for panics: a task that panics is restarted, so a test may pass in spite of it.
    fn drop(&mut self) {
        if self.fresh.is_none() || self.options.detached || std::thread::panicking() {
            return;
        }
        if self.process.is_running() {
            // An agent that has to be killed still leaves its log.
            let _ = self.process.terminate();
        }
        let log = fs::read_to_string(self.process.log()).unwrap_or_default();
        if let Some(panic) = panic_in(&log) {
            panic!("the agent panicked: {panic}\n{}", self.process.log_tail());
        }
    }
}

/// Finds the line in which a program reports its panic. Output of a plugin is inside the agent's own log lines.
fn panic_in(log: &str) -> Option<&str> {
    let mut lines = log.lines();
    lines.find(|line| line.starts_with("thread '") && line.contains("panicked at"))
}

fn spawn(
    executable: &Path,
    options: &AgentOptions,
    dir: &Path,
    ports: &(Port, Port),
) -> Result<Process> {
    let mut command = Command::new(executable);
    command
        .arg("agent")
        .arg("--kubeconfig")
        .arg(&options.kubeconfig)
        .arg("--cache")
        .arg(dir.join("cache"))
        .args(["--listen", &format!("127.0.0.1:{}", ports.0)])
        .args(["--webhook-listen", &format!("127.0.0.1:{}", ports.1)])
        .args(&options.args)
        .envs(options.env.iter().cloned());
    let log = dir.join("agent.log");
    if options.detached {
        Process::spawn_detached("the agent", command, &log)
    } else {
        Process::spawn("the agent", command, &log)
    }
}

/// Sends a plain HTTP GET on loopback, and fails unless the answer is a success.
fn get(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").ok_or("only http")?;
    let (host, path) = rest.split_once('/').ok_or("a path")?;
    match ask(
        &format!("http://{host}"),
        &format!("GET /{path} HTTP/1.0\r\n"),
        "",
    )? {
        (200, body) => Ok(body),
        (_, body) => Err(body),
    }
}

/// Sends a plain HTTP request on loopback, and returns the status and the body. It has no client runtime, so it also works inside
/// an async one.
fn ask(base: &str, head: &str, body: &str) -> Result<(u16, String), String> {
    use std::io::{Read as _, Write as _};
    let host = base.strip_prefix("http://").ok_or("only http")?;
    let send = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(host)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "{head}Host: {host}\r\n\r\n{body}")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = send().map_err(|error| error.to_string())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or("no HTTP status")?, body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_from_what_a_plugin_says() {
        let own = "thread 'tokio-runtime-worker' (7) panicked at src/a.rs:1:2:";
        let log = format!("{{\"level\":\"INFO\"}}\n\n{own}\nno such thing\n");
        assert_eq!(panic_in(&log), Some(own));
        let plugin = r#"{"level":"ERROR","message":"thread 'main' panicked at src/lib.rs:1:2:"}"#;
        assert_eq!(panic_in(plugin), None);
    }
}
