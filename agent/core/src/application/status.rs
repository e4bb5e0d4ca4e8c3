//! The status of an `Application`, and the single function that turns outcomes into conditions.

use serde::{Deserialize, Serialize};

use crate::{
    brief,
    digest::Digest,
    explanation::Explanation,
    health::Status,
    history::HistoryEntry,
    inventory::{Inventory, StoredInventory},
    plan::Summary,
    rollback::Rollback,
};

/// The observed state of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationStatus {
    /// Where the objects are, if they are not in the cluster of the Application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The generation of the spec that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The commit whose objects are in the cluster. Later commits that change none of these objects are not recorded here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The commit that was last attempted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempted_revision: Option<String>,
    /// Digest of the rendered objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendered_digest: Option<Digest>,
    /// Digest of the last plan that did something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<Digest>,
    /// The number of objects per action in the last plan that did something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Summary>,
    /// The number of managed objects.
    pub objects: u32,
    /// The overall health of the objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    // The schema of an optional enum takes its description from the enum.
    #[schemars(with = "Status")]
    pub health: Option<Status>,
    /// Objects that are not as they should be; at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ObjectProblem>,
    /// Objects that others have changed and that are left as they are, or whose repairs keep being undone; at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<ObjectDrift>,
    /// The conditions `Ready`, `Reconciling` and `Stalled`, with the polarity of kstatus, and `Drifted`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The last value of the annotation `pintle.dev/reconcile-requested-at` that was handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile: Option<String>,
    /// The last value of the annotation `pintle.dev/test-requested-at` for which tests were run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_test: Option<String>,
    /// The results of the tests that were last run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestResult>,
    /// The Helm release that was taken over, as named by the annotation `pintle.dev/adopt-helm-release`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted_helm_release: Option<String>,
    /// The earlier revision that should run instead of the source's current one, and why; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// The id of the last request in the annotation `pintle.dev/rollback-request` that was handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_rollback: Option<String>,
    /// Why the request in `lastHandledRollback` was refused; absent if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_refused: Option<String>,
    /// The revisions that were rolled out, newest first: at most 20, always including the last one that was healthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// What is in the cluster because of this application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory: Option<StoredInventory>,
}

impl ApplicationStatus {
    /// Returns the inventory, or `None` if there is none or it cannot be read.
    pub fn recorded(&self) -> Option<Inventory> {
        Inventory::restore(self.inventory.clone()?).ok()
    }

    /// Returns the digest of the render that was last written, even if only in part, or `None` if none was.
    pub fn begun(&self) -> Option<Digest> {
        let release = self.inventory.as_ref()?.release.as_ref()?;
        Some(release.rendered)
    }
}

/// The maximum number of problems that a status lists. People read statuses.
pub const PROBLEM_LIMIT: usize = 20;

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectProblem {
    /// The object, such as `Deployment.apps shop/web`.
    pub object: String,
    /// What is wrong.
    pub message: String,
    /// The cause, according to the object's pods and the events about it; absent if these were not examined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// An object that is not as it was applied, and is left as it is for now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDrift {
    /// The object, such as `Deployment.apps shop/web`.
    pub object: String,
    /// Whether the object was deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The fields that were changed, written in the syntax of `drift.ignore`. If there are more than 20, the first 20, and how
    /// many more there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The field managers that changed the fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<String>,
    /// When the object was changed, as far as the API server knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<String>,
    /// Set if the repair keeps being undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fight: Option<FightStatus>,
}

impl ObjectDrift {
    /// Describes what others did to the object and, if they keep undoing the repair, when it is repaired next.
    pub fn told(&self) -> String {
        let who = match &self.managers[..] {
            [] => String::new(),
            managers => format!(" by {}", managers.join(" and ")),
        };
        let what = match (self.deleted, &self.fields[..]) {
            (true, _) => "deleted".to_owned(),
            (false, []) => format!("changed{who}"),
            (false, fields) => format!("{} changed{who}", fields.join(", ")),
        };
        let how = match &self.fight {
            Some(fight) => format!(
                "; put right {} times in a row and undone each time, the next time after {}",
                fight.repairs, fight.next_repair
            ),
            None => String::new(),
        };
        what + &how
    }
}

/// A repair that the field managers keep undoing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FightStatus {
    /// How many times in a row the object was repaired.
    pub repairs: u32,
    /// The earliest time of the next repair.
    pub next_repair: String,
}

/// The result of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// The object of the test, such as `Pod shop/web-test`.
    pub object: String,
    /// Whether the test succeeded.
    pub passed: bool,
    /// Why the test failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// True, False or Unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// It is not known yet.
    Unknown,
}

/// A condition as in `metav1.Condition`.
/// <https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.33/#condition-v1-meta>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The type of the condition: `Ready`, `Reconciling`, `Stalled` or `Drifted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether the condition holds.
    pub status: ConditionStatus,
    /// The generation of the spec that the condition describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the status of the condition last changed, in RFC 3339 format.
    pub last_transition_time: String,
    /// The reason for the status, as one CamelCase word.
    pub reason: String,
    /// A human-readable explanation of the status.
    pub message: String,
}

