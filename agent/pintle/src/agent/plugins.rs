//! Plugin resources. They are resolved, pulled and loaded, and their status is written.

mod known;
mod owed;
mod refusals;

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use futures::StreamExt as _;
use pintle_cluster::{Plugin, Plugins, ResourceEvent, StatusError};
use pintle_core::{
    application::{Condition, PluginSpec, PluginStatus, Standing},
    causes::chain,
    digest::Digest,
    sharding::Shard,
};
use pintle_host::LoadRequest;
use pintle_registry::{Keychain, NoEntry, Reference, Registry, RegistryError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use self::{
    known::{Changed, Failure, Known},
    owed::Owed,
    refusals::Refusals,
};
use super::{
    controller::Message, logins, pauses, reasons, replicas::Assignment, secrets, shared::Shared,
};
use crate::pipeline::{
    catalog::{Ready, Resource, Unready, built_in_bytes},
    now_text,
};

/// How long the first loads may take before work on applications starts without them. Applications that use such a plugin fail
/// until it is loaded.
const FIRST_LOADS: Duration = Duration::from_mins(1);

/// The shortest time between two requests to a registry, whatever the interval.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(10);

struct Followed {
    uid: String,
    spec: PluginSpec,
    task: JoinHandle<()>,
}

impl Followed {
    /// Ends the task. It publishes nothing after this.
    async fn stop(self) {
        self.task.abort();
        // The task ends in no other way than by being aborted.
        let _ = self.task.await;
    }
}

/// Follows all Plugin resources until it is dropped. `ready` is notified once the existing ones have been tried.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    mut assigned: watch::Receiver<Assignment>,
    ready: oneshot::Sender<()>,
) {
    let resources = Plugins::plugins(&shared.connection);
    let mut events = std::pin::pin!(resources.watch(None));
    let mut followed: BTreeMap<String, Followed> = BTreeMap::new();
    let mut refusals = Refusals::default();
    let mut ready = Some(ready);
    let mut loads = tokio::task::JoinSet::new();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            // It may now be this replica's turn to report.
            Ok(()) = assigned.changed() => {
                let shards = assigned.borrow_and_update().shards;
                refusals.tell(&resources, shards).await;
                continue;
            }
            () = refusals.due() => {
                let shards = assigned.borrow().shards;
                refusals.tell_due(&resources, shards).await;
                continue;
            }
        };
        let Some(event) = event else {
            return;
        };
        match event {
            ResourceEvent::Seen(plugin) => {
                let spec = match &plugin.spec {
                    Ok(spec) => spec,
                    Err(error) => {
                        if refusals.take((*plugin).clone()) {
                            // What was loaded must not be used any longer: it is no longer known what it is granted.
                            if let Some(old) = followed.remove(&plugin.name) {
                                old.stop().await;
                            }
                            refuse(&shared, &messages, &plugin, &error.to_string()).await;
                        }
                        // Done whenever it is seen: its status may have changed by now.
                        let shards = assigned.borrow().shards;
                        refusals.tell_of(&plugin.name, &resources, shards).await;
                        continue;
                    }
                };
                refusals.forget(&plugin.name);
                let known = followed.get(&plugin.name);
                let known = known.filter(|known| known.uid == plugin.uid);
                if known.is_some_and(|known| known.spec == *spec) {
                    continue;
                }
                let is_new = known.is_none();
                if let Some(old) = followed.remove(&plugin.name) {
                    old.stop().await;
                }
                shared.catalog.await_load(&plugin.name, spec, is_new);
                let (first, tried) = oneshot::channel();
                let one = One {
                    shared: Arc::clone(&shared),
                    messages: messages.clone(),
                    resources: resources.clone(),
                    spec: spec.clone(),
                    plugin: (*plugin).clone(),
                    assigned: assigned.clone(),
                    known: Known::default(),
                    owed: Owed::default(),
                };
                let task = tokio::spawn(one.run(first));
                loads.spawn(async move { drop(tried.await) });
                let new = Followed {
                    uid: plugin.uid.clone(),
                    spec: spec.clone(),
                    task,
                };
                followed.insert(plugin.name.clone(), new);
            }
            ResourceEvent::Gone { name, .. } => {
                refusals.forget(&name);
                if let Some(old) = followed.remove(&name) {
                    old.stop().await;
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
            ResourceEvent::Failed { text, .. } => {
                tracing::warn!(
                    reason = text,
                    "Plugins cannot be watched; it is tried again"
                );
            }
            ResourceEvent::Resumed => {}
        }
    }
}

/// Informs the users of a plugin that its spec cannot be read.
async fn refuse(shared: &Shared, messages: &mpsc::Sender<Message>, plugin: &Plugin, reason: &str) {
    shared.catalog.put(
        &plugin.name,
        Some(Resource {
            spec: None,
            outcome: Err(Unready::Failed(reason.to_owned())),
        }),
    );
    let _ = messages
        .send(Message::PluginChanged(plugin.name.clone()))
        .await;
}

