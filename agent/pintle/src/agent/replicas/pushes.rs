//! Pushes that one replica's webhooks report, passed on to the others.

use pintle_core::sharding::ReplicaId;

use super::{Pushed, Task, leases::Pushes};
use crate::pipeline::now_ms;

/// How many pushes are kept for others to see. Each is seen within moments, and a source is asked at its interval anyway.
const KEPT_PUSHES: usize = 32;

impl Task {
    fn newest_push(&self) -> u64 {
        self.pushes.back().map_or(0, |(number, _)| *number)
    }

    /// Passes pushes that this replica's webhooks received to its own controller, and to the others by its Lease.
    pub(super) fn pushed(&mut self, repositories: Pushed) {
        let mut number = self.newest_push();
        if number == 0 {
            // This is later than the numbers of an earlier process of the same name.
            number = now_ms();
        }
        for repository in &repositories {
            number += 1;
            self.pushes.push_back((number, *repository));
        }
        while self.pushes.len() > KEPT_PUSHES {
            self.pushes.pop_front();
        }
        self.tell(repositories);
        if !self.members.is_empty() {
            self.renew_now();
        }
    }

    pub(super) fn look_at_pushes(&mut self, replica: ReplicaId, pushes: &Pushes) {
        let newest = pushes.iter().map(|(number, _)| *number).max();
        let newest = newest.unwrap_or_default();
        // Pushes from before this replica looked have been fetched already.
        let Some(known) = self.seen_pushes.insert(replica, newest) else {
            return;
        };
        let new = pushes.iter().filter(|(number, _)| *number > known);
        let new: Pushed = new.map(|(_, repository)| *repository).collect();
        if !new.is_empty() {
            self.tell(new);
        }
    }

    fn tell(&self, repositories: Pushed) {
        // If the channel is full, the controller is busy, and the sources are asked at their interval.
        if self.told.try_send(repositories).is_err() {
            tracing::warn!("a push was not taken up: the agent is busy or stopping");
        }
    }
}
