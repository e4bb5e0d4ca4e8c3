//! Reconciliations that a person asks for.

use pintle_core::{application::ApplicationStatus, machine::Event, names::ApplicationName};

use super::Controller;

/// What has been asked for, and whether what had drifted was put right for it.
///
/// Who asks wants what the source gives now, so the source is asked first. Runs that other reasons start meanwhile do not answer
/// the request: whoever waits for it would take what they made of an older revision for the answer.
///
/// A status tells of a request as soon as a run knew of it that the source has answered. That run may have failed, or the commit
/// that the source answered with may have started it, and the request itself have stopped it at once: then the repairs are left
/// to those that follow.
#[derive(Debug)]
pub(super) struct Requests {
    /// The value of the annotation by which a person asked for the newest reconciliation.
    newest: Option<String>,
    /// The newest before it that the source has answered.
    before: Option<String>,
    source: Answer,
    /// Whether what has drifted is still to be put right for the newest.
    is_unrepaired: bool,
}

/// What the source says to the newest request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Given,
    /// The source is to be asked yet.
    Due,
    /// A fetch answers that knows of this look.
    From(u64),
}

impl Requests {
    /// Begins with what a status tells. What became of the repairs is not in it: they count as made.
    pub(super) fn of(status: Option<&ApplicationStatus>) -> Self {
        Self {
            newest: status.and_then(|status| status.last_handled_reconcile.clone()),
            before: None,
            source: Answer::Given,
            is_unrepaired: false,
        }
    }

    /// Takes up what the annotation says, and says whether that is another request than the newest.
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

    /// Returns the newest that the source has answered: what a run answers that starts now.
    pub(super) fn answerable(&self) -> Option<&String> {
        match self.source {
            Answer::Given => self.newest.as_ref(),
            Answer::Due | Answer::From(_) => self.before.as_ref(),
        }
    }

    /// Returns the newest if what has drifted is still to be put right for it, with what the source answered.
    pub(super) fn unrepaired(&self) -> Option<&String> {
        let is_due = self.is_unrepaired && self.source == Answer::Given;
        self.newest.as_ref().filter(|_| is_due)
    }

    /// Takes notice that what had drifted was put right for a request, which need not be the newest any more.
    pub(super) fn repaired(&mut self, request: &str) {
        if self.newest.as_deref() == Some(request) {
            self.is_unrepaired = false;
        }
    }

    /// Takes notice of a fetch that knows of so many looks, and says whether it answers the newest request.
    fn fetched(&mut self, looked: u64) -> bool {
        let is_answer = matches!(self.source, Answer::From(look) if look <= looked);
        if is_answer {
            self.source = Answer::Given;
        }
        is_answer
    }
}

impl Controller {
    /// Lets the source be asked first: who wants a reconciliation now wants what the source gives now.
    pub(super) fn request(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let source = app.source.as_ref();
        let look = source.and_then(|source| self.sources.look(source));
        app.requests.source = look.map_or(Answer::Given, Answer::From);
        if look.is_none() {
            // There is none to ask, which is what the next run tells.
            self.step(name, Event::Requested);
        }
        self.leave_rollback(name);
    }

    /// Asks the source that an application follows now for what another one has not answered.
    pub(super) fn ask_again(&mut self, name: &ApplicationName) {
        let app = self.apps.get(name);
        if app.is_some_and(|app| matches!(app.requests.source, Answer::From(_))) {
            self.request(name);
        }
    }

    /// Says whether a fetch that knows of so many looks answers the newest request.
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

    /// Asks for it, and has the source answer.
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
        // Another one comes while a run makes them for that.
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
        // Another one comes before the answer.
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
