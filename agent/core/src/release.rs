//! A release: one render on its way into a cluster, and the hooks that run with it.

use std::{cmp::Ordering, collections::BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    digest::{Digest, Digester},
    hook::{Hook, HookEvent},
    object::ObjectId,
    order::Tier,
};

/// What a release means to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// No release was ever completed before.
    Install,
    /// A release was completed before.
    Upgrade,
    /// This very render was completed before, and returning to it undoes the renders after it.
    Rollback,
}

impl Operation {
    /// Returns the event that precedes applying the objects.
    pub const fn before(self) -> HookEvent {
        match self {
            Self::Install => HookEvent::PreInstall,
            Self::Upgrade => HookEvent::PreUpgrade,
            Self::Rollback => HookEvent::PreRollback,
        }
    }

    /// Returns the event that follows once the objects are healthy.
    pub const fn after(self) -> HookEvent {
        match self {
            Self::Install => HookEvent::PostInstall,
            Self::Upgrade => HookEvent::PostUpgrade,
            Self::Rollback => HookEvent::PostRollback,
        }
    }
}

/// The record of the last release that was started. It is kept with the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRecord {
    /// The number of the release, counted from 1. Each render that differs from the previous one is a new release.
    pub number: u64,
    /// Digest of the render.
    pub rendered: Digest,
    /// Whether the release is a first installation, an upgrade or a rollback.
    pub operation: Operation,
    /// Whether the release is complete: it is applied and healthy, and all its hooks have succeeded.
    #[serde(default)]
    pub completed: bool,
    /// Tickets of the hooks that have succeeded, until the release is complete.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub succeeded: BTreeSet<Digest>,
    /// Digest of the hooks that are kept for the removal of the application; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal_hooks: Option<Digest>,
    /// Digests of the renders that were completed earlier, newest last, without those that were undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Digest>,
}

/// The number of completed renders that are remembered, as in `helm upgrade --history-max`.
const HISTORY: usize = 10;

/// A render that may become a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The digest of the render.
    pub rendered: Digest,
    /// Whether any of its hooks is for a rollback.
    pub tells_rollbacks: bool,
}

impl ReleaseRecord {
    /// Returns the record for a render: the previous record if it has the same render, or else one for a new release.
    ///
    /// `is_there` is whether anything of the application is in the cluster although there is no record. Returning to a render
    /// that was completed before is a rollback. If none of its hooks is for a rollback, it is an upgrade like any other.
    pub fn next(previous: Option<&Self>, is_there: bool, render: Candidate) -> Self {
        let Candidate { rendered, .. } = render;
        let Some(previous) = previous else {
            return Self {
                number: 1,
                rendered,
                operation: if is_there {
                    Operation::Upgrade
                } else {
                    Operation::Install
                },
                completed: false,
                succeeded: BTreeSet::new(),
                removal_hooks: None,
                before: Vec::new(),
            };
        };
        if previous.rendered == rendered {
            return previous.clone();
        }
        let mut before = previous.before.clone();
        if previous.completed {
            before.push(previous.rendered);
        }
        let earlier = before.iter().rposition(|digest| *digest == rendered);
        if let Some(earlier) = earlier {
            // What came after it is undone, so doing that again is an upgrade.
            before.truncate(earlier);
        }
        before.drain(..before.len().saturating_sub(HISTORY));
        let is_first = !previous.completed && previous.operation == Operation::Install;
        let operation = if is_first {
            Operation::Install
        } else if earlier.is_some() && render.tells_rollbacks {
            Operation::Rollback
        } else {
            Operation::Upgrade
        };
        Self {
            number: previous.number.saturating_add(1),
            rendered,
            operation,
            completed: false,
            succeeded: BTreeSet::new(),
            removal_hooks: previous.removal_hooks,
            before,
        }
    }

    /// Returns the record of a release that another tool completed. The next render that differs from it is an upgrade.
    pub fn taken_over(number: u64, rendered: Digest) -> Self {
        Self {
            number,
            rendered,
            operation: Operation::Upgrade,
            completed: true,
            succeeded: BTreeSet::new(),
            removal_hooks: None,
            before: Vec::new(),
        }
    }

