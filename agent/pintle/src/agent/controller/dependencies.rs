//! Applications that wait for others.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use pintle_cluster::Application;
use pintle_core::{
    application::{ApplicationStatus, Condition, ConditionStatus},
    dependencies::{Dependency, Obstacle, obstacles},
    machine::{Cause, Event, Outcome},
    names::ApplicationName,
};

use super::{App, Controller, app::is_suspended};
use crate::agent::{job::Work, sources::Fetched};

/// The standing of all applications according to their resources, including those that other replicas work on.
#[derive(Default)]
pub(super) struct Standings {
    known: BTreeMap<ApplicationName, Dependency>,
    /// For each name, the applications that wait for it, whether or not an application of that name exists.
    waiting: BTreeMap<ApplicationName, BTreeSet<ApplicationName>>,
}

impl Standings {
    /// Takes up a state of an Application, and returns whether that matters to those that wait for it.
    pub(super) fn see(&mut self, application: &Application) -> bool {
        let standing = Dependency {
            depends_on: depends_on(application),
            not_ready: not_ready(application),
        };
        self.put(application.application_name(), standing)
    }

    fn put(&mut self, name: ApplicationName, standing: Dependency) -> bool {
        if self.known.get(&name) == Some(&standing) {
            return false;
        }
        self.forget(&name);
        for other in &standing.depends_on {
            let waiting = self.waiting.entry(other.clone()).or_default();
            waiting.insert(name.clone());
        }
        self.known.insert(name, standing);
        true
    }

    pub(super) fn forget(&mut self, name: &ApplicationName) {
        let standing = self.known.remove(name);
        for other in standing.into_iter().flat_map(|one| one.depends_on) {
            if let Some(waiting) = self.waiting.get_mut(&other) {
                waiting.remove(name);
                if waiting.is_empty() {
                    self.waiting.remove(&other);
                }
            }
        }
    }

    /// Returns the applications that wait for an application.
    fn dependents(&self, name: &ApplicationName) -> impl Iterator<Item = &ApplicationName> {
        self.waiting.get(name).into_iter().flatten()
    }

    /// Forgets all applications but those in `there`, and returns the ones that went.
    pub(super) fn keep(&mut self, there: &BTreeSet<ApplicationName>) -> Vec<ApplicationName> {
        let gone = self.known.keys().filter(|name| !there.contains(*name));
        let gone: Vec<ApplicationName> = gone.cloned().collect();
        for name in &gone {
            self.forget(name);
        }
        gone
    }
}

fn depends_on(application: &Application) -> Vec<ApplicationName> {
    let namespace = application.namespace.as_deref().unwrap_or_default();
    let spec = application.spec.as_ref().ok();
    let references = spec.into_iter().flat_map(|spec| &spec.depends_on);
    references
        .map(|reference| reference.resolve(namespace))
        .collect()
}

/// Returns what keeps an application from being Ready for its current spec, if anything.
fn not_ready(application: &Application) -> Option<String> {
    if application.deleting {
        return Some("it is being deleted".to_owned());
    }
    let Ok(status) = &application.status else {
        return Some("its status cannot be read".to_owned());
    };
    if is_suspended(application) {
        // Nobody works on its current spec. Its last state stands until it is resumed.
        let unready = unready_condition(status);
        return unready.map(|_| "it is suspended".to_owned());
    }
    if status.observed_generation != Some(application.generation) {
        return Some("the agent has not come to it yet".to_owned());
    }
    unready_condition(status)
}

fn unready_condition(status: &ApplicationStatus) -> Option<String> {
    let Some(ready) = Condition::ready(&status.conditions) else {
        return Some("the agent has not come to it yet".to_owned());
    };
    if ready.status == ConditionStatus::True {
        return None;
    }
    // While it works, the details change every few seconds. Those that wait are only told what matters.
    if ready.status == ConditionStatus::Unknown {
        return Some("it is on its way".to_owned());
    }
    // Its message may be long, and may change with each pod. The reason is enough to know where to look.
    Some(ready.reason.clone())
}

/// How far an application has come, as far as others wait for it, and what it waits for itself.
#[derive(Default)]
pub(super) struct Patience {
    /// The revision that is being worked on.
    running: Option<String>,
    /// The last revision that was worked on successfully.
    settled: Option<String>,
    /// The cause of that run, and the obstacles that it faces if it has something new to roll out.
    facing: Option<(Cause, Vec<Obstacle>)>,
    /// The same for the last run, if it was held up.
    held: Option<(Cause, Vec<Obstacle>)>,
}

impl Patience {
    /// Records that a run begins, and returns its cause. A run that was held up is retried for its original cause, if there is no
    /// newer one.
    pub(super) fn begin(&mut self, revision: String, cause: Cause) -> Cause {
        self.running = Some(revision);
        let held = self.held.take();
        match cause {
            Cause::Retry | Cause::Drift => held.map_or(cause, |(held, _)| held),
            Cause::Revision | Cause::Settings | Cause::Request => cause,
        }
    }

