//! The cluster that a command works on, as the user.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use pintle_cluster::{
    Cluster, ConfigMapStore, Connection, InventoryStore as _, Judge, Options, Planned, Prepared,
    Release, Seeds, Tracker, TrackerOptions,
};
use pintle_core::{
    application::PluginUse,
    check::{Approved, Denied, Finding},
    health::Assessment,
    inventory::Inventory,
    machine::Millis,
    names::ApplicationName,
    object::ObjectId,
    plan::{Action, Depth},
    rendered::Rendered,
    seed::Seed,
};
use pintle_host::Context;
use serde_json::Value;

use super::{
    input::Input,
    session::{self, Session},
};
use crate::{
    cli::{
        args::{ClusterCommand, ConnectionArgs},
        output,
        progress::Progress,
    },
    pipeline::{check, cluster::PluginReader, health::Judges},
};

/// Connects to the cluster that the arguments name.
pub(super) async fn connect(args: &ConnectionArgs) -> anyhow::Result<Connection> {
    let options = Options {
        kubeconfig: args.kubeconfig.clone(),
        context: args.context.clone(),
        ..Options::default()
    };
    Ok(Connection::connect(options).await?)
}

/// A release of one revision on one cluster, up to its plan.
pub(super) struct Target {
    pub(super) cluster: Cluster,
    pub(super) release: Release,
    pub(super) settings: session::Release,
    pub(super) rendered: Rendered,
    pub(super) prepared: Prepared,
    pub(super) store: ConfigMapStore,
    context: Context,
    /// What policies are told about the release.
    subject: Value,
    judge: Arc<dyn Judge>,
    /// Whether the seed is in the cluster, or another one was requested.
    has_seed: bool,
}

impl Target {
    /// Renders an input for a cluster.
    pub(super) async fn render(
        args: &ClusterCommand,
        session: &Session,
        connection: &Connection,
        input: &Input,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        progress.stage(&format!("rendering {}", input.revision.short()));
        let mut settings = session.release(input, &args.input, &args.renderer)?;
        add_policies(&mut settings.spec.policies, &args.policies);
        let namespace = settings.namespace_or(connection.default_namespace());
        let application = ApplicationName::new(&namespace, &settings.name);
        let seed = match &args.renderer.seed {
            Some(text) => Some(Seed::from_text(text)),
            None => Seeds::known(connection, &application).await?,
        };
        let has_seed = seed.is_some();
        let seed = seed.unwrap_or_else(super::render::fresh_seed);
        let judges = Judges::find(&session.catalog, &settings.spec.health, &seed).await?;
        let judge: Arc<dyn Judge> = Arc::new(OneJudge(judges));
        let cluster = Cluster::new(connection.clone()).with_judge(Arc::clone(&judge));
        let kinds = cluster.discovery().kinds().await?;
        let context = Context {
            name: settings.name.clone(),
            namespace: namespace.clone(),
            kube_version: connection.version().await?.text,
            api_versions: kinds.api_versions(),
            revision: input.revision.commit.clone(),
            revision_time: input.revision.time,
        };
        let reader = Arc::new(PluginReader(cluster.reader()));
        let outcome = session
            .render(&settings, input, context.clone(), &seed, Some(reader))
            .await?;
        let mut release = Release::new(application.clone(), seed);
        release.namespace = namespace;
        release.prune = settings.spec.prune.clone();
        // A person who runs a command asks for its effects, so only the ignored fields count.
        release.drift = settings.spec.drift.clone();
        let prepared = cluster.prepare(&outcome.rendered, &release).await?;
        let store = ConfigMapStore::open(connection, &application).await?;
        let subject = check::Subject {
            name: &application,
            labels: &BTreeMap::new(),
            source: None,
            revision: &input.revision,
        };
        let subject = subject.document();
        Ok(Self {
            cluster,
            release,
            settings,
            rendered: outcome.rendered,
            prepared,
            store,
            context,
            subject,
            judge,
            has_seed,
        })
    }

    /// Makes a plan. Nothing is written.
    pub(super) async fn plan(&self, progress: &Progress) -> anyhow::Result<Planned> {
        progress.stage("planning: a dry run by the server");
        let inventory = self.store.inventory().clone();
        Ok(self
            .cluster
            .plan(&self.release, &self.prepared, &inventory, Depth::Server)
            .await?)
    }

