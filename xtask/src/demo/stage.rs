//! What the story needs: a cluster, a registry, a git server, the plugins, the agent.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use pintle_harness::{
    Agent, AgentOptions, ControlPlane, ControlPlaneOptions, GitRepo, RunDir, Servers,
    ServersOptions, agent,
};

use super::tell;
use crate::workspace;

/// The plugins that the story pulls from the registry.
const PLUGINS: [&str; 5] = ["manifests", "guardrails", "kubernetes", "webhook", "slack"];

/// Everything that runs for the story.
pub(super) struct Stage {
    pub(super) pintle: PathBuf,
    pub(super) kubectl: Vec<String>,
    pub(super) kubeconfig: PathBuf,
    pub(super) namespace: String,
    pub(super) servers: Servers,
    pub(super) repository: GitRepo,
    agent: Agent,
    control_plane: Option<ControlPlane>,
    dir: RunDir,
}

impl Stage {
    pub(super) fn set(context: Option<&str>, keep: bool) -> Result<Self> {
        tell::line(
            "Setting the stage. The first time this builds a Kubernetes control plane, which takes minutes.",
        );
        let progress = |line: &str| tell::line(&format!("   {line}"));
        progress(
            "building pintle and its plugins (the first time, compiling the plugins to Wasm keeps `pintle-builtin(build)` \
             busy for minutes)",
        );
        build_pintle()?;
        let pintle = agent::executable()?;
        let mut dir = RunDir::new("demo")?;
        if keep {
            dir.keep();
        }
        let (control_plane, kubeconfig, kubectl) = match context {
            None => {
                let options = ControlPlaneOptions {
                    dir: Some(dir.path().join("cluster")),
                    detached: keep,
                    ..ControlPlaneOptions::default()
                };
                let control_plane = ControlPlane::start(options, &progress)?;
                let kubeconfig = control_plane.kubeconfig();
                let kubectl = vec![control_plane.kubectl_path().display().to_string()];
                (Some(control_plane), kubeconfig, kubectl)
            }
            Some(context) => {
                let kubeconfig = dir.path().join("kubeconfig");
                std::fs::write(&kubeconfig, minified(context)?)?;
                (None, kubeconfig, vec!["kubectl".to_owned()])
            }
        };
        let options = ServersOptions {
            dir: Some(dir.path().join("servers")),
            detached: keep,
            ..ServersOptions::default()
        };
        let servers = Servers::start(&options, &progress)?;
        let repository = servers.repository("shop")?;
        for plugin in PLUGINS {
            let reference = format!(
                "{}/plugins/{plugin}:{}",
                servers.registry(),
                env!("CARGO_PKG_VERSION")
            );
            run(Command::new(&pintle).args(["plugin", "push", plugin, &reference]))?;
        }
        progress("pushed the plugins to the registry");
        let deploy = workspace::root().join("deploy");
        let namespace = format!("shop-{:04x}", std::process::id() & 0xffff);
        let mut options = match &control_plane {
            Some(control_plane) => AgentOptions::new(agent::install(control_plane, &deploy)?),
            None => borrow(&kubectl[0], &kubeconfig, &deploy, &namespace)?,
        };
        options.dir = Some(dir.path().join("agent"));
        options.detached = keep;
        Ok(Self {
            agent: Agent::start(options)?,
            pintle,
            kubectl,
            kubeconfig,
            namespace,
            servers,
            repository,
            control_plane,
            dir,
        })
    }

