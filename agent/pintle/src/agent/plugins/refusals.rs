//! Plugins whose specs cannot be read.
//!
//! One of all replicas tells it. When such a Plugin is seen none may hold its shard yet: a replica is given some when it has seen
//! all Plugins.

use std::collections::BTreeMap;

use pintle_cluster::{Plugin, Plugins, StatusError};
use pintle_core::{
    application::{Condition, PluginStatus, Standing},
    causes::chain,
    sharding::{Shard, ShardSet},
};
use tokio::time::Instant;

use super::owed::Owed;
use crate::{agent::reasons::INVALID_SPEC, pipeline::now_text};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// By name, each as it was last seen.
    plugins: BTreeMap<String, Plugin>,
    /// The statuses that could not be written.
    owed: Owed,
}

impl Refusals {
    /// Takes one up. Says whether it is not known yet: another resource, or another spec.
    pub(super) fn take(&mut self, plugin: Plugin) -> bool {
        let now = (plugin.uid.clone(), plugin.generation);
        let before = self.plugins.insert(plugin.name.clone(), plugin);
        before.is_none_or(|before| (before.uid, before.generation) != now)
    }

    /// Forgets one that is gone, or can be read.
    pub(super) fn forget(&mut self, name: &str) {
        self.plugins.remove(name);
    }

    /// Waits until it is time to tell what could not be told: for ever if all was.
    pub(super) async fn due(&self) {
        self.owed.due().await;
    }

    /// Writes into the status of each that its spec cannot be read, if that is for who has these shards to do and not there
    /// yet.
    pub(super) async fn tell(&mut self, resources: &Plugins, shards: ShardSet) {
        let mut is_told = true;
        for plugin in self.plugins.values_mut() {
            let Some(status) = untold(plugin, shards) else {
                continue;
            };
            match resources.write_status(plugin, &status).await {
                Ok(now) => {
                    plugin.resource_version = now.resource_version;
                    plugin.status = Ok(status);
                }
                // That it is gone is seen.
                Err(StatusError::Gone { .. }) => {}
                Err(error) => {
                    is_told = false;
                    tracing::warn!(plugin = plugin.name, error = %chain(&error), "its status was not written; it is tried again");
                }
            }
        }
        self.owed.take("refusals", is_told, Instant::now());
    }
}

/// Returns the status that says that a spec cannot be read, unless another replica writes it or it is there.
fn untold(plugin: &Plugin, shards: ShardSet) -> Option<PluginStatus> {
    let reason = plugin.spec.as_ref().err()?.to_string();
    let generation = Some(plugin.generation);
    let status = plugin.status.as_ref().ok();
    let is_told = status.is_some_and(|status| {
        let mut conditions = status.conditions.iter();
        status.observed_generation == generation && conditions.any(|one| one.reason == INVALID_SPEC)
    });
    if is_told || !shards.contains(Shard::of_plugin(&plugin.name)) {
        return None;
    }
    let previous = status.map_or(&[][..], |status| &status.conditions);
    Some(PluginStatus {
        observed_generation: generation,
        conditions: Condition::of(
            Standing::Stalled,
            INVALID_SPEC,
            &reason,
            generation,
            &now_text(),
            previous,
        ),
        ..PluginStatus::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plugin(uid: &str, generation: i64) -> Plugin {
        Plugin::read(json!({
            "metadata": {"name": "slack", "uid": uid, "generation": generation},
            "spec": {"grant": {}},
        }))
    }

    #[test]
    fn it_is_told_by_whoever_has_the_shard_and_once() {
        let mut refused = plugin("a", 3);
        assert_eq!(untold(&refused, ShardSet::NONE), None);
        let told = untold(&refused, ShardSet::ALL).unwrap();
        assert_eq!(told.observed_generation, Some(3));
        let message = |one: &Condition| one.message.contains("unknown field `grant`");
        assert!(told.conditions.iter().any(message), "{told:?}");
        refused.status = Ok(told);
        assert_eq!(untold(&refused, ShardSet::ALL), None);
        // Nothing is told yet of what is written there now.
        refused.generation = 4;
        assert!(untold(&refused, ShardSet::ALL).is_some());
    }

    #[test]
    fn another_spec_and_another_resource_are_refused_anew() {
        let mut refusals = Refusals::default();
        let seen = [("a", 1), ("a", 1), ("a", 2), ("b", 2)];
        let news = seen.map(|(uid, generation)| refusals.take(plugin(uid, generation)));
        assert_eq!(news, [true, false, true, true]);
        refusals.forget("slack");
        assert!(refusals.take(plugin("b", 2)));
    }
}
