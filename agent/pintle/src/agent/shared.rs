//! What all tasks of the agent use.

use std::sync::Arc;

use pintle_cluster::{Applications, Cluster, Connection, Events, Seeds, Tracker};
use pintle_source::Repositories;

use super::{
    accounts::Accounts, claims::Claims, judges::AllJudges, metrics::Metrics, notify::Deliveries,
    run::Slots,
};
use crate::pipeline::catalog::Catalog;

/// For an application in another cluster there is a copy, with that one's cluster, tracker, version and slots.
#[derive(Clone)]
pub(crate) struct Shared {
    /// To the cluster in which the Applications are.
    pub(crate) connection: Connection,
    /// The cluster in which the Applications are: their Secrets are there.
    pub(crate) home: Cluster,
    /// Why the cluster that objects are for cannot be used.
    pub(crate) problem: Option<String>,
    /// The cluster that objects are for.
    pub(crate) cluster: Cluster,
    pub(crate) tracker: Tracker,
    pub(crate) judges: Arc<AllJudges>,
    pub(crate) applications: Applications,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) repositories: Arc<Repositories>,
    pub(crate) seeds: Seeds,
    pub(crate) claims: Arc<Claims>,
    pub(crate) events: Events,
    pub(crate) deliveries: Deliveries,
    pub(crate) metrics: Arc<Metrics>,
    /// In whose name requests are made.
    pub(crate) accounts: Accounts,
    /// The agent's own.
    pub(crate) namespace: String,
    pub(crate) kube_version: String,
    /// How many runs may work at once. A run that only waits, for health, a host or hooks, holds no slot.
    pub(crate) slots: Slots,
    /// How many slots a cluster has.
    pub(crate) concurrency: usize,
}

impl Shared {
    /// Returns what runs use for a cluster that cannot be used.
    pub(crate) fn without_cluster(&self, problem: String) -> Self {
        Self {
            problem: Some(problem),
            ..self.clone()
        }
    }
}
