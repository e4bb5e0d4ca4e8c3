//! Which revision of an application runs: the one that its source gives, or the one that it was rolled back to.

use std::time::Duration;

use pintle_cluster::{Application, Weight};
use pintle_core::{
    application::ApplicationStatus,
    digest::Digest,
    history::HistoryEntry,
    machine,
    names::{ApplicationName, ROLLBACK_REQUEST_ANNOTATION},
    request::PersonRequest,
    rollback::{self, Rollback, RollbackError, RollbackPolicy, Steering},
};
use tokio::task::AbortHandle;

use super::{App, Controller};
use crate::{
    agent::{
        job::{RollbackAnswer, Trial},
        reasons,
        sources::{Earlier, FetchFailure, Fetched, SourceKey},
    },
    pipeline::{now_text, snapshot::Snapshot},
};

/// Why there is no rollback while it is not known which revision it would go back from.
const SOURCE_AWAY: &str = "its source does not answer: ask again when it does";

/// Where one application is headed.
pub(super) struct Course {
    steering: Steering,
    /// The last snapshot that was fetched for a rollback.
    earlier: Option<Snapshot>,
    /// Why the revision to roll back to is not available.
    missing: Option<FetchFailure>,
    fetching: Option<(String, AbortHandle)>,
    /// The newest rollback request that was taken up.
    asked: Option<String>,
    /// The answer to the newest request that has one. A request has none yet while its revision is being fetched.
    answer: Option<RollbackAnswer>,
    /// A request that waits until it is known what the source gives.
    waiting: Option<PersonRequest>,
    /// The newest request that cannot be parsed. It has no id by which a status could report its refusal.
    unreadable: Option<String>,
    /// The first look at the source whose answer counts. Set if what was fetched before it may be older than what another replica
    /// has rolled out.
    since: Option<u64>,
}

impl Course {
    pub(super) fn of(status: Option<&ApplicationStatus>) -> Self {
        let rollback = status.and_then(|status| status.rollback.clone());
        let answer = status.and_then(|status| {
            Some(RollbackAnswer {
                request: status.last_handled_rollback.clone()?,
                refusal: status.rollback_refused.clone(),
            })
        });
        Self {
            steering: Steering::restore(rollback),
            earlier: None,
            missing: None,
            fetching: None,
            asked: answer.as_ref().map(|answer| answer.request.clone()),
            answer,
            waiting: None,
            unreadable: None,
            since: None,
        }
    }

    /// Returns the fetched snapshot of a revision that was rolled back to.
    fn earlier(&self, revision: &str) -> Option<&Snapshot> {
        let earlier = self.earlier.as_ref();
        earlier.filter(|snapshot| snapshot.revision().commit == revision)
    }

    /// Returns the rollback that is in force.
    pub(super) fn rollback(&self) -> Option<&Rollback> {
        self.steering.rollback()
    }

    /// Returns the rollback that was decided on. The status keeps it while the source does not answer.
    pub(super) fn decided(&self) -> Option<&Rollback> {
        self.steering.decided()
    }

    /// Returns the digest of the render that was rolled back from, if it is not known whether a new commit renders differently.
    pub(super) fn left(&self) -> Option<Digest> {
        self.steering.left()
    }

    /// Records that a commit renders differently from what was rolled back from.
    pub(super) fn supersede(&mut self) {
        self.steering.supersede();
        self.forget_earlier();
    }

    /// Records the digest of a revision's render.
    pub(super) fn found_render(&mut self, revision: &str, whole: Digest) {
        self.steering.found_render(revision, whole);
    }

    /// Drops the snapshot that was rolled back to, unless it may continue to run: a new commit may change nothing.
    fn forget_earlier(&mut self) {
        if self.decided().is_none() {
            self.earlier = None;
        }
    }

    /// Returns the answer to the newest rollback request that has one.
    pub(super) fn answer(&self) -> Option<&RollbackAnswer> {
        self.answer.as_ref()
    }

