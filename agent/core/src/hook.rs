//! Hooks: objects that are made when something happens, awaited, and no longer part of what is converged.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

/// An event at which hooks are run.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum HookEvent {
    /// Before the objects of a first installation are applied.
    PreInstall,
    /// After the objects of a first installation are applied and healthy.
    PostInstall,
    /// Before a change is applied.
    PreUpgrade,
    /// After a change is applied and healthy.
    PostUpgrade,
    /// Before the agent, by itself or because it was told to, goes back to what was healthy before.
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
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When the objects of a hook are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookDeletion {
    /// The one of an earlier run, before the next one is made.
    BeforeCreation,
    /// As soon as all hooks of the event have succeeded, or a later one has failed.
    Succeeded,
    /// As soon as it has failed.
    Failed,
}

/// How a hook may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookOutcome {
    /// It did what it was for.
    Succeeded,
    /// It did not.
    Failed,
}

/// What makes an object a hook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Hook {
    /// When it is run; never, if this is empty.
    pub events: BTreeSet<HookEvent>,
    /// Lower first, among the hooks of one event.
    pub weight: i32,
    /// Without any, [`HookDeletion::BeforeCreation`]; see [`Hook::is_deleted`].
    pub deletion: BTreeSet<HookDeletion>,
    /// After which outcomes its logs are shown to whoever waits for it.
    pub logs: BTreeSet<HookOutcome>,
}

impl Hook {
    /// Says whether its object is deleted at a time, with the default where the hook says nothing.
    pub fn is_deleted(&self, when: HookDeletion) -> bool {
        if self.deletion.is_empty() {
            when == HookDeletion::BeforeCreation
        } else {
            self.deletion.contains(&when)
        }
    }
}
