//! The reasons why an object is not ready, taken from its pods, their events and their logs.
//!
//! A workload reports how many of its replicas exist; why one is missing, its pods report. Everything here is a pure function
//! over the API server's answers. Another crate sends the requests.

use std::{cmp::Reverse, collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{hook, plain};

/// The maximum number of events reported for one object.
pub const EVENT_LIMIT: usize = 3;
/// The maximum number of bytes of one event's text.
const EVENT_BYTES: usize = 300;
/// The maximum number of bytes of a cause. Kubelets quote whole answers of registries.
const CAUSE_BYTES: usize = 400;

/// Why an object is not ready, as far as the cluster tells.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    /// The pod that is in trouble; absent if the object itself is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// What prevents it from becoming ready: `main waits: ImagePullBackOff: Back-off pulling image "shop:2"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The newest events about it, warnings first; at most three.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// The end of the container's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// What could not be determined, and why: `its log cannot be read: …`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

impl Explanation {
    /// Returns whether this explanation has no content.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the most telling single item, for places with room for one line: the cause, or else the newest event.
    pub fn gist(&self) -> Option<&str> {
        let event = || self.events.first().map(String::as_str);
        self.cause.as_deref().or_else(event)
    }
}

/// Writes everything, one line per item: the pod with the cause, the events, the log, and what is not known.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        match (&self.pod, &self.cause) {
            (Some(pod), Some(cause)) => lines.push(format!("Pod {pod}: {cause}")),
            (Some(pod), None) => lines.push(format!("Pod {pod}")),
            (None, Some(cause)) => lines.push(cause.clone()),
            (None, None) => {}
        }
        lines.extend(self.events.iter().map(|event| format!("event: {event}")));
        if let Some(log) = &self.log {
            lines.push("the end of its log:".to_owned());
            lines.extend(log.lines().map(|line| format!("  {line}")));
        }
        lines.extend(self.unknown.iter().cloned());
        f.write_str(&lines.join("\n"))
    }
}

/// The log of a container that shows why it is in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// The log of the container as it runs now, or as it last ended.
    Current,
    /// The log from before the last restart: the container that runs now has nothing to say yet.
    Previous,
}

/// What keeps a pod from being ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodTrouble {
    /// The trouble, as a sentence fragment.
    pub cause: String,
    /// The container whose log may say more, and which of its logs. Absent if no container has run.
    pub log: Option<(String, Log)>,
}

/// Returns what keeps a pod from being ready, or `None` if it is ready, has completed, or has not been looked at yet.
///
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-states>
pub fn trouble(pod: &Value) -> Option<PodTrouble> {
    let found = containers(pod).find_map(crashing).or_else(|| {
        let found = hook::trouble(pod)?;
        let has_run = |name: &String| containers(pod).any(|one| name_of(one) == name && ran(one));
        Some(PodTrouble {
            cause: found.what,
            log: found
                .container
                .filter(has_run)
                .map(|name| (name, Log::Current)),
        })
    });
    let mut found = found.or_else(|| {
        let is_over = pod["status"]["phase"] == "Succeeded";
        let unready = containers(pod).find_map(unready);
        unready.filter(|_| !is_over)
    })?;
    found.cause = cut(&found.cause, CAUSE_BYTES);
    Some(found)
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|field| pod["status"][field].as_array())
        .flatten()
}

fn name_of(container: &Value) -> &str {
    container["name"].as_str().unwrap_or_default()
}

fn ran(container: &Value) -> bool {
    let state = |field: &str, state: &str| !container[field][state].is_null();
    state("state", "running") || state("state", "terminated") || state("lastState", "terminated")
}

/// Returns the trouble of a container that keeps restarting. The kubelet's own message says only how long it waits.
fn crashing(container: &Value) -> Option<PodTrouble> {
    if container["state"]["waiting"]["reason"] != "CrashLoopBackOff" {
        return None;
    }
    let name = name_of(container);
    Some(PodTrouble {
        cause: format!(
            "{name} keeps ending{} (CrashLoopBackOff{})",
            exit(&container["lastState"]["terminated"]),
            restarts(container)
        ),
        log: Some((name.to_owned(), Log::Current)),
    })
}

