//! This replica's share of the work, as its controller sees it.

use std::collections::BTreeSet;

use pintle_core::{
    digest::Digest,
    names::ApplicationName,
    sharding::{Shard, ShardSet},
};
use tokio::sync::{oneshot, watch};

/// The shards that are to be worked on, or are being worked on. The number identifies the assignment, or the one that is
/// answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) number: u64,
    pub(crate) shards: ShardSet,
}

/// Repositories that were pushed to, each by the digest of its normalized URL.
pub(crate) type Pushed = BTreeSet<Digest>;

/// The controller's end.
pub(crate) struct Portion {
    pub(super) work: watch::Receiver<Assignment>,
    pub(super) busy: watch::Sender<Assignment>,
    /// `None` if it has joined, or need not.
    pub(super) join: Option<oneshot::Sender<()>>,
}

impl Portion {
    /// Gives everything to the only replica that there is.
    pub(crate) fn everything() -> Self {
        let all = Assignment {
            number: 0,
            shards: ShardSet::ALL,
        };
        // A receiver keeps returning the last value without its sender.
        let (_, mut work) = watch::channel(all);
        work.mark_changed();
        Self {
            work,
            busy: watch::Sender::new(Assignment::default()),
            join: None,
        }
    }

    /// Reports that this replica can work from now on.
    pub(crate) fn join(&mut self) {
        if let Some(join) = self.join.take() {
            // The agent may be stopping.
            let _ = join.send(());
        }
    }

    /// Waits for an assignment other than the last one. Can be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        if self.work.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes up the newest assignment.
    pub(crate) fn take_up(&mut self) -> Assignment {
        *self.work.borrow_and_update()
    }

    /// Reports which shards are being worked on, or may be at any moment.
    pub(crate) fn busy(&self, busy: Assignment) {
        self.busy
            .send_if_modified(|known| std::mem::replace(known, busy) != busy);
    }

    /// Returns the receiver by which it is decided who writes the status of Plugins.
    pub(crate) fn follow(&self) -> watch::Receiver<Assignment> {
        self.work.clone()
    }
}

/// Returns whether an application is in an assignment.
pub(crate) fn has(assigned: Assignment, application: &ApplicationName) -> bool {
    assigned.shards.contains(Shard::of(application))
}
