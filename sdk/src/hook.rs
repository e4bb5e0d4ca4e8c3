//! Hooks: what makes an object one, and when it runs.

mod annotations;

use std::collections::BTreeSet;
use std::fmt;

pub use annotations::InvalidAnnotation;

/// An event at which hooks run. The host determines which event occurs, from what really happens.
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
    /// Before the host goes back to what was converged earlier.
    PreRollback,
    /// After the host has gone back.
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

    /// Returns the event with a name.
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
    /// The object of an earlier run is deleted before the next one is created.
    BeforeCreation,
    /// The object is deleted as soon as all hooks of the event have succeeded, or a later one has failed.
    Succeeded,
    /// The object is deleted as soon as the hook has failed.
    Failed,
}

/// The outcome of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookOutcome {
    /// The hook did its job.
    Succeeded,
    /// The hook did not do its job.
    Failed,
}

/// What makes an object a hook.
///
/// A hook's object is created when an event occurs, and the host waits for it. It is not part of what is converged.
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
    /// The events at which the hook runs. If empty, it never runs.
    pub events: BTreeSet<HookEvent>,
    /// The weight. Among the hooks of one event, lower weights run first.
    pub weight: i32,
    /// When the hook's objects are deleted. If empty, [`HookDeletion::BeforeCreation`] applies.
    pub deletion: BTreeSet<HookDeletion>,
    /// The outcomes after which the hook's logs are shown to the person waiting for it.
    pub logs: BTreeSet<HookOutcome>,
}

impl Hook {
    /// Creates a hook for events, with weight 0.
    pub fn new(events: impl IntoIterator<Item = HookEvent>) -> Self {
        Self {
            events: events.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Sets the weight. Among the hooks of one event, lower weights run first.
    #[must_use]
    pub fn weight(mut self, weight: i32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets when the hook's objects are deleted.
    #[must_use]
    pub fn deletion(mut self, deletion: impl IntoIterator<Item = HookDeletion>) -> Self {
        self.deletion = deletion.into_iter().collect();
        self
    }

    /// Sets the outcomes after which the hook's logs are shown.
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