/// Returns the trouble of a container that runs but does not report that it is ready.
fn unready(container: &Value) -> Option<PodTrouble> {
    let is_running = !container["state"]["running"].is_null();
    if !is_running || container["ready"] != false {
        return None;
    }
    let name = name_of(container);
    let probe = if container["started"] == false {
        "its startup probe has not succeeded yet"
    } else {
        "its readiness probe does not succeed"
    };
    let last = &container["lastState"]["terminated"];
    let (again, log) = if last.is_null() {
        (String::new(), Log::Current)
    } else {
        let again = format!("; it had ended{}{}", exit(last), restarts(container));
        (again, Log::Previous)
    };
    Some(PodTrouble {
        cause: format!("{name} runs and is not ready: {probe}{again}"),
        log: Some((name.to_owned(), log)),
    })
}

fn exit(terminated: &Value) -> String {
    let code = terminated["exitCode"].as_i64();
    let reason = terminated["reason"].as_str();
    let reason = reason.filter(|reason| !matches!(*reason, "" | "Error" | "Completed"));
    match (code, reason) {
        (Some(code), Some(reason)) => format!(" with exit code {code}: {reason}"),
        (Some(code), None) => format!(" with exit code {code}"),
        (None, Some(reason)) => format!(": {reason}"),
        (None, None) => String::new(),
    }
}

fn restarts(container: &Value) -> String {
    match container["restartCount"].as_u64() {
        None | Some(0) => String::new(),
        Some(1) => ", 1 restart".to_owned(),
        Some(count) => format!(", {count} restarts"),
    }
}

/// Returns the pod that says most about why a workload is not ready, or `None` if all are ready.
///
/// Of the pods that `owners` control, this is one in trouble, or else one that is not ready. The oldest is chosen, so that the
/// answer does not jump between pods.
pub fn failing_pod<'a>(pods: &'a [Value], owners: &BTreeSet<String>) -> Option<&'a Value> {
    let is_owned = |pod: &&Value| controller(pod).is_some_and(|owner| owners.contains(owner));
    let live = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    let candidates = pods.iter().filter(is_owned).filter(live);
    let in_order = |pod: &&Value| {
        let text = |field: &str| {
            pod["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        (text("creationTimestamp"), text("name"))
    };
    let unready = candidates.filter(|pod| !is_ready(pod));
    unready.min_by_key(|pod| (Reverse(trouble(pod).is_some()), in_order(pod)))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|one| one["type"] == "Ready");
    pod["status"]["phase"] == "Succeeded" || ready.any(|one| one["status"] == "True")
}

/// Returns the UID of an object's controller.
///
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/>
pub fn controller(object: &Value) -> Option<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    owner["uid"].as_str()
}

/// Returns the newest of the `ReplicaSet`s that a Deployment controls: the one that it is rolling out.
pub fn newest_replica_set<'a>(sets: &'a [Value], deployment: &str) -> Option<&'a Value> {
    let revision = |set: &Value| {
        let revision = &set["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
        revision.as_str().and_then(|text| text.parse::<u64>().ok())
    };
    let ours = sets
        .iter()
        .filter(|set| controller(set) == Some(deployment));
    ours.max_by_key(|set| revision(set))
}

/// Returns why a workload cannot create its pods: a quota, or an admission check that rejects them.
pub fn replica_failure(workload: &Value) -> Option<String> {
    let conditions = workload["status"]["conditions"].as_array()?;
    let failure = conditions
        .iter()
        .find(|one| one["type"] == "ReplicaFailure" && one["status"] == "True")?;
    let message = failure["message"].as_str().unwrap_or("no reason is given");
    Some(cut(
        &format!("its pods cannot be made: {message}"),
        CAUSE_BYTES,
    ))
}

