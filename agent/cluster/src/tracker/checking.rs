//! Runs the health checks of observed objects, independently of the watches.
//!
//! An application with objects that wait for their checks has one task, which ends when nothing waits. A slow check therefore
//! delays only the health of its own application.

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

/// The minimum pause before a health check is asked again, even if it wants to be asked at once.
pub(crate) const SOONEST: Duration = Duration::from_millis(100);
/// The pause before an object that could not be read for its check is requested again.
const UNREAD: Duration = Duration::from_secs(10);

/// Returns the assessment of an object that no check has answered for yet.
pub(super) fn unanswered() -> Assessment {
    Assessment::new(Status::Progressing, "its health check has not answered yet")
}

impl Inner {
    /// Starts checking the waiting objects of an application, if no task does. The state is locked from when that was found until
    /// the task is stored. Otherwise a task that has ended by then could take the place of the next one.
    pub(super) fn serve(self: &Arc<Self>, state: &mut State, label: &str, unserved: Option<u64>) {
        if let Some(number) = unserved {
            let task = tokio::spawn(check_all(Arc::downgrade(self), label.to_owned(), number));
            state.served(label, AbortOnDrop(task.abort_handle()));
        }
    }

    /// Records the verdict of a check.
    fn judged(self: &Arc<Self>, label: &str, check: &Check, said: Assessment) {
        let again = said
            .recheck_after
            .map(|after| self.recheck(label, check, after));
        let event = self.lock().judged(label, check, said, again);
        self.publish(event);
    }

    /// Checks an object again after a pause, for verdicts that change only with time. A newer state of the object, or its end,
    /// makes that unnecessary: when the remembered object goes, so does the task, which may hold the whole object.
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

/// Checks the waiting objects of an application, one after another, until none is left.
///
/// The tracker is not held during a check: dropping it, or forgetting the application, ends the check.
async fn check_all(inner: Weak<Inner>, label: String, number: u64) {
    while let Some((checker, check)) = next(&inner, &label, number) {
        // The object is gone, which the watch reports.
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

/// What a check needs from a tracker.
struct Checker {
    judge: Arc<dyn Judge>,
    connection: Connection,
}

impl Checker {
    /// Checks an object; `None` if the object is gone.
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
