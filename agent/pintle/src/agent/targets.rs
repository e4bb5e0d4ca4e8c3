//! The clusters that applications deploy to: the agent's own, and others by kubeconfigs in Secrets.
//!
//! Applications that name the same Secret share one connection and one set of watches. A cluster that does not answer holds up
//! nobody else: its runs have slots of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use pintle_cluster::{Cluster, Connection, ServiceAccount, Tracker, TrackerOptions};
use pintle_core::{application::ClusterTarget, causes::chain, names::ApplicationName};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::AbortHandle,
};

use super::{
    accounts::NoAccount,
    controller::Message,
    moves::{Moved, Moves},
    run::Slots,
    secrets::{self, SecretChanges, SecretError},
    shared::Shared,
};

/// How long a cluster may take to answer that it is there.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// Another cluster: where its kubeconfig is, and which account reads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TargetKey {
    namespace: String,
    secret: String,
    key: String,
    account: Result<ServiceAccount, String>,
}

impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.secret, self.key)
    }
}

struct Remote {
    users: BTreeSet<ApplicationName>,
    task: AbortHandle,
    /// What runs use, or `None` until the first attempt to connect has ended.
    shared: Option<Arc<Shared>>,
}

/// All clusters that are in use.
pub(crate) struct Targets {
    home: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    remotes: BTreeMap<TargetKey, Remote>,
    of: BTreeMap<ApplicationName, TargetKey>,
}

impl Targets {
    pub(crate) fn new(home: Arc<Shared>, messages: mpsc::Sender<Message>) -> Self {
        let kinds = home.cluster.follow_kinds();
        tokio::spawn(tell_of_kinds(kinds, messages.clone(), None));
        Self {
            home,
            messages,
            remotes: BTreeMap::new(),
            of: BTreeMap::new(),
        }
    }

    /// Records the cluster that an application is for, and connects to it if nobody has yet. Returns whether the connection
    /// differs from the one before.
    pub(crate) fn follow(
        &mut self,
        application: &ApplicationName,
        cluster: Option<&ClusterTarget>,
        account: Result<ServiceAccount, NoAccount>,
    ) -> bool {
        let key = cluster.map(|cluster| TargetKey {
            namespace: application.namespace.clone(),
            secret: cluster.kubeconfig.secret_name.clone(),
            key: cluster.kubeconfig.key.clone(),
            account: account.map_err(|error| error.to_string()),
        });
        if self.of.get(application) == key.as_ref() {
            return false;
        }
        self.leave(application);
        let Some(key) = key else {
            return true;
        };
        // It may have been for the agent's own cluster until now.
        self.home.tracker.forget(application);
        let remote = self.remotes.entry(key.clone()).or_insert_with(|| {
            let follower = Follower {
                home: Arc::clone(&self.home),
                messages: self.messages.clone(),
                key: key.clone(),
            };
            Remote {
                users: BTreeSet::new(),
                task: tokio::spawn(follower.run()).abort_handle(),
                shared: None,
            }
        });
        remote.users.insert(application.clone());
        self.of.insert(application.clone(), key);
        true
    }

    /// Lets go of an application. When the last one leaves a cluster, the connection ends.
    pub(crate) fn leave(&mut self, application: &ApplicationName) {
        let Some(key) = self.of.remove(application) else {
            return;
        };
        let Some(remote) = self.remotes.get_mut(&key) else {
            return;
        };
        remote.users.remove(application);
        if let Some(shared) = &remote.shared {
            shared.tracker.forget(application);
        }
        if remote.users.is_empty() {
            remote.task.abort();
            self.remotes.remove(&key);
        }
    }

    /// Takes up a connection, or the reason why there is none. Returns the applications that use it, and whether it is the first
    /// one.
    pub(crate) fn connected(
        &mut self,
        key: &TargetKey,
        shared: Arc<Shared>,
    ) -> (Vec<ApplicationName>, bool) {
        let Some(remote) = self.remotes.get_mut(key) else {
            return (Vec::new(), false);
        };
        let before = remote.shared.replace(shared);
        (remote.users.iter().cloned().collect(), before.is_none())
    }

    /// Returns the name of the cluster that an application is for. It is the same in all replicas, and empty for the agent's own
    /// cluster.
    pub(crate) fn name_of(&self, application: &ApplicationName) -> String {
        self.of
            .get(application)
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// Returns whether an application is for the agent's own cluster.
    pub(crate) fn is_at_home(&self, application: &ApplicationName) -> bool {
        !self.of.contains_key(application)
    }

    /// Returns the applications that are for a cluster.
    pub(crate) fn users(&self, key: &TargetKey) -> Vec<ApplicationName> {
        let remote = self.remotes.get(key);
        remote.map_or_else(Vec::new, |remote| remote.users.iter().cloned().collect())
    }

    /// Returns what runs of an application use, or `None` while it is unknown whether its cluster answers. That is reported soon,
    /// whatever the answer is.
    pub(crate) fn of(&self, application: &ApplicationName) -> Option<Arc<Shared>> {
        match self.of.get(application) {
            None => Some(Arc::clone(&self.home)),
            Some(key) => self.remotes.get(key)?.shared.clone(),
        }
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        for remote in self.remotes.values() {
            remote.task.abort();
        }
    }
}

/// How often in a row the Secret of a connected cluster may be unreadable. With the pauses in between, that is about a minute.
const PATIENCE: u32 = 5;

/// Returns whether nothing is known about the Secret, for example while the API server starts. A Secret that is gone, or lacks
/// the key, would be known.
fn cannot_be_read(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(SecretError::Unreadable { .. }))
}

