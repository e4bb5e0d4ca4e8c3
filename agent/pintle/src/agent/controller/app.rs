//! One application, as its resource tells of it.

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

    /// Forgets the last render: it says nothing any more. Neither does that of a run that is under way, if it comes to one.
    pub(super) fn forget_render(&mut self) {
        self.memory = None;
        self.is_render_void = self.run.is_some();
    }

    /// Says whether its objects may be others because the cluster serves other kinds: it has asked for them, or came to no render
    /// because of what is not there.
    pub(super) fn asks_for_kinds(&self) -> bool {
        let memory = self.memory.as_ref();
        memory.is_none_or(|memory| lookups::asks_for_kinds(&memory.reads))
    }

    /// Says whether what the cluster answers to its render has changed during the run that has ended.
    pub(super) fn take_lookup(&mut self) -> bool {
        let is_about_kinds = std::mem::take(&mut self.pending_kinds) && self.asks_for_kinds();
        std::mem::take(&mut self.pending_lookup) || is_about_kinds
    }

    /// Says whether the status tells of another revision of the source than the one that is known, so that this one may be the
    /// older of the two.
    pub(super) fn may_be_ahead_of(&self, known: Option<&Fetched>) -> bool {
        let status = self.application.status.as_ref().ok();
        let given = status.and_then(|status| match &status.rollback {
            Some(rollback) => Some(&rollback.instead_of),
            None => status.attempted_revision.as_ref(),
        });
        match (given, known) {
            (Some(given), Some(Ok(snapshot))) => snapshot.revision().commit != *given,
            (Some(_), None) => true,
            // That a source does not answer takes nothing back.
            (_, Some(Err(_))) | (None, _) => false,
        }
    }

    /// Takes up a newer state of the resource. The watch may tell of our own writes after we know of them.
    pub(super) fn update(&mut self, application: Application) {
        let version = |application: &Application| application.resource_version.parse::<u64>();
        let is_older = match (version(&application), version(&self.application)) {
            (Ok(new), Ok(known)) => new < known,
            // Versions are opaque by contract; where they are no numbers, what comes last counts.
            _ => false,
        };
        if !is_older {
            let is_suspended = is_suspended(&application);
            self.is_suspended.store(is_suspended, Ordering::Relaxed);
            self.application = application;
        }
    }
}

/// Says whether nobody is to work on an application.
pub(super) fn is_suspended(application: &Application) -> bool {
    matches!(&application.spec, Ok(spec) if spec.suspend)
}
