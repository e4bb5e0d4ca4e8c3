//! What renders read from the cluster. Each run's lookups are followed, and a change causes another render.

use pintle_core::{machine::Event, names::ApplicationName};

use super::Controller;
use crate::agent::lookups::Asked;

impl Controller {
    /// Follows what the render of the run that has ended asked of the cluster.
    pub(super) fn follow_lookups(&mut self, name: &ApplicationName, asked: Asked) {
        // Without a connection, one is still being made, and then the application renders again through that.
        if let Some(shared) = self.targets.of(name) {
            self.lookups.follow(shared, name, asked);
        }
    }

    /// Handles an answer that differs from the one that a render got.
    pub(super) fn looked_up(&mut self, name: &ApplicationName) {
        match self.apps.get_mut(name) {
            // It may have asked before the change.
            Some(app) if app.run.is_some() => app.pending_lookup = true,
            Some(_) => self.render_again(name),
            None => {}
        }
    }

    /// Renders again. For an application that has failed, this is a change like any other, and may fix what it failed for. One
    /// that is being retried renders in any case.
    pub(super) fn render_again(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get(name) else {
            return;
        };
        if app.machine.is_blocked() {
            self.step(name, Event::Unblocked);
        } else if app.machine.retries().is_none() {
            self.step(name, Event::Drifted);
        }
    }
}
