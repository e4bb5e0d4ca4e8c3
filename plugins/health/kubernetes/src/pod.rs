//! Pods.

use std::fmt;

use pintle_sdk::Assessment;

use crate::object::{Conditions, Object};
use crate::settings::Settings;
use crate::time;
use crate::verdict::{Now, Verdict, counted, degraded, healthy, progressing, unknown};

/// The most containers that a message names.
const NAMED_CONTAINERS: usize = 3;

/// Reasons for which the kubelet keeps a container waiting that something from outside may still end: an image or a Secret that
/// is on its way. <https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff>
const CANNOT_START: [&str; 12] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
    "CreateContainerConfigError",
    "CreateContainerError",
    "PreCreateHookError",
    "PreStartHookError",
    "RunContainerError",
];

/// Judges a Pod by its phase, its conditions and its containers.
///
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>
pub(crate) fn judge(object: Object, settings: &Settings, now: Now) -> Verdict {
    let conditions = object.conditions()?;
    Ok(match object.text("/status/phase").unwrap_or_default() {
        "Succeeded" => healthy("ran to completion"),
        "Failed" => degraded(failure(object)),
        "Running" | "Pending" => alive(object, &conditions, settings, now),
        "" => progressing("has no phase yet"),
        "Unknown" => unknown("its node does not report its state"),
        other => unknown(format!(
            "phase `{other}` is none of Pending, Running, Succeeded, Failed"
        )),
    })
}

/// Judges a pod that has not ended.
fn alive(object: Object, conditions: &Conditions, settings: &Settings, now: Now) -> Assessment {
    let containers = containers(object);
    let running = object.text("/status/phase") == Some("Running");
    if running && conditions.truth("Ready").is_some() {
        return healthy(
            match containers
                .iter()
                .filter(|container| !container.init)
                .count()
            {
                0 => "is ready".to_owned(),
                count => format!("{count} of {count} containers are ready"),
            },
        );
    }
    if let Some(looping) = named(&containers, |container| container.waits("CrashLoopBackOff")) {
        return degraded(looping);
    }
    let created = object.time("/metadata/creationTimestamp").unwrap_or(0);
    if let Some(held) = conditions.untruth("PodScheduled").filter(|_| !running) {
        return match held.reason {
            "Unschedulable" => now.until(
                end_of_grace(created, settings),
                || progressing(format!("is not scheduled yet: {}", held.why())),
                || degraded(format!("cannot be scheduled: {}", held.why())),
            ),
            "SchedulingGated" => {
                progressing(format!("is held by scheduling gates: {}", gates(object)))
            }
            _ => progressing(format!("is not scheduled yet: {}", held.why())),
        };
    }
    if let Some(stuck) = named(&containers, |container| {
        CANNOT_START.iter().any(|reason| container.waits(reason))
    }) {
        // A pod may have waited long for its node, but its containers have not.
        let scheduled = conditions
            .truth("PodScheduled")
            .and_then(|it| it.changed)
            .unwrap_or(created);
        return now.until(
            end_of_grace(scheduled, settings),
            || progressing(stuck.as_str()),
            || degraded(stuck.as_str()),
        );
    }
    if let Some(waiting) = named(&containers, |it| !it.is_settled()) {
        return progressing(waiting);
    }
    let unmet = unmet_gates(object, conditions);
    if !unmet.is_empty() {
        return progressing(format!("readiness gates are not met: {}", unmet.join(", ")));
    }
    progressing(match conditions.untruth("Ready") {
        Some(unready) => unready.why(),
        None if running => "runs, but is not ready".to_owned(),
        None => "is pending".to_owned(),
    })
}

fn end_of_grace(since_ms: u64, settings: &Settings) -> u64 {
    time::after(since_ms, u64::from(settings.pod_grace_seconds))
}

fn gates(object: Object) -> String {
    object
        .items("/spec/schedulingGates")
        .filter_map(|gate| gate.text("/name"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn unmet_gates<'a>(object: Object<'a>, conditions: &Conditions) -> Vec<&'a str> {
    let gates = object
        .items("/spec/readinessGates")
        .filter_map(|gate| gate.text("/conditionType"));
    gates
        .filter(|gate| conditions.truth(gate).is_none())
        .collect()
}

/// Describes why a pod has failed: in its own words, such as an eviction's, and in those of its containers.
fn failure(object: Object) -> String {
    let containers = containers(object);
    let ended_badly = named(&containers, |container| {
        container.exit.is_some_and(|exit| exit.code != 0)
    });
    let own = match (
        object.text("/status/reason"),
        object.text("/status/message"),
    ) {
        (Some(reason), Some(message)) => Some(format!(
            "{reason}: {}",
            message.trim().trim_end_matches('.')
        )),
        (Some(words), None) | (None, Some(words)) => Some(words.to_owned()),
        (None, None) => None,
    };
    match (own, ended_badly) {
        (Some(own), Some(containers)) => format!("has failed: {own}; {containers}"),
        (Some(words), None) | (None, Some(words)) => format!("has failed: {words}"),
        (None, None) => "has failed".to_owned(),
    }
}

/// The status of one container.
struct Container<'a> {
    name: &'a str,
    init: bool,
    ready: bool,
    running: bool,
    restarts: i64,
    waiting: Option<&'a str>,
    words: Option<&'a str>,
    /// How the container ended.
    exit: Option<Exit<'a>>,
    /// How the container ended before its last restart.
    last_exit: Option<Exit<'a>>,
}

