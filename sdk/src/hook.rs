//! What makes an object a hook.

mod annotations;

use std::collections::BTreeSet;
use std::fmt;

pub use annotations::InvalidAnnotation;

/// An event at which hooks are run. Which of them comes is the host's to say, by what really happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookEvent {
    /// Before the objects of a first installation are applied.
    PreInstall,
    /// After the objects of a first installation are applied and healthy.
    PostInstall,
    /// Before a change is applied.
    PreUpgrade,
    /// After a change is applied and healthy.
    PostUpgrade,
    /// Before the host goes back to what was converged before.
    PreRollback,
    /// After it has gone back.
    PostRollback,
    /// Before the objects are deleted, because the application is removed.
    PreDelete,
    /// After they are gone.
    PostDelete,
    /// Only when somebody asks for a test.
    Test,
}

impl HookEvent {
    /// All events.
    pub const ALL: [Self; 9] = [
        Self::PreInstall,
        Self::PostInstall,
        Self::PreUpgrade,
        Self::PostUpgrade,
        Self::PreRollback,
        Self::PostRollback,
        Self::PreDelete,
        Self::PostDelete,
        Self::Test,
    ];

    /// Returns the name: `pre-install`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreInstall => "pre-install",
            Self::PostInstall => "post-install",
            Self::PreUpgrade => "pre-upgrade",
            Self::PostUpgrade => "post-upgrade",
            Self::PreRollback => "pre-rollback",
            Self::PostRollback => "post-rollback",
            Self::PreDelete => "pre-delete",
            Self::PostDelete => "post-delete",
            Self::Test => "test",
        }
    }

    /// Finds the event that has a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When the objects of a hook are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookDeletion {
    /// The one of an earlier run, before the next one is made.
    BeforeCreation,
    /// As soon as all hooks of the event have succeeded, or a later one has failed.
    Succeeded,
    /// As soon as it has failed.
    Failed,
}

/// How a hook may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookOutcome {
    /// It did what it was for.
    Succeeded,
    /// It did not.
    Failed,
}

/// What makes an object a hook: it is made when something happens, awaited, and no longer part of what is converged.
///
/// ```
/// use pintle_sdk::{Hook, HookDeletion, HookEvent};
///
/// let migration = Hook::new([HookEvent::PreInstall, HookEvent::PreUpgrade])
///     .weight(-5)
///     .deletion([HookDeletion::BeforeCreation, HookDeletion::Succeeded]);
/// assert_eq!(migration.weight, -5);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hook {
    /// When it is run; never, if this is empty.
    pub events: BTreeSet<HookEvent>,
    /// Lower first, among the hooks of one event.
    pub weight: i32,
    /// Without any, [`HookDeletion::BeforeCreation`].
    pub deletion: BTreeSet<HookDeletion>,
    /// After which outcomes its logs are shown to whoever waits for it.
    pub logs: BTreeSet<HookOutcome>,
}

impl Hook {
    /// Makes a hook for events, of weight 0.
    pub fn new(events: impl IntoIterator<Item = HookEvent>) -> Self {
        Self {
            events: events.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Orders it among the hooks of one event, lower first.
    #[must_use]
    pub fn weight(mut self, weight: i32) -> Self {
        self.weight = weight;
        self
    }

    /// Says when its objects are deleted.
    #[must_use]
    pub fn deletion(mut self, deletion: impl IntoIterator<Item = HookDeletion>) -> Self {
        self.deletion = deletion.into_iter().collect();
        self
    }

    /// Says after which outcomes its logs are shown.
    #[must_use]
    pub fn logs(mut self, outcomes: impl IntoIterator<Item = HookOutcome>) -> Self {
        self.logs = outcomes.into_iter().collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_found_by_its_name() {
        for event in HookEvent::ALL {
            assert_eq!(HookEvent::named(event.name()), Some(event));
        }
        assert_eq!(HookEvent::named("crd-install"), None);
    }
}
