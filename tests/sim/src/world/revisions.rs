//! Revisions: how a replica learns of them, and what keeps an application from the newest one.

use pintle_core::inventory::Entry;
use pintle_core::machine::{Event, Outcome, Retry, RunId};

use super::World;
use crate::catalog::{APPLICATIONS, Catalog, Slot};
use crate::queue::What;
use crate::server::Resource;

impl World<'_> {
    pub(super) fn fetch(&mut self, replica: usize) {
        let newest = u32::try_from(self.revisions.len() - 1).unwrap_or(u32::MAX);
        if !self.replicas[replica].working || self.replicas[replica].fetched == Some(newest) {
            return;
        }
        if self.strikes(self.schedule.weather / 2) {
            return self.away(replica);
        }
        self.replicas[replica].fetched = Some(newest);
        for application in 0..APPLICATIONS {
            self.tell_revision(replica, application);
        }
    }

    pub(super) fn tell_revision(&mut self, replica: usize, application: usize) {
        let Some(revision) = self.replicas[replica].fetched else {
            return;
        };
        if let Some(kept) = self.replicas[replica].applications.get_mut(&application)
            && kept.told.replace(revision) != Some(revision)
        {
            self.step(replica, application, Event::Revision(revision.to_string()));
        }
    }

    /// The source does not answer, and will be asked again.
    fn away(&mut self, replica: usize) {
        self.tell(|| format!("replica {replica}: git does not answer"));
        for application in 0..APPLICATIONS {
            self.step(replica, application, Event::SourceFailed("away".to_owned()));
        }
        let after = 1_000 + self.latency();
        self.put(after, replica, What::Fetch);
    }

    /// Removes what blocked revisions.
    pub(super) fn allow_all(&mut self) {
        for replica in 0..self.replicas.len() {
            for application in 0..APPLICATIONS {
                self.step(replica, application, Event::PluginChanged);
            }
        }
    }

    /// Repairs drift from what was applied before the pending revision.
    pub(super) fn guard(&mut self, replica: usize, application: usize, id: RunId, repairs: bool) {
        let kept = self.replicas[replica].applications.get(&application);
        let applied = kept.and_then(|kept| self.applied(application, &kept.resource));
        if let Some(revision) = applied.filter(|_| repairs) {
            self.begin(replica, application, id, Some(revision));
        } else {
            let outcome = Outcome::Failed(Retry::OnChange);
            self.finished(replica, application, id, outcome);
        }
    }

    /// Returns the applied revision, unless a part of another one is applied.
    fn applied(&self, application: usize, resource: &Resource) -> Option<u32> {
        let (generation, revision) = resource.converged?;
        let wanted = &self.revisions[revision as usize][application];
        let is_recorded = |(slot, version): &(Slot, u8)| {
            let entry = resource.inventory.get(self.catalog.id(*slot));
            let desired = self.catalog.desired(*slot, *version);
            entry.is_some_and(|entry| entry.desired == Some(desired))
        };
        let is_wanted = |entry: &Entry| {
            let slot = self.catalog.slot(&entry.id());
            // A protected object stays when git drops it.
            Catalog::is_protected(slot) || wanted.iter().any(|(wanted, _)| *wanted == slot)
        };
        let is_whole =
            resource.inventory.entries().all(is_wanted) && wanted.iter().all(is_recorded);
        (is_whole && generation == resource.generation).then_some(revision)
    }
}
