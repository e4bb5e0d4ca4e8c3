//! What hooks write, and what their pods report.

use pintle_core::{hook::trouble, plain};
use serde_json::Value;

use super::{Applier, Step};
use crate::{
    discovery::ResourceType,
    prepare::PreparedObject,
    request::{Call, RequestError, encode},
};

/// How much of the end of one container's log is shown.
#[derive(Clone, Copy)]
struct Tail {
    lines: u32,
    bytes: usize,
}

/// For a person who is waiting.
const SHOWN: Tail = Tail {
    lines: 500,
    bytes: 64 << 10,
};
/// For the reason of a failure: it goes into a status and an Event, which holds 1 KiB.
const QUOTED: Tail = Tail {
    lines: 8,
    bytes: 600,
};

impl Applier<'_> {
    /// Reports the logs of a Job's or a Pod's containers. If a log cannot be read, reports that in its place.
    pub(super) async fn tell_logs(&self, object: &PreparedObject) {
        let id = object.id();
        let pods = match self.pods(object).await {
            Ok(pods) => pods,
            Err(error) => {
                let text = format!("its pods cannot be read: {error}");
                let origin = id.to_string();
                self.progress.step(Step::Log {
                    id,
                    origin: &origin,
                    text: &text,
                });
                return;
            }
        };
        for pod in &pods {
            let name = name_of(pod);
            for container in containers(pod) {
                let text = match self.log(pod, container, SHOWN).await {
                    Ok(text) => text,
                    Err(error) => format!("its log cannot be read: {error}"),
                };
                self.progress.step(Step::Log {
                    id,
                    origin: &format!("{name}/{container}"),
                    text: &text,
                });
            }
        }
    }

    async fn pods(&self, object: &PreparedObject) -> Result<Vec<Value>, RequestError> {
        let id = object.id();
        if id.is("", "Pod") {
            let pod = self.connection.read(&object.resource, id).await?;
            return Ok(pod.into_iter().collect());
        }
        if !id.is("batch", "Job") {
            return Ok(Vec::new());
        }
        let call = Call::get(pods().path(id.namespace.as_deref(), None))
            .query("labelSelector", &format!("job-name={}", id.name));
        let list = self.connection.call(&call).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Describes a hook that failed, or that did not end, by what its pods show: the state of a pod in trouble, and the end of
    /// its log if the release's account may read it. Empty if there is nothing to say.
    pub(super) async fn explain(&self, object: &PreparedObject, with_log: bool) -> String {
        // The reason is known without the pods, which the account may have no right to read.
        let mut pods = self.pods(object).await.unwrap_or_default();
        pods.sort_by_key(|pod| {
            let created = pod["metadata"]["creationTimestamp"].as_str();
            created.map(ToOwned::to_owned)
        });
        let last = pods.iter().rev().find_map(|pod| Some((pod, trouble(pod)?)));
        let Some((pod, trouble)) = last else {
            return String::new();
        };
        let mut text = String::new();
        // If the hook is itself a Pod, this is already the reason.
        if !object.id().is("", "Pod") {
            text = format!("Pod {}: {}", name_of(pod), trouble.what);
        }
        if let Some(container) = trouble.container.filter(|_| with_log)
            && let Ok(log) = self.log(pod, &container, QUOTED).await
            && !log.is_empty()
        {
            let separator = if text.is_empty() { "" } else { "; " };
            text = format!("{text}{separator}the end of its log:\n{}", indented(&log));
        }
        text
    }

    async fn log(&self, pod: &Value, container: &str, tail: Tail) -> Result<String, RequestError> {
        let namespace = pod["metadata"]["namespace"].as_str();
        let name = encode(name_of(pod));
        let call = Call::get(format!("{}/{name}/log", pods().path(namespace, None)))
            .query("container", container)
            .query("tailLines", &tail.lines.to_string())
            .accept("*/*");
        let text = self.connection.call_text_once(&call).await?;
        Ok(plain::end_of(&text, tail.bytes))
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

fn name_of(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

fn containers(pod: &Value) -> Vec<&str> {
    ["initContainers", "containers"]
        .into_iter()
        .filter_map(|field| pod["spec"][field].as_array())
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect()
}

fn pods() -> ResourceType {
    ResourceType {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        plural: "pods".to_owned(),
        namespaced: true,
        watchable: true,
    }
}
