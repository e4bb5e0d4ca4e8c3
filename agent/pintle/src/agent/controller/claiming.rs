//! The claims of applications, and who may now have objects that others had.

use pintle_core::{machine::Event, names::ApplicationName};

use super::{App, Controller};
use crate::agent::sources::{Fetched, SourceKey};

/// How often a run may fail and be retried before others stop waiting for its render. With the pauses in between, that is about
/// two minutes. Most transient failures are over by then, and an application that fails for days must not keep all others from
/// deleting anything.
const PATIENCE: u32 = 6;

/// Whether an application waits for objects that other applications have.
#[derive(Debug, Default)]
pub(super) struct Contest {
    /// Whether its last run was refused an object that another application wants.
    pub(super) is_refused: bool,
    /// Whether objects were released during a run. Handled when the run is over.
    pub(super) is_released: bool,
}

impl Controller {
    /// Records where an application's objects are, and whether it is about to claim some.
    pub(super) fn follow_claims(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get(name) else {
            return;
        };
        let cluster = self.targets.name_of(name);
        if app.application.deleting {
            if super::has(self.assigned, name) {
                self.shared.claims.locate(name, cluster);
            }
            return self.deleted(name);
        }
        let spec = &app.application.spec;
        let is_idle = spec.as_ref().map_or(true, |spec| spec.suspend);
        self.shared.claims.follow(name, cluster, is_idle);
    }

    /// Records that an application no longer claims anything.
    pub(super) fn deleted(&mut self, name: &ApplicationName) {
        if super::has(self.assigned, name) && self.shared.claims.leave(name) {
            self.retry_all_contested();
        }
    }

    /// Records that an application is gone, whichever replica looked after it. What it left behind is now free to be taken over.
    pub(super) fn went(&mut self, name: &ApplicationName) {
        if super::has(self.assigned, name) {
            self.shared.claims.leave(name);
        }
        self.retry_all_contested();
    }

    /// Records the revision that a source gives, after the applications that follow it were told.
    pub(super) fn told(&self, key: &SourceKey, fetched: &Fetched) {
        let revision = fetched.as_ref().ok();
        let revision = revision.map(|snapshot| snapshot.revision().commit.as_str());
        self.shared.claims.told(key, revision);
    }

    /// Requests a look at each of the sources.
    pub(super) fn look_at(&mut self, sources: &[SourceKey]) {
        for key in sources {
            self.sources.look(key);
        }
    }

    /// Records that a run has ended. What it has not rendered will not be rendered for now, unless the run is retried.
    pub(super) fn settle_claims(
        &mut self,
        name: &ApplicationName,
        was_released: bool,
        has_left: bool,
    ) {
        if was_released {
            self.retry_contested(std::slice::from_ref(name));
        }
        let app = self.apps.get(name);
        if app.is_none_or(|app| app.run.is_none()) {
            let failures = app.and_then(|app| app.machine.retries());
            if failures.is_some_and(|failures| failures <= PATIENCE) {
                self.shared.claims.fail(name);
            } else {
                self.shared.claims.settle(name);
            }
        }
        if has_left {
            self.retry_all_contested();
        }
    }

    /// Retries those applications that were refused objects, which they may now have because others no longer want them. Their
    /// renders do not change by that, so nothing is rendered anew: applications may go by the thousand.
    pub(super) fn retry_contested(&mut self, names: &[ApplicationName]) {
        for name in names {
            let Some(app) = self.apps.get_mut(name) else {
                continue;
            };
            if app.run.is_some() {
                // It may have asked before the release.
                app.contest.is_released = true;
            } else if app.contest.is_refused {
                self.step(name, Event::Unblocked);
            }
        }
    }

    /// Retries all applications that wait for objects: the released objects may be anyone's.
    fn retry_all_contested(&mut self) {
        let concerns = |app: &App| app.run.is_some() || app.contest.is_refused;
        let apps = self.apps.iter().filter(|(_, app)| concerns(app));
        let names: Vec<_> = apps.map(|(name, _)| name.clone()).collect();
        self.retry_contested(&names);
    }
}