/// One Plugin resource, in one state of its spec.
struct One {
    shared: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    resources: Plugins,
    spec: PluginSpec,
    plugin: Plugin,
    /// The share of this replica: one of all replicas writes the status.
    assigned: watch::Receiver<Assignment>,
    known: Known<Loaded>,
    /// The status, if it could not be written.
    owed: Owed,
}

/// A loaded plugin and its origin.
struct Loaded {
    ready: Ready,
    /// `None` for a built-in plugin.
    manifest: Option<Digest>,
}

impl One {
    async fn run(mut self, first: oneshot::Sender<()>) {
        let mut first = Some(first);
        loop {
            let found = self.load().await;
            let wish = found.as_ref().err().and_then(pauses::wish);
            let found = found.map_err(|error| chain(&*error));
            let changed = self.known.take(found, &now_text());
            self.log(changed);
            match changed {
                Changed::Nothing => {}
                Changed::Told => {
                    self.put();
                    self.write_status().await;
                }
                Changed::Used => self.publish().await,
            }
            if let Some(first) = first.take() {
                let _ = first.send(());
            }
            self.rest(wish).await;
        }
    }

    /// Logs what changed. Repeated failures are logged once.
    fn log(&self, changed: Changed) {
        let name = &self.plugin.name;
        match (changed, self.known.loaded(), self.known.failure()) {
            (Changed::Used, Some(loaded), _) => {
                tracing::info!(plugin = name, digest = %loaded.ready.plugin.id().digest, "loaded");
            }
            (Changed::Told, _, None) => {
                tracing::info!(plugin = name, "its image was found again");
            }
            (Changed::Told, Some(_), Some(failure)) if self.known.failures() == 1 => {
                tracing::warn!(
                    plugin = name,
                    reason = failure.reason,
                    "its image cannot be looked up or loaded again; the loaded one stays in use"
                );
            }
            (Changed::Used, None, Some(failure)) => {
                tracing::warn!(plugin = name, reason = failure.reason, "cannot be loaded");
            }
            (Changed::Nothing | Changed::Told, ..) | (Changed::Used, None, None) => {}
        }
    }

