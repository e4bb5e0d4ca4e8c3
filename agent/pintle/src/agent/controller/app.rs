//! One application, as its resource tells of it.

use pintle_cluster::Application;
use pintle_core::{drift::Disputes, inventory::Inventory, machine::State, names::ApplicationName};

use super::{App, claiming::Contest, course::Course, dependencies};

impl App {
    pub(super) fn new(
        name: &ApplicationName,
        application: Application,
        adopts: [Option<String>; 2],
    ) -> Self {
        let status = application.status.as_ref().ok();
        let requested = status.and_then(|status| status.last_handled_reconcile.clone());
        let course = Course::of(status);
        let tests = status.and_then(|status| status.last_handled_test.clone());
        let inventory = status
            .and_then(|status| status.inventory.clone())
            .and_then(|stored| Inventory::restore(stored).ok())
            .unwrap_or_default();
        Self {
            machine: State::new(name.to_string()),
            application,
            is_unsure: false,
            source: None,
            fetched: None,
            course,
            patience: dependencies::Patience::default(),
            pending_failure: false,
            pending_request: false,
            pending_lookup: false,
            run: None,
            memory: None,
            is_render_void: false,
            inventory,
            healthy: None,
            contest: Contest::default(),
            disputes: Disputes::default(),
            drift_timer: None,
            requested,
            tests,
            adopts,
            confirmed: None,
        }
    }

    /// Forgets the last render: it says nothing any more. Neither does that of a run that is under way, if it comes to one.
    pub(super) fn forget_render(&mut self) {
        self.memory = None;
        self.is_render_void = self.run.is_some();
    }

    /// Takes up a newer state of the resource. The watch may tell of our own writes after we know of them.
    pub(super) fn update(&mut self, application: Application) {
        let version = |application: &Application| application.resource_version.parse::<u64>();
        let is_older = match (version(&application), version(&self.application)) {
            (Ok(new), Ok(known)) => new < known,
            // Versions are opaque by contract; where they are no numbers, what comes last counts.
            _ => false,
        };
        if !is_older {
            self.application = application;
        }
    }
}