/// Returns the containers of a pod, init containers first: while one of those has not ended, the others have nothing to report.
fn containers(object: Object<'_>) -> Vec<Container<'_>> {
    let list = |pointer, init| {
        object
            .items(pointer)
            .map(move |status| Container::read(status, init))
    };
    list("/status/initContainerStatuses", true)
        .chain(list("/status/containerStatuses", false))
        .collect()
}

impl<'a> Container<'a> {
    fn read(status: Object<'a>, init: bool) -> Self {
        Self {
            name: status.text("/name").unwrap_or_default(),
            init,
            ready: status.flag("/ready"),
            running: status.at("/state/running").is_some(),
            restarts: status.count("/restartCount"),
            waiting: status.text("/state/waiting/reason"),
            words: status
                .text("/state/waiting/message")
                .or_else(|| status.text("/state/terminated/message")),
            exit: Exit::read(status.object("/state/terminated")),
            last_exit: Exit::read(status.object("/lastState/terminated")),
        }
    }

    fn waits(&self, reason: &str) -> bool {
        self.waiting == Some(reason)
    }

    /// Returns whether a pod has nothing to wait for in this container: the container is ready, it has done its work as an init
    /// container, or it itself waits for those.
    fn is_settled(&self) -> bool {
        let done = self.init && self.exit.is_some_and(|exit| exit.code == 0);
        self.ready || done || self.waits("PodInitializing")
    }
}

/// Formats a container: `container app waits: CrashLoopBackOff after 7 restarts, last exit code 137 (OOMKilled): back-off ...`
impl fmt::Display for Container<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} ",
            if self.init {
                "init container"
            } else {
                "container"
            },
            self.name
        )?;
        match (self.waiting, self.exit) {
            (Some(reason), _) => write!(f, "waits: {reason}")?,
            (None, Some(exit)) => write!(f, "exited with {exit}")?,
            (None, None) if !self.running => f.write_str("has not started")?,
            (None, None) if self.init => f.write_str("runs")?,
            (None, None) => f.write_str("runs, but is not ready")?,
        }
        if self.restarts > 0 {
            write!(f, " after {}", counted(self.restarts, "restart"))?;
        }
        if let Some(last) = self.last_exit.filter(|_| self.exit.is_none()) {
            write!(f, ", last exit {last}")?;
        }
        match self.words.map(|words| words.trim().trim_end_matches('.')) {
            None | Some("") => Ok(()),
            Some(words) => write!(f, ": {words}"),
        }
    }
}

/// How a container ended.
#[derive(Clone, Copy)]
struct Exit<'a> {
    code: i64,
    reason: Option<&'a str>,
}

impl<'a> Exit<'a> {
    fn read(state: Option<Object<'a>>) -> Option<Self> {
        let state = state?;
        Some(Self {
            code: state.int("/exitCode")?,
            reason: state.text("/reason"),
        })
    }
}

/// Formats an exit, such as `code 137 (OOMKilled)`. Reasons that say no more than the code are left out.
impl fmt::Display for Exit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}", self.code)?;
        match self.reason {
            None | Some("Error" | "Completed" | "") => Ok(()),
            Some(reason) => write!(f, " ({reason})"),
        }
    }
}

/// Describes the containers that match; `None` if there are none.
fn named(containers: &[Container], so: impl Fn(&Container) -> bool) -> Option<String> {
    let chosen: Vec<&Container> = containers
        .iter()
        .filter(|container| so(container))
        .collect();
    let described: Vec<String> = chosen
        .iter()
        .take(NAMED_CONTAINERS)
        .map(ToString::to_string)
        .collect();
    let more = chosen.len() - described.len();
    (!chosen.is_empty()).then(|| {
        let text = described.join("; ");
        if more > 0 {
            format!("{text}; and {more} more")
        } else {
            text
        }
    })
}
