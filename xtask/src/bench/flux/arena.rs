//! What both contenders run on: a fresh control plane, a git server, a repository, and the benchmark's own watches.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use kube::api::{Api, ApiResource, DynamicObject};
use pintle_harness::{ControlPlane, ControlPlaneOptions, GitRepo, RunDir, Servers, ServersOptions};
use tokio::runtime::{Handle, Runtime};

use super::super::applications::NAMESPACE;
use super::observer::Observer;
use crate::terminal;

/// Everything except the contender. Fields are dropped in order, so that what uses something ends before it.
pub(super) struct Arena {
    client: kube::Client,
    runtime: Runtime,
    pub(super) repository: GitRepo,
    pub(super) servers: Servers,
    pub(super) control_plane: ControlPlane,
    dir: RunDir,
}

impl Arena {
    pub(super) fn set() -> Result<Self> {
        let progress = |line: &str| terminal::line(line);
        let dir = RunDir::new("flux")?;
        let control_plane = ControlPlane::start(ControlPlaneOptions::default(), &progress)?;
        let servers = Servers::start(&ServersOptions::default(), &progress)?;
        let repository = servers.repository("bench")?;
        control_plane.kubectl(&["create", "namespace", NAMESPACE])?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start the runtime of the watches")?;
        let client = runtime.block_on(control_plane.client())?;
        Ok(Self {
            client,
            runtime,
            repository,
            servers,
            control_plane,
            dir,
        })
    }

    pub(super) fn runtime(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Returns the API for one kind of object in the common namespace, as the administrator.
    pub(super) fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), NAMESPACE, resource)
    }

    /// Watches one kind of object in the common namespace.
    pub(super) fn observe<T: Send + 'static>(
        &self,
        resource: &ApiResource,
        reduce: fn(&DynamicObject) -> T,
    ) -> Observer<T> {
        let client = self.client.clone();
        Observer::start(self.runtime(), client, resource, NAMESPACE, reduce)
    }

    /// Creates a folder for a contender's state and log.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.dir.path().join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(folder)
    }

    /// Keeps the logs, and returns where they are.
    pub(super) fn keep(&mut self) -> PathBuf {
        self.dir.keep();
        self.dir.path().to_owned()
    }
}
