//! Who works: the replica that holds the lease. Kubernetes is the only coordinator.

use anyhow::Context as _;
use kube_lease_manager::LeaseManagerBuilder;
use pintle_cluster::Connection;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The Lease in the agent's namespace.
const NAME: &str = "pintle-agent";
/// How long a replica that died is waited for.
const DURATION_SECONDS: u64 = 15;
/// How long before its end a lease is renewed.
const GRACE_SECONDS: u64 = 5;

/// A name for this replica that survives a restart of its container, so that it need not wait for its own lease.
pub(crate) fn identity() -> String {
    let pod = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .ok()
        .filter(|name| !name.is_empty());
    pod.unwrap_or_else(|| format!("pintle-{:016x}", rand::random::<u64>()))
}

/// A lease that is held.
pub(crate) struct Lease {
    held: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Lease {
    /// Waits for the lease; nothing if the agent was told to stop meanwhile.
    pub(crate) async fn acquire(
        connection: &Connection,
        namespace: &str,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let identity = identity();
        let manager = LeaseManagerBuilder::new(connection.client().clone(), NAME)
            .with_namespace(namespace)
            .with_identity(&identity)
            .with_duration(DURATION_SECONDS)
            .with_grace(GRACE_SECONDS)
            .build()
            .await
            .with_context(|| format!("the Lease {namespace}/{NAME} cannot be used"))?;
        let (mut held, task) = manager.watch().await;
        let task = tokio::spawn(async move {
            if let Ok(Err(error)) = task.await {
                tracing::error!(%error, "the lease is not renewed any more");
            }
        });
        tracing::info!(identity, "waiting for the lease {namespace}/{NAME}");
        tokio::select! {
            held = held.wait_for(|held| *held) => { held.context("the Lease is not followed any more")?; }
            () = stop.cancelled() => return Ok(None),
        }
        tracing::info!("holding the lease");
        Ok(Some(Self { held, task }))
    }

    /// Returns when the lease is lost.
    pub(crate) async fn lost(&mut self) {
        let _ = self.held.wait_for(|held| !held).await;
    }

    /// Gives the lease back, so that another replica need not wait for its end.
    pub(crate) async fn release(self) {
        drop(self.held);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), self.task).await;
    }
}