    /// Waits until it is time to look again. That is sooner after a failure, unless the registry asks for more time, and never if
    /// nothing new can appear. Meanwhile, writes the status if an earlier write failed, or if it has become this replica's.
    async fn rest(&mut self, wish: Option<Duration>) {
        let interval = self.spec.interval.get().max(SHORTEST_INTERVAL);
        let pause = match self.known.failures() {
            // What is named by its digest never changes.
            0 if self.is_pinned() => Duration::MAX,
            0 => interval,
            failures => {
                let own = pintle_core::machine::pause(&self.plugin.name, failures).min(interval);
                pauses::with_wish(own, wish)
            }
        };
        let mut over = std::pin::pin!(tokio::time::sleep(pause));
        loop {
            tokio::select! {
                () = &mut over => return,
                // It may now be this replica's turn to report.
                Ok(()) = self.assigned.changed() => self.write_status().await,
                () = self.owed.due() => self.write_status().await,
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

    /// Resolves and loads the plugin. Returns `None` if the reference still points to the manifest that is loaded.
    async fn load(&self) -> anyhow::Result<Option<Loaded>> {
        let Some(image) = &self.spec.image else {
            let component = built_in_bytes(&self.plugin.name)?;
            return Ok(Some(self.load_component(component, None).await?));
        };
        let reference: Reference = image.parse()?;
        let (registry, keychain) = self.registry().await?;
        let credentials = keychain.find(&reference).await?;
        let refused = |error: RegistryError| self.refused(error, &keychain);
        let resolved = registry.resolve(&reference, &credentials).await;
        let resolved = resolved.map_err(refused)?;
        let known = self.known.loaded().and_then(|loaded| loaded.manifest);
        if known == Some(resolved.manifest_digest) {
            return Ok(None);
        }
        let pulled = registry.pull(&resolved.reference, &credentials).await;
        let pulled = pulled.map_err(refused)?;
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

    /// Returns the registry client and the keychain with the credentials. Both use the pull secret if there is one.
    async fn registry(&self) -> anyhow::Result<(Registry, Keychain)> {
        let shared = &self.shared;
        let remotes = shared.catalog.remotes();
        let Some(secret) = &self.spec.pull_secret else {
            return Ok((remotes.registry().await?, Keychain::new()));
        };
        let data = secrets::read(&shared.home, None, &shared.namespace, &secret.name).await?;
        let keychain = logins::of_plugin(&data)
            .with_context(|| format!("Secret {}/{}", shared.namespace, secret.name))?;
        let registry = match data.get("ca.crt") {
            Some(pem) => remotes.registry_trusting(vec![pem.clone()]).await?,
            None => remotes.registry().await?,
        };
        Ok((registry, keychain))
    }

    /// Adds to a refusal what the pull secret lacks, if that may be why the registry refuses.
    fn refused(&self, error: RegistryError, keychain: &Keychain) -> anyhow::Error {
        let Some(secret) = &self.spec.pull_secret else {
            return error.into();
        };
        let lacks = NoEntry::behind(&error, keychain);
        logins::refused(error.into(), &self.shared.namespace, &secret.name, lacks)
    }

    /// Informs the users of the plugin, and writes its status.
    async fn publish(&mut self) {
        self.put();
        let changed = Message::PluginChanged(self.plugin.name.clone());
        if self.messages.send(changed).await.is_err() {
            return;
        }
        self.write_status().await;
    }

    /// Publishes what is known of the plugin to those who use it from now on. Those that have used it, or tried to, are not
    /// informed.
    fn put(&self) {
        let outcome = match (self.known.loaded(), self.known.failure()) {
            (Some(loaded), _) => Ok(loaded.ready.clone()),
            (None, Some(failure)) => Err(Unready::Failed(failure.reason.clone())),
            (None, None) => return,
        };
        let resource = Resource {
            spec: Some(self.spec.clone()),
            outcome,
        };
        self.shared.catalog.put(&self.plugin.name, Some(resource));
    }

    /// Writes the result into the plugin's status, if that is this replica's job and not done yet. A failed write is owed.
    async fn write_status(&mut self) {
        let written = self.try_to_write_status().await;
        self.owed.settle(&self.plugin.name, written);
    }

    async fn try_to_write_status(&mut self) -> Result<(), StatusError> {
        let shard = Shard::of_plugin(&self.plugin.name);
        let is_ours = self.assigned.borrow_and_update().shards.contains(shard);
        let is_tried = self.known.loaded().is_some() || self.known.failure().is_some();
        if !is_ours || !is_tried {
            return Ok(());
        }
        // Another replica may have written it since.
        match self.resources.get(None, &self.plugin.name).await? {
            Some(plugin) if plugin.uid == self.plugin.uid => self.plugin = plugin,
            // The task that follows all Plugins is informed that it is gone, or was replaced.
            _ => return Ok(()),
        }
        let status = self.status();
        match self.resources.write_status(&self.plugin, &status).await {
            Ok(plugin) => self.plugin = plugin,
            Err(StatusError::Gone { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn status(&self) -> PluginStatus {
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
        let failure = self.known.failure();
        match self.known.loaded() {
            None => PluginStatus {
                observed_generation: generation,
                conditions: condition(
                    Standing::Retrying,
                    reasons::LOAD_FAILED,
                    failure.map_or("", |failure| failure.reason.as_str()),
                ),
                ..PluginStatus::default()
            },
            Some(Loaded { ready, manifest }) => {
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
                    conditions: condition(
                        Standing::Ready,
                        reasons::LOADED,
                        &loaded(&missing, failure),
                    ),
                    missing_grants: missing,
                }
            }
        }
    }
}

/// Describes that a plugin is loaded, which requests will be refused to it, and that there may be a newer one by now. The
/// refusals are listed because the person who sets the grants is not the one who notices that some are missing.
fn loaded(missing: &[String], failure: Option<&Failure>) -> String {
    let mut text = "the plugin is loaded".to_owned();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let _ = write!(
            text,
            "; it also asks for {missing}, which `spec.grants` does not have"
        );
    }
    if let Some(Failure { reason, since }) = failure {
        let _ = write!(
            text,
            "; since {since} its image cannot be looked up or loaded anew: {reason}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaded_plugin_tells_what_it_misses_and_since_when_its_registry_is_away() {
        let failure = Failure {
            reason: "connection refused".to_owned(),
            since: "2026-11-22T04:35:01Z".to_owned(),
        };
        let missing = ["http host example.com".to_owned()];
        insta::assert_snapshot!(loaded(&[], None), @"the plugin is loaded");
        insta::assert_snapshot!(loaded(&missing, None), @"the plugin is loaded; it also asks for http host example.com, which `spec.grants` does not have");
        insta::assert_snapshot!(loaded(&[], Some(&failure)), @"the plugin is loaded; since 2026-11-22T04:35:01Z its image cannot be looked up or loaded anew: connection refused");
        insta::assert_snapshot!(loaded(&missing, Some(&failure)), @"the plugin is loaded; it also asks for http host example.com, which `spec.grants` does not have; since 2026-11-22T04:35:01Z its image cannot be looked up or loaded anew: connection refused");
    }
}
