//! What this replica works on, as its controller sees it.

use std::collections::BTreeSet;

use pintle_core::{
    digest::Digest,
    names::ApplicationName,
    sharding::{Shard, ShardSet},
};
use tokio::sync::{oneshot, watch};

/// What is to be worked on, or is. The number says which assignment it is or answers to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) number: u64,
    pub(crate) shards: ShardSet,
}

/// Repositories that were pushed to, each by the digest of its normal URL.
pub(crate) type Pushed = BTreeSet<Digest>;

/// The controller's end.
pub(crate) struct Portion {
    pub(super) work: watch::Receiver<Assignment>,
    pub(super) busy: watch::Sender<Assignment>,
    /// Nothing if it has joined, or need not.
    pub(super) join: Option<oneshot::Sender<()>>,
}

impl Portion {
    /// Gives everything to the only replica there is.
    pub(crate) fn everything() -> Self {
        let all = Assignment {
            number: 0,
            shards: ShardSet::ALL,
        };
        // A receiver goes on giving the last value without its sender.
        let (_, mut work) = watch::channel(all);
        work.mark_changed();
        Self {
            work,
            busy: watch::Sender::new(Assignment::default()),
            join: None,
        }
    }

    /// Says that this replica can work from now on.
    pub(crate) fn join(&mut self) {
        if let Some(join) = self.join.take() {
            // The agent may be stopping.
            let _ = join.send(());
        }
    }

    /// Waits for another assignment than the last one. Can be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        if self.work.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes up the newest assignment.
    pub(crate) fn take_up(&mut self) -> Assignment {
        *self.work.borrow_and_update()
    }

    /// Says on what is worked, or may be begun to.
    pub(crate) fn busy(&self, busy: Assignment) {
        self.busy
            .send_if_modified(|known| std::mem::replace(known, busy) != busy);
    }

    /// Returns what tells who writes the status of Plugins.
    pub(crate) fn follow(&self) -> watch::Receiver<Assignment> {
        self.work.clone()
    }
}

/// Says whether an application is in an assignment.
pub(crate) fn has(assigned: Assignment, application: &ApplicationName) -> bool {
    assigned.shards.contains(Shard::of(application))
}
