//! What the benchmark runs on: a control plane, a git server, the agent with the permissions of `deploy/`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pintle_harness::{
    AGENT_NAMESPACE, Agent, AgentOptions, ControlPlane, ControlPlaneOptions, GitRepo, Process,
    RunDir, Servers, ServersOptions, agent,
};

use super::applications::{self, NAMESPACE, Names, OBJECTS};
use super::measure::{self, Subject};
use crate::{terminal, workspace};

/// The time limit for all Applications to become Ready, in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_mins(10);
/// The interval of the applications, in seconds.
pub(super) const INTERVAL: u64 = 60;
/// The image of all Deployments, and the image of the chosen one after its commit. No pod ever pulls them.
const IMAGE_BEFORE: &str = "registry.k8s.io/pause:3.9";
const IMAGE_AFTER: &str = "registry.k8s.io/pause:3.10";
/// The name, applied commit and readiness of an Application. None of them contains `|`, and kubectl would align tabs.
const STATE: &str = "jsonpath={.metadata.name}|{.status.revision}|\
                     {.status.conditions[?(@.type==\"Ready\")].status}|\
                     {.status.conditions[?(@.type==\"Ready\")].reason}{\"\\n\"}";
/// How long there may be no news before the agent is checked to be still running.
const LOOK: Duration = Duration::from_secs(5);
/// How many Applications that are not Ready an error names.
const NAMED: usize = 5;

/// Everything that runs. Fields are dropped in order, so that what uses something ends before it.
pub(super) struct Stage {
    pub(super) agent: Agent,
    /// Prints the state of each Application that changes.
    watch: Process,
    pub(super) control_plane: ControlPlane,
    pub(super) source: Source,
    dir: RunDir,
}

/// A git server with a repository, which outlives clusters.
pub(super) struct Source {
    pub(super) names: Names,
    /// The first commit.
    pub(super) commit: String,
    repository: GitRepo,
    servers: Servers,
}

impl Source {
    /// Creates a source with the manifests of all Applications and, in a folder of their own, the Applications themselves.
    pub(super) fn new(count: u16) -> Result<Self> {
        let names = Names::new(count);
        let servers = Servers::start(&ServersOptions::default(), &|line| terminal::line(line))?;
        let repository = servers.repository("bench")?;
        for name in names.all() {
            let file = format!("{}/all.yaml", applications::folder(&name));
            let manifests = applications::manifests(&name, IMAGE_BEFORE);
            repository.write(&file, manifests)?;
        }
        let url = servers.git_http(&repository);
        let all = applications::applications(names, &url, INTERVAL);
        repository.write(&format!("{}/all.yaml", applications::FLEET), all)?;
        let commit = repository.commit("all applications")?;
        repository.push()?;
        Ok(Self {
            names,
            commit,
            repository,
            servers,
        })
    }

    /// Returns the URL of the repository.
    pub(super) fn url(&self) -> String {
        self.servers.git_http(&self.repository)
    }
}

impl Stage {
    /// Creates a cluster with an agent that has nothing to do.
    pub(super) fn set(source: Source) -> Result<Self> {
        terminal::step("setting up");
        let dir = RunDir::new("bench")?;
        let options = ControlPlaneOptions::default();
        let control_plane = ControlPlane::start(options, &|line| terminal::line(line))?;
        let kubeconfig = agent::install(&control_plane, &workspace::root().join("deploy"))?;
        control_plane.kubectl(&["create", "namespace", NAMESPACE])?;
        // As in deploy/install.yaml: with a lease, and as the default account for all applications.
        let account = format!("--default-service-account={AGENT_NAMESPACE}/pintle-applier");
        let mark = control_plane.requests_mark()?;
        let agent = Agent::start(AgentOptions {
            args: vec![account, "--trust-namespace=*".to_owned()],
            dir: Some(dir.path().join("agent")),
            ..AgentOptions::new(kubeconfig)
        })?;
        measure::wait_started(Subject::agent(&agent), "applications", &control_plane, mark)?;
        let mut watch = Command::new(control_plane.kubectl_path());
        watch
            .arg("--kubeconfig")
            .arg(control_plane.kubeconfig())
            .args(["--namespace", NAMESPACE, "get", "applications.pintle.dev"])
            .args(["--watch", "--output", STATE]);
        let watch = Process::spawn(
            "kubectl get --watch",
            watch,
            &dir.path().join("kubectl.log"),
        )?;
        Ok(Self {
            agent,
            watch,
            control_plane,
            source,
            dir,
        })
    }

