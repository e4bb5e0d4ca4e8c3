//! The agent, as `deploy/` installs it.

use std::time::Instant;

use anyhow::Result;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use pintle_harness::{AGENT_NAMESPACE, Agent, AgentOptions, agent};

use super::{Contender, Standing};
use crate::bench::applications::{self, Names};
use crate::bench::flux::arena::Arena;
use crate::bench::measure::{self, Meter, Phase, Subject};
use crate::workspace;

/// The token that authenticates webhooks.
const TOKEN: &str = "a-shared-token";

/// The agent and the repository that it fetches from.
#[derive(Debug)]
pub(super) struct Pintle {
    agent: Agent,
    repository: String,
}

impl Pintle {
    pub(super) fn start(arena: &Arena) -> Result<(Self, Phase)> {
        let control_plane = &arena.control_plane;
        let kubeconfig = agent::install(control_plane, &workspace::root().join("deploy"))?;
        control_plane.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: pintle-webhook, namespace: {AGENT_NAMESPACE}}}\n\
             stringData: {{token: {TOKEN}}}\n"
        ))?;
        // As in deploy/install.yaml: with a lease, and as the default account for all applications.
        let account = format!("--default-service-account={AGENT_NAMESPACE}/pintle-applier");
        let mark = control_plane.requests_mark()?;
        let meter = Meter::since_start("start", mark, control_plane.process().usage()?);
        let start = Instant::now();
        let agent = Agent::start(AgentOptions {
            args: vec![account, "--trust-namespace=*".to_owned()],
            dir: Some(arena.folder("pintle")?),
            ..AgentOptions::new(kubeconfig)
        })?;
        let subject = Subject::agent(&agent);
        measure::wait_following(subject, "applications", control_plane, mark)?;
        let wall = start.elapsed();
        measure::wait_started(subject, "applications", control_plane, mark)?;
        let phase = meter.end(wall, subject, control_plane)?;
        let repository = arena.servers.git_http(&arena.repository);
        Ok((Self { agent, repository }, phase))
    }
}

impl Contender for Pintle {
    fn subject(&self) -> Subject<'_> {
        Subject::agent(&self.agent)
    }

    fn resource(&self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(
            "pintle.dev",
            "v1alpha1",
            "Application",
        ))
    }

    fn standing(&self) -> fn(&DynamicObject) -> Standing {
        |object| Standing::read(object, "revision")
    }

    fn applications(&self, _: &Arena, names: Names, interval: u64) -> String {
        applications::applications(names, &self.repository, interval)
    }

    fn revision(&self, commit: &str) -> String {
        commit.to_owned()
    }

    fn publish(&mut self, _: &Arena, _: &str) -> Result<()> {
        Ok(()) // It fetches by itself.
    }

    fn announce(&self, _: &Arena) -> Result<()> {
        self.agent.tell_of_push(&self.repository, TOKEN)
    }

    fn looks(&self) -> Result<Option<f64>> {
        self.agent.metric("pintle_renders_total").map(Some)
    }

    fn stop(&mut self) -> Result<()> {
        self.agent.stop()
    }
}
