//! The inventory of an Application: in its status.

use async_trait::async_trait;
use pintle_core::{application::ApplicationStatus, inventory::Inventory};
use serde::Serialize;

use super::{InventoryStore, StoreError, Urgency};
use crate::resources::{Application, Applications, StatusError};

/// The most bytes that etcd accepts in one request, and so in one resource, unless configured otherwise.
/// <https://etcd.io/docs/v3.6/dev-guide/limit/>
const RESOURCE: usize = 1536 << 10;
/// How much of it is left free: for the problems and the history that a run may add, and for what the server adds itself.
const SPARE: usize = 128 << 10;

/// Keeps an inventory in `status.inventory` of an Application.
///
/// What need not be safe at once waits for [`StatusStore::finish`], so that the end of a run costs one write.
#[derive(Debug)]
pub struct StatusStore {
    resources: Applications,
    application: Application,
    /// The status while the run is in progress, without the inventory.
    status: ApplicationStatus,
    /// The newest inventory.
    inventory: Inventory,
    /// The inventory that is in the cluster.
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

    /// Returns whether the status in the cluster may differ from the known one: a write of it failed or got no answer.
    pub fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    /// Replaces the Application with one that was read again, provided that its status is the known one.
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

    /// Finishes a run: writes its status with the inventory, and returns the resulting Application.
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

    /// Subtracts what people write into the same resource.
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

/// Returns the size of a value as JSON, in bytes.
fn size(value: &impl Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}
