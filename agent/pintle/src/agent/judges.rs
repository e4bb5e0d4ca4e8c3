//! The health checks of all applications, for the tracker.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use pintle_cluster::Judge;
use pintle_core::{
    health::{Assessment, Status},
    machine::Millis,
    names::ApplicationName,
    object::ObjectId,
};
use serde_json::Value;

use crate::pipeline::health::Judges;

/// The health checks that judge each application.
#[derive(Default)]
pub(crate) struct AllJudges(RwLock<BTreeMap<ApplicationName, Arc<Judges>>>);

impl AllJudges {
    /// Sets the checks of an application. Returns whether other checks have judged what is known about its objects.
    pub(crate) fn put(&self, application: &ApplicationName, judges: Judges) -> bool {
        let judges = Arc::new(judges);
        let before = self
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(application.clone(), Arc::clone(&judges));
        before.is_some_and(|before| !before.agree_with(&judges))
    }

    pub(crate) fn remove(&self, application: &ApplicationName) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(application);
    }
}

#[async_trait]
impl Judge for AllJudges {
    async fn assess(
        &self,
        application: &ApplicationName,
        id: &ObjectId,
        object: &Value,
        now: Millis,
    ) -> Assessment {
        let judges = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(application)
            .cloned();
        match judges {
            Some(judges) => judges.assess(id, object, now).await,
            None => Assessment::new(
                Status::Unknown,
                "the application has not been looked at yet",
            ),
        }
    }
}