    /// Answers the newest request. The next run reports the answer.
    fn give_answer(&mut self, refusal: Option<String>) {
        let asked = self.asked.clone();
        self.answer = asked.map(|request| RollbackAnswer { request, refusal });
    }

    /// Returns whether the newest request has no answer yet.
    fn is_asked(&self) -> bool {
        self.answer.as_ref().map(|answer| &answer.request) != self.asked.as_ref()
    }

    fn stop_fetching(&mut self) {
        if let Some((_, task)) = self.fetching.take() {
            task.abort();
        }
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        self.stop_fetching();
    }
}

fn history(application: &Application) -> &[HistoryEntry] {
    let status = application.status.as_ref().ok();
    status.map_or(&[], |status| &status.history)
}

impl Controller {
    /// Follows the source that the spec names now.
    pub(super) fn follow_source(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let source = app.application.spec.as_ref().ok().and_then(|spec| {
            let named = spec.service_account_name.as_deref();
            let account = self.shared.accounts.of(name, named);
            let key = SourceKey::of(spec.source.as_ref()?, name, account);
            Some((key, spec.interval.get()))
        });
        let (key, interval, refused) = match source {
            Some((Ok(key), interval)) => (Some(key), interval, None),
            Some((Err(message), _)) => (None, Duration::MAX, Some(message)),
            None => {
                let message = "the spec names no source that can be read".to_owned();
                (None, Duration::MAX, Some(message))
            }
        };
        if app.source != key && (app.source.is_some() || app.failure.is_some()) {
            let old = app.source.take();
            (app.fetched, app.failure, app.course.missing) = (None, None, None);
            // The revision to roll back to is fetched from the new source, once that has answered.
            app.course.stop_fetching();
            app.course.steering.forget_head();
            if let Some(old) = old {
                self.sources.leave(name, &old);
            }
            self.step(name, machine::Event::SourceChanged);
        }
        if let (Some(message), Some(app)) = (refused, self.apps.get_mut(name)) {
            app.failure = Some(FetchFailure::new(message));
        }
        let Some(key) = key else {
            self.tell_revision(name);
            return self.ask_again(name);
        };
        self.shared.claims.source(name, key.topic());
        let known = self.sources.follow(name, &key, interval);
        let app = self.apps.get_mut(name);
        if app.is_some_and(|app| app.source.replace(key.clone()).is_none()) {
            self.begin_with(name, &key, known);
            self.ask_again(name);
        }
    }