    /// Returns the subject of the measurement.
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject::agent(&self.agent)
    }

    /// Creates all Applications with one `kubectl apply`.
    pub(super) fn create_applications(&self) -> Result<()> {
        let Source { names, .. } = self.source;
        let all = applications::applications(names, &self.source.url(), INTERVAL);
        self.control_plane.apply(&all)
    }

    /// Loses the cluster with everything in it. What is in git stays.
    pub(super) fn lose(self) -> Source {
        self.source
    }

    /// Commits a change of the chosen Application's Deployment, without pushing it.
    pub(super) fn commit_to_one(&self) -> Result<String> {
        let name = self.source.names.chosen();
        let file = format!("{}/all.yaml", applications::folder(&name));
        let manifests = applications::manifests(&name, IMAGE_AFTER);
        self.source.repository.write(&file, manifests)?;
        self.source.repository.commit("one application")
    }

    /// Pushes, and requests a reconciliation of the chosen Application.
    pub(super) fn push_and_request(&self, commit: &str) -> Result<()> {
        self.source.repository.push()?;
        let request = format!("pintle.dev/reconcile-requested-at={commit}");
        let name = self.source.names.chosen();
        let args = ["--namespace", NAMESPACE, "annotate", "--overwrite"];
        let object = ["applications.pintle.dev", &name, &request];
        self.control_plane
            .kubectl(&[&args[..], &object[..]].concat())
            .map(drop)
    }

    /// Waits until the Applications that `which` accepts have applied the commit and are Ready.
    pub(super) fn wait_ready(&mut self, which: impl Fn(&str) -> bool, commit: &str) -> Result<()> {
        let all = self.source.names.all();
        let awaited = all.filter(|name| which(name)).collect();
        self.wait_for(awaited, commit)
    }

    /// Waits until Applications have applied the commit and are Ready.
    pub(super) fn wait_for(&mut self, mut awaited: BTreeSet<String>, commit: &str) -> Result<()> {
        let end = Instant::now() + LIMIT;
        while !awaited.is_empty() {
            ensure!(Instant::now() < end, self.unready(&awaited));
            let line = match self.watch.line(LOOK) {
                Ok(line) => line,
                Err(error) if !self.watch.is_running() => return Err(error),
                Err(_) => {
                    // If the agent has ended, nothing changes any more.
                    self.subject().check_running()?;
                    continue;
                }
            };
            let state: Vec<&str> = line.split('|').collect();
            if let [name, revision, "True", _] = state[..]
                && revision == commit
            {
                awaited.remove(name);
            }
        }
        Ok(())
    }

    fn unready(&self, awaited: &BTreeSet<String>) -> String {
        let mut text = format!(
            "{} of {} Applications are not Ready",
            awaited.len(),
            self.source.names.count()
        );
        for name in awaited.iter().take(NAMED) {
            let message = self.control_plane.kubectl(&[
                "--namespace",
                NAMESPACE,
                "get",
                "applications.pintle.dev",
                name,
                "--output",
                "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}",
            ]);
            let message = message.unwrap_or_else(|error| format!("{error:#}"));
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {name}: {message}");
        }
        text
    }

    /// Returns a description of the Applications that are not Ready now, if there are any.
    pub(super) fn not_ready(&self) -> Result<Option<String>> {
        let listing = format!(
            "jsonpath={{range .items[*]}}{}{{end}}",
            STATE.trim_start_matches("jsonpath=")
        );
        let listed = self.control_plane.kubectl(&[
            "--namespace",
            NAMESPACE,
            "get",
            "applications.pintle.dev",
            "--output",
            &listing,
        ])?;
        ensure!(
            listed.lines().count() == self.source.names.count(),
            "kubectl lists {} Applications, and not {}",
            listed.lines().count(),
            self.source.names.count()
        );
        let mut unready = self.source.names.all().collect::<BTreeSet<_>>();
        for line in listed.lines() {
            if let [name, _, "True", _] = line.split('|').collect::<Vec<_>>()[..] {
                unready.remove(name);
            }
        }
        Ok((!unready.is_empty()).then(|| self.unready(&unready)))
    }

    /// Returns a description of what the cluster lacks compared with the files, whatever the agent reports.
    pub(super) fn missing(&self) -> Result<Option<String>> {
        let found = self.managed()?.len();
        let expected = OBJECTS * self.source.names.count();
        if found != expected {
            return Ok(Some(format!(
                "{found} objects are there, and not {expected}"
            )));
        }
        let get = ["--namespace", NAMESPACE, "get"];
        let name = self.source.names.chosen();
        let image = "jsonpath={.spec.template.spec.containers[0].image}";
        let deployment = ["deployment", &name, "--output", image];
        let image = self
            .control_plane
            .kubectl(&[&get[..], &deployment].concat())?;
        Ok((image != IMAGE_AFTER)
            .then(|| format!("the Deployment {name} has the image {image}, and not {IMAGE_AFTER}")))
    }

    /// Returns a line for each object that came from git, with the digest over what was desired.
    pub(super) fn managed(&self) -> Result<BTreeSet<String>> {
        let kinds = "deployments,services,serviceaccounts,ingresses";
        let each = "jsonpath={range .items[*]}{.kind} {.metadata.name} \
                    {.metadata.annotations.pintle\\.dev/desired}{\"\\n\"}{end}";
        let args = ["--namespace", NAMESPACE, "get", kinds];
        let managed = ["--selector", "pintle.dev/application", "--output", each];
        let listed = self
            .control_plane
            .kubectl(&[&args[..], &managed].concat())?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Returns the server's version, `v1.35.0`.
    pub(super) fn kubernetes(&self) -> Result<String> {
        let text = self
            .control_plane
            .kubectl(&["version", "--output", "json"])?;
        let versions: serde_json::Value =
            serde_json::from_str(&text).context("kubectl prints JSON")?;
        let version = versions["serverVersion"]["gitVersion"].as_str();
        version
            .map(str::to_owned)
            .context("the server has a version")
    }

    /// Ends the agent. Fails unless it ends well.
    pub(super) fn strike(&mut self) -> Result<()> {
        self.agent.stop()
    }

    /// Keeps the logs, and returns where they are.
    pub(super) fn keep(&mut self) -> PathBuf {
        self.dir.keep();
        self.dir.path().to_owned()
    }
}