/// The state of an application, from which its conditions are derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Converged and healthy.
    Ready,
    /// Working; the previous state stays in place until the work is done.
    Working,
    /// Failed; it is retried automatically.
    Retrying,
    /// Failed; it waits for a change.
    Stalled,
}

impl Condition {
    /// Turns a standing into kstatus conditions: `Ready` always, `Reconciling` while work is in progress, and `Stalled` while
    /// nothing will happen without a change. Conditions that still hold keep their times from `previous`. A long message is cut.
    ///
    /// <https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>
    pub fn of(
        standing: Standing,
        reason: &str,
        message: &str,
        generation: Option<i64>,
        now: &str,
        previous: &[Self],
    ) -> Vec<Self> {
        let message = brief::cut(message);
        let make = |kind: &str, status: ConditionStatus| {
            Self {
                kind: kind.to_owned(),
                status,
                observed_generation: generation,
                last_transition_time: now.to_owned(),
                reason: reason.to_owned(),
                message: message.clone().into_owned(),
            }
            .since(previous)
        };
        let (ready, extra) = match standing {
            Standing::Ready => (ConditionStatus::True, None),
            Standing::Working => (ConditionStatus::Unknown, Some("Reconciling")),
            Standing::Retrying => (ConditionStatus::False, Some("Reconciling")),
            Standing::Stalled => (ConditionStatus::False, Some("Stalled")),
        };
        let mut conditions = vec![make("Ready", ready)];
        conditions.extend(extra.map(|kind| make(kind, ConditionStatus::True)));
        conditions
    }

    /// Returns the `Ready` condition of an object, or `None` before the agent has looked at it.
    pub fn ready(conditions: &[Self]) -> Option<&Self> {
        conditions.iter().find(|one| one.kind == "Ready")
    }

    /// Returns the `Drifted` condition for drift that is left as it is, or `None` if there is none.
    pub fn drifted(
        drift: &[ObjectDrift],
        generation: Option<i64>,
        now: &str,
        previous: &[Self],
    ) -> Option<Self> {
        let fights = drift.iter().filter(|object| object.fight.is_some());
        let (reason, first) = match fights.clone().next() {
            Some(fight) => ("Fight", fight),
            None => ("Reported", drift.first()?),
        };
        let more = match drift.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let message = format!("{}: {}{more}", first.object, first.told());
        let condition = Self {
            kind: "Drifted".to_owned(),
            status: ConditionStatus::True,
            observed_generation: generation,
            last_transition_time: now.to_owned(),
            reason: reason.to_owned(),
            message: brief::cut(&message).into_owned(),
        };
        Some(condition.since(previous))
    }

    /// Keeps the time of a condition that already held before.
    fn since(mut self, previous: &[Self]) -> Self {
        let held = previous
            .iter()
            .find(|old| old.kind == self.kind && old.status == self.status);
        if let Some(held) = held {
            self.last_transition_time
                .clone_from(&held.last_transition_time);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_follow_kstatus_and_keep_their_times() {
        let at = |standing, now: &str, previous: &[Condition]| {
            Condition::of(standing, "R", "m", Some(1), now, previous)
        };
        let first = at(Standing::Ready, "t1", &[]);
        assert_eq!(first.len(), 1);
        let again = at(Standing::Ready, "t2", &first);
        assert_eq!(again[0].last_transition_time, "t1");
        let stalled = at(Standing::Stalled, "t3", &again);
        assert_eq!(
            (stalled[0].status, stalled[0].last_transition_time.as_str()),
            (ConditionStatus::False, "t3")
        );
        assert_eq!(
            (stalled[1].kind.as_str(), stalled[1].status),
            ("Stalled", ConditionStatus::True)
        );
        assert_eq!(
            at(Standing::Retrying, "t4", &stalled)[1].kind,
            "Reconciling"
        );
    }

    #[test]
    fn drift_that_is_left_is_a_condition_and_a_fight_comes_first() {
        let of = |drift: &[ObjectDrift]| Condition::drifted(drift, Some(1), "t1", &[]).unwrap();
        let edit = ObjectDrift {
            object: "Service shop/a".into(),
            fields: vec!["/spec/type".into()],
            managers: vec!["eve".into()],
            ..ObjectDrift::default()
        };
        let gone = ObjectDrift {
            object: "Service shop/b".into(),
            deleted: true,
            ..ObjectDrift::default()
        };
        let fight = ObjectDrift {
            fight: Some(FightStatus {
                repairs: 4,
                next_repair: "t9".into(),
            }),
            ..edit.clone()
        };
        let said = [
            of(std::slice::from_ref(&edit)),
            of(&[gone.clone(), edit]),
            of(&[gone, fight]),
        ]
        .map(|condition| format!("{}: {}", condition.reason, condition.message));
        insta::assert_snapshot!(said.join("\n"), @r"
        Reported: Service shop/a: /spec/type changed by eve
        Reported: Service shop/b: deleted (and 1 more)
        Fight: Service shop/a: /spec/type changed by eve; put right 4 times in a row and undone each time, the next time after t9 (and 1 more)
        ");
        let first = of(&[ObjectDrift::default()]);
        let again = Condition::drifted(&[ObjectDrift::default()], None, "t2", &[first]).unwrap();
        assert_eq!(again.last_transition_time, "t1");
        assert_eq!(Condition::drifted(&[], None, "t2", &[]), None);
    }
}