    /// Creates what has to exist before the first object of an approved plan: a place for the inventory, and the seed.
    pub(super) async fn settle(&mut self, planned: &Planned) -> anyhow::Result<()> {
        let application = &self.release.application;
        let makes_namespace = planned.plan.changes().iter().any(|change| {
            change.action == Action::Create
                && change.id.is("", "Namespace")
                && change.id.name == application.namespace
        });
        if makes_namespace {
            self.store.make_namespace().await?;
        }
        if !self.has_seed {
            Seeds::keep(self.cluster.connection(), application, &self.release.seed).await?;
            self.has_seed = true;
        }
        Ok(())
    }

    /// Asks the policies. They read the cluster as the user.
    pub(super) async fn check(
        &self,
        session: &Session,
        planned: &Planned,
    ) -> Result<Approved, check::CheckError> {
        let policies = &self.settings.spec.policies;
        let (plan, application) = (planned.plan.clone(), self.subject.clone());
        check::check(
            &session.catalog,
            policies,
            plan,
            application,
            &self.context,
            &self.release.seed,
            Arc::new(PluginReader(self.cluster.reader())),
        )
        .await
    }

    /// Asks the policies as well, but returns their findings even if they refuse the plan.
    pub(super) async fn verdict(
        &self,
        session: &Session,
        planned: &Planned,
    ) -> Result<(Vec<Finding>, Result<Approved, Denied>), check::CheckError> {
        match self.check(session, planned).await {
            Ok(approved) => Ok((approved.findings().to_vec(), Ok(approved))),
            Err(check::CheckError::Denied(denied)) => Ok((denied.findings.clone(), Err(denied))),
            Err(error) => Err(error),
        }
    }

    /// Watches the release's objects from before they are written. The release's health checks judge them.
    pub(super) fn track(&self, inventory: &Inventory) -> Tracker {
        let recorded = inventory.entries();
        let recorded = recorded.filter_map(|entry| entry.namespace.clone());
        let rendered = self.prepared.objects().iter();
        let rendered = rendered.filter_map(|object| object.id().namespace.clone());
        let namespaces: BTreeSet<String> = recorded.chain(rendered).collect();
        let options = TrackerOptions {
            application: Some(self.release.application.clone()),
            namespaces: Some(namespaces),
        };
        let tracker = Tracker::new(self.cluster.connection(), Arc::clone(&self.judge), options);
        let kinds = self.cluster.kinds_served(&self.prepared, inventory);
        tracker.observe(&self.release, &kinds);
        tracker.reserve(&self.release.application, inventory.ids());
        tracker
    }

    /// Watches what is applied, including kinds that were added with it. A namespace, and rights in it, may have been added, too:
    /// what was refused before is tried again.
    pub(super) fn observe(&self, tracker: &Tracker, inventory: &Inventory) {
        let kinds = self.cluster.kinds_in_use(&self.prepared, inventory);
        tracker.observe(&self.release, &kinds);
        tracker.retry(&self.release.application);
    }
}

/// Adds the policies that the arguments name. One that is there already keeps its settings.
fn add_policies(policies: &mut Vec<PluginUse>, named: &[String]) {
    for plugin in named {
        if !policies.iter().any(|one| one.plugin == *plugin) {
            policies.push(PluginUse {
                plugin: plugin.clone(),
                settings: Value::Null,
            });
        }
    }
}

/// All objects belong to one application, so one set of health checks judges them.
struct OneJudge(Judges);

#[async_trait]
impl Judge for OneJudge {
    async fn assess(
        &self,
        _: &ApplicationName,
        id: &ObjectId,
        object: &Value,
        now: Millis,
    ) -> Assessment {
        self.0.assess(id, object, now).await
    }
}

/// Reports what policies found and let pass.
pub(super) fn tell_findings(approved: &Approved) {
    for finding in approved.findings() {
        output::warning(&finding.to_string());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_that_is_named_twice_is_asked_once_and_keeps_its_settings() {
        let described = PluginUse {
            plugin: "guardrails".to_owned(),
            settings: json!({"rules": {}}),
        };
        let mut policies = vec![described.clone()];
        let named = ["guardrails", "./mine.wasm", "./mine.wasm"].map(ToOwned::to_owned);
        add_policies(&mut policies, &named);
        let tried = PluginUse {
            plugin: "./mine.wasm".to_owned(),
            settings: Value::Null,
        };
        assert_eq!(policies, [described, tried]);
    }
}
