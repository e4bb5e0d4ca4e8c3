//! Reconciliations that a person asks for.

use pintle_core::{application::ApplicationStatus, machine::Event, names::ApplicationName};

use super::Controller;

/// What has been asked for, and whether what had drifted was put right for it.
///
/// A status tells of a request as soon as a run knew of it. That run may have failed, or the commit that the source was asked for
/// may have started it, and the request itself have stopped it at once: then the repairs are left to those that follow.
#[derive(Debug)]
pub(super) struct Requests {
    /// The value of the annotation by which a person asked for the newest reconciliation.
    newest: Option<String>,
    /// Whether what has drifted is still to be put right for that one.
    is_unrepaired: bool,
}

impl Requests {
    /// Begins with what a status tells. What became of the repairs is not in it: they count as made.
    pub(super) fn of(status: Option<&ApplicationStatus>) -> Self {
        Self {
            newest: status.and_then(|status| status.last_handled_reconcile.clone()),
            is_unrepaired: false,
        }
    }

    /// Takes up what the annotation says, and says whether that is another request than the newest.
    pub(super) fn hear(&mut self, annotation: Option<String>) -> bool {
        let is_news = annotation.is_some() && annotation != self.newest;
        if is_news {
            (self.newest, self.is_unrepaired) = (annotation, true);
        }
        is_news
    }

    /// Returns the newest.
    pub(super) fn newest(&self) -> Option<&String> {
        self.newest.as_ref()
    }

    /// Returns the newest if what has drifted is still to be put right for it.
    pub(super) fn unrepaired(&self) -> Option<&String> {
        self.newest.as_ref().filter(|_| self.is_unrepaired)
    }

    /// Takes notice that what had drifted was put right for a request, which need not be the newest any more.
    pub(super) fn repaired(&mut self, request: &str) {
        if self.newest.as_deref() == Some(request) {
            self.is_unrepaired = false;
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        text.to_owned()
    }

    fn after(handled: Option<&str>) -> Requests {
        let status = ApplicationStatus {
            last_handled_reconcile: handled.map(value),
            ..ApplicationStatus::default()
        };
        Requests::of(Some(&status))
    }

    #[test]
    fn repairs_are_due_until_they_were_made_for_the_newest_request() {
        let mut requests = after(Some("1"));
        assert!(requests.hear(Some(value("2"))));
        assert!(!requests.hear(Some(value("2"))), "the watch tells it again");
        assert_eq!(requests.unrepaired(), Some(&value("2")));
        // Another one comes while a run makes them for that.
        assert!(requests.hear(Some(value("3"))));
        requests.repaired("2");
        assert_eq!(requests.unrepaired(), Some(&value("3")));
        requests.repaired("3");
        assert_eq!(requests.unrepaired(), None);
        assert!(!requests.hear(Some(value("3"))) && !requests.hear(None));
        assert_eq!(requests.newest(), Some(&value("3")));
        assert_eq!(requests.unrepaired(), None);
    }

    #[test]
    fn an_agent_that_starts_takes_up_what_no_status_tells_of() {
        for handled in [None, Some("1")] {
            let mut requests = after(handled);
            assert_eq!(requests.unrepaired(), None);
            assert!(requests.hear(Some(value("2"))));
            assert_eq!(requests.unrepaired(), Some(&value("2")));
        }
        let mut requests = after(Some("1"));
        assert!(!requests.hear(Some(value("1"))));
        assert_eq!(requests.unrepaired(), None);
        assert!(!Requests::of(None).hear(None));
    }
}
