//! Plugins whose specs cannot be read.
//!
//! One of all replicas reports that. When such a Plugin is seen, its shard may not be held by any replica yet: a replica gets
//! shards only after it has seen all Plugins.

use std::collections::BTreeMap;

use pintle_cluster::{Plugin, Plugins, StatusError};
use pintle_core::{
    application::{Condition, PluginStatus, Standing},
    sharding::{Shard, ShardSet},
};
use tokio::time::Instant;

use super::owed::Owed;
use crate::{
    agent::{pauses, reasons::INVALID_SPEC},
    pipeline::now_text,
};

/// All Plugins whose specs cannot be read.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The Plugins by name.
    plugins: BTreeMap<String, Refused>,
}

/// One of these Plugins.
#[derive(Debug)]
struct Refused {
    /// The Plugin as it was last seen.
    plugin: Plugin,
    /// Whether its status could not be written. A failure for one Plugin says nothing about others.
    owed: Owed,
}

impl Refusals {
    /// Takes up a Plugin. Returns whether it is not known yet: another resource, or another spec.
    pub(super) fn take(&mut self, plugin: Plugin) -> bool {
        let name = plugin.name.clone();
        let is_same =
            |known: &Plugin| known.uid == plugin.uid && known.generation == plugin.generation;
        match self.plugins.get_mut(&name) {
            Some(known) if is_same(&known.plugin) => {
                known.plugin = plugin;
                false
            }
            _ => {
                let owed = Owed::default();
                self.plugins.insert(name, Refused { plugin, owed });
                true
            }
        }
    }

    /// Forgets a Plugin that is gone, or can be read.
    pub(super) fn forget(&mut self, name: &str) {
        self.plugins.remove(name);
    }

    /// Waits until it is time to retry a report that failed, or for ever if there is none.
    pub(super) async fn due(&self) {
        pauses::until(self.next()).await;
    }

    /// Returns when the first failed report is due.
    fn next(&self) -> Option<Instant> {
        self.plugins.values().filter_map(|one| one.owed.at()).min()
    }

    /// Reports in the status of each Plugin that its spec cannot be read, if that is the job of the holder of these shards and
    /// not done yet.
    pub(super) async fn tell(&mut self, resources: &Plugins, shards: ShardSet) {
        for refused in self.plugins.values_mut() {
            refused.tell(resources, shards).await;
        }
    }

    /// Does the same for one Plugin.
    pub(super) async fn tell_of(&mut self, name: &str, resources: &Plugins, shards: ShardSet) {
        if let Some(refused) = self.plugins.get_mut(name) {
            refused.tell(resources, shards).await;
        }
    }

    /// Does the same for the Plugins whose failed reports are due.
    pub(super) async fn tell_due(&mut self, resources: &Plugins, shards: ShardSet) {
        let now = Instant::now();
        for refused in self.plugins.values_mut() {
            if refused.is_due(now) {
                refused.tell(resources, shards).await;
            }
        }
    }
}

impl Refused {
    /// Returns whether a failed report is due by now.
    fn is_due(&self, now: Instant) -> bool {
        self.owed.at().is_some_and(|due| due <= now)
    }

    /// Writes the report. A failed write is owed.
    async fn tell(&mut self, resources: &Plugins, shards: ShardSet) {
        let written = self.write(resources, shards).await;
        self.owed.settle(&self.plugin.name, written);
    }

    async fn write(&mut self, resources: &Plugins, shards: ShardSet) -> Result<(), StatusError> {
        let plugin = &mut self.plugin;
        let Some(status) = untold(plugin, shards) else {
            return Ok(());
        };
        match resources.write_status(plugin, &status).await {
            Ok(now) => {
                plugin.resource_version = now.resource_version;
                plugin.status = Ok(status);
            }
            // The watch reports that it is gone.
            Err(StatusError::Gone { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Returns the status that says that a spec cannot be read, unless another replica writes it or it is written already.
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
        named("slack", uid, generation)
    }

    fn named(name: &str, uid: &str, generation: i64) -> Plugin {
        Plugin::read(json!({
            "metadata": {"name": name, "uid": uid, "generation": generation},
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
        // The spec that is there now has not been reported on yet.
        refused.generation = 4;
        assert!(untold(&refused, ShardSet::ALL).is_some());
    }

    #[test]
    fn each_whose_status_cannot_be_written_is_tried_again_and_logged_for_itself() {
        let mut refusals = Refusals::default();
        for name in ["slack", "teams"] {
            refusals.take(named(name, "a", 1));
        }
        assert_eq!(refusals.next(), None);
        let now = Instant::now();
        let fails = |refusals: &mut Refusals, name: &str| {
            let refused = refusals.plugins.get_mut(name).unwrap();
            refused.owed.take(name, false, now)
        };
        assert!(fails(&mut refusals, "slack"));
        for _ in 0..100 {
            assert!(!fails(&mut refusals, "slack"), "it was logged");
        }
        assert!(fails(&mut refusals, "teams"));
        let next = refusals.next().unwrap();
        let due = |name: &str| refusals.plugins.get(name).unwrap().is_due(next);
        assert!(due("teams") && !due("slack"));
        // Seeing it again changes nothing about that, but another spec does.
        refusals.take(named("teams", "a", 1));
        assert_eq!(refusals.next(), Some(next));
        refusals.take(named("teams", "a", 2));
        assert!(refusals.next().unwrap() > next);
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
