//! Health checks of what was seen, beside the watches.
//!
//! An application whose objects wait for their checks has one task, which ends when nothing waits. So a check that takes long
//! holds up only what is said of the health of its own application.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use pintle_core::{
    health::{Assessment, Status},
    machine::Millis,
    object::ObjectId,
};
use serde_json::Value;

use super::{
    AbortOnDrop, Inner, Judge,
    state::{Check, State},
};

/// A health check that wants to be asked again at once is asked after this time.
pub(crate) const SOONEST: Duration = Duration::from_millis(100);

/// Says how an object is that no check has said anything of yet.
pub(super) fn unanswered() -> Assessment {
    Assessment::new(Status::Progressing, "its health check has not answered yet")
}

impl Inner {
    /// Begins to check what waits of an application, if nobody does. The state is locked from when that was found out until the
    /// task is kept: else one that has ended by then could take the place of the next.
    pub(super) fn serve(self: &Arc<Self>, state: &mut State, label: &str, unserved: Option<u64>) {
        if let Some(number) = unserved {
            let task = tokio::spawn(check_all(Arc::downgrade(self), label.to_owned(), number));
            state.served(label, AbortOnDrop(task.abort_handle()));
        }
    }

    /// Takes up what a check has said.
    fn judged(self: &Arc<Self>, label: &str, check: &Check, said: Assessment) {
        let again = said
            .recheck_after
            .map(|after| self.recheck(label, check, after));
        let event = self.lock().judged(label, check, said, again);
        self.publish(event);
    }

    /// Checks an object again when only time has changed the verdict. A newer state of it, or its end, makes that needless:
    /// whoever remembers the object drops the task with it, which holds all of the object.
    fn recheck(self: &Arc<Self>, label: &str, check: &Check, after: Duration) -> AbortOnDrop {
        let (inner, label) = (Arc::downgrade(self), label.to_owned());
        let (id, object) = (check.id.clone(), Arc::clone(&check.object));
        let task = tokio::spawn(async move {
            tokio::time::sleep(after.max(SOONEST)).await;
            if let Some(inner) = inner.upgrade() {
                inner.check_again(&label, &id, &object);
            }
        });
        AbortOnDrop(task.abort_handle())
    }

    fn check_again(self: &Arc<Self>, label: &str, id: &ObjectId, object: &Arc<Value>) {
        let mut state = self.lock();
        let unserved = state.check_again(label, id, object);
        self.serve(&mut state, label, unserved);
    }
}

/// Checks what waits of an application, one object after another, until nothing does.
///
/// The tracker is not held while a check goes on: who drops it, or forgets the application, ends the check.
async fn check_all(inner: Weak<Inner>, label: String, number: u64) {
    while let Some((judge, check, now)) = next(&inner, &label, number) {
        let said = judge
            .assess(&check.application, &check.id, &check.object, now)
            .await;
        let Some(inner) = inner.upgrade() else { return };
        inner.judged(&label, &check, said);
    }
}

fn next(inner: &Weak<Inner>, label: &str, number: u64) -> Option<(Arc<dyn Judge>, Check, Millis)> {
    let inner = inner.upgrade()?;
    let check = inner.lock().next_check(label, number)?;
    Some((
        Arc::clone(&inner.judge),
        check,
        inner.connection.clock().now(),
    ))
}