    /// Records the obstacles that the run which begins faces.
    fn face(&mut self, cause: Cause, found: &[Obstacle]) {
        self.facing = (!found.is_empty()).then(|| (cause, found.to_vec()));
    }

    /// Records that a run has ended, and whether others have held it up.
    pub(super) fn settle(&mut self, outcome: Outcome, is_held: bool) {
        // A run that is not about the wanted revision says nothing about it.
        let Some(ran) = self.running.take() else {
            return;
        };
        self.held = self.facing.take().filter(|_| is_held);
        if outcome == Outcome::Done {
            self.settled = Some(ran);
        }
    }
}

impl App {
    /// Returns whether it is on its way to a revision other than the one in its status.
    fn is_behind(&self) -> bool {
        let Some(snapshot) = &self.fetched else {
            return false;
        };
        if is_suspended(&self.application) {
            return false;
        }
        let wanted = &snapshot.revision().commit;
        self.patience.settled.as_ref() != Some(wanted) && self.course.rollback().is_none()
    }
}

impl Controller {
    /// Gives all applications that follow a source its new snapshot before the first of them acts: one that waits for another of
    /// them must not mistake that application's old state for its new one.
    pub(super) fn outdate(&mut self, names: &[ApplicationName], fetched: &Fetched) {
        let Ok(snapshot) = fetched else {
            return;
        };
        for name in names {
            if let Some(app) = self.apps.get_mut(name) {
                app.fetched = Some(snapshot.clone());
            }
        }
    }

    /// Returns the obstacles to a run, should it have something new to roll out. Whether it has is only known once it has
    /// rendered.
    pub(super) fn obstacles(&mut self, name: &ApplicationName, work: &Work) -> Vec<Obstacle> {
        let Work::Converge { cause, snapshot } = work else {
            return Vec::new();
        };
        let found = if self.is_way_back(name, &snapshot.revision().commit) {
            Vec::new()
        } else {
            self.in_the_way(name)
        };
        if let Some(app) = self.apps.get_mut(name) {
            app.patience.face(*cause, &found);
        }
        found
    }

    /// Returns whether a revision is the one that was rolled back to. A rollback waits for nobody: what it replaces may do harm.
    fn is_way_back(&self, name: &ApplicationName, revision: &str) -> bool {
        let app = self.apps.get(name);
        let rollback = app.and_then(|app| app.course.rollback());
        rollback.is_some_and(|rollback| rollback.to == revision)
    }

    fn in_the_way(&self, name: &ApplicationName) -> Vec<Obstacle> {
        let Some(app) = self.apps.get(name) else {
            return Vec::new();
        };
        let known = |other: &ApplicationName| {
            let found = self.standings.known.get(other)?;
            if let Some(app) = self.apps.get(other)
                && found.not_ready.is_none()
                && app.is_behind()
            {
                let not_ready = Some("it has not come to its newest revision yet".to_owned());
                let depends_on = found.depends_on.clone();
                return Some(Cow::Owned(Dependency {
                    depends_on,
                    not_ready,
                }));
            }
            Some(Cow::Borrowed(found))
        };
        let depends_on = depends_on(&app.application);
        if depends_on.is_empty() {
            return Vec::new();
        }
        obstacles(name, &depends_on, &known)
    }

    /// Wakes the applications that waited for one whose state has changed, so that they continue, or report anew what they wait
    /// for. The application itself is among them: what it waited for may have come while it reported that it waits.
    pub(super) fn release_dependents(&mut self, name: &ApplicationName) {
        let waits = |dependent: &&ApplicationName| {
            let app = self.apps.get(*dependent).filter(|app| app.run.is_none());
            let held = app.and_then(|app| app.patience.held.as_ref());
            // What was already reported is not reported again: two applications that wait for each other would do so for ever.
            held.is_some_and(|(_, told)| self.in_the_way(dependent) != *told)
        };
        let concerned = self.standings.dependents(name).chain([name]);
        let concerned: BTreeSet<&ApplicationName> = concerned.collect();
        let waiting: Vec<ApplicationName> = concerned.into_iter().filter(waits).cloned().collect();
        for dependent in waiting {
            self.step(&dependent, Event::Unblocked);
        }
    }
}

#[cfg(test)]
mod tests {
    use pintle_core::machine::Retry;
    use serde_json::json;

    use super::*;

    /// Returns an application whose status is for its generation 1.
    fn application(generation: i64, suspend: bool, ready: &str) -> Application {
        let source = json!({"git": {"url": "https://git.example.com/shop"}});
        let condition = json!({
            "type": "Ready", "status": ready, "reason": "Degraded", "message": "", "lastTransitionTime": "t",
        });
        let status = json!({"observedGeneration": 1, "conditions": [condition]});
        let application = Application::read(json!({
            "metadata": {"namespace": "shop", "name": "db", "generation": generation},
            "spec": {"source": source, "suspend": suspend},
            "status": status,
        }));
        assert!(application.spec.is_ok() && application.status.is_ok());
        application
    }

