//! Making up for what a tracker saw before it knew an application, or judged by other rules.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

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
        let inner = Arc::downgrade(&self.inner);
        let label = application.label_value();
        tokio::spawn(async move {
            match missed {
                Missed::Objects(texts) => take_up(&inner, texts).await,
                Missed::Unknown => list(&inner, &label).await,
            }
            if let Some(inner) = inner.upgrade() {
                let event = inner.lock().caught_up(&label);
                inner.publish(event);
            }
        });
    }
}

/// Takes up objects that were seen before their application was known.
async fn take_up(inner: &Weak<Inner>, texts: Vec<Box<str>>) {
    for text in texts {
        let Some(inner) = inner.upgrade() else { return };
        let object: Value = serde_json::from_str(&text).expect("it was written from a value");
        inner.see(Arc::new(object), Origin::Answer);
        // There may be thousands, and others have work on this thread.
        tokio::task::yield_now().await;
    }
}

/// Reads all objects of an application whose kinds are watched, until that succeeds or it is forgotten.
///
/// The tracker is not held between two tries: a server that never answers again would keep it, and its watches, for ever.
async fn list(tracker: &Weak<Inner>, label: &str) {
    let known = tracker.upgrade().map(|inner| inner.lock().keys_of(label));
    for key in known.into_iter().flatten() {
        loop {
            let inner = tracker.upgrade();
            let Some(inner) = inner.filter(|inner| inner.lock().is_registered(label)) else {
                return;
            };
            match inner.list_one(label, &key).await {
                Ok(()) => break,
                // The kind is gone: so are its objects.
                Err(error) if error.is_not_found() => break,
                Err(error) => {
                    tracing::warn!(kind = %key.0, %error, "objects cannot be listed");
                }
            }
            drop(inner);
            tokio::time::sleep(PAUSE).await;
        }
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
