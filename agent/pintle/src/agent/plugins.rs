//! Plugin resources: resolved, pulled, loaded, and their status written.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use pintle_cluster::{Plugin, Plugins, ResourceEvent};
use pintle_core::{
    application::{Condition, PluginSpec, PluginStatus, Standing},
    digest::Digest,
    sharding::Shard,
};
use pintle_host::LoadRequest;
use pintle_registry::{Credentials, Keychain, Reference, Registry};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};

use super::{controller::Message, replicas::Assignment, secrets, shared::Shared};
use crate::{
    cli::output,
    pipeline::{
        catalog::{Ready, Resource, built_in_bytes},
        now_text,
    },
};

/// How long the first loads may take before applications are worked on without them.
const FIRST_LOADS: Duration = Duration::from_mins(1);

/// A registry is not asked more often than this, whatever the interval.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(10);

struct Followed {
    uid: String,
    spec: PluginSpec,
    task: AbortHandle,
}

/// Follows all Plugin resources until it is dropped. `ready` is told when those that are there have been tried.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    assigned: watch::Receiver<Assignment>,
    ready: oneshot::Sender<()>,
) {
    let resources = Plugins::plugins(&shared.connection);
    let mut events = std::pin::pin!(resources.watch(None));
    let mut followed: BTreeMap<String, Followed> = BTreeMap::new();
    let mut ready = Some(ready);
    let mut loads = tokio::task::JoinSet::new();
    while let Some(event) = events.next().await {
        match event {
            ResourceEvent::Seen(plugin) => {
                let Ok(spec) = &plugin.spec else {
                    unreadable(&shared, &messages, &plugin).await;
                    continue;
                };
                if followed
                    .get(&plugin.name)
                    .is_some_and(|known| known.uid == plugin.uid && known.spec == *spec)
                {
                    continue;
                }
                let (first, tried) = oneshot::channel();
                let one = One {
                    shared: Arc::clone(&shared),
                    messages: messages.clone(),
                    resources: resources.clone(),
                    spec: spec.clone(),
                    plugin: (*plugin).clone(),
                    assigned: assigned.clone(),
                    outcome: None,
                };
                let task = tokio::spawn(one.run(first)).abort_handle();
                loads.spawn(async move { drop(tried.await) });
                let new = Followed {
                    uid: plugin.uid.clone(),
                    spec: spec.clone(),
                    task,
                };
                if let Some(old) = followed.insert(plugin.name.clone(), new) {
                    old.task.abort();
                }
            }
            ResourceEvent::Gone { name, .. } => {
                if let Some(old) = followed.remove(&name) {
                    old.task.abort();
                }
                shared.catalog.put(&name, None);
                let _ = messages.send(Message::PluginChanged(name)).await;
            }
            ResourceEvent::Complete => {
                if let Some(ready) = ready.take() {
                    let loads = std::mem::take(&mut loads);
                    let _ = tokio::time::timeout(FIRST_LOADS, loads.join_all()).await;
                    let _ = ready.send(());
                }
            }
            ResourceEvent::Failed(reason) => {
                tracing::warn!(reason, "Plugins cannot be watched; it is tried again");
            }
        }
    }
}

async fn unreadable(shared: &Shared, messages: &mpsc::Sender<Message>, plugin: &Plugin) {
    if let Err(error) = &plugin.spec {
        shared.catalog.put(
            &plugin.name,
            Some(Resource {
                spec: None,
                outcome: Err(error.to_string()),
            }),
        );
        let _ = messages
            .send(Message::PluginChanged(plugin.name.clone()))
            .await;
    }
}

/// One Plugin resource in one state of its spec.
struct One {
    shared: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    resources: Plugins,
    spec: PluginSpec,
    plugin: Plugin,
    /// What this replica works on: one of all writes the status.
    assigned: watch::Receiver<Assignment>,
    /// What became of it last.
    outcome: Option<Result<Loaded, String>>,
}

/// What a plugin was loaded from.
struct Loaded {
    ready: Ready,
    /// Nothing for a plugin that is built in.
    manifest: Option<Digest>,
}

