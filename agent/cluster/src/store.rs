//! Where an inventory is kept in the cluster.

mod config_map;
mod status;

use async_trait::async_trait;
use pintle_core::inventory::{Inventory, InventoryError};

pub use self::{config_map::ConfigMapStore, status::StatusStore};
use crate::request::RequestError;

/// Why an inventory could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What is kept cannot be used.
    #[error("{place}: {error}")]
    Unusable {
        /// Where it is kept.
        place: String,
        /// What is wrong with it.
        error: InventoryError,
    },
    /// Somebody else has written it since it was read.
    #[error(
        "{place} was changed by another pintle meanwhile: nothing more is done here; if two of them work on this \
         application, stop one"
    )]
    Superseded {
        /// Where it is kept.
        place: String,
    },
    /// The server refused or did not answer.
    #[error("cannot keep the inventory in {place}")]
    Request {
        /// Where it is kept.
        place: String,
        /// Why.
        #[source]
        error: RequestError,
    },
}

impl StoreError {
    /// Says whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unusable { .. } => false,
            Self::Superseded { .. } => true,
            Self::Request { error, .. } => error.is_retryable(),
        }
    }
}

/// When an inventory must be safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Before the next object is written: it lists what is about to be made.
    Now,
    /// With what is written next about the application: a crash before that loses nothing, because what was intended is
    /// kept already and each object says what was applied.
    WithResult,
}

/// A place for one application's inventory.
///
/// Two writers never overwrite each other: the second gets [`StoreError::Superseded`].
#[async_trait]
pub trait InventoryStore: Send {
    /// Returns the inventory as it was last read or written.
    fn inventory(&self) -> &Inventory;

    /// Keeps an inventory. Does nothing if it is the one that is kept.
    async fn keep(&mut self, inventory: &Inventory, urgency: Urgency) -> Result<(), StoreError>;
}
