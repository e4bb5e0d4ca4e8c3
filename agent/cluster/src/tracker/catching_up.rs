//! Making up for what a tracker saw before it knew an application, or judged by other rules.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use pintle_core::names::{APPLICATION_LABEL, ApplicationName};
use serde_json::Value;

use super::{
    Inner, Tracker, WatchKey,
    early::PATIENCE,
    state::{Backlog, Origin},
};
use crate::{
    request::{Call, RequestError},
    watching::typed,
};

/// Before objects that could not be listed are listed again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Less than a run waits for what is coming.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Tracker {
    /// Assesses all objects of an application anew, because it is judged by other rules now. Asks for them: one request
    /// for each kind.
    pub fn reassess(&self, application: &ApplicationName) {
        let label = application.label_value();
        let backlog = self.inner.lock().begin_catching_up(&label);
        self.catch_up(application, backlog);
    }

    /// Makes up for what was missed, and says so of each kind when that is done: one that cannot be listed holds up no other.
    /// What the checks have to say of it comes later.
    pub(super) fn catch_up(&self, application: &ApplicationName, backlog: Backlog) {
        let tracker = || Arc::downgrade(&self.inner);
        let label = application.label_value();
        if let Some((texts, number)) = backlog.kept {
            tokio::spawn(take_up(tracker(), label.clone(), texts, number));
        }
        for (key, number) in backlog.unlisted {
            tokio::spawn(list(tracker(), label.clone(), key, number));
        }
    }
}

/// Takes up objects that were seen before their application was known.
async fn take_up(tracker: Weak<Inner>, label: String, texts: Vec<Box<str>>, number: u64) {
    for text in texts {
        let Some(inner) = tracker.upgrade() else {
            return;
        };
        let object: Value = serde_json::from_str(&text).expect("it was written from a value");
        inner.see(Arc::new(object), Origin::Answer);
        // There may be thousands, and others have work on this thread.
        tokio::task::yield_now().await;
    }
    if let Some(inner) = tracker.upgrade() {
        let event = inner.lock().taken_up(&label, number);
        inner.publish(event);
    }
}

/// Reads all objects of an application that one of its watches tells of, until that succeeds or is not for this number any
/// more.
///
/// The tracker is not held between two tries: a server that never answers again would keep it, and its watches, for ever.
async fn list(tracker: Weak<Inner>, label: String, key: WatchKey, number: u64) {
    let mut pause = FIRST_PAUSE;
    loop {
        let inner = tracker.upgrade();
        let is_due = |inner: &Arc<Inner>| inner.lock().is_unlisted(&label, &key, number);
        let Some(inner) = inner.filter(is_due) else {
            return;
        };
        match inner.list_one(&label, &key).await {
            // A kind that is gone has no objects.
            Err(error) if !error.is_not_found() => {
                tracing::warn!(kind = %key.0, %error, "objects cannot be listed");
            }
            Ok(()) | Err(_) => {
                let event = inner.lock().listed(&label, &key, number);
                inner.publish(event);
                return;
            }
        }
        drop(inner);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
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
        if let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) {
            for item in items {
                self.see(Arc::new(typed(item, &key.0)), Origin::List);
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}
