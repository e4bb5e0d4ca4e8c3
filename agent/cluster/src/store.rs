//! Where an inventory is kept in the cluster.

mod config_map;
mod status;

use async_trait::async_trait;
use pintle_core::{
    inventory::{Inventory, InventoryError},
    plan::Change,
};

pub use self::{config_map::ConfigMapStore, status::StatusStore};
use crate::request::RequestError;

/// Why an inventory could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The stored inventory cannot be used.
    #[error("{place}: {error}")]
    Unusable {
        /// Where it is kept.
        place: String,
        /// What is wrong with it.
        error: InventoryError,
    },
    /// Someone else has written it since it was read.
    #[error(
        "{place} was changed by another pintle meanwhile: nothing more is done here; if two of them work on this \
         application, stop one"
    )]
    Superseded {
        /// Where it is kept.
        place: String,
    },
    /// The inventory could not record everything that the plan creates.
    #[error(
        "{objects} objects, with those that are about to go, take {} KiB of inventory, and {place} has room for {} KiB: \
         split the application into several, or replace fewer objects at once; nothing was written",
        .size.div_ceil(1024), .room / 1024
    )]
    TooLarge {
        /// Where it is kept.
        place: String,
        /// The number of objects there would be.
        objects: usize,
        /// The number of bytes that they take.
        size: usize,
        /// The number of bytes available.
        room: usize,
    },
    /// The server refused or did not answer.
    #[error("cannot keep the inventory in {place}")]
    Request {
        /// Where it is kept.
        place: String,
        /// The cause.
        #[source]
        error: RequestError,
    },
}

impl StoreError {
    /// Returns whether the same operation may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unusable { .. } | Self::TooLarge { .. } => false,
            Self::Superseded { .. } => true,
            Self::Request { error, .. } => error.is_retryable(),
        }
    }
}

/// When an inventory must be safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Before the next object is written: it lists what is about to be created.
    Now,
    /// With the next write about the application: a crash before that loses nothing, because the intention is already kept and
    /// each object says what was applied.
    WithResult,
}

/// A place for one application's inventory.
///
/// Two writers never overwrite each other: the second gets [`StoreError::Superseded`].
#[async_trait]
pub trait InventoryStore: Send {
    /// Returns the inventory as it was last read or written.
    fn inventory(&self) -> &Inventory;

    /// Returns where it is kept, for people.
    fn place(&self) -> String;

    /// Returns how many bytes the stored form of an inventory may take.
    fn room(&self) -> usize;

    /// Refuses a plan whose objects could not all be recorded once they exist. Call this before anything is written: an intention
    /// takes a third of the space of the final record, so such a run would begin and never be able to end.
    ///
    /// `planned` is the inventory that came with the plan.
    fn check_room(&self, planned: &Inventory, changes: &[Change]) -> Result<(), StoreError> {
        let done = planned.when_done(changes);
        let (size, room) = (done.size(), self.room());
        // An inventory that already fitted is kept as it should be, even if there is no room for more.
        if size <= room || size <= self.inventory().size() {
            return Ok(());
        }
        Err(StoreError::TooLarge {
            place: self.place(),
            objects: done.len(),
            size,
            room,
        })
    }

    /// Keeps an inventory. Does nothing if that inventory is already kept.
    async fn keep(&mut self, inventory: &Inventory, urgency: Urgency) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use pintle_core::{inventory::Entry, object::ObjectId};

    use super::*;

    struct Small(Inventory);

    #[async_trait]
    impl InventoryStore for Small {
        fn inventory(&self) -> &Inventory {
            &self.0
        }

        fn place(&self) -> String {
            "a small place".to_owned()
        }

        fn room(&self) -> usize {
            3 << 10
        }

        async fn keep(&mut self, inventory: &Inventory, _: Urgency) -> Result<(), StoreError> {
            self.0 = inventory.clone();
            Ok(())
        }
    }

    fn intending(objects: usize) -> Inventory {
        let mut inventory = Inventory::default();
        for number in 0..objects {
            let id = ObjectId {
                group: String::new(),
                kind: "ConfigMap".to_owned(),
                namespace: Some("shop".to_owned()),
                name: format!("c{number:03}"),
            };
            inventory.insert(Entry::intended(&id, "v1"));
        }
        inventory
    }

    #[test]
    fn what_could_not_be_recorded_in_the_end_is_not_begun() {
        let check = |kept: Inventory, planned: &Inventory| Small(kept).check_room(planned, &[]);
        let empty = Inventory::default;
        assert_eq!(check(empty(), &intending(10)), Ok(()));
        let many = intending(20);
        assert!(many.size() < 3 << 10, "the intention would fit");
        let refused = check(empty(), &many).unwrap_err();
        assert!(!refused.is_retryable());
        insta::assert_snapshot!(refused, @"20 objects, with those that are about to go, take 6 KiB of inventory, and a small place has room for 3 KiB: split the application into several, or replace fewer objects at once; nothing was written");
        assert_eq!(check(many.clone(), &many), Err(refused), "begun before");
        let known = many.when_done(&[]);
        assert_eq!(check(known.clone(), &known), Ok(()), "it was there before");
    }
}
