//! What applications claim, and who may have what others had.

use pintle_core::{machine::Event, names::ApplicationName};

use super::{App, Controller};
use crate::agent::sources::{Fetched, SourceKey};

/// How often a run may fail, and be tried again, before others stop waiting for what it renders: with the pauses in between
/// that is some two minutes. What passes by itself mostly has by then, and whoever fails for days must not keep all others
/// from deleting anything.
const PATIENCE: u32 = 6;

/// Whether an application waits for objects that others have.
#[derive(Debug, Default)]
pub(super) struct Contest {
    /// Whether its last run was refused an object that another application wants.
    pub(super) is_refused: bool,
    /// Whether objects were released while a run was under way: looked at when it is over.
    pub(super) is_released: bool,
}

impl Controller {
    /// Takes note of where an application's objects are, and whether it is about to claim some.
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

    /// An application claims nothing any more.
    pub(super) fn deleted(&mut self, name: &ApplicationName) {
        if super::has(self.assigned, name) && self.shared.claims.leave(name) {
            self.retry_all_contested();
        }
    }

    /// An application is gone, whichever replica looked after it: what it has left behind may be had now.
    pub(super) fn went(&mut self, name: &ApplicationName) {
        if super::has(self.assigned, name) {
            self.shared.claims.leave(name);
        }
        self.retry_all_contested();
    }

    /// Takes note of what a source says, after those who follow it.
    pub(super) fn told(&self, key: &SourceKey, fetched: &Fetched) {
        let revision = fetched.as_ref().ok();
        let revision = revision.map(|snapshot| snapshot.revision().commit.as_str());
        self.shared.claims.told(key, revision);
    }

    /// Lets sources be asked now.
    pub(super) fn look_at(&mut self, sources: &[SourceKey]) {
        for key in sources {
            self.sources.look(key);
        }
    }

    /// A run has ended: what it has not rendered it will not render for now, unless it is tried again.
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

    /// Objects have left an application: those that were refused them may have them now. What they render is the same as before,
    /// so that nothing is rendered for it: applications may go by the thousand.
    pub(super) fn retry_contested(&mut self, names: &[ApplicationName]) {
        for name in names {
            let Some(app) = self.apps.get_mut(name) else {
                continue;
            };
            if app.run.is_some() {
                // It may have asked before.
                app.contest.is_released = true;
            } else if app.contest.is_refused {
                self.step(name, Event::Unblocked);
            }
        }
    }

    /// Objects have left an application, which may be any.
    fn retry_all_contested(&mut self) {
        let concerns = |app: &App| app.run.is_some() || app.contest.is_refused;
        let apps = self.apps.iter().filter(|(_, app)| concerns(app));
        let names: Vec<_> = apps.map(|(name, _)| name.clone()).collect();
        self.retry_contested(&names);
    }
}