    /// Records that the application was removed, even if some of its objects stay. The next release of any render is an
    /// installation.
    ///
    /// The number stays, because a hook that still exists may carry the ticket of a run of this release.
    pub fn end(&mut self) {
        *self = Self {
            number: self.number,
            // No render has this digest.
            rendered: Digester::new("removed/v1").finish(),
            operation: Operation::Install,
            completed: false,
            succeeded: BTreeSet::new(),
            removal_hooks: None,
            before: Vec::new(),
        };
    }

    /// Records that everything is done.
    pub fn complete(&mut self) {
        self.completed = true;
        self.succeeded.clear();
    }

    /// Returns those of the given events at which a hook still has to run.
    pub fn due(
        &self,
        events: &[HookEvent],
        id: &ObjectId,
        hook: &Hook,
        desired: Digest,
    ) -> BTreeSet<HookEvent> {
        let is_due = |event: &HookEvent| {
            hook.events.contains(event)
                && !self
                    .succeeded
                    .contains(&self.ticket(*event, id, desired, ""))
        };
        events.iter().copied().filter(is_due).collect()
    }

    /// Returns the remaining events of an apply or of a removal.
    pub fn events(&self, removing: bool) -> Vec<HookEvent> {
        if removing {
            HookEvent::AT_REMOVAL.to_vec()
        } else if self.completed {
            Vec::new()
        } else {
            vec![self.operation.before(), self.operation.after()]
        }
    }

    /// Returns the ticket of one run of a hook: equal tickets mean the same run.
    ///
    /// `attempt` tells apart runs that a person requested. It is empty for all others.
    pub fn ticket(
        &self,
        event: HookEvent,
        id: &ObjectId,
        desired: Digest,
        attempt: &str,
    ) -> Digest {
        Digester::new("hook/v1")
            .part(self.number.to_be_bytes())
            .part(self.rendered.as_bytes())
            .part(event.name())
            .part(id.to_string())
            .part(desired.as_bytes())
            .part(attempt)
            .finish()
    }
}

/// A hook that has to run at one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRun {
    /// The object.
    pub id: ObjectId,
    /// The properties that make it a hook.
    pub hook: Hook,
    /// The ticket of the run.
    pub ticket: Digest,
}