    #[test]
    fn what_is_suspended_stays_what_it_was() {
        let why = |generation, suspend, ready| not_ready(&application(generation, suspend, ready));
        assert_eq!(why(1, false, "True"), None);
        assert_eq!(why(1, false, "False").as_deref(), Some("Degraded"));
        let behind = why(2, false, "True");
        assert_eq!(behind.as_deref(), Some("the agent has not come to it yet"));
        for generation in [1, 2] {
            assert_eq!(why(generation, true, "True"), None);
            for ready in ["False", "Unknown"] {
                let unready = why(generation, true, ready);
                assert_eq!(unready.as_deref(), Some("it is suspended"));
            }
        }
    }

    #[test]
    fn what_is_held_up_keeps_its_reason_until_a_run_of_it_is_not() {
        let missing = [Obstacle::Missing(ApplicationName::new("shop", "db"))];
        let held = Some((Cause::Request, missing.to_vec()));
        let waits = Outcome::Failed(Retry::OnChange);
        let mut patience = Patience::default();
        assert_eq!(patience.begin("1".into(), Cause::Request), Cause::Request);
        patience.face(Cause::Request, &missing);
        patience.settle(waits, true);
        assert_eq!((&patience.held, &patience.settled), (&held, &None));
        // A repair in the meantime says nothing about it.
        patience.settle(Outcome::Done, false);
        assert_eq!(patience.held, held);

        assert_eq!(patience.begin("1".into(), Cause::Retry), Cause::Request);
        patience.face(Cause::Request, &missing);
        // Nothing changes by it, so it waits for nobody.
        patience.settle(Outcome::Done, false);
        assert_eq!(patience.held, None);
        assert_eq!(patience.settled.as_deref(), Some("1"));
        // A run that faced no obstacle has failed for another reason.
        assert_eq!(patience.begin("2".into(), Cause::Revision), Cause::Revision);
        patience.face(Cause::Revision, &[]);
        patience.settle(waits, false);
        assert_eq!(patience.held, None);
    }

    #[test]
    fn a_newer_reason_counts_more_than_the_one_of_what_was_held_up() {
        use Cause::{Drift, Request, Retry, Revision, Settings};
        for (held, newer, counts) in [
            (Request, Revision, Revision),
            (Revision, Request, Request),
            (Revision, Settings, Settings),
            (Settings, Drift, Settings),
            (Settings, Retry, Settings),
        ] {
            let mut patience = Patience {
                held: Some((held, Vec::new())),
                ..Patience::default()
            };
            let begun = patience.begin("1".into(), newer);
            assert_eq!(begun, counts, "{held:?}, then {newer:?}");
            assert_eq!(patience.held, None);
        }
    }

    #[test]
    fn what_went_while_nobody_looked_is_ready_for_nobody() {
        let [stays, went] = ["stays", "went"].map(|name| ApplicationName::new("shop", name));
        let ready = Dependency {
            depends_on: Vec::new(),
            not_ready: None,
        };
        let mut standings = Standings::default();
        standings.put(stays.clone(), ready.clone());
        standings.put(went.clone(), ready);
        let there = [stays.clone()].into();
        assert_eq!(standings.keep(&there), [went]);
        assert_eq!(standings.known.into_keys().collect::<Vec<_>>(), [stays]);
    }

    #[test]
    fn those_that_wait_for_an_application_are_those_that_depend_on_it_now() {
        let app = |name: &str| ApplicationName::new("shop", name);
        let depends_on = |names: &[&str]| Dependency {
            depends_on: names.iter().map(|name| app(name)).collect(),
            not_ready: None,
        };
        let mut standings = Standings::default();
        let dependents = |standings: &Standings| {
            let db = app("db");
            let names = standings.dependents(&db).map(|one| one.name.as_str());
            names.collect::<Vec<_>>().concat()
        };
        assert!(standings.put(app("a"), depends_on(&["db", "cache", "db"])));
        assert!(standings.put(app("b"), depends_on(&["db"])));
        assert!(!standings.put(app("b"), depends_on(&["db"])));
        assert_eq!(dependents(&standings), "ab");
        assert!(standings.put(app("a"), depends_on(&["cache"])));
        assert_eq!(dependents(&standings), "b");
        standings.put(app("db"), depends_on(&[]));
        standings.forget(&app("db"));
        assert_eq!(dependents(&standings), "b", "it may come back");
        standings.keep(&BTreeSet::new());
        assert!(standings.known.is_empty() && standings.waiting.is_empty());
    }
}
