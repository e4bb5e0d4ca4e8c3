//! Which revision of an application runs: what its source gives, or what was gone back to.

use std::time::Duration;

use pintle_cluster::{Application, Weight};
use pintle_core::{
    application::ApplicationStatus,
    history::HistoryEntry,
    machine,
    names::{ApplicationName, ROLLBACK_REQUEST_ANNOTATION},
    request::PersonRequest,
    rollback::{self, Rollback, RollbackError, RollbackPolicy, Steering},
};
use tokio::task::AbortHandle;

use super::{App, Controller};
use crate::{
    agent::sources::{Earlier, FetchFailure, Fetched, SourceKey},
    pipeline::now_text,
};

/// Where one application is headed.
pub(super) struct Course {
    steering: Steering,
    /// What was fetched to go back to, by the name under which the state machine knows it.
    earlier: Option<(String, Fetched)>,
    fetching: Option<(String, AbortHandle)>,
    /// The newest request of a person that was taken up.
    asked: Option<String>,
    /// A request that waits until it is known what the source gives.
    waiting: Option<PersonRequest>,
}

impl Course {
    pub(super) fn of(status: Option<&ApplicationStatus>) -> Self {
        let rollback = status.and_then(|status| status.rollback.clone());
        Self {
            steering: Steering::restore(rollback),
            earlier: None,
            fetching: None,
            asked: status.and_then(|status| status.last_handled_rollback.clone()),
            waiting: None,
        }
    }

    /// Returns what was fetched of a revision that was gone back to.
    pub(super) fn earlier(&self, revision: &str) -> Option<&Fetched> {
        let (_, fetched) = self
            .earlier
            .as_ref()
            .filter(|(known, _)| known == revision)?;
        Some(fetched)
    }

    /// Returns the rollback that is in force.
    pub(super) fn rollback(&self) -> Option<&Rollback> {
        self.steering.rollback()
    }

    /// Returns the newest request for a rollback that was taken up.
    pub(super) fn asked(&self) -> Option<&String> {
        self.asked.as_ref()
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
        if app.source != key
            && let Some(old) = app.source.take()
        {
            app.fetched = None;
            app.course.steering.forget_head();
            self.sources.leave(name, &old);
            self.step(name, machine::Event::SourceChanged);
        }
        if let (Some(message), Some(app)) = (refused, self.apps.get_mut(name)) {
            app.fetched = Some(Err(FetchFailure { message }));
        }
        match key {
            Some(key) => {
                self.shared.claims.source(name, key.topic());
                let known = self.sources.follow(name, &key, interval);
                let app = self.apps.get_mut(name);
                let is_new = app.is_some_and(|app| app.source.replace(key).is_none());
                if is_new && let Some(fetched) = known {
                    self.fetched(name, fetched);
                }
            }
            None => self.tell_revision(name),
        }
    }

