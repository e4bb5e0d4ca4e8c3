//! The inventory of an Application: in its status.

use async_trait::async_trait;
use pintle_core::{application::ApplicationStatus, inventory::Inventory};
use serde::Serialize;

use super::{InventoryStore, StoreError, Urgency};
use crate::resources::{Application, Applications, StatusError};

/// Most bytes that etcd takes in one request, and so of one resource, unless it is told otherwise.
/// <https://etcd.io/docs/v3.6/dev-guide/limit/>
const RESOURCE: usize = 1536 << 10;
/// What is left free of it: for the problems and the history that a run may add, and for what the server adds itself.
const SPARE: usize = 128 << 10;

/// Keeps an inventory in `status.inventory` of an Application.
///
/// What need not be safe at once waits for [`StatusStore::finish`], so that the end of a run costs one write.
#[derive(Debug)]
pub struct StatusStore {
    resources: Applications,
    application: Application,
    /// What the status says while the run is under way, but for the inventory.
    status: ApplicationStatus,
    /// The newest.
    inventory: Inventory,
    /// The one that is in the cluster.
    kept: Inventory,
    is_unsure: bool,
}

impl StatusStore {
    /// Takes an Application as it was read. `underway` is written with the first inventory that must be safe.
    pub fn new(
        resources: Applications,
        application: Application,
        underway: ApplicationStatus,
    ) -> Result<Self, StoreError> {
        let place = || format!("the status of {}", resources.id(&application));
        let unusable = |error| StoreError::Unusable {
            place: place(),
            error,
        };
        let status = application.status.as_ref().map_err(|error| {
            unusable(pintle_core::inventory::InventoryError::Malformed(
                error.to_string(),
            ))
        })?;
        let stored = status.inventory.clone().unwrap_or_default();
        let inventory = Inventory::restore(stored).map_err(unusable)?;
        Ok(Self {
            resources,
            application,
            status: ApplicationStatus {
                inventory: None,
                ..underway
            },
            kept: inventory.clone(),
            inventory,
            is_unsure: false,
        })
    }

    /// Returns the Application as it was last read or written.
    pub fn application(&self) -> &Application {
        &self.application
    }

    /// Says whether the status in the cluster may be another one than is known: a write of it failed, or has no answer.
    pub fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    /// Takes up an Application that was read anew, as long as its status is the one that is known.
    pub fn refresh(&mut self, application: Application) {
        if application.status == self.application.status && application.uid == self.application.uid
        {
            self.application = application;
        }
    }

    /// Writes a status with the inventory, if anything in it is new.
    pub async fn write(&mut self, mut status: ApplicationStatus) -> Result<(), StatusError> {
        status.inventory = Some(self.inventory.store());
        status.objects = u32::try_from(self.inventory.managed().count()).unwrap_or(u32::MAX);
        let written = self
            .resources
            .write_status(&self.application, &status)
            .await;
        self.is_unsure |= written.is_err();
        self.application = written?;
        status.inventory = None;
        self.status = status;
        self.kept = self.inventory.clone();
        Ok(())
    }

    /// Ends a run: writes its status with the inventory, and returns the Application as it is then.
    pub async fn finish(mut self, status: ApplicationStatus) -> Result<Application, StatusError> {
        self.write(status).await?;
        Ok(self.application)
    }
}

#[async_trait]
impl InventoryStore for StatusStore {
    fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    fn place(&self) -> String {
        let id = self.resources.id(&self.application);
        format!("the status of {id}")
    }

    /// What people write into the same resource has its part of the room.
    fn room(&self) -> usize {
        let Application {
            labels,
            annotations,
            spec,
            ..
        } = &self.application;
        let spec = spec.as_ref().map_or(0, size);
        let metadata = size(labels) + size(annotations);
        RESOURCE.saturating_sub(SPARE + size(&self.status) + metadata + spec)
    }

    async fn keep(&mut self, inventory: &Inventory, urgency: Urgency) -> Result<(), StoreError> {
        self.inventory = inventory.clone();
        if urgency == Urgency::WithResult || self.inventory == self.kept {
            return Ok(());
        }
        let status = self.status.clone();
        self.write(status).await.map_err(|error| {
            let place = self.place();
            match error {
                StatusError::Request(error) => StoreError::Request { place, error },
                StatusError::Superseded { .. } | StatusError::Gone { .. } => {
                    StoreError::Superseded { place }
                }
                StatusError::Unreadable(error) => StoreError::Unusable {
                    place,
                    error: pintle_core::inventory::InventoryError::Malformed(error.to_string()),
                },
            }
        })
    }
}

/// Returns how many bytes something takes as JSON.
fn size(value: &impl Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}
