//! Reconciliations that a person asks for.

use pintle_core::{machine::Event, names::ApplicationName};

use super::Controller;

impl Controller {
    /// Lets the source be asked first: who wants a reconciliation now wants what the source gives now.
    pub(super) fn request(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        app.pending_request = true;
        match &app.source {
            Some(source) => self.sources.look(source),
            None => self.answer_request(name),
        }
        self.leave_rollback(name);
    }

    pub(super) fn answer_request(&mut self, name: &ApplicationName) {
        let app = self.apps.get_mut(name);
        if app.is_some_and(|app| std::mem::take(&mut app.pending_request)) {
            self.step(name, Event::Requested);
        }
    }
}
