//! Hooks: objects that are created when something happens, awaited, and then no longer part of what is converged.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{object::ObjectId, plain};

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
    /// Before the agent rolls back to what was converged before.
    PreRollback,
    /// After the agent has rolled back.
    PostRollback,
    /// Before the objects are deleted, because the application is removed.
    PreDelete,
    /// After the objects are gone, because the application is removed.
    PostDelete,
    /// Only when somebody requests a test.
    Test,
}

impl HookEvent {
    /// The events of a removal, in order.
    pub const AT_REMOVAL: [Self; 2] = [Self::PreDelete, Self::PostDelete];

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

/// When a hook's object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookDeletion {
    /// The object of an earlier run, before the next one is created.
    BeforeCreation,
    /// As soon as all hooks of the event have succeeded or a later one has failed.
    Succeeded,
    /// As soon as it has failed.
    Failed,
}

/// How a hook may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookOutcome {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
}

/// The properties that make an object a hook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Hook {
    /// The events at which it runs. It never runs if this is empty.
    pub events: BTreeSet<HookEvent>,
    /// The weight. Among the hooks of one event, lower weights run first.
    pub weight: i32,
    /// When its object is deleted. If empty, [`HookDeletion::BeforeCreation`] applies; see [`Hook::is_deleted`].
    pub deletion: BTreeSet<HookDeletion>,
    /// The outcomes after which its logs are shown to whoever waits for it.
    pub logs: BTreeSet<HookOutcome>,
}

impl Hook {
    /// Returns whether its object is deleted at a given time. Applies the default if the hook sets none.
    pub fn is_deleted(&self, when: HookDeletion) -> bool {
        if self.deletion.is_empty() {
            when == HookDeletion::BeforeCreation
        } else {
            self.deletion.contains(&when)
        }
    }

    /// Returns the events at which it runs when the application is removed.
    pub fn removal_events(&self) -> impl Iterator<Item = HookEvent> {
        let at_removal = HookEvent::AT_REMOVAL.into_iter();
        at_removal.filter(|event| self.events.contains(event))
    }

    /// Returns whether it runs when the application is removed.
    pub fn is_for_removal(&self) -> bool {
        self.removal_events().next().is_some()
    }
}

/// The progress of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookState {
    /// It is running.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed, for this reason.
    Failed(String),
}

/// Returns whether objects of this kind run to completion by themselves and have to be created anew to run again.
pub fn completes(id: &ObjectId) -> bool {
    id.is("batch", "Job") || id.is("", "Pod")
}

/// Returns the progress of a Job or a Pod as stored in the cluster, or `None` for other kinds.
///
/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup>,
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>
pub fn progress(id: &ObjectId, live: &Value) -> Option<HookState> {
    if id.is("batch", "Job") {
        Some(job(live))
    } else if id.is("", "Pod") {
        Some(pod(live))
    } else {
        None
    }
}

fn job(live: &Value) -> HookState {
    let holds = |kind: &str| {
        let conditions = live["status"]["conditions"].as_array()?;
        conditions
            .iter()
            .find(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    if holds("Complete").is_some() {
        HookState::Succeeded
    } else if let Some(failed) = holds("Failed") {
        HookState::Failed(why(failed, "the Job has failed"))
    } else {
        HookState::Running
    }
}

fn pod(live: &Value) -> HookState {
    match live["status"]["phase"].as_str() {
        Some("Succeeded") => HookState::Succeeded,
        Some("Failed") => HookState::Failed(pod_failure(&live["status"])),
        _ => HookState::Running,
    }
}

/// Returns why a Pod failed. The container that failed says more than the Pod, which often says nothing.
fn pod_failure(status: &Value) -> String {
    let trouble = containers(status).find_map(ended_badly);
    trouble.unwrap_or_else(|| why(status, "the Pod has failed"))
}

/// What keeps a Pod from doing its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The container that is in trouble; absent if it is the Pod itself.
    pub container: Option<String>,
    /// The trouble, as a sentence fragment: `main ended with exit code 3`.
    pub what: String,
}

/// Returns what keeps a Pod from doing its work, as far as its status tells.
pub fn trouble(pod: &Value) -> Option<Trouble> {
    let status = &pod["status"];
    let found = containers(status).find_map(|container| {
        let what = ended_badly(container).or_else(|| waits(container))?;
        Some(Trouble {
            container: container["name"].as_str().map(ToOwned::to_owned),
            what,
        })
    });
    let of_pod = |what: String| Trouble {
        container: None,
        what,
    };
    let found = found
        .or_else(|| unscheduled(status).map(of_pod))
        .or_else(|| (status["phase"] == "Failed").then(|| of_pod(why(status, "it has failed"))));
    found.map(|found| Trouble {
        // Containers write some of this text themselves, as their termination message.
        what: plain::of(&found.what).into_owned(),
        ..found
    })
}

fn containers(status: &Value) -> impl Iterator<Item = &Value> {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|field| status[field].as_array())
        .flatten()
}