    pub(super) fn fetched(&mut self, name: &ApplicationName, fetched: Fetched) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        // A source that does not answer is no reason to give up a rollout of what it gave before.
        app.pending_failure = fetched.is_err() && app.run.is_some();
        app.fetched = Some(fetched);
        if !app.pending_failure {
            self.tell_revision(name);
        }
    }

    /// Tells the state machine what is to run, now that the source has answered.
    pub(super) fn tell_revision(&mut self, name: &ApplicationName) {
        if self.targets.of(name).is_none() {
            // It is told when the cluster has answered.
            return;
        }
        let revision = match self.apps.get(name).and_then(|app| app.fetched.as_ref()) {
            Some(Ok(snapshot)) => snapshot.revision().commit.clone(),
            Some(Err(failure)) => {
                let failed = format!("failed: {}", failure.message);
                return self.step(name, machine::Event::Revision(failed));
            }
            None => return,
        };
        // A revision is never refused.
        let _ = self.steer(name, rollback::Event::Head(&revision));
        let app = self.apps.get_mut(name);
        if let Some(request) = app.and_then(|app| app.course.waiting.take()) {
            self.go_back(name, request);
        }
    }

    /// Takes up a person's request for a rollback, if there is a new one.
    pub(super) fn look_for_rollback(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let text = app.application.annotations.get(ROLLBACK_REQUEST_ANNOTATION);
        let Some(request) = text.and_then(|text| PersonRequest::read(text)) else {
            return;
        };
        if app.course.asked.as_ref() == Some(&request.id) {
            return;
        }
        app.course.asked = Some(request.id.clone());
        if app.course.steering.target().is_some() {
            self.go_back(name, request);
        } else {
            app.course.waiting = Some(request);
        }
    }

    fn go_back(&mut self, name: &ApplicationName, request: PersonRequest) {
        let reason = request.reason.as_deref().unwrap_or("no reason was given");
        let asked = rollback::Event::Asked {
            to: request.to.as_deref(),
            by: &request.by,
            reason,
        };
        match self.steer(name, asked) {
            // What is fetched first runs when it is there.
            Ok(()) if self.is_fetching(name) => {}
            // Even if nothing changes by it: whoever asked waits for an answer in the status.
            Ok(()) => self.step(name, machine::Event::Requested),
            Err(error) => self.refuse(name, &request, &error),
        }
    }

    fn is_fetching(&self, name: &ApplicationName) -> bool {
        let app = self.apps.get(name);
        app.is_some_and(|app| app.course.fetching.is_some())
    }

    fn refuse(&self, name: &ApplicationName, request: &PersonRequest, error: &RollbackError) {
        let Some(app) = self.apps.get(name) else {
            return;
        };
        let (shared, application) = (std::sync::Arc::clone(&self.shared), app.application.clone());
        let note = format!(
            "the rollback that {} asked for was refused: {error}",
            request.by
        );
        tracing::warn!(application = %name, note);
        tokio::spawn(async move {
            let (kind, reason) = ("Application", "RollbackRefused");
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

    /// Ends a rollback, because a person wants what the source gives.
    pub(super) fn leave_rollback(&mut self, name: &ApplicationName) {
        // Wanting the newest is never refused.
        let _ = self.steer(name, rollback::Event::Retry);
    }

    /// Goes back, if the application asks for that where a rollout fails.
    pub(super) fn failed(&mut self, name: &ApplicationName, revision: &str, reason: &str) {
        let Some(app) = self.apps.get(name) else {
            return;
        };
        let spec = app.application.spec.as_ref().ok();
        let policy = spec.map_or(RollbackPolicy::Never, |spec| spec.rollback);
        let event = rollback::Event::Failed {
            revision,
            reason,
            policy,
        };
        // A failure is never refused: at worst there is nothing to go back to.
        let _ = self.steer(name, event);
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
        app.course.steering.step(event, history, &now_text())?;
        let Some(target) = app.course.steering.target().map(ToOwned::to_owned) else {
            return Ok(());
        };
        if app.course.rollback().is_none() {
            app.course.stop_fetching();
            app.course.earlier = None;
            self.step(name, machine::Event::Revision(target));
        } else if app.course.earlier(&target).is_some() {
            self.step(name, machine::Event::Revision(target));
        } else {
            self.fetch_earlier(name, target);
        }
        Ok(())
    }

    /// Fetches what is to be gone back to, unless that is under way.
    fn fetch_earlier(&mut self, name: &ApplicationName, revision: String) {
        let (shared, messages) = (std::sync::Arc::clone(&self.shared), self.messages.clone());
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let under_way = app.course.fetching.as_ref();
        if under_way.is_some_and(|(known, _)| *known == revision) {
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

    /// Runs what is to be gone back to, or tells why it cannot be had.
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
        let known = match &fetched {
            Ok(_) => revision.to_owned(),
            Err(failure) => format!("failed: {}", failure.message),
        };
        if fetched.is_ok() {
            app.course.fetching = None;
        }
        app.course.earlier = Some((known.clone(), fetched));
        self.step(name, machine::Event::Revision(known));
    }
}

fn unreachable_now(revision: &str) -> FetchFailure {
    FetchFailure {
        message: format!(
            "{revision} is not from the source that the application names now: it cannot be gone back to"
        ),
    }
}

impl App {
    /// Returns what is fetched of a revision that the state machine wants.
    pub(super) fn fetched_of(&self, revision: &str) -> Option<Fetched> {
        self.course
            .earlier(revision)
            .or(self.fetched.as_ref())
            .cloned()
    }
}
