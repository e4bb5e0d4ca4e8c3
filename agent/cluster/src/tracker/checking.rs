//! Health checks of what was seen, beside the watches.
//!
//! An application whose objects wait for their checks has one task, which ends when nothing waits. So a check that takes long
//! holds up only what is said of the health of its own application.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use pintle_core::health::{Assessment, Status};

use super::{
    AbortOnDrop, Inner, Judge,
    state::{Check, State, Subject},
};
use crate::{connection::Connection, request::RequestError};

/// A health check that wants to be asked again at once is asked after this time.
pub(crate) const SOONEST: Duration = Duration::from_millis(100);
/// After this time an object is asked for once more that could not be read for its check.
const UNREAD: Duration = Duration::from_secs(10);

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
    /// whoever remembers the object drops the task with it, which may hold all of the object.
    fn recheck(self: &Arc<Self>, label: &str, check: &Check, after: Duration) -> AbortOnDrop {
        let (inner, label) = (Arc::downgrade(self), label.to_owned());
        let check = check.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(after.max(SOONEST)).await;
            if let Some(inner) = inner.upgrade() {
                inner.check_again(&label, check);
            }
        });
        AbortOnDrop(task.abort_handle())
    }

    fn check_again(self: &Arc<Self>, label: &str, check: Check) {
        let mut state = self.lock();
        let unserved = state.check_again(label, check);
        self.serve(&mut state, label, unserved);
    }
}

/// Checks what waits of an application, one object after another, until nothing does.
///
/// The tracker is not held while a check goes on: who drops it, or forgets the application, ends the check.
async fn check_all(inner: Weak<Inner>, label: String, number: u64) {
    while let Some((checker, check)) = next(&inner, &label, number) {
        // It is gone, which the watch tells.
        let Some(said) = checker.assess(&check).await else {
            continue;
        };
        let Some(inner) = inner.upgrade() else { return };
        inner.judged(&label, &check, said);
    }
}

fn next(inner: &Weak<Inner>, label: &str, number: u64) -> Option<(Checker, Check)> {
    let inner = inner.upgrade()?;
    let check = inner.lock().next_check(label, number)?;
    let checker = Checker {
        judge: Arc::clone(&inner.judge),
        connection: inner.connection.clone(),
    };
    Some((checker, check))
}

/// What a check needs of a tracker.
struct Checker {
    judge: Arc<dyn Judge>,
    connection: Connection,
}

impl Checker {
    /// Has an object checked; says nothing of one that is gone.
    async fn assess(&self, check: &Check) -> Option<Assessment> {
        let read;
        let object = match &check.subject {
            Subject::Whole(whole) => whole.object(),
            Subject::Unread(kind) => {
                match self.connection.read_from_list(kind, &check.id).await {
                    Ok(found) => read = found?,
                    Err(error) => return Some(unread(&error)),
                }
                &read
            }
        };
        let now = self.connection.clock().now();
        let (application, id) = (&check.application, &check.id);
        Some(self.judge.assess(application, id, object, now).await)
    }
}

fn unread(error: &RequestError) -> Assessment {
    let message = format!("it cannot be read for its health check: {error}");
    Assessment {
        recheck_after: Some(UNREAD),
        ..Assessment::new(Status::Unknown, message)
    }
}
