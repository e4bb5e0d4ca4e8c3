//! Reconciliations that people request.

use pintle_core::{application::ApplicationStatus, machine::Event, names::ApplicationName};

use super::Controller;

/// The requests so far, and whether drift was repaired for the newest one.
///
/// A person who requests a reconciliation wants what the source gives now, so the source is asked first. Runs that start
/// meanwhile for other reasons do not answer the request: the person who waits for it would take their result for an older
/// revision as the answer.
///
/// A status names a request as soon as a run knew of it after the source had answered. That run may have failed. Or the commit
/// that the source answered with started it, and the request itself stopped it at once. In these cases, the repairs are left to
/// the runs that follow.
#[derive(Debug)]
pub(super) struct Requests {
    /// The value of the annotation that made the newest request for a reconciliation.
    newest: Option<String>,
    /// The newest request before that one that the source has answered.
    before: Option<String>,
    source: Answer,
    /// Whether drift is still to be repaired for the newest request.
    is_unrepaired: bool,
}

/// Whether the source has answered the newest request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Given,
    /// The source has not been asked yet.
    Due,
    /// The answer is a fetch that knows of this look.
    From(u64),
}

impl Requests {
    /// Starts from a status. The status does not say what became of the repairs: they count as made.
    pub(super) fn of(status: Option<&ApplicationStatus>) -> Self {
        Self {
            newest: status.and_then(|status| status.last_handled_reconcile.clone()),
            before: None,
            source: Answer::Given,
            is_unrepaired: false,
        }
    }

    /// Takes up the value of the annotation, and returns whether it is a new request.
    pub(super) fn hear(&mut self, annotation: Option<String>) -> bool {
        let is_news = annotation.is_some() && annotation != self.newest;
        if is_news {
            if self.source == Answer::Given {
                self.before = self.newest.take();
            }
            (self.newest, self.source, self.is_unrepaired) = (annotation, Answer::Due, true);
        }
        is_news
    }

    /// Returns the newest request that the source has answered: the one that a run which starts now answers.
    pub(super) fn answerable(&self) -> Option<&String> {
        match self.source {
            Answer::Given => self.newest.as_ref(),
            Answer::Due | Answer::From(_) => self.before.as_ref(),
        }
    }

    /// Returns the newest request if the source has answered it and drift is still to be repaired for it.
    pub(super) fn unrepaired(&self) -> Option<&String> {
        let is_due = self.is_unrepaired && self.source == Answer::Given;
        self.newest.as_ref().filter(|_| is_due)
    }

    /// Records that drift was repaired for a request, which may no longer be the newest one.
    pub(super) fn repaired(&mut self, request: &str) {
        if self.newest.as_deref() == Some(request) {
            self.is_unrepaired = false;
        }
    }

    /// Records a fetch that knows of this many looks, and returns whether it answers the newest request.
    fn fetched(&mut self, looked: u64) -> bool {
        let is_answer = matches!(self.source, Answer::From(look) if look <= looked);
        if is_answer {
            self.source = Answer::Given;
        }
        is_answer
    }
}

impl Controller {
    /// Asks the source first: a person who requests a reconciliation now wants what the source gives now.
    pub(super) fn request(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let source = app.source.as_ref();
        let look = source.and_then(|source| self.sources.look(source));
        app.requests.source = look.map_or(Answer::Given, Answer::From);
        if look.is_none() {
            // There is no source to ask. The next run reports that.
            self.step(name, Event::Requested);
        }
        self.leave_rollback(name);
    }

    /// Asks the source that an application follows now, if its previous source has left a request unanswered.
    pub(super) fn ask_again(&mut self, name: &ApplicationName) {
        let app = self.apps.get(name);
        if app.is_some_and(|app| matches!(app.requests.source, Answer::From(_))) {
            self.request(name);
        }
    }

    /// Returns whether a fetch that knows of this many looks answers the newest request.
    pub(super) fn is_answer(&mut self, name: &ApplicationName, looked: u64) -> bool {
        let app = self.apps.get_mut(name);
        app.is_some_and(|app| app.requests.fetched(looked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        text.to_owned()
    }

    /// Makes a request and has the source answer it.
    fn ask(requests: &mut Requests, request: &str) {
        assert!(requests.hear(Some(value(request))));
        requests.source = Answer::From(7);
        assert!(requests.fetched(7));
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
        ask(&mut requests, "2");
        assert!(!requests.hear(Some(value("2"))), "the watch tells it again");
        assert_eq!(requests.unrepaired(), Some(&value("2")));
        // Another request arrives while a run makes the repairs for that one.
        ask(&mut requests, "3");
        requests.repaired("2");
        assert_eq!(requests.unrepaired(), Some(&value("3")));
        requests.repaired("3");
        assert_eq!(requests.unrepaired(), None);
        assert!(!requests.hear(Some(value("3"))) && !requests.hear(None));
        assert_eq!(requests.answerable(), Some(&value("3")));
        assert_eq!(requests.unrepaired(), None);
    }

    #[test]
    fn an_agent_that_starts_takes_up_what_no_status_tells_of() {
        for handled in [None, Some("1")] {
            let mut requests = after(handled);
            assert_eq!(requests.unrepaired(), None);
            ask(&mut requests, "2");
            assert_eq!(requests.unrepaired(), Some(&value("2")));
        }
        let mut requests = after(Some("1"));
        assert!(!requests.hear(Some(value("1"))));
        assert_eq!(requests.unrepaired(), None);
        assert!(!Requests::of(None).hear(None));
    }

    #[test]
    fn a_request_is_answered_by_a_fetch_that_began_after_it_and_by_no_run_before_that() {
        let mut requests = after(Some("1"));
        assert!(requests.hear(Some(value("2"))));
        let of_before = |requests: &Requests| {
            assert_eq!(requests.answerable(), Some(&value("1")));
            assert_eq!(requests.unrepaired(), None);
        };
        of_before(&requests);
        assert!(!requests.fetched(9), "the source was not asked yet");
        requests.source = Answer::From(10);
        assert!(!requests.fetched(9), "that fetch began before");
        of_before(&requests);
        // Another request arrives before the answer.
        assert!(requests.hear(Some(value("3"))));
        requests.source = Answer::From(11);
        assert!(!requests.fetched(10));
        of_before(&requests);
        // Somebody else has asked once more.
        assert!(requests.fetched(12));
        assert_eq!(requests.answerable(), Some(&value("3")));
        assert_eq!(requests.unrepaired(), Some(&value("3")));
        assert!(!requests.fetched(13), "it is answered once");
    }
}