fn name_of(container: &Value) -> &str {
    container["name"].as_str().unwrap_or("a container")
}

fn ended_badly(container: &Value) -> Option<String> {
    let ended = &container["state"]["terminated"];
    let code = ended["exitCode"].as_i64().filter(|code| *code != 0)?;
    let exit = format!("{} ended with exit code {code}", name_of(container));
    Some(match why(ended, "") {
        why if why.is_empty() || why == "Error" => exit,
        why => format!("{exit}: {why}"),
    })
}

/// Returns why a container waits, unless it only waits for its turn.
fn waits(container: &Value) -> Option<String> {
    let waiting = &container["state"]["waiting"];
    let reason = waiting["reason"].as_str()?;
    if matches!(reason, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    let waits = format!("{} waits: {}", name_of(container), why(waiting, reason));
    let last = &container["lastState"]["terminated"]["exitCode"];
    Some(match last.as_i64().filter(|code| *code != 0) {
        Some(code) => format!("{waits} (it had ended with exit code {code})"),
        None => waits,
    })
}

fn unscheduled(status: &Value) -> Option<String> {
    let conditions = status["conditions"].as_array()?;
    let refused = conditions
        .iter()
        .find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")?;
    Some(format!(
        "no node takes it: {}",
        why(refused, "no reason is given")
    ))
}

/// Returns the reason and message of a condition, as far as it has them.
fn why(condition: &Value, otherwise: &str) -> String {
    let text = |field: &str| condition[field].as_str().filter(|text| !text.is_empty());
    match (text("reason"), text("message")) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => otherwise.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(group: &str, kind: &str) -> ObjectId {
        ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: Some("n".into()),
            name: "a".into(),
        }
    }

    #[test]
    fn a_job_says_how_it_ended() {
        let job = |conditions: Value| {
            progress(
                &id("batch", "Job"),
                &json!({"status": {"conditions": conditions}}),
            )
        };
        assert_eq!(job(json!(null)), Some(HookState::Running));
        let is = |kind: &str| json!([{"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}]);
        assert_eq!(
            job(is("SuccessCriteriaMet")),
            Some(HookState::Running),
            "its pods may still run"
        );
        assert_eq!(job(is("Complete")), Some(HookState::Succeeded));
        assert_eq!(
            job(is("Failed")),
            Some(HookState::Failed(
                "BackoffLimitExceeded: Job has reached the specified backoff limit".into()
            ))
        );
        assert_eq!(
            job(json!([{"type": "Failed", "status": "False"}])),
            Some(HookState::Running)
        );
    }

    #[test]
    fn a_pod_says_which_container_failed() {
        let pod = |status: Value| progress(&id("", "Pod"), &json!({ "status": status }));
        assert_eq!(
            pod(json!({"phase": "Running"})),
            Some(HookState::Running),
            "a ready one has not completed"
        );
        assert_eq!(
            pod(json!({"phase": "Succeeded"})),
            Some(HookState::Succeeded)
        );
        let ended = json!({"phase": "Failed", "containerStatuses": [
            {"name": "good", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
            {"name": "test", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]});
        assert_eq!(
            pod(ended),
            Some(HookState::Failed("test ended with exit code 3".into()))
        );
        assert_eq!(
            pod(json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"})),
            Some(HookState::Failed("Evicted: low on memory".into()))
        );
        assert_eq!(progress(&id("", "ConfigMap"), &json!({})), None);
    }

    #[test]
    fn what_keeps_a_pod_from_its_work_is_told() {
        let what = |status: Value| trouble(&json!({ "status": status })).map(|found| found.what);
        assert_eq!(what(json!({"phase": "Running"})), None);
        let container = |state: Value| json!({"phase": "Pending", "containerStatuses": [{"name": "main", "state": state}]});
        assert_eq!(
            what(container(
                json!({"waiting": {"reason": "ContainerCreating"}})
            )),
            None
        );
        insta::assert_snapshot!(
            what(container(json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}))).unwrap(),
            @"main waits: ErrImagePull: no such image"
        );
        insta::assert_snapshot!(
            what(container(json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}}))).unwrap(),
            @"main ended with exit code 137: OOMKilled"
        );
        let crashing = json!({"phase": "Running", "containerStatuses": [{"name": "main",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 2}}}]});
        insta::assert_snapshot!(what(crashing).unwrap(), @"main waits: CrashLoopBackOff (it had ended with exit code 2)");
        let homeless = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]});
        insta::assert_snapshot!(what(homeless).unwrap(), @"no node takes it: Unschedulable: 0/3 nodes are available");
        insta::assert_snapshot!(what(json!({"phase": "Failed", "reason": "Evicted"})).unwrap(), @"Evicted");
    }
}