    /// Takes up what is known of a source that an application now follows. What was fetched before this replica was given the
    /// shard may be older than what another replica has rolled out since. In that case, the source is asked first.
    fn begin_with(&mut self, name: &ApplicationName, key: &SourceKey, known: Option<Fetched>) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let may_be_behind = !self.sources.is_fresh(key) && app.may_be_ahead_of(known.as_ref());
        app.course.since = may_be_behind.then(|| self.sources.look(key)).flatten();
        if app.course.since.is_none()
            && let Some(fetched) = known
        {
            self.fetched(name, fetched);
        }
    }

    /// Returns whether a fetch that knows of this many looks is recent enough to decide what an application runs.
    pub(super) fn is_recent(&self, name: &ApplicationName, looked: u64) -> bool {
        let since = self.apps.get(name).and_then(|app| app.course.since);
        since.is_none_or(|since| looked >= since)
    }

    pub(super) fn fetched(&mut self, name: &ApplicationName, fetched: Fetched) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        match fetched {
            Ok(snapshot) => (app.fetched, app.failure) = (Some(snapshot), None),
            // The previous snapshot stays: a failure to answer now takes nothing back.
            Err(failure) => app.failure = Some(failure),
        }
        self.tell_revision(name);
    }

    /// Takes up a new place to read the known revision from. The copy that was read until now may have been damaged or deleted,
    /// and has then been replaced.
    pub(super) fn refetched(&mut self, key: &SourceKey, snapshot: &Snapshot) {
        for name in self.sources.fetched(key, &Ok(snapshot.clone())) {
            let known = self
                .apps
                .get_mut(&name)
                .and_then(|app| app.fetched.as_mut());
            if let Some(known) = known
                && known.revision().commit == snapshot.revision().commit
            {
                *known = snapshot.clone();
            }
        }
    }

    /// Fetches a revision again that a run could not read: the fetch repairs its copy on this disk. The run is retried on its
    /// own, with whatever has been fetched by then.
    pub(super) fn fetch_again(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get(name) else {
            return;
        };
        if let Some(source) = &app.source {
            self.sources.mend(source);
        }
        let earlier = app.course.rollback().map(|rollback| rollback.to.clone());
        if let Some(revision) = earlier {
            self.fetch_earlier(name, revision);
        }
    }

    /// Tells the state machine which revision is to run, now that the source has answered, or that the source does not answer.
    pub(super) fn tell_revision(&mut self, name: &ApplicationName) {
        if self.targets.of(name).is_none() {
            // The state machine is told when the cluster has answered.
            return;
        }
        let Some(app) = self.apps.get(name) else {
            return;
        };
        let failure = app.failure.clone();
        // The snapshot from before the failure was reported at that time, if the cluster had answered by then.
        let is_news = failure.is_none() || app.course.steering.target().is_none();
        let head = app.fetched.as_ref().filter(|_| is_news);
        if let Some(head) = head.map(|snapshot| snapshot.revision().commit.clone()) {
            // A new head is never refused.
            let _ = self.steer(name, rollback::Event::Head(&head));
            let app = self.apps.get_mut(name);
            if let Some(request) = app.and_then(|app| app.course.waiting.take()) {
                self.go_back(name, request);
            }
        }
        if let Some(failure) = failure {
            self.source_failed(name, failure.message);
        }
    }

    /// Tells the state machine that the source does not answer, and refuses a rollback that waits for the source's answer: by the
    /// time the source answers, it may give a fix for what the person wanted to roll back from.
    fn source_failed(&mut self, name: &ApplicationName, reason: String) {
        let app = self.apps.get_mut(name);
        if let Some(request) = app.and_then(|app| app.course.waiting.take()) {
            self.refuse(name, &request, SOURCE_AWAY);
        }
        self.step(name, machine::Event::SourceFailed(reason));
    }

    /// Tells the state machine which revision is to run, without claiming that the source answers.
    fn head_for(&mut self, name: &ApplicationName, revision: String) {
        let is_away = self.apps.get(name).is_some_and(|app| app.failure.is_some());
        let event = if is_away {
            machine::Event::Steered(revision)
        } else {
            machine::Event::Revision(revision)
        };
        self.step(name, event);
    }

    /// Takes up a person's request for a rollback, if there is a new one.
    pub(super) fn look_for_rollback(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let Some(text) = app.application.annotations.get(ROLLBACK_REQUEST_ANNOTATION) else {
            return;
        };
        let request = match PersonRequest::parse(text) {
            Ok(request) => request,
            Err(error) => {
                let told = app.course.unreadable.replace(text.clone());
                if told.as_ref() != Some(text) {
                    self.tell_refusal(name, unreadable(&error));
                }
                return;
            }
        };
        if app.course.asked.as_ref() == Some(&request.id) {
            return;
        }
        app.course.asked = Some(request.id.clone());
        if app.course.steering.target().is_some() {
            return self.go_back(name, request);
        }
        if app.failure.is_none() {
            app.course.waiting = Some(request);
            return;
        }
        self.refuse(name, &request, SOURCE_AWAY);
        self.step(name, machine::Event::Requested);
    }

    fn go_back(&mut self, name: &ApplicationName, request: PersonRequest) {
        let reason = request.reason.as_deref().unwrap_or("no reason was given");
        let app = self.apps.get(name);
        let status = app.and_then(|app| app.application.status.as_ref().ok());
        let asked = rollback::Event::Asked {
            to: request.to.as_deref(),
            begun: status.and_then(ApplicationStatus::begun),
            by: &request.by,
            reason,
        };
        match self.steer(name, asked) {
            // A revision that has to be fetched first runs once it is there. If the fetch fails, a run reports that, too.
            Ok(()) if self.is_fetching(name) => {}
            Ok(()) => {
                if let Some(app) = self.apps.get_mut(name) {
                    app.course.give_answer(None);
                }
                // A run reports it, even if nothing changes by it: the person who asked waits for an answer in the status.
                self.step(name, machine::Event::Requested);
            }
            Err(error) => {
                self.refuse(name, &request, &error.to_string());
                self.step(name, machine::Event::Requested);
            }
        }
    }

    fn is_fetching(&self, name: &ApplicationName) -> bool {
        let app = self.apps.get(name);
        app.is_some_and(|app| app.course.fetching.is_some())
    }

    /// Refuses the newest request. The next run reports that in the status.
    fn refuse(&mut self, name: &ApplicationName, request: &PersonRequest, why: &str) {
        if let Some(app) = self.apps.get_mut(name) {
            app.course.give_answer(Some(why.to_owned()));
        }
        let by = &request.by;
        self.tell_refusal(
            name,
            format!("the rollback that {by} asked for was refused: {why}"),
        );
    }

    /// Reports in the log and in an Event that a rollback was refused.
    fn tell_refusal(&self, name: &ApplicationName, note: String) {
        let Some(app) = self.apps.get(name) else {
            return;
        };
        let (shared, application) = (std::sync::Arc::clone(&self.shared), app.application.clone());
        tracing::warn!(application = %name, note);
        tokio::spawn(async move {
            let (kind, reason) = ("Application", reasons::ROLLBACK_REFUSED);
            let events = &shared.events;
            events
                .emit(
                    &application,
                    kind,
                    Weight::Warning,
                    reason,
                    "Rollback",
                    &note,
                )
                .await;
        });
    }

    /// Ends a rollback because a person wants what the source gives.
    pub(super) fn leave_rollback(&mut self, name: &ApplicationName) {
        if let Some(app) = self.apps.get_mut(name)
            && app.course.waiting.take().is_some()
        {
            // The request is superseded before its rollback has begun. Nobody should wait for it.
            app.course.give_answer(None);
        }
        // A request for the newest revision is never refused.
        let _ = self.steer(name, rollback::Event::Retry);
    }

    /// Records the result of a revision. If it does not work, this rolls back, where the application asks for that.
    pub(super) fn tried(&mut self, name: &ApplicationName, trial: &Trial) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        match trial {
            Trial::Unchanged(revision) => app.course.steering.found_unchanged(revision),
            Trial::SameAsLeft(revision) => {
                // This is never refused: what was rolled back to is known.
                let _ = self.steer(name, rollback::Event::SameAsLeft(revision));
            }
            Trial::Failed {
                revision,
                rendered,
                reason,
            } => {
                let spec = app.application.spec.as_ref().ok();
                let policy = spec.map_or(RollbackPolicy::Never, |spec| spec.rollback);
                let event = rollback::Event::Failed {
                    revision,
                    rendered: *rendered,
                    reason,
                    policy,
                };
                // A failure is never refused: at worst there is nothing to roll back to.
                let _ = self.steer(name, event);
            }
        }
    }

    fn steer(
        &mut self,
        name: &ApplicationName,
        event: rollback::Event<'_>,
    ) -> Result<(), RollbackError> {
        let Some(app) = self.apps.get_mut(name) else {
            return Ok(());
        };
        let history = history(&app.application);
        let origin = app.source.as_ref().map(SourceKey::origin);
        let before = app.course.decided().map(|rollback| rollback.to.clone());
        let is_as_left = matches!(event, rollback::Event::SameAsLeft(_));
        let steering = &mut app.course.steering;
        steering.step(event, history, origin, &now_text())?;
        let Some(target) = app.course.steering.target().map(ToOwned::to_owned) else {
            return Ok(());
        };
        if app.course.rollback().is_none() {
            app.course.stop_fetching();
            app.course.missing = None;
            app.course.forget_earlier();
            if app.course.waiting.is_none() && app.course.is_asked() {
                // A request whose revision is still being fetched is superseded. Nobody should wait for it.
                app.course.give_answer(None);
            }
            if before.as_ref() == Some(&target) && app.course.decided().is_none() {
                // The source gives the revision that was rolled back to. That one runs, and is no longer reported as a rollback.
                self.step(name, machine::Event::Withdrawn);
            }
            self.head_for(name, target);
        } else if app.course.earlier(&target).is_some() {
            app.course.stop_fetching();
            app.course.missing = None;
            self.head_for(name, target);
        } else {
            if is_as_left {
                // The state machine knows the revision that the source gives, which any change would roll out until the other one
                // is there.
                self.step(name, machine::Event::Withdrawn);
            }
            self.fetch_earlier(name, target);
        }
        Ok(())
    }

    /// Fetches the revision to roll back to, unless that is in progress. A fetch that keeps failing is started anew: a person who
    /// asks again waits for an answer.
    fn fetch_earlier(&mut self, name: &ApplicationName, revision: String) {
        let (shared, messages) = (std::sync::Arc::clone(&self.shared), self.messages.clone());
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let under_way = app.course.fetching.as_ref();
        let has_failed = app.course.missing.is_some();
        if !has_failed && under_way.is_some_and(|(known, _)| *known == revision) {
            return;
        }
        app.course.stop_fetching();
        let known = history(&app.application)
            .iter()
            .find(|one| one.revision == revision);
        let reference = known
            .map(|entry| entry.reference.clone())
            .unwrap_or_default();
        let Some(key) = app
            .source
            .as_ref()
            .and_then(|key| key.at(&revision, &reference))
        else {
            return self.fetched_earlier(name, &revision, Err(unreachable_now(&revision)));
        };
        let wanted = Earlier {
            name: name.clone(),
            revision: revision.clone(),
        };
        let task = tokio::spawn(wanted.fetch(shared, key, messages));
        app.course.fetching = Some((revision, task.abort_handle()));
    }

    /// Runs the fetched revision, or reports why it is not available.
    pub(super) fn fetched_earlier(
        &mut self,
        name: &ApplicationName,
        revision: &str,
        fetched: Fetched,
    ) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        if app.course.steering.target() != Some(revision) {
            return;
        }
        if app.course.is_asked() {
            app.course.give_answer(None);
        }
        match fetched {
            Ok(snapshot) => {
                (app.course.fetching, app.course.missing) = (None, None);
                app.course.earlier = Some(snapshot);
                self.head_for(name, revision.to_owned());
            }
            // The state machine ignores a reason that it knows already, and each request needs an answer of its own. That must
            // hold even if the answer is the same as for the request before, or the one that the source gave for its newest
            // revision.
            Err(failure) => {
                let request = app.course.asked.as_deref().unwrap_or_default();
                let reason = format!("{revision} for {request}: {}", failure.message);
                app.course.missing = Some(failure);
                self.step(name, machine::Event::SourceFailed(reason));
            }
        }
    }
}

/// Describes what is wrong with a request that nobody can answer.
fn unreadable(error: &serde_json::Error) -> String {
    format!(
        "a rollback was refused: the annotation {ROLLBACK_REQUEST_ANNOTATION} cannot be read: {error}; expected \
         {{\"id\": \"…\", \"by\": \"…\", \"at\": \"…\"}} with an id of its own, and `to` and `reason` where there is one"
    )
}

fn unreachable_now(revision: &str) -> FetchFailure {
    FetchFailure::new(format!(
        "{revision} is not from the source that the application names now: it cannot be gone back to"
    ))
}

impl App {
    /// Returns the fetched snapshot of a revision that the state machine wants.
    pub(super) fn fetched_of(&self, revision: &str) -> Option<Snapshot> {
        self.course
            .earlier(revision)
            .or(self.fetched.as_ref())
            .cloned()
    }

    /// Returns why the revision to run is not available, or may not be known. No result of a run changes that.
    pub(super) fn away(&self) -> Option<&FetchFailure> {
        self.course.missing.as_ref().or(self.failure.as_ref())
    }
}
