//! One application, as its resource describes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use pintle_cluster::Application;
use pintle_core::{
    application::ApplicationStatus, drift::Disputes, machine::State, names::ApplicationName,
};

use super::{App, asking::Requests, claiming::Contest, course::Course, dependencies};
use crate::agent::{job::Rules, lookups, sources::Fetched, told::Told};

impl App {
    pub(super) fn new(
        name: &ApplicationName,
        application: Application,
        adopts: [Option<String>; 2],
    ) -> Self {
        let status = application.status.as_ref().ok();
        let requests = Requests::of(status);
        let course = Course::of(status);
        let tests = status.and_then(|status| status.last_handled_test.clone());
        let inventory = status.and_then(ApplicationStatus::recorded);
        let inventory = inventory.unwrap_or_default();
        let is_suspended = is_suspended(&application);
        Self {
            machine: State::new(name.to_string()),
            application,
            is_unsure: false,
            is_suspended: Arc::new(AtomicBool::new(is_suspended)),
            source: None,
            fetched: None,
            failure: None,
            course,
            patience: dependencies::Patience::default(),
            pending_lookup: false,
            pending_kinds: false,
            pending_plugins: BTreeSet::new(),
            run: None,
            fetching: Arc::default(),
            memory: None,
            applied: None,
            is_render_void: false,
            inventory,
            healthy: None,
            is_unseen: false,
            contest: Contest::default(),
            disputes: Disputes::default(),
            told_drift: BTreeMap::new(),
            drift_timer: None,
            requests,
            tests,
            adopts,
            confirmed: None,
            refused: None,
            awaited: None,
            rules: Rules::default(),
            told: Told::default(),
        }
    }

    /// Discards the last render, which is no longer valid. If a run is in progress, its render will not be valid either.
    pub(super) fn forget_render(&mut self) {
        self.memory = None;
        self.is_render_void = self.run.is_some();
    }

    /// Returns whether its objects may change because the cluster serves other kinds: its render asked which kinds there are, or
    /// there is no render, perhaps because of a kind that is missing.
    pub(super) fn asks_for_kinds(&self) -> bool {
        let memory = self.memory.as_ref();
        memory.is_none_or(|memory| lookups::asks_for_kinds(&memory.reads))
    }

    /// Returns whether the cluster's answers to its render changed during the run that has ended, and resets that.
    pub(super) fn take_lookup(&mut self) -> bool {
        let is_about_kinds = std::mem::take(&mut self.pending_kinds) && self.asks_for_kinds();
        std::mem::take(&mut self.pending_lookup) || is_about_kinds
    }

    /// Returns whether the status names a source revision other than the known one, so that the known one may be the older of the
    /// two.
    pub(super) fn may_be_ahead_of(&self, known: Option<&Fetched>) -> bool {
        let status = self.application.status.as_ref().ok();
        let given = status.and_then(|status| match &status.rollback {
            Some(rollback) => Some(&rollback.instead_of),
            None => status.attempted_revision.as_ref(),
        });
        match (given, known) {
            (Some(given), Some(Ok(snapshot))) => snapshot.revision().commit != *given,
            (Some(_), None) => true,
            // A source that does not answer takes nothing back.
            (_, Some(Err(_))) | (None, _) => false,
        }
    }

    /// Takes up a newer state of the resource. The watch may report our own writes after we already know of them.
    pub(super) fn update(&mut self, application: Application) {
        let version = |application: &Application| application.resource_version.parse::<u64>();
        let is_older = match (version(&application), version(&self.application)) {
            (Ok(new), Ok(known)) => new < known,
            // Versions are opaque by contract. Where they are not numbers, the last one to arrive counts.
            _ => false,
        };
        if !is_older {
            let is_suspended = is_suspended(&application);
            self.is_suspended.store(is_suspended, Ordering::Relaxed);
            self.application = application;
        }
    }
}

/// Returns whether an application is suspended.
pub(super) fn is_suspended(application: &Application) -> bool {
    matches!(&application.spec, Ok(spec) if spec.suspend)
}
