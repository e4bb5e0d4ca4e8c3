//! What renders read from the cluster: followed after each run, and when it changes, rendered again.

use pintle_core::{machine::Event, names::ApplicationName};

use super::Controller;
use crate::agent::lookups::Asked;

impl Controller {
    /// Follows what the render of the run that has ended asked of the cluster.
    pub(super) fn follow_lookups(&mut self, name: &ApplicationName, asked: Asked) {
        // What another connection is made for is rendered again by that one.
        if let Some(shared) = self.targets.of(name) {
            self.lookups.follow(shared, name, asked);
        }
    }

    /// An answer is another one than a render had.
    pub(super) fn looked_up(&mut self, name: &ApplicationName) {
        match self.apps.get_mut(name) {
            // It may have asked before.
            Some(app) if app.run.is_some() => app.pending_lookup = true,
            Some(_) => self.render_again(name),
            None => {}
        }
    }

    /// Renders again. To what failed this is a change as any other: it may be what it failed for. What is tried again renders in
    /// any case.
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