/// Connects to one cluster, and again whenever its Secret changes.
struct Follower {
    home: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    key: TargetKey,
}

impl Follower {
    async fn run(self) {
        let mut connected: Option<String> = None;
        let mut told: Option<String> = None;
        let mut failures = 0;
        let (namespace, name) = (&self.key.namespace, &self.key.secret);
        let mut changes = SecretChanges::new(&self.home.home, namespace, name);
        loop {
            let result = self.look(connected.as_deref()).await;
            match result {
                // The Secret has not changed.
                Ok(None) => failures = 0,
                Ok(Some((kubeconfig, shared))) => {
                    (connected, told, failures) = (Some(kubeconfig), None, 0);
                    if !self.tell(shared).await {
                        return;
                    }
                }
                // A working connection is not given up because the Secret cannot be read for a moment.
                Err(error)
                    if connected.is_some() && failures < PATIENCE && cannot_be_read(&error) =>
                {
                    failures += 1;
                    tracing::warn!(secret = %self.place(), problem = chain(&*error), "it is tried again");
                }
                Err(error) => {
                    failures += 1;
                    let problem = chain(&*error);
                    tracing::warn!(secret = %self.place(), problem, "a cluster cannot be used");
                    if told.as_ref() != Some(&problem) {
                        (connected, told) = (None, Some(problem.clone()));
                        if !self.tell(self.home.without_cluster(problem)).await {
                            return;
                        }
                    }
                }
            }
            self.rest(&mut changes, failures).await;
        }
    }

    fn place(&self) -> String {
        format!("{}/{}", self.key.namespace, self.key.secret)
    }

    /// Sends the connection, and returns whether anybody is there to receive it.
    async fn tell(&self, shared: Shared) -> bool {
        let message = Message::Connected {
            key: Box::new(self.key.clone()),
            shared: Arc::new(shared),
        };
        self.messages.send(message).await.is_ok()
    }

    /// Waits until the Secret has changed or, after a failure, until it is time to try again.
    async fn rest(&self, changes: &mut SecretChanges, failures: u32) {
        let pause = match failures {
            0 => Duration::MAX,
            failures => pintle_core::machine::pause(&self.place(), failures),
        };
        tokio::select! {
            () = changes.next() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Reads the Secret and connects. Returns `None` if the Secret still holds the kubeconfig that is in use.
    async fn look(&self, connected: Option<&str>) -> anyhow::Result<Option<(String, Shared)>> {
        let TargetKey {
            namespace,
            secret,
            key,
            account,
        } = &self.key;
        let account = account
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let bytes = secrets::read_key(&self.home.home, account, namespace, secret, key).await?;
        let unusable = || format!("the key `{key}` of Secret {namespace}/{secret}");
        let kubeconfig = String::from_utf8(bytes)
            .context("it is not UTF-8")
            .with_context(unusable)?;
        if connected == Some(kubeconfig.as_str()) {
            return Ok(None);
        }
        let connection = Connection::remote(&kubeconfig, &self.home.connection)
            .await
            .with_context(unusable)?;
        let version = tokio::time::timeout(ANSWER_LIMIT, connection.version());
        let version = version.await.with_context(|| {
            format!(
                "{} did not answer within {ANSWER_LIMIT:?}",
                connection.server()
            )
        })??;
        tracing::info!(secret = %self.place(), server = connection.server(), version = version.text, "connected");
        let tracker = Tracker::new(
            &connection,
            Arc::clone(&self.home.judges) as _,
            TrackerOptions::default(),
        );
        tokio::spawn(forward(
            tracker.subscribe(),
            self.messages.clone(),
            self.key.clone(),
        ));
        let cluster = Cluster::remote(connection, self.home.connection.clone());
        tokio::spawn(tell_of_kinds(
            cluster.follow_kinds(),
            self.messages.clone(),
            Some(self.key.clone()),
        ));
        let shared = Shared {
            cluster: cluster.with_tracker(tracker.clone()),
            tracker,
            kube_version: version.text,
            slots: Slots::new(self.home.concurrency),
            ..(*self.home).clone()
        };
        Ok(Some((kubeconfig, shared)))
    }
}

/// Forwards changes in another cluster to the controller, until nobody watches it any more.
async fn forward(
    mut events: broadcast::Receiver<pintle_cluster::TrackEvent>,
    messages: mpsc::Sender<Message>,
    key: TargetKey,
) {
    let moves = Arc::new(Moves::default());
    while let Some(moved) = Moved::next(&mut events).await {
        if !moves.add(moved) {
            continue;
        }
        let message = Message::Moved {
            key: Box::new(key.clone()),
            moves: Arc::clone(&moves),
        };
        if messages.send(message).await.is_err() {
            return;
        }
    }
}

/// Reports to the controller that a cluster serves other kinds than before, until nobody uses it any more.
async fn tell_of_kinds(
    mut kinds: watch::Receiver<()>,
    messages: mpsc::Sender<Message>,
    key: Option<TargetKey>,
) {
    while kinds.changed().await.is_ok() {
        let message = Message::Served(key.clone().map(Box::new));
        if messages.send(message).await.is_err() {
            return;
        }
    }
}
