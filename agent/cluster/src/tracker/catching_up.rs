//! Making up for what a tracker saw before it knew an application, or judged by other rules.

use std::{sync::Arc, time::Duration};

use pintle_core::names::{APPLICATION_LABEL, ApplicationName};
use serde_json::Value;

use super::{
    Inner, Tracker, WatchKey,
    early::{Missed, PATIENCE},
    state::Origin,
};
use crate::{
    request::{Call, RequestError},
    watching::typed,
};

/// Between two tries to list what was missed.
const PAUSE: Duration = Duration::from_secs(2);

impl Tracker {
    /// Assesses all objects of an application anew, because it is judged by other rules now. Asks for them: one request
    /// for each kind.
    pub fn reassess(&self, application: &ApplicationName) {
        if self
            .inner
            .lock()
            .begin_catching_up(&application.label_value())
        {
            self.catch_up(application, Missed::Unknown);
        }
    }

    /// Takes up what was missed, and then says so. What the checks have to say of it comes later.
    pub(super) fn catch_up(&self, application: &ApplicationName, missed: Missed) {
        let inner = Arc::clone(&self.inner);
        let label = application.label_value();
        tokio::spawn(async move {
            match missed {
                Missed::Objects(texts) => {
                    for text in texts {
                        let object: Value =
                            serde_json::from_str(&text).expect("it was written from a value");
                        inner.see(Arc::new(object), Origin::Answer);
                        // There may be thousands, and others have work on this thread.
                        tokio::task::yield_now().await;
                    }
                }
                Missed::Unknown => inner.list(&label).await,
            }
            inner.lock().caught_up(&label);
        });
    }
}

impl Inner {
    /// Drops objects whose application does not become known.
    pub(super) fn expire_early_objects(self: &Arc<Self>) {
        let inner = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            if let Some(inner) = inner.upgrade() {
                inner.lock().early.expire();
            }
        });
    }

    /// Reads all objects of an application whose kinds are watched, until that succeeds or it is forgotten.
    async fn list(self: &Arc<Self>, label: &str) {
        let keys = self.lock().keys_of(label);
        for key in keys {
            while self.lock().is_registered(label) {
                match self.list_one(label, &key).await {
                    Ok(()) => break,
                    // The kind is gone: so are its objects.
                    Err(error) if error.is_not_found() => break,
                    Err(error) => {
                        tracing::warn!(kind = %key.0, %error, "objects cannot be listed");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    async fn list_one(self: &Arc<Self>, label: &str, key: &WatchKey) -> Result<(), RequestError> {
        let path = key.0.path(key.1.as_deref(), None);
        let call = Call::get(path).query("labelSelector", &format!("{APPLICATION_LABEL}={label}"));
        let mut list = self.connection.call(&call).await?;
        if let Value::Array(items) = list["items"].take() {
            for item in items {
                self.see(Arc::new(typed(item, &key.0)), Origin::List);
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}
