//! Catches up on what a tracker saw before it knew an application, or judged by other rules.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use pintle_core::names::{APPLICATION_LABEL, ApplicationName};
use serde_json::Value;

use super::{
    Inner, Tracker, WatchKey,
    early::PATIENCE,
    state::{Backlog, Origin, Unlisted},
};
use crate::{reader::paging::page, request::RequestError, watching::typed};

/// The first pause before objects that could not be listed are listed again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Shorter than a run waits for what is coming.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Tracker {
    /// Assesses all objects of an application again, because it is now judged by other rules. Requests one list for each kind,
    /// shared with other applications that are behind on it.
    pub fn reassess(&self, application: &ApplicationName) {
        let label = application.label_value();
        let backlog = self.inner.lock().begin_catching_up(&label);
        self.catch_up(application, backlog);
    }

    /// Catches up on what was missed, and reports each kind when that is done: a kind that cannot be listed holds up no other.
    /// The verdicts of the checks come later.
    pub(super) fn catch_up(&self, application: &ApplicationName, backlog: Backlog) {
        let tracker = || Arc::downgrade(&self.inner);
        if let Some((texts, number)) = backlog.kept {
            let label = application.label_value();
            tokio::spawn(take_up(tracker(), label, texts, number));
        }
        for (key, _) in backlog.unlisted {
            if self.inner.lock().begin_listing(&key) {
                tokio::spawn(list(tracker(), key));
            }
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

/// Reads the objects that one watch covers, for all applications that are behind on it, until none is. Lists many applications at
/// a time, because an API server looks at all objects of a kind for each list.
///
/// The tracker is not held between two attempts: a server that never answers again would otherwise keep it and its watches alive
/// for ever.
async fn list(tracker: Weak<Inner>, key: WatchKey) {
    let mut pause = FIRST_PAUSE;
    while let Some(inner) = tracker.upgrade() {
        let unlisted = inner.lock().next_unlisted(&key);
        if unlisted.is_empty() {
            return;
        }
        match inner.list_all(&key, &unlisted).await {
            Err(error) if !error.is_not_found() => {
                let applications = unlisted.len();
                tracing::warn!(kind = %key.0, applications, %error, "objects cannot be listed");
            }
            // A kind that is gone has no objects.
            Ok(()) | Err(_) => {
                for one in &unlisted {
                    let event = inner.lock().listed(&one.label, &key, one.number);
                    inner.publish(event);
                }
                pause = FIRST_PAUSE;
                continue;
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

    /// Lists the objects of some applications, page by page.
    async fn list_all(
        self: &Arc<Self>,
        key: &WatchKey,
        unlisted: &[Unlisted],
    ) -> Result<(), RequestError> {
        let path = key.0.path(key.1.as_deref(), None);
        let labels: Vec<&str> = unlisted.iter().map(|one| one.label.as_str()).collect();
        let labels = format!("{APPLICATION_LABEL} in ({})", labels.join(","));
        let mut named: Option<String> = None;
        loop {
            let read = page(&self.connection, &path, Some(&labels), named.as_deref());
            let (objects, next) = read.await?;
            for object in objects {
                self.see(Arc::new(typed(object, &key.0)), Origin::List);
                tokio::task::yield_now().await;
            }
            if next.is_none() {
                return Ok(());
            }
            named = next;
        }
    }
}
