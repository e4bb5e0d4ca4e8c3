//! What all tasks of the agent use.

use std::sync::Arc;

use pintle_cluster::{Applications, Cluster, Connection, Events, Seeds, Tracker};
use pintle_source::Repositories;

use super::{
    accounts::Accounts, claims::Claims, judges::AllJudges, metrics::Metrics, notify::Deliveries,
    run::Slots,
};
use crate::pipeline::catalog::Catalog;

/// For an application in another cluster, there is a copy with that cluster and its tracker, version and slots.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The connection to the cluster that has the Applications.
    pub(crate) connection: Connection,
    /// The cluster that has the Applications, and their Secrets.
    pub(crate) home: Cluster,
    /// Why the cluster of the objects cannot be used.
    pub(crate) problem: Option<String>,
    /// The cluster of the objects.
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
    /// The service accounts that requests are made as.
    pub(crate) accounts: Accounts,
    /// The agent's own namespace.
    pub(crate) namespace: String,
    pub(crate) kube_version: String,
    /// How many runs may work at once. A run that only waits, for health, a host or hooks, holds no slot.
    pub(crate) slots: Slots,
    /// How many slots a cluster has.
    pub(crate) concurrency: usize,
}

impl Shared {
    /// Returns what runs use for a cluster that is unavailable.
    pub(crate) fn without_cluster(&self, problem: String) -> Self {
        Self {
            problem: Some(problem),
            ..self.clone()
        }
    }
}
