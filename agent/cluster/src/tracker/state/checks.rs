//! The objects that wait for health checks, and the verdicts of checks.

use std::sync::Arc;

use pintle_core::{health::Assessment, names::ApplicationName, object::ObjectId};
use serde_json::Value;

use super::{App, State, Verdict, sees};
use crate::{
    discovery::ResourceType,
    tracker::{
        AbortOnDrop, TrackEvent,
        room::{Room, Share},
    },
};

/// The room for all objects, in all trackers, that are to be checked now or again: each may be a megabyte, and a check may be
/// slow.
pub(super) static WHOLE: Room = Room::of(64 << 20);

/// A whole object, and the room that it takes.
pub(in crate::tracker) struct Whole {
    object: Arc<Value>,
    _share: Share,
}

impl Whole {
    /// Keeps an object, if there is room.
    pub(super) fn within(
        room: &'static Room,
        object: &Arc<Value>,
        weight: usize,
    ) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            _share: room.take(weight)?,
            object: Arc::clone(object),
        }))
    }

    pub(in crate::tracker) fn object(&self) -> &Value {
        &self.object
    }
}

/// What is checked.
#[derive(Clone)]
pub(in crate::tracker) enum Subject {
    /// The object as it was seen.
    Whole(Arc<Whole>),
    /// The object of this kind, read when it is checked: there was no room for it.
    Unread(ResourceType),
}

/// An object that is to be checked, possibly more than once.
#[derive(Clone)]
pub(in crate::tracker) struct Check {
    pub(in crate::tracker) application: ApplicationName,
    pub(in crate::tracker) id: ObjectId,
    pub(in crate::tracker) subject: Subject,
    number: u64,
}

/// What waits for an object's check.
pub(super) struct Waiting {
    number: u64,
    whole: Option<Arc<Whole>>,
}

impl State {
    /// Takes the next object of an application to check. If there is none, the calling task has to end: it was started to serve
    /// the application with this number.
    pub(in crate::tracker) fn next_check(&mut self, label: &str, number: u64) -> Option<Check> {
        let app = self.apps.get_mut(label)?;
        // The application was forgotten, and is known again.
        if app.number != number {
            return None;
        }
        loop {
            let Some((id, waiting)) = app.checks.take() else {
                app.server = None;
                return None;
            };
            let subject = if let Some(whole) = waiting.whole {
                Subject::Whole(whole)
            } else if let Some(kind) = app.kind_of(&id) {
                Subject::Unread(kind.clone())
            } else {
                // The application no longer uses the kind.
                continue;
            };
            return Some(Check {
                application: app.registered.application.clone(),
                id,
                subject,
                number: waiting.number,
            });
        }
    }

    /// Keeps the task that serves an application: it ends with the application.
    pub(in crate::tracker) fn served(&mut self, label: &str, server: AbortOnDrop) {
        if let Some(app) = self.apps.get_mut(label) {
            app.server = Some(server);
        }
    }

    /// Records the verdict of a check, together with the task that checks the object again.
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
        // Waiting callers have to know about an answer even if it is the same as the last one.
        let event = app.changed(check.id.clone());
        changed.then_some(event)
    }

    /// Queues an object that has not changed since for another check, unless one is already queued. Returns the number of its
    /// application if no task serves that.
    pub(in crate::tracker) fn check_again(&mut self, label: &str, check: Check) -> Option<u64> {
        let app = self.apps.get_mut(label)?;
        let known = app.objects.get(&check.id)?;
        if !known.is_newest(check.number) || app.checks.has(&check.id) {
            return None;
        }
        self.counter += 1;
        let whole = match check.subject {
            Subject::Whole(whole) => Some(whole),
            Subject::Unread(_) => None,
        };
        app.enqueue(check.id, self.counter, whole)
    }

    /// Returns the verdict on an object, if it is known.
    pub(in crate::tracker) fn verdict(&self, label: &str, id: &ObjectId) -> Option<Verdict<'_>> {
        Some(self.apps.get(label)?.objects.get(id)?.verdict())
    }
}

impl App {
    /// Queues an object for its check. Returns the number of the application if no task serves it.
    pub(super) fn enqueue(
        &mut self,
        id: ObjectId,
        number: u64,
        whole: Option<Arc<Whole>>,
    ) -> Option<u64> {
        let waiting = Waiting { number, whole };
        self.checks.put(id, waiting).then_some(self.number)
    }

    /// Returns the kind of a known object, at the version at which it was reported if the application uses that version.
    fn kind_of(&self, id: &ObjectId) -> Option<&ResourceType> {
        let version = &*self.objects.get(id)?.version;
        let keys = self.keys.iter().filter(|key| sees(key, id));
        keys.map(|key| &key.0)
            .min_by_key(|kind| kind.api_version() != version)
    }
}
