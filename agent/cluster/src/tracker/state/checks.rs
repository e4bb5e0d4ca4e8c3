//! What waits for its health check, and what checks have said.

use std::sync::Arc;

use pintle_core::{health::Assessment, names::ApplicationName, object::ObjectId};
use serde_json::Value;

use super::{App, State, Verdict};
use crate::tracker::{AbortOnDrop, TrackEvent};

/// An object that is to be checked.
pub(in crate::tracker) struct Check {
    pub(in crate::tracker) application: ApplicationName,
    pub(in crate::tracker) id: ObjectId,
    pub(in crate::tracker) object: Arc<Value>,
    number: u64,
}

/// What waits of an object.
pub(super) struct Waiting {
    number: u64,
    object: Arc<Value>,
}

impl State {
    /// Takes the object of an application that is to be checked next. Without one, whoever asks has to end: it was told to
    /// serve the application of this number.
    pub(in crate::tracker) fn next_check(&mut self, label: &str, number: u64) -> Option<Check> {
        let app = self.apps.get_mut(label)?;
        // It was forgotten, and is known again.
        if app.number != number {
            return None;
        }
        let Some((id, waiting)) = app.checks.take() else {
            app.server = None;
            return None;
        };
        Some(Check {
            application: app.registered.application.clone(),
            id,
            object: waiting.object,
            number: waiting.number,
        })
    }

    /// Keeps what serves an application: it ends with it.
    pub(in crate::tracker) fn served(&mut self, label: &str, server: AbortOnDrop) {
        if let Some(app) = self.apps.get_mut(label) {
            app.server = Some(server);
        }
    }

    /// Takes up what a check has said, with what checks the object again.
    pub(in crate::tracker) fn judged(
        &mut self,
        label: &str,
        check: &Check,
        said: Assessment,
        again: Option<AbortOnDrop>,
    ) -> Option<TrackEvent> {
        let app = self.apps.get_mut(label)?;
        let object = app.objects.get_mut(&check.id)?;
        let changed = object.answer(check.number, said, again)?;
        // Who waits has to know of an answer also if it is the same as the last one.
        let event = app.changed(check.id.clone());
        changed.then_some(event)
    }

    /// Lets an object be checked again that has not changed since, unless it waits for a check as it is. Returns the number
    /// of its application if nobody serves that.
    pub(in crate::tracker) fn check_again(
        &mut self,
        label: &str,
        id: &ObjectId,
        object: &Arc<Value>,
    ) -> Option<u64> {
        let app = self.apps.get_mut(label)?;
        let seen = &app.objects.get(id)?.observed;
        let metadata = &object["metadata"];
        let is_current =
            metadata["uid"] == *seen.uid && metadata["resourceVersion"] == *seen.resource_version;
        if !is_current || app.checks.has(id) {
            return None;
        }
        self.counter += 1;
        app.enqueue(id.clone(), self.counter, object)
    }

    /// Returns how an object is, if it is known.
    pub(in crate::tracker) fn verdict(&self, label: &str, id: &ObjectId) -> Option<Verdict<'_>> {
        Some(self.apps.get(label)?.objects.get(id)?.verdict())
    }
}

impl App {
    /// Lets an object wait for its check. Returns the number of the application if nobody serves it.
    pub(super) fn enqueue(
        &mut self,
        id: ObjectId,
        number: u64,
        object: &Arc<Value>,
    ) -> Option<u64> {
        let waiting = Waiting {
            number,
            object: Arc::clone(object),
        };
        self.checks.put(id, waiting).then_some(self.number)
    }
}