/// Formats the newest events, warnings first: `Failed: Error: ErrImagePull (7 times)`.
pub fn events(events: &[Value]) -> Vec<String> {
    let mut events: Vec<&Value> = events.iter().collect();
    events.sort_by_key(|event| (event["type"] != "Warning", Reverse(when(event))));
    let mut told: Vec<String> = Vec::new();
    for event in events {
        let text = event_text(event);
        if told.len() < EVENT_LIMIT && !told.contains(&text) {
            told.push(text);
        }
    }
    told
}

fn event_text(event: &Value) -> String {
    let text = |field: &str| event[field].as_str().unwrap_or_default().trim().to_owned();
    let count = event["count"]
        .as_u64()
        .or(event["series"]["count"].as_u64());
    let times = match count {
        Some(count) if count > 1 => format!(" ({count} times)"),
        _ => String::new(),
    };
    let (reason, message) = (text("reason"), text("message"));
    let message = cut(&plain::of(&message).replace('\n', " "), EVENT_BYTES);
    format!("{}: {message}{times}", plain::of(&reason))
}

/// Returns when an event was last seen. Older clients write `lastTimestamp`, newer ones `eventTime` and a series.
fn when(event: &Value) -> String {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    let times = times.into_iter().filter_map(Value::as_str);
    times.max().unwrap_or_default().to_owned()
}

