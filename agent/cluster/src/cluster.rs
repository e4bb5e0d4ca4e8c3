//! The stages of the pipeline that need a cluster, wired to one connection.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
};

use pintle_core::{
    check::Approved, inventory::Inventory, object::ObjectId, plan::Depth, rendered::Rendered,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    applying::{Applied, Applier, ApplyError, Progress},
    connection::{ConnectError, Connection, ServiceAccount},
    discovery::{Discovery, ResourceType},
    explaining::Room,
    facts::{Facts, NoFacts},
    identities::identities,
    planning::{self, PlanError, Planned},
    prepare::{PrepareError, Prepared, prepare},
    reader::{
        Reader,
        sharing::{Scope, SharedChanges, SharedWatches},
    },
    release::Release,
    removal_hooks::{self, RemovalHooks},
    request::RequestError,
    store::InventoryStore,
    tracker::{Judge, Tracker, TrackerOptions},
};

/// One cluster: prepares, plans and applies releases. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    connection: Connection,
    /// The connection to the cluster where removal hooks are kept.
    home: Connection,
    discovery: Arc<Discovery>,
    /// The watches behind [`Cluster::changes`], which lookups use.
    watches: Arc<SharedWatches>,
    /// Room for the pods of objects that are not ready.
    room: Room,
    tracker: Option<Tracker>,
    judge: Option<Arc<dyn Judge>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("connection", &self.connection)
            .field("tracker", &self.tracker)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Creates the cluster end of the pipeline for a connection. No request is made.
    pub fn new(connection: Connection) -> Self {
        Self::remote(connection.clone(), connection)
    }

    /// Creates the cluster end of the pipeline for a connection to a cluster other than the one that holds the Applications. What
    /// is kept for an application besides its objects is kept in the `home` cluster.
    pub fn remote(connection: Connection, home: Connection) -> Self {
        Self {
            home,
            discovery: Arc::new(Discovery::new(connection.clone())),
            watches: Arc::default(),
            room: Room::default(),
            connection,
            tracker: None,
            judge: None,
        }
    }

    /// Lets planning rely on a tracker's watches, and tells the tracker what is applied.
    #[must_use]
    pub fn with_tracker(mut self, tracker: Tracker) -> Self {
        self.judge = Some(Arc::clone(tracker.judge()));
        self.tracker = Some(tracker);
        self
    }

    /// Sets the judge for hook objects that do not end by themselves. Without it, such hooks are not awaited.
    #[must_use]
    pub fn with_judge(mut self, judge: Arc<dyn Judge>) -> Self {
        self.judge = Some(judge);
        self
    }

    /// Returns the connection under its own identity.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the kinds that the server serves.
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Follows which kinds the server serves, so that [`Cluster::discovery`] knows them without asking each time. The receiver is
    /// notified when the kinds change. Must be called within a tokio runtime.
    pub fn follow_kinds(&self) -> watch::Receiver<()> {
        self.discovery.follow()
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Returns a reader that acts under the connection's own identity.
    pub fn reader(&self) -> Reader {
        Reader::new(self.connection.clone(), Arc::clone(&self.discovery))
    }

    /// Returns a reader that acts as the account, if one is given.
    pub fn reader_for(&self, account: Option<&ServiceAccount>) -> Result<Reader, ConnectError> {
        let connection = match account {
            Some(account) => self.connection.acting_as(account)?,
            None => self.connection.clone(),
        };
        Ok(Reader::new(connection, Arc::clone(&self.discovery)))
    }

    /// Reports changes to what [`Reader::get`] or [`Reader::find`] would read. Any number of callers share a few watches, which
    /// run under the connection's own identity. A watch may cover more than was asked for, up to all objects of the kind.
    ///
    /// Returns `None` for kinds that are not served or cannot be watched.
    pub async fn changes(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<Option<SharedChanges>, RequestError> {
        let Some(resource) = self.reader().watchable(api_version, kind).await? else {
            return Ok(None);
        };
        let scope = Scope::new(namespace.filter(|_| resource.namespaced), name);
        let changes = self.watches.follow(&self.connection, resource, scope);
        Ok(Some(changes))
    }

    /// Returns the tracker, if there is one.
    pub fn tracker(&self) -> Option<&Tracker> {
        self.tracker.as_ref()
    }

    /// Makes a render ready for this cluster. Asks the server only about kinds that are not known.
    pub async fn prepare(
        &self,
        rendered: &Rendered,
        release: &Release,
    ) -> Result<Prepared, PrepareError> {
        let kinds = self.discovery.kinds().await?;
        match prepare(rendered, release, &kinds) {
            Err(PrepareError::UnknownKind(_)) => {
                let kinds = self.discovery.refresh().await?;
                prepare(rendered, release, &kinds)
            }
            result => result,
        }
    }

    /// Returns the identities that the objects of a render have in this cluster. This also works for a render that cannot be made
    /// ready for the cluster: an object of a kind that is not served then has every identity that it may have.
    pub async fn identities(
        &self,
        rendered: &Rendered,
        release: &Release,
    ) -> Result<Vec<ObjectId>, RequestError> {
        let kinds = self.discovery.kinds().await?;
        Ok(identities(rendered, release, &kinds))
    }

    /// Returns the kinds of a release that a tracker has to watch: those of the rendered objects and those of the objects in the
    /// cluster.
    pub fn kinds_in_use(
        &self,
        prepared: &Prepared,
        inventory: &Inventory,
    ) -> BTreeSet<ResourceType> {
        let rendered = prepared
            .objects()
            .iter()
            .map(|object| object.resource.clone());
        let recorded = prepared.kinds().recorded(inventory);
        rendered.chain(recorded.cloned()).collect()
    }

    /// Returns the kinds in use that can be watched before anything is applied. Leaves out kinds that the render itself defines
    /// and that the server does not serve yet; those are watched as soon as one of their objects is awaited.
    pub fn kinds_served(
        &self,
        prepared: &Prepared,
        inventory: &Inventory,
    ) -> BTreeSet<ResourceType> {
        let mut kinds = self.kinds_in_use(prepared, inventory);
        kinds.retain(|kind| !prepared.is_coming(kind));
        kinds
    }

    /// Plans a release, acting as its account. Nothing is written.
    ///
    /// With a tracker whose watches are open, a local plan asks the server nothing about objects that are known to be as they
    /// were applied.
    pub async fn plan(
        &self,
        release: &Release,
        prepared: &Prepared,
        inventory: &Inventory,
        depth: Depth,
    ) -> Result<Planned, ClusterError<PlanError>> {
        let connection = self.acting_for(release)?;
        let facts: Box<dyn Facts> = match &self.tracker {
            Some(tracker) => Box::new(tracker.facts(&release.application)),
            None => Box::new(NoFacts),
        };
        let planned = planning::plan(
            &connection,
            &self.discovery,
            release,
            prepared,
            inventory,
            &*facts,
            depth,
        );
        planned.await.map_err(ClusterError::Failed)
    }

    /// Applies an approved plan, acting as the release's account. The hooks of the event before it run first.
    ///
    /// `planned` is the inventory that came with the plan. Call this for a plan that does nothing, too: it then makes no requests
    /// about objects, and records what a run that was killed had done. When `cancel` is called, work in flight is finished and
    /// nothing new is started.
    pub async fn apply(
        &self,
        with: &Applying<'_>,
        approved: &Approved,
        planned: Inventory,
        store: &mut dyn InventoryStore,
    ) -> Result<Applied, ClusterError<ApplyError>> {
        let connection = self.acting_for(with.release)?;
        let mut applier = self.applier(with, &connection, "");
        if applier.tracker.is_none() && with.prepared.order().awaits() {
            applier.tracker = self.tracker_of(with, &planned);
        }
        applier
            .apply(approved, planned, store)
            .await
            .map_err(ClusterError::Failed)
    }

    /// Finishes a release whose objects are healthy: runs the hooks of the event after it, and records that all is done. Makes no
    /// request if that has already been done.
    pub async fn complete(
        &self,
        with: &Applying<'_>,
        inventory: Inventory,
        store: &mut dyn InventoryStore,
    ) -> Result<Applied, ClusterError<ApplyError>> {
        let connection = self.acting_for(with.release)?;
        let applier = self.applier(with, &connection, "");
        applier
            .complete(inventory, store)
            .await
            .map_err(ClusterError::Failed)
    }

    /// Runs the tests of a release, as shown by a plan for [`crate::Purpose::Test`]. `attempt` names the request for this run:
    /// tests that ran for another request are made again.
    pub async fn test(
        &self,
        with: &Applying<'_>,
        approved: &Approved,
        attempt: &str,
        inventory: Inventory,
        store: &mut dyn InventoryStore,
    ) -> Result<Applied, ClusterError<ApplyError>> {
        let connection = self.acting_for(with.release)?;
        let applier = self.applier(with, &connection, attempt);
        applier
            .test(approved, inventory, store)
            .await
            .map_err(ClusterError::Failed)
    }

    /// Returns the hooks that were kept for the removal of a release, as they were last applied. Returns `None` if they should
    /// exist and do not.
    pub async fn removal_hooks(
        &self,
        release: &Release,
        inventory: &Inventory,
    ) -> Result<Option<RemovalHooks>, RequestError> {
        let record = inventory.release.as_ref();
        if record.is_none_or(|record| record.removal_hooks.is_none()) {
            return Ok(Some(RemovalHooks::default()));
        }
        removal_hooks::load(&self.home, release).await
    }

    /// Deletes the hooks that were kept for the removal.
    pub async fn forget_removal_hooks(
        &self,
        release: &Release,
        inventory: &Inventory,
    ) -> Result<(), RequestError> {
        let record = inventory.release.as_ref();
        if record.is_none_or(|record| record.removal_hooks.is_none()) {
            return Ok(());
        }
        removal_hooks::forget(&self.home, release).await
    }

    fn applier<'a>(
        &'a self,
        with: &'a Applying<'a>,
        connection: &'a Connection,
        attempt: &'a str,
    ) -> Applier<'a> {
        Applier {
            connection,
            own: &self.connection,
            home: &self.home,
            discovery: &self.discovery,
            tracker: self.tracker.clone(),
            release: with.release,
            manager: with.release.manager(),
            kinds: with.prepared.shared_kinds(),
            prepared: with.prepared,
            judge: self.judge.as_deref(),
            attempt,
            progress: with.progress,
            cancel: with.cancel,
            established: Mutex::default(),
        }
    }

    /// Creates a tracker that watches the objects of one release while it is being applied.
    fn tracker_of(&self, with: &Applying<'_>, planned: &Inventory) -> Option<Tracker> {
        let judge = Arc::clone(self.judge.as_ref()?);
        let objects = with.prepared.objects().iter();
        let options = TrackerOptions {
            application: Some(with.release.application.clone()),
            namespaces: Some(
                objects
                    .filter_map(|one| one.id().namespace.clone())
                    .collect(),
            ),
        };
        let tracker = Tracker::new(&self.connection, judge, options);
        tracker.observe(with.release, &self.kinds_served(with.prepared, planned));
        Some(tracker)
    }

    fn acting_for(&self, release: &Release) -> Result<Connection, ConnectError> {
        match &release.account {
            Some(account) => self.connection.acting_as(account),
            None => Ok(self.connection.clone()),
        }
    }
}

/// What is applied, for which release, and where progress is reported.
#[derive(Clone, Copy)]
pub struct Applying<'a> {
    /// The release that is applied.
    pub release: &'a Release,
    /// The objects to apply.
    pub prepared: &'a Prepared,
    /// The receiver of progress reports.
    pub progress: &'a dyn Progress,
    /// Stops the run at the next point where nothing is half done.
    pub cancel: &'a CancellationToken,
}

/// A stage that failed, or that could not begin as the release's account.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError<E: std::error::Error + 'static> {
    /// No connection could be made for that account.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The stage failed.
    #[error(transparent)]
    Failed(E),
}
