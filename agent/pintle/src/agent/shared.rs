//! What all tasks of the agent use.

use std::sync::Arc;

use pintle_cluster::{Applications, Cluster, Connection, Events, Seeds, ServiceAccount, Tracker};
use pintle_source::Repositories;
use tokio::sync::Semaphore;

use super::{judges::AllJudges, metrics::Metrics};
use crate::pipeline::catalog::Catalog;

pub(crate) struct Shared {
    pub(crate) connection: Connection,
    pub(crate) cluster: Cluster,
    pub(crate) tracker: Tracker,
    pub(crate) judges: Arc<AllJudges>,
    pub(crate) applications: Applications,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) repositories: Repositories,
    pub(crate) seeds: Seeds,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
    /// For applications that name no account.
    pub(crate) default_account: Option<ServiceAccount>,
    /// The agent's own.
    pub(crate) namespace: String,
    pub(crate) kube_version: String,
    /// How many runs may work at once. A run that only waits for health holds no slot.
    pub(crate) slots: Semaphore,
}