    /// Creates what an operator creates once: the namespace, an account that the agent writes as, the plugins.
    pub(super) fn furnish(&mut self) -> Result<()> {
        let namespace = &self.namespace;
        let mut manifests = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n\
             apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: deployer, namespace: {namespace}}}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
             metadata: {{name: deployer, namespace: {namespace}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}\n\
             subjects: [{{kind: ServiceAccount, name: deployer, namespace: {namespace}}}]\n"
        );
        for plugin in PLUGINS {
            // The receiver is on loopback, which a plugin can reach only if both are granted.
            let grants = match plugin {
                "webhook" => format!(
                    ", grants: {{httpHosts: ['{}'], privateNetworks: true}}",
                    self.servers.registry()
                ),
                _ => String::new(),
            };
            let _ = write!(
                manifests,
                "---\napiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: {plugin}}}\n\
                 spec: {{image: '{}/plugins/{plugin}:{}', namespaces: [{namespace}]{grants}}}\n",
                self.servers.registry(),
                env!("CARGO_PKG_VERSION")
            );
        }
        self.apply(&manifests)
    }

    /// Runs kubectl on the story's cluster.
    pub(super) fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.kubectl[0]);
        command
            .args(&self.kubectl[1..])
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(args);
        run(&mut command)
    }

    /// Applies manifests with kubectl.
    pub(super) fn apply(&self, manifests: &str) -> Result<()> {
        let file = self.dir.path().join("manifests.yaml");
        std::fs::write(&file, manifests)?;
        self.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()])
            .map(drop)
    }

    /// Runs pintle on the story's cluster.
    pub(super) fn pintle(&self, args: &[&str]) -> Result<String> {
        run(Command::new(&self.pintle)
            .env("KUBECONFIG", &self.kubeconfig)
            .args(args))
    }

    /// Returns the path of the agent's log.
    pub(super) fn agent_log(&self) -> PathBuf {
        self.agent.dir().join("agent.log")
    }

    /// Keeps the agent's log for a day.
    pub(super) fn keep_log(&mut self) {
        self.dir.keep();
    }

    /// Prints what is still running, and how to end it.
    pub(super) fn leave(&self) {
        let (pintle, namespace) = (self.pintle.display(), &self.namespace);
        let mut processes = vec![self.agent.process().id(), self.servers.process().id()];
        processes.extend(
            self.control_plane
                .as_ref()
                .map(|control_plane| control_plane.process().id()),
        );
        let ids = processes
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(" ");
        tell::line(&format!(
            "\nEverything is still running. Try:\n\n  \
             export KUBECONFIG={}\n  \
             {} -n {namespace} get applications,deployments\n  \
             {pintle} get applications\n  \
             cd {} && $EDITOR . && git commit -am mine && git push\n  \
             tail -f {}\n\n\
             End it with: kill {ids}",
            self.kubeconfig.display(),
            self.kubectl[0],
            self.repository.work().display(),
            self.agent_log().display(),
        ));
    }

    /// Removes what the story created in a cluster that existed before.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.agent.stop()?;
        if self.control_plane.is_none() {
            for plugin in PLUGINS {
                self.kubectl(&["delete", "plugin.pintle.dev", plugin, "--ignore-not-found"])?;
            }
            self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"])?;
            tell::line(
                "   left in the cluster: the custom resource definitions of pintle.dev, for you to keep or delete",
            );
        }
        Ok(())
    }
}

/// Makes sure that there are no plugins with the same names as the story's: they would be replaced, and removed at the end.
fn refuse_plugins(call: impl Fn(&[&str]) -> Result<String>) -> Result<()> {
    let resource = "plugins.pintle.dev";
    let is_installed = call(&["get", "crd", resource, "--ignore-not-found", "-o", "name"])?;
    if is_installed.is_empty() {
        return Ok(());
    }
    let found = call(&["get", resource, "-o", "name"])?;
    let mut names = found.lines().filter_map(|line| line.split('/').next_back());
    match names.find(|name| PLUGINS.contains(name)) {
        Some(name) => bail!(
            "the cluster has a Plugin {name}, and the story would replace and then remove it: use a cluster without it, or \
             `kubectl delete plugin.pintle.dev {name}` if an earlier demo left it"
        ),
        None => Ok(()),
    }
}

/// Prepares a cluster that existed before: the custom resource definitions, and a namespace in which the agent stores its own
/// objects and to which it is restricted.
fn borrow(
    kubectl: &str,
    kubeconfig: &Path,
    deploy: &Path,
    namespace: &str,
) -> Result<AgentOptions> {
    let call = |args: &[&str]| {
        run(Command::new(kubectl)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(args))
    };
    refuse_plugins(call)?;
    let crds = deploy.join("crds").display().to_string();
    call(&["apply", "--server-side", "-f", &crds])?;
    for crd in ["crd/applications.pintle.dev", "crd/plugins.pintle.dev"] {
        call(&["wait", crd, "--for=condition=Established", "--timeout=60s"])?;
    }
    call(&["create", "namespace", namespace])?;
    let mut options = AgentOptions::new(kubeconfig.to_owned());
    for flag in ["--namespace", "--watch-namespace"] {
        options.args.extend([flag.to_owned(), namespace.to_owned()]);
    }
    Ok(options)
}

/// Builds `pintle`. Cargo's own progress goes to the terminal.
fn build_pintle() -> Result<()> {
    let status = workspace::cargo()
        .args(["build", "--package", "pintle"])
        .status()
        .context("run cargo build")?;
    if !status.success() {
        bail!("pintle was not built");
    }
    Ok(())
}

/// Returns a kubeconfig with one context, credentials included, so that the story cannot stray into another cluster.
fn minified(context: &str) -> Result<String> {
    run(Command::new("kubectl").args([
        "config",
        "view",
        "--raw",
        "--flatten",
        "--minify",
        "--context",
        context,
    ]))
    .with_context(|| format!("read the context {context}: is kubectl installed?"))
}

fn run(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| format!("start {shown}"))?;
    if !output.status.success() {
        bail!(
            "{shown} ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
