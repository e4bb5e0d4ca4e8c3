//! Applications whose objects have changed. Each is listed once, however often its objects changed before somebody looks.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pintle_cluster::TrackEvent;
use pintle_core::names::ApplicationName;
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

/// Applications whose objects may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// These applications.
    Of(BTreeSet<ApplicationName>),
    /// Some events were missed: it may be any application.
    OfAny,
}

impl Default for Moved {
    fn default() -> Self {
        Self::Of(BTreeSet::new())
    }
}

impl Moved {
    /// Waits until a tracker reports a change, and takes up everything that it has reported by then. Returns `None` if the
    /// tracker is gone.
    pub(crate) async fn next(events: &mut broadcast::Receiver<TrackEvent>) -> Option<Self> {
        let mut moved = Self::default();
        match events.recv().await {
            Ok(event) => moved.add(&event),
            Err(RecvError::Lagged(_)) => moved = Self::OfAny,
            Err(RecvError::Closed) => return None,
        }
        // Events that arrive meanwhile are left for the next call: they may never end.
        for _ in 0..events.len() {
            match events.try_recv() {
                Ok(event) => moved.add(&event),
                Err(TryRecvError::Lagged(_)) => moved = Self::OfAny,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Some(moved)
    }

    fn add(&mut self, event: &TrackEvent) {
        let application = event.application();
        if let Self::Of(applications) = self
            && !applications.contains(application)
        {
            applications.insert(application.clone());
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Of(mut applications), Self::Of(others)) => {
                applications.extend(others);
                Self::Of(applications)
            }
            (Self::OfAny, _) | (_, Self::OfAny) => Self::OfAny,
        }
    }
}

/// The changes that a cluster has reported and nobody has looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Moves(Mutex<Moved>);

impl Moves {
    /// Adds changes, and returns whether there were none before. If there were some, somebody has already been asked to look.
    pub(crate) fn add(&self, more: Moved) -> bool {
        let mut moved = self.lock();
        let before = std::mem::take(&mut *moved);
        let is_first = before == Moved::default();
        *moved = before.and(more);
        is_first
    }

    /// Takes all of the changes.
    pub(crate) fn take(&self) -> Moved {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Moved> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn app(name: &str) -> ApplicationName {
        ApplicationName::new("shop", name)
    }

    fn of(names: &[&str]) -> Moved {
        Moved::Of(names.iter().map(|name| app(name)).collect())
    }

    fn tell(events: &broadcast::Sender<TrackEvent>, names: &[&str]) {
        for name in names {
            let application = app(name);
            events.send(TrackEvent::Sight { application }).unwrap();
        }
    }

    #[test]
    fn an_application_of_which_many_objects_change_is_looked_at_once() {
        let (sender, mut events) = broadcast::channel(4);
        assert_eq!(Moved::next(&mut events).now_or_never(), None);
        tell(&sender, &["a", "b", "a"]);
        let next = Moved::next(&mut events).now_or_never();
        assert_eq!(next, Some(Some(of(&["a", "b"]))));
        assert_eq!(Moved::next(&mut events).now_or_never(), None);
        tell(&sender, &["a", "b", "a", "b", "a"]);
        let next = Moved::next(&mut events).now_or_never();
        assert_eq!(next, Some(Some(Moved::OfAny)), "one was missed");
        assert_eq!(Moved::next(&mut events).now_or_never(), None);
        drop(sender);
        assert_eq!(Moved::next(&mut events).now_or_never(), Some(None));
    }

    #[test]
    fn who_was_told_to_look_is_not_told_again_before_they_have() {
        let moves = Moves::default();
        assert!(moves.add(of(&["a"])));
        assert!(!moves.add(of(&["b", "a"])));
        assert_eq!(moves.take(), of(&["a", "b"]));
        assert!(moves.add(of(&["a"])));
        assert!(!moves.add(Moved::OfAny));
        assert!(!moves.add(of(&["b"])));
        assert_eq!(moves.take(), Moved::OfAny);
        assert_eq!(moves.take(), of(&[]));
    }
}