/// Compares hooks of one event: by weight, then by name, then by kind in the order in which kinds are applied.
///
/// <https://helm.sh/docs/topics/charts_hooks/#hooks-and-the-release-lifecycle>; Helm's library sorts by weight and name, and
/// keeps the order of kinds among equals (`action.hookByWeight`).
pub fn order(one: (&Hook, &ObjectId), other: (&Hook, &ObjectId)) -> Ordering {
    let key = |(hook, id): (&Hook, &ObjectId)| (hook.weight, id.name.clone(), Tier::of(id));
    key(one).cmp(&key(other)).then_with(|| one.1.cmp(other.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: None,
            name: name.into(),
        }
    }

    fn render(text: &str, tells_rollbacks: bool) -> Candidate {
        Candidate {
            rendered: Digest::of(text),
            tells_rollbacks,
        }
    }

    fn next(previous: Option<&ReleaseRecord>, text: &str) -> ReleaseRecord {
        ReleaseRecord::next(previous, false, render(text, false))
    }

    #[test]
    fn it_is_an_installation_until_one_is_completed() {
        let first = next(None, "1");
        assert_eq!((first.number, first.operation), (1, Operation::Install));
        let mended = next(Some(&first), "2");
        assert_eq!((mended.number, mended.operation), (2, Operation::Install));
        let mut done = mended.clone();
        done.complete();
        assert_eq!(
            next(Some(&done), "2"),
            done,
            "the same render is the same release"
        );
        let broken = next(Some(&done), "3");
        assert_eq!((broken.number, broken.operation), (3, Operation::Upgrade));
        let reverted = next(Some(&broken), "2");
        assert_eq!(
            (reverted.number, reverted.operation),
            (4, Operation::Upgrade)
        );
        assert_eq!(
            ReleaseRecord::next(None, true, render("1", false)).operation,
            Operation::Upgrade
        );
    }

    #[test]
    fn what_comes_after_a_removal_is_an_installation() {
        let mut record = next(None, "1");
        let (hook, desired) = (id("ConfigMap", "a"), Digest::of("a"));
        let ticket =
            |record: &ReleaseRecord| record.ticket(HookEvent::PreInstall, &hook, desired, "");
        let before = ticket(&record);
        record.removal_hooks = Some(Digest::of("save"));
        record.complete();
        record.end();
        let ended = record.clone();
        record.end();
        assert_eq!(record, ended, "it has ended already");
        let again = ReleaseRecord::next(Some(&ended), true, render("1", true));
        assert_eq!((again.number, again.operation), (2, Operation::Install));
        assert!(!again.completed);
        assert_eq!(again.removal_hooks, None);
        assert_ne!(ticket(&again), before, "its hooks run again");
    }

    #[test]
    fn going_back_is_a_rollback_and_going_on_again_an_upgrade() {
        let next = |previous: Option<&ReleaseRecord>, text: &str| {
            ReleaseRecord::next(previous, false, render(text, true))
        };
        let done = |mut record: ReleaseRecord| {
            record.complete();
            record
        };
        let first = done(next(None, "1"));
        let second = done(next(Some(&first), "2"));
        let broken = next(Some(&second), "3");
        assert_eq!(broken.operation, Operation::Upgrade);
        let back = next(Some(&broken), "2");
        assert_eq!(
            (back.number, back.operation),
            (4, Operation::Rollback),
            "what failed is taken back"
        );
        let further = next(Some(&back), "1");
        assert_eq!(further.operation, Operation::Rollback);
        let again = next(Some(&done(further)), "2");
        assert_eq!(
            again.operation,
            Operation::Upgrade,
            "it was taken back, so it is new again"
        );
        assert_eq!(
            next(Some(&next(None, "1")), "2").operation,
            Operation::Install,
            "nothing was completed that could be gone back to"
        );
        let silent = ReleaseRecord::next(Some(&broken), false, render("2", false));
        assert_eq!(
            silent.operation,
            Operation::Upgrade,
            "its hooks know no rollbacks"
        );
    }

    #[test]
    fn only_some_of_the_past_is_remembered() {
        let mut record = next(None, "0");
        for number in 1..50 {
            record.complete();
            record = next(Some(&record), &number.to_string());
        }
        assert_eq!(record.before.len(), HISTORY);
        assert_eq!(record.before.last(), Some(&Digest::of("48")));
    }

    #[test]
    fn hooks_are_due_once_for_a_release() {
        let mut record = next(None, "1");
        let hook = Hook {
            events: [
                HookEvent::PreInstall,
                HookEvent::PostInstall,
                HookEvent::PreUpgrade,
            ]
            .into(),
            ..Hook::default()
        };
        let (id, desired) = (id("ConfigMap", "a"), Digest::of("a"));
        let due = |record: &ReleaseRecord| record.due(&record.events(false), &id, &hook, desired);
        assert_eq!(
            due(&record),
            [HookEvent::PreInstall, HookEvent::PostInstall].into()
        );
        record
            .succeeded
            .insert(record.ticket(HookEvent::PreInstall, &id, desired, ""));
        assert_eq!(due(&record), [HookEvent::PostInstall].into());
        record.complete();
        assert_eq!(due(&record), BTreeSet::new());
        assert_eq!(
            due(&next(Some(&record), "2")),
            [HookEvent::PreUpgrade].into()
        );
    }

    #[test]
    fn hooks_run_by_weight_then_name_then_kind() {
        let hook = |weight| Hook {
            weight,
            ..Hook::default()
        };
        let mut all = [
            (hook(0), id("Pod", "a")),
            (hook(5), id("Pod", "0")),
            (hook(0), id("ServiceAccount", "a")),
            (hook(-1), id("Pod", "z")),
            (hook(0), id("ServiceAccount", "b")),
        ];
        all.sort_by(|one, other| order((&one.0, &one.1), (&other.0, &other.1)));
        let names: Vec<_> = all.iter().map(|(_, id)| id.to_string()).collect();
        assert_eq!(
            names,
            [
                "Pod z",
                "ServiceAccount a",
                "Pod a",
                "ServiceAccount b",
                "Pod 0"
            ]
        );
    }
}