fn cut(text: &str, limit: usize) -> String {
    let text = plain::of(text);
    if text.len() <= limit {
        return text.into_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(limit)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cause(status: Value) -> Option<String> {
        trouble(&json!({ "status": status })).map(|found| found.cause)
    }

    #[test]
    fn nothing_that_a_container_or_an_event_says_steers_a_terminal() {
        let found = cause(json!({"phase": "Failed", "message": "\u{1b}[2K\u{1b}]0;x\u{7}done"}));
        let found = found.unwrap();
        assert!(found.contains("\u{fffd}]0;x\u{fffd}done"), "{found}");
        let event = json!({"reason": "\u{1b}[32mReady", "message": "all\r\nis\rwell"});
        assert_eq!(events(&[event]), ["Ready: all is\u{fffd}well"]);
    }

    #[test]
    fn a_container_that_keeps_crashing_says_how_it_ends() {
        let pod = json!({"status": {"phase": "Running", "containerStatuses": [{
            "name": "main", "restartCount": 3, "ready": false,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container=main pod=web-1_shop(uid)"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}});
        let found = trouble(&pod).unwrap();
        insta::assert_snapshot!(found.cause, @"main keeps ending with exit code 137: OOMKilled (CrashLoopBackOff, 3 restarts)");
        assert_eq!(found.log, Some(("main".to_owned(), Log::Current)));
    }

    #[test]
    fn a_log_is_asked_for_only_where_something_has_run() {
        let waiting = json!({"status": {"phase": "Pending", "containerStatuses": [{
            "name": "main", "ready": false,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"shop:2\""}}}]}});
        let found = trouble(&waiting).unwrap();
        insta::assert_snapshot!(found.cause, @r#"main waits: ImagePullBackOff: Back-off pulling image "shop:2""#);
        assert_eq!(found.log, None);
        let restarted = json!({"status": {"phase": "Running", "containerStatuses": [{
            "name": "main", "restartCount": 1, "ready": false, "started": true, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}});
        let found = trouble(&restarted).unwrap();
        insta::assert_snapshot!(found.cause, @"main runs and is not ready: its readiness probe does not succeed; it had ended with exit code 1, 1 restart");
        assert_eq!(found.log, Some(("main".to_owned(), Log::Previous)));
    }

    #[test]
    fn what_is_on_its_way_or_done_is_no_trouble() {
        assert_eq!(cause(json!({"phase": "Pending"})), None);
        let creating =
            json!([{"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}]);
        assert_eq!(
            cause(json!({"phase": "Pending", "containerStatuses": creating})),
            None
        );
        let done =
            json!([{"name": "main", "ready": false, "state": {"terminated": {"exitCode": 0}}}]);
        assert_eq!(
            cause(json!({"phase": "Succeeded", "containerStatuses": done})),
            None
        );
        let slow =
            json!([{"name": "main", "ready": false, "started": false, "state": {"running": {}}}]);
        insta::assert_snapshot!(
            cause(json!({"phase": "Running", "containerStatuses": slow})).unwrap(),
            @"main runs and is not ready: its startup probe has not succeeded yet"
        );
    }

    fn pod(name: &str, owner: &str, status: Value) -> Value {
        json!({"metadata": {"name": name, "ownerReferences": [{"uid": owner, "controller": true}]}, "status": status})
    }

    #[test]
    fn the_pod_that_says_most_is_of_the_newest_rollout() {
        let stuck = json!({"phase": "Pending", "containerStatuses": [
            {"name": "main", "state": {"waiting": {"reason": "ErrImagePull"}}}]});
        let pods = [
            pod("a", "old", stuck.clone()),
            pod("b", "new", json!({"phase": "Pending"})),
            pod("d", "new", stuck.clone()),
            pod("c", "new", stuck),
            pod(
                "0",
                "new",
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
            ),
        ];
        let of = |owner: &str| BTreeSet::from([owner.to_owned()]);
        let name = |found: Option<&Value>| found.map(|pod| pod["metadata"]["name"].clone());
        assert_eq!(name(failing_pod(&pods, &of("new"))), Some(json!("c")));
        assert_eq!(name(failing_pod(&pods[1..2], &of("new"))), Some(json!("b")));
        assert_eq!(name(failing_pod(&pods[4..], &of("new"))), None);
        let set = |name: &str, revision: &str| {
            json!({"metadata": {"name": name, "annotations": {"deployment.kubernetes.io/revision": revision},
                "ownerReferences": [{"uid": "d", "controller": true}]}})
        };
        let sets = [set("ten", "10"), set("nine", "9")];
        assert_eq!(name(newest_replica_set(&sets, "d")), Some(json!("ten")));
        assert_eq!(newest_replica_set(&sets, "other"), None);
    }

    #[test]
    fn warnings_come_first_and_the_same_thing_is_said_once() {
        let event = |kind: &str, reason: &str, message: &str, time: &str, count: u64| json!({"type": kind, "reason": reason, "message": message, "lastTimestamp": time, "count": count});
        let all = [
            event(
                "Normal",
                "Pulling",
                "Pulling image",
                "2026-01-01T00:00:09Z",
                4,
            ),
            event(
                "Warning",
                "Failed",
                "Error: ErrImagePull",
                "2026-01-01T00:00:01Z",
                4,
            ),
            event(
                "Warning",
                "BackOff",
                "Back-off\npulling",
                "2026-01-01T00:00:05Z",
                1,
            ),
            event(
                "Warning",
                "BackOff",
                "Back-off pulling",
                "2026-01-01T00:00:04Z",
                1,
            ),
        ];
        insta::assert_snapshot!(events(&all).join("\n"), @r"
        BackOff: Back-off pulling
        Failed: Error: ErrImagePull (4 times)
        Pulling: Pulling image (4 times)
        ");
        let long = event("Warning", "Failed", &"ü".repeat(400), "", 1);
        assert!(events(&[long])[0].len() < 320);
    }

    #[test]
    fn it_is_told_line_by_line() {
        let explanation = Explanation {
            pod: Some("web-1".into()),
            cause: Some("main keeps ending with exit code 1".into()),
            events: vec!["BackOff: again".into()],
            log: Some("cannot open /data\nexiting".into()),
            unknown: vec!["its events cannot be read: forbidden".into()],
        };
        insta::assert_snapshot!(explanation, @r"
        Pod web-1: main keeps ending with exit code 1
        event: BackOff: again
        the end of its log:
          cannot open /data
          exiting
        its events cannot be read: forbidden
        ");
        let full = json!({"status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}]}});
        insta::assert_snapshot!(replica_failure(&full).unwrap(), @"its pods cannot be made: exceeded quota: pods");
    }
}
