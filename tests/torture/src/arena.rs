//! What all schedules of a run share: a control plane, servers, and lanes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pintle_harness::{
    AGENT_NAMESPACE, ControlPlane, ControlPlaneOptions, RunDir, Servers, ServersOptions, agent,
    cache, to_stderr,
};
use serde_json::json;

use crate::cluster::Namespace;
use crate::extras::REPLICAS;
use crate::schedule::Schedule;
use crate::{director, faults};

/// The shared key of webhooks.
pub(crate) const WEBHOOK_TOKEN: &str = "a shared secret";

pub(crate) struct Arena {
    pub(crate) control_plane: ControlPlane,
    pub(crate) servers: Servers,
    pub(crate) client: kube::Client,
    pub(crate) http: reqwest::Client,
    /// The kubeconfig that determines the agents' permissions.
    pub(crate) kubeconfig: PathBuf,
    /// The library that is preloaded into agents.
    pub(crate) library: PathBuf,
    runtime: tokio::runtime::Runtime,
    lanes: Vec<Lane>,
    dir: RunDir,
}

/// A place where schedules run one after the other: the agents' own namespace, and a folder for each agent with its cache and
/// log.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) namespace: String,
    dir: PathBuf,
}

impl Lane {
    /// Returns the folder of a replica.
    pub(crate) fn replica(&self, number: usize) -> PathBuf {
        self.dir.join(format!("replica-{number}"))
    }
}

impl Arena {
    pub(crate) fn start(lanes: usize) -> Result<Self> {
        let control_plane = ControlPlane::start(
            ControlPlaneOptions {
                // Each proxy keeps its own record, which also has what was written.
                audit: false,
                ..ControlPlaneOptions::default()
            },
            &to_stderr,
        )?;
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        let kubeconfig = agent::install(&control_plane, &deploy)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("make a runtime")?;
        let client = runtime.block_on(control_plane.client())?;
        let dir = RunDir::new("torture")?;
        let mut arena = Self {
            library: faults::build(dir.path())?,
            servers: Servers::start(&ServersOptions::default(), &to_stderr)?,
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(std::time::Duration::from_secs(5))
                .build()
                .context("make an HTTP client")?,
            control_plane,
            client,
            kubeconfig,
            runtime,
            lanes: Vec::new(),
            dir,
        };
        let install = std::fs::read_to_string(deploy.join("install.yaml"))
            .context("read deploy/install.yaml")?;
        arena.lanes = (0..lanes)
            .map(|number| arena.lane(number, &install))
            .collect::<Result<_>>()?;
        // Notifiers can reach nothing on this machine without a grant.
        Namespace::new(&arena, AGENT_NAMESPACE).apply(&json!({
            "apiVersion": "pintle.dev/v1alpha1", "kind": "Plugin", "metadata": {"name": "webhook"},
            "spec": {"grants": {"httpHosts": ["*"], "privateNetworks": true}},
        }))?;
        arena.warm()?;
        Ok(arena)
    }

    /// Plays a calm schedule with one agent, and copies the plugins that it compiled to all the others. It starts from the
    /// plugins of this program's last run: an agent reuses what is still valid.
    fn warm(&self) -> Result<()> {
        let Some(first) = self.lanes.first() else {
            return Ok(());
        };
        let compiled = |lane: &Lane, number| lane.replica(number).join("cache/compiled");
        let done = compiled(first, 0);
        let kept = cache::dir()?.join("torture-compiled");
        if kept.is_dir() {
            copy(&kept, &done)?;
        }
        director::play(self, first, &Schedule::calm(), false)?;
        self.keep_compiled(&done, &kept)?;
        let all = |lane| (0..REPLICAS).map(move |number| compiled(lane, number));
        let others = self.lanes.iter().flat_map(all);
        for other in others.filter(|other| *other != done) {
            copy(&done, &other)?;
        }
        Ok(())
    }

    /// Replaces the plugins that the next run starts from.
    fn keep_compiled(&self, done: &Path, kept: &Path) -> Result<()> {
        let (new, old) = (self.dir().join("compiled"), self.dir().join("outdated"));
        copy(done, &new)?;
        // Another run may do the same at this moment. The last one wins.
        let _ = std::fs::rename(kept, &old);
        let _ = std::fs::rename(&new, kept);
        Ok(())
    }

    /// Creates a namespace in which the agent has the same permissions as in its own.
    fn lane(&self, number: usize, install: &str) -> Result<Lane> {
        let namespace = format!("pintle-lane-{number}");
        let role = install
            .split("\n---\n")
            .find(|document| document.contains("\nkind: Role\n"))
            .context("deploy/install.yaml has no Role")?;
        let role = role.replace(
            &format!("namespace: {AGENT_NAMESPACE}"),
            &format!("namespace: {namespace}"),
        );
        self.control_plane.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n{role}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
             metadata: {{name: pintle-agent, namespace: {namespace}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: pintle-agent}}\n\
             subjects: [{{kind: ServiceAccount, name: pintle-agent, namespace: {AGENT_NAMESPACE}}}]\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: pintle-webhook, namespace: {namespace}}}\n\
             stringData: {{token: {WEBHOOK_TOKEN}}}\n"
        ))?;
        let dir = self.dir.path().join(format!("lane-{number}"));
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Lane { namespace, dir })
    }

    pub(crate) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Returns a folder for everything that lives as long as this arena.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Keeps logs and caches for inspection.
    pub(crate) fn keep(mut self) {
        self.dir.keep();
    }

    /// Runs a future to completion.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

/// Copies a folder with everything below it, and with its permissions.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copying = || format!("copy {} to {}", from.display(), to.display());
    std::fs::create_dir_all(to).with_context(copying)?;
    let mode = std::fs::metadata(from).with_context(copying)?.permissions();
    std::fs::set_permissions(to, mode).with_context(copying)?;
    for entry in std::fs::read_dir(from).with_context(copying)? {
        let entry = entry.with_context(copying)?;
        let target = to.join(entry.file_name());
        if entry.file_type().with_context(copying)?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).with_context(copying)?;
        }
    }
    Ok(())
}
