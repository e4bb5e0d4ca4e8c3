//! What watches report to a replica, and what the replica makes of it.

use pintle_core::machine::Event;

use super::World;
use crate::catalog::{APPLICATIONS, Catalog, Slot};
use crate::queue::What;
use crate::replica::Kept;
use crate::server::{Live, Notice, Resource};

impl World<'_> {
    /// Sends a notice to all watches.
    pub(super) fn publish(&mut self, notice: Option<Notice>) {
        let Some(notice) = notice else { return };
        for replica in 0..self.replicas.len() {
            if !self.replicas[replica].working {
                continue;
            }
            if self.strikes(self.schedule.weather / 4) {
                self.reconnect(replica);
            } else {
                let stream = usize::from(matches!(notice, Notice::Object { .. }));
                let at = (self.now + self.latency()).max(self.told_until[replica][stream]);
                self.told_until[replica][stream] = at;
                self.put(at - self.now, replica, What::Watch(notice.clone()));
            }
        }
    }

    /// Reconnects a replica's watches. Notices in flight are lost with the connection, and the next one starts with a full list.
    pub(super) fn reconnect(&mut self, replica: usize) {
        // A replica that does not work has no watches.
        if self.replicas[replica].working {
            self.replicas[replica].epoch += 1;
            let after = 200 + self.latency();
            self.put(after, replica, What::Relist);
        }
    }

    pub(super) fn relist(&mut self, replica: usize) {
        let version = self.server.version();
        // The watch continues from the list, so no notice from before the list arrives after it.
        self.replicas[replica].epoch += 1;
        // Planning waits until the current state is known.
        for slot in 0..self.catalog.slots() {
            let live = self.server.objects[slot];
            self.object(replica, slot, live, version);
        }
        for application in 0..APPLICATIONS {
            let resource = self.server.resources[application].clone();
            self.application(replica, application, resource);
        }
        self.replicas[replica].synced = true;
        for application in 0..APPLICATIONS {
            self.look_for_drift(replica, application);
        }
    }

    pub(super) fn watched(&mut self, replica: usize, notice: Notice) {
        match notice {
            Notice::Object {
                slot,
                live,
                version,
            } => self.object(replica, slot, live, version),
            Notice::Application {
                application,
                resource,
            } => self.application(replica, application, resource),
        }
    }

    fn object(&mut self, replica: usize, slot: Slot, live: Option<Live>, version: u32) {
        if self.replicas[replica].see(slot, live, version) {
            self.look_for_drift(replica, Catalog::application_of(slot));
        }
    }

    /// Records the current Application, or lets it go. An Application that comes back before an old run of the same name has
    /// ended waits for that run.
    pub(super) fn application(
        &mut self,
        replica: usize,
        application: usize,
        resource: Option<Resource>,
    ) {
        let known = &mut self.replicas[replica];
        let Some(resource) = resource else {
            known.let_go(application);
            return;
        };
        let kept = known.applications.get(&application);
        if kept.is_some_and(|kept| kept.resource.uid != resource.uid) {
            // It was deleted and created again while nobody looked.
            known.let_go(application);
        }
        if let Some(leaving) = known.leaving.get_mut(&application) {
            leaving.waiting = Some(resource);
            return;
        }
        let catalog = self.catalog;
        let kept = known
            .applications
            .entry(application)
            .or_insert_with(|| Kept::new(catalog, application, resource.clone()));
        if resource.version >= kept.resource.version {
            kept.resource = resource;
        }
        let (event, deleting) = (kept.spec(), kept.resource.deleting);
        self.tell_revision(replica, application);
        self.step(replica, application, event);
        if deleting {
            self.step(replica, application, Event::Deleted);
        }
    }

    pub(super) fn look_for_drift(&mut self, replica: usize, application: usize) {
        if self.replicas[replica].drifts(self.catalog, application) {
            self.step(replica, application, Event::Drifted);
        }
    }
}