impl Loaded {
    /// Names what was loaded: what stands for it is loaded again only when that is another one.
    fn digest(&self) -> Digest {
        self.manifest
            .unwrap_or_else(|| self.ready.plugin.id().digest)
    }
}

impl One {
    async fn run(mut self, first: oneshot::Sender<()>) {
        let mut first = Some(first);
        let mut known: Option<Result<Digest, String>> = None;
        let mut failures = 0;
        loop {
            let outcome = self
                .load(known.as_ref().and_then(|known| known.as_ref().ok()))
                .await;
            let outcome = match outcome {
                // The tag still means what is loaded.
                Ok(None) => {
                    self.rest(0).await;
                    continue;
                }
                Ok(Some(loaded)) => Ok(loaded),
                Err(error) => Err(output::chain(&error)),
            };
            failures = if outcome.is_ok() { 0 } else { failures + 1 };
            let state = outcome.as_ref().map(Loaded::digest).map_err(Clone::clone);
            if known.as_ref() != Some(&state) {
                known = Some(state);
                self.publish(outcome).await;
            }
            if let Some(first) = first.take() {
                let _ = first.send(());
            }
            self.rest(failures).await;
        }
    }

    /// Waits until it is time to look again: sooner after a failure, and never if there is nothing new to be seen.
    async fn rest(&mut self, failures: u32) {
        let interval = self.spec.interval.get().max(SHORTEST_INTERVAL);
        let pause = match failures {
            // What is named by its digest never changes.
            0 if self.is_pinned() => Duration::MAX,
            0 => interval,
            failures => pintle_core::machine::pause(&self.plugin.name, failures).min(interval),
        };
        let mut over = std::pin::pin!(tokio::time::sleep(pause));
        loop {
            tokio::select! {
                () = &mut over => return,
                // It may be this replica's turn now to tell.
                Ok(()) = self.assigned.changed() => self.write_status().await,
            }
        }
    }

    fn is_pinned(&self) -> bool {
        match &self.spec.image {
            Some(image) => image
                .parse::<Reference>()
                .is_ok_and(|reference| reference.digest().is_some()),
            None => true,
        }
    }

    /// Resolves and loads; nothing if the reference still means the manifest that is `known`.
    async fn load(&self, known: Option<&Digest>) -> anyhow::Result<Option<Loaded>> {
        let Some(image) = &self.spec.image else {
            let component = built_in_bytes(&self.plugin.name)?;
            return Ok(Some(self.load_component(component, None).await?));
        };
        let reference: Reference = image.parse()?;
        let (registry, credentials) = self.registry(&reference).await?;
        let resolved = registry.resolve(&reference, &credentials).await?;
        if known == Some(&resolved.manifest_digest) {
            return Ok(None);
        }
        let pulled = registry.pull(&resolved.reference, &credentials).await?;
        let manifest = Some(pulled.manifest_digest);
        Ok(Some(self.load_component(pulled.bytes, manifest).await?))
    }

    async fn load_component(
        &self,
        component: Bytes,
        manifest: Option<Digest>,
    ) -> anyhow::Result<Loaded> {
        let request = LoadRequest {
            grants: self.spec.grants.clone(),
            limits: self.spec.limits.clone(),
            ..LoadRequest::new(self.plugin.name.clone(), component)
        };
        let plugin = self.shared.catalog.host().load(request).await?;
        let ready = Ready {
            plugin,
            defaults: self.spec.settings.clone(),
        };
        Ok(Loaded { ready, manifest })
    }

    /// Returns the registry client and the credentials, both from the pull secret if there is one.
    async fn registry(&self, reference: &Reference) -> anyhow::Result<(Registry, Credentials)> {
        let shared = &self.shared;
        let Some(secret) = &self.spec.pull_secret else {
            let registry = shared.catalog.remotes().registry()?;
            return Ok((registry.clone(), Credentials::Anonymous));
        };
        let data = secrets::read(&shared.home, None, &shared.namespace, &secret.name).await?;
        let mut registry = shared.catalog.remotes().registry()?.clone();
        if let Some(pem) = data.get("ca.crt") {
            let remotes = shared.catalog.remotes();
            registry = remotes.registry_trusting(vec![pem.clone()])?;
        }
        let credentials = match data.get(".dockerconfigjson") {
            Some(config) => {
                Keychain::new()
                    .with_pull_secret(&secret.name, config)?
                    .find(reference)
                    .await?
            }
            None => Credentials::Anonymous,
        };
        Ok((registry, credentials))
    }

