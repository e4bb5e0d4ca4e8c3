//! The controller's side of drift: whether and when drift makes an application's run due.

use std::collections::{BTreeMap, BTreeSet};

use pintle_cluster::{Drift, Tracker};
use pintle_core::{
    application::ObjectDrift,
    drift::{DriftMode, DriftedObject, Fight, Sight},
    machine::{Event, Millis},
    names::ApplicationName,
    object::ObjectId,
};

use super::{controller::Controller, metrics::ApplicationLabels, moves::Moved, sight};
use crate::pipeline::steady_ms;

/// What a run has to know about drift before it begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disputed {
    /// Objects whose repair waits.
    pub(crate) held: BTreeSet<ObjectId>,
    /// Repairs that keep being undone.
    pub(crate) fights: Vec<Fight>,
    /// The reported drift of objects that are left as they are. A status has no room for all of it.
    pub(crate) told: BTreeMap<ObjectId, ObjectDrift>,
}

/// What a run has found out about drift.
#[derive(Debug, Clone, Default)]
pub(crate) struct DriftReport {
    /// The objects that were repaired.
    pub(crate) repaired: Vec<DriftedObject>,
    /// The objects that were left as they are, in the state that the tracker reported.
    pub(crate) left: BTreeMap<ObjectId, Sight>,
    /// The drift of all objects that were left as they are.
    pub(crate) told: BTreeMap<ObjectId, ObjectDrift>,
    /// Objects that were found as applied although the tracker says otherwise, each with the tracker report that this was about.
    pub(crate) cleared: BTreeMap<ObjectId, String>,
    /// Objects that were deleted or have lost their label, and are left so, whoever reported that.
    pub(crate) gone: BTreeSet<ObjectId>,
    /// The fights that were reported.
    pub(crate) fights: BTreeSet<ObjectId>,
    /// The objects that were out of sight before the run looked for what has left the source.
    pub(crate) out_of_sight: BTreeSet<ObjectId>,
}

/// Returns the current state of each object that has drifted.
pub(crate) fn sights<'a>(drift: impl IntoIterator<Item = &'a Drift>) -> BTreeMap<ObjectId, Sight> {
    let sight = |one: &Drift| (one.id.clone(), one.now.clone());
    drift.into_iter().map(sight).collect()
}

/// Returns the objects that are left as they are and have no health: they were deleted, or have lost their label, so that no
/// watch reports them.
pub(crate) fn left_unseen(
    drifted: &[DriftedObject],
    tracker: &Tracker,
    name: &ApplicationName,
) -> BTreeSet<ObjectId> {
    let left = || drifted.iter().filter(|one| one.is_left);
    let mut unseen = tracker.out_of_sight(name, left().map(|one| &one.id));
    let gone = left().filter(|one| one.is_gone);
    unseen.extend(gone.map(|one| one.id.clone()));
    unseen
}

impl Controller {
    /// Handles reports from the tracker.
    pub(super) fn tracked(&mut self, moved: Moved) {
        let names = match moved {
            Moved::Of(names) => names,
            Moved::OfAny => self.apps.keys().cloned().collect(),
        };
        for name in names {
            self.look_for_drift(&name);
        }
    }

    /// Compares the objects with what was applied. Does nothing during a run: the run compares them itself, and this is called
    /// again when it ends.
    pub(super) fn look_for_drift(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let Some(was_healthy) = app.healthy else {
            return;
        };
        if app.run.is_some() {
            return;
        }
        let Some(shared) = self.targets.of(name) else {
            // A run will check once the cluster has answered.
            return;
        };
        let tracker = shared.tracker.clone();
        let told = tracker.drift(name, &app.inventory);
        let is_open = |one: &&Drift| !app.disputes.is_cleared(&one.id, &one.telling);
        let drift = sights(told.iter().filter(is_open));
        let spec = app.application.spec.as_ref().ok();
        let wanted = spec.map_or_else(DriftMode::default, |spec| spec.drift.mode);
        if wanted == DriftMode::Report {
            app.disputes.surrender();
        }
        let mode = if app.machine.repairs() {
            wanted
        } else {
            // What cannot be repaired is reported once.
            DriftMode::Report
        };
        let due = app.disputes.look(&drift, mode, steady_ms());
        // Objects that have left the source are only listed, until they are gone or belong to another application.
        let left = tracker.out_of_sight(name, app.inventory.left());
        let is_missed = app.disputes.misses(&left);
        // Objects that are gone or out of sight, and are left so, have no health: the run has not waited for them, whether or not
        // they can be seen.
        let gone = app.disputes.gone();
        let managed = app.inventory.managed();
        let is_healthy = tracker.is_settled(name, managed.filter(|id| !gone.contains(*id)));
        let is_unseen = sight::problem(&tracker, &app.application).is_some();
        let was_unseen = std::mem::replace(&mut app.is_unseen, is_unseen);
        if let Some(time) = due.at {
            self.look_again_at(name, time);
        }
        if due.is_now || is_missed || is_healthy != was_healthy || is_unseen != was_unseen {
            self.step(name, Event::Drifted);
        }
    }

    fn look_again_at(&mut self, name: &ApplicationName, time: Millis) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        if app.drift_timer != Some(time) {
            app.drift_timer = Some(time);
            self.wake_at(name.clone(), time);
        }
    }

    /// Records what a run has found out about drift.
    pub(super) fn learn_drift(&mut self, name: &ApplicationName, report: DriftReport) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let labels = ApplicationLabels::of(name);
        let metrics = &self.shared.metrics;
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics
            .drifted
            .get_or_create(&labels)
            .set(count(report.left.len()));
        app.told_drift = report.told;
        app.disputes
            .ran(&report.repaired, report.left, report.fights, steady_ms());
        app.disputes.found_gone(report.gone);
        app.disputes.cleared(report.cleared);
        app.disputes.sought(report.out_of_sight);
        metrics
            .fights
            .get_or_create(&labels)
            .set(count(app.disputes.going_on().len()));
    }
}