    /// Tells who uses the plugin, and writes its status.
    async fn publish(&mut self, outcome: Result<Loaded, String>) {
        let name = self.plugin.name.clone();
        let usable = outcome
            .as_ref()
            .map(|loaded| loaded.ready.clone())
            .map_err(Clone::clone);
        match &outcome {
            Ok(loaded) => {
                tracing::info!(plugin = name, digest = %loaded.ready.plugin.id().digest, "loaded");
            }
            Err(reason) => {
                tracing::warn!(plugin = name, reason, "cannot be loaded");
            }
        }
        let resource = Resource {
            spec: Some(self.spec.clone()),
            outcome: usable,
        };
        self.shared.catalog.put(&name, Some(resource));
        if self
            .messages
            .send(Message::PluginChanged(name))
            .await
            .is_err()
        {
            return;
        }
        self.outcome = Some(outcome);
        self.write_status().await;
    }

    /// Writes what became of the plugin, if that is this replica's to do and not there yet.
    async fn write_status(&mut self) {
        let shard = Shard::of_plugin(&self.plugin.name);
        let is_ours = self.assigned.borrow_and_update().shards.contains(shard);
        let Some(outcome) = self.outcome.as_ref().filter(|_| is_ours) else {
            return;
        };
        // Another replica may have written it since.
        match self.resources.get(None, &self.plugin.name).await {
            Ok(Some(plugin)) if plugin.uid == self.plugin.uid => self.plugin = plugin,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(plugin = self.plugin.name, error = %output::chain(&error.into()), "its status was not written");
                return;
            }
        }
        let status = self.status(outcome);
        match self.resources.write_status(&self.plugin, &status).await {
            Ok(plugin) => self.plugin = plugin,
            Err(error) => {
                tracing::warn!(plugin = self.plugin.name, error = %output::chain(&error.into()), "its status was not written");
            }
        }
    }

    fn status(&self, outcome: &Result<Loaded, String>) -> PluginStatus {
        let previous = self
            .plugin
            .status
            .as_ref()
            .map(|status| status.conditions.clone())
            .unwrap_or_default();
        let generation = Some(self.plugin.generation);
        let condition = |standing, reason: &str, message: &str| {
            Condition::of(
                standing,
                reason,
                message,
                generation,
                &now_text(),
                &previous,
            )
        };
        match outcome {
            Err(reason) => PluginStatus {
                observed_generation: generation,
                conditions: condition(Standing::Retrying, "LoadFailed", reason),
                ..PluginStatus::default()
            },
            Ok(Loaded { ready, manifest }) => {
                let (id, description, grants) = (
                    ready.plugin.id(),
                    ready.plugin.description(),
                    ready.plugin.grants(),
                );
                let texts = |all: &[pintle_core::plugin::Capability]| -> Vec<String> {
                    all.iter().map(ToString::to_string).collect()
                };
                let missing = texts(grants.missing());
                PluginStatus {
                    observed_generation: generation,
                    digest: Some(id.digest),
                    manifest: *manifest,
                    kind: Some(id.kind.to_string()),
                    version: Some(description.version.clone()),
                    summary: Some(description.summary.clone()),
                    effective_grants: texts(&grants.capabilities()),
                    conditions: condition(Standing::Ready, "Loaded", &loaded(&missing)),
                    missing_grants: missing,
                }
            }
        }
    }
}
/// Says that a plugin is loaded, and what it will be refused: whoever grants is not who sees that it is missing.
fn loaded(missing: &[String]) -> String {
    if missing.is_empty() {
        return "the plugin is loaded".to_owned();
    }
    let missing = missing.join(", ");
    format!("the plugin is loaded; it also asks for {missing}, which `spec.grants` does not have")
}
