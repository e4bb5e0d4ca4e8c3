//! One look at one object.

use std::{collections::BTreeSet, time::Duration};

use pintle_core::{
    explanation::{self, Explanation, Log},
    object::ObjectId,
    plain,
};
use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};

use super::{
    pace::{Pace, QUIET},
    room::{PodChanges, Room},
};
use crate::{
    cluster::Cluster,
    connection::{ConnectError, Connection, ServiceAccount},
    discovery::ResourceType,
    objects::items,
    request::{Call, RequestError, encode},
    watching::Selection,
};

/// How long the watch of the pods may take to open before the first look.
const OPEN: Duration = Duration::from_secs(2);
/// How much of the end of a log is reported: it goes into a status, where it must stay small.
const LOG_LINES: u32 = 8;
const LOG_BYTES: usize = 600;
/// How long reading a log may take: it comes from the node, which may be what is wrong.
const LOG_LIMIT: Duration = Duration::from_secs(3);
/// The most objects of a kind that are read at once.
const PAGE: usize = 200;
/// The most pages of pods, or of what creates them, that are read for one look.
const PAGES: usize = 5;
/// The label that distinguishes the pods of one `ReplicaSet` of a Deployment from those of the others.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What to do if the account lacks a right.
const RIGHTS: &str =
    "give the account the verbs get and list on it (the ClusterRole `view` has them)";

/// Examines objects as an account.
#[derive(Debug)]
pub(super) struct Looker {
    /// The agent's own connection, which says *that* pods have changed. Their state is read as the account.
    own: Connection,
    connection: Connection,
    room: Room,
}

/// A kind that creates pods.
struct Workload {
    resource: ResourceType,
    /// Whether the pods belong to a `ReplicaSet` that belongs to it.
    by_replica_sets: bool,
}

impl Workload {
    fn of(id: &ObjectId) -> Option<Self> {
        let (version, plural) = match (id.group.as_str(), id.kind.as_str()) {
            ("apps", "Deployment") => ("v1", "deployments"),
            ("apps", "StatefulSet") => ("v1", "statefulsets"),
            ("apps", "DaemonSet") => ("v1", "daemonsets"),
            ("apps", "ReplicaSet") => ("v1", "replicasets"),
            ("batch", "Job") => ("v1", "jobs"),
            ("", "Pod") => ("v1", "pods"),
            _ => return None,
        };
        Some(Self {
            resource: resource(&id.group, version, &id.kind, plural),
            by_replica_sets: id.is("apps", "Deployment"),
        })
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ResourceType {
    ResourceType {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: true,
        watchable: true,
    }
}

fn pods() -> ResourceType {
    resource("", "v1", "Pod", "pods")
}

/// What a look has found.
#[derive(Default)]
struct Look {
    explanation: Explanation,
    /// Whether something could not be read that may be readable shortly.
    is_partial: bool,
}

impl Look {
    /// Records that there are more of something than were read.
    fn leave_out(&mut self, what: &str) {
        let looked_at = PAGES * PAGE;
        let unknown = format!("only the first {looked_at} of its {what} were looked at");
        self.explanation.unknown.push(unknown);
    }
}

/// What may lead to a different answer.
enum Next {
    /// A change of its pods.
    Pods(Selector),
    /// A change of the object.
    Object,
    /// Nothing that is known.
    Nothing,
}

/// Returns whether an object's controller has seen its newest state. Until then its pods are the previous ones. If thousands of
/// objects wait for a busy controller, asking for the pods of each would only slow it down further.
fn is_observed(live: &Value) -> bool {
    let number = |pointer| live.pointer(pointer).and_then(Value::as_i64);
    let observes = live["apiVersion"]
        .as_str()
        .is_some_and(|version| version.starts_with("apps/"));
    !observes || number("/status/observedGeneration") >= number("/metadata/generation")
}

/// The object whose events are requested.
enum About<'a> {
    /// One object, and not an earlier one of the same name.
    Uid(&'a str),
    /// Any object of this kind and name.
    Id(&'a ObjectId),
}

impl Looker {
    pub(super) fn new(
        cluster: &Cluster,
        account: Option<&ServiceAccount>,
    ) -> Result<Self, ConnectError> {
        let own = cluster.connection().clone();
        let connection = match account {
            Some(account) => own.acting_as(account)?,
            None => own.clone(),
        };
        Ok(Self {
            own,
            connection,
            room: cluster.room().clone(),
        })
    }

    /// Examines the object now, after changes of its pods, and after a while if something could not be seen or is not watched.
    /// Reports each answer that differs from the previous one.
    pub(super) async fn follow(
        self: std::sync::Arc<Self>,
        id: ObjectId,
        tell: mpsc::Sender<(ObjectId, Explanation)>,
    ) {
        let mut told = None;
        let mut changes: Option<PodChanges> = None;
        let mut pace = Pace::default();
        loop {
            let (look, next) = self.look(&id).await;
            let mut is_blind = look.is_partial;
            let rest = pace.rest(look.explanation.cause.as_deref());
            if told.as_ref() != Some(&look.explanation) {
                told = Some(look.explanation.clone());
                if tell.send((id.clone(), look.explanation)).await.is_err() {
                    return;
                }
            }
            match next {
                Next::Pods(selector) if changes.is_none() => {
                    changes = self.watch(&id, selector);
                    if let Some(watching) = &mut changes {
                        // Another look sees what changed before the watch was open.
                        let _ = tokio::time::timeout(OPEN, watching.next()).await;
                        continue;
                    }
                    is_blind = true;
                }
                // The object's own changes are seen elsewhere, and trigger another look.
                Next::Object if changes.is_none() => return,
                Next::Pods(_) | Next::Object | Next::Nothing => {}
            }
            tokio::select! {
                () = change(&mut changes, Instant::now() + rest) => {}
                () = elapsed(pace.pause(is_blind)) => {}
            }
        }
    }

    /// Watches an object's pods, if there is room for the watch.
    fn watch(&self, id: &ObjectId, selector: Selector) -> Option<PodChanges> {
        let (labels, fields) = match selector {
            Selector::Labels(labels) => (Some(labels), None),
            Selector::Name(name) => (None, Some(format!("metadata.name={name}"))),
        };
        let selection = Selection {
            resource: pods(),
            namespace: id.namespace.clone(),
            labels,
            fields,
        };
        self.room.watch(&self.own, selection)
    }

    /// Returns why an object is not ready, and what may lead to a different answer.
    async fn look(&self, id: &ObjectId) -> (Look, Next) {
        let mut look = Look::default();
        let Some(workload) = Workload::of(id) else {
            self.add_events(&mut look, id, &About::Id(id)).await;
            return (look, Next::Nothing);
        };
        let live = match self.connection.read(&workload.resource, id).await {
            Ok(Some(live)) => live,
            Ok(None) => return (look, Next::Object),
            Err(error) => {
                self.miss(&mut look, "it", &error);
                return (look, Next::Nothing);
            }
        };
        if !is_observed(&live) {
            return (look, Next::Object);
        }
        let next = selector(id, &live).map_or(Next::Nothing, Next::Pods);
        if let Err((what, error)) = self.add_pods(&mut look, id, &workload, &live).await {
            self.miss(&mut look, what, &error);
            self.add_events(&mut look, id, &About::Id(id)).await;
        }
        (look, next)
    }

    async fn add_pods(
        &self,
        look: &mut Look,
        id: &ObjectId,
        workload: &Workload,
        live: &Value,
    ) -> Result<(), (&'static str, RequestError)> {
        let mut owner = uid_of(live).to_owned();
        let failing = if id.is("", "Pod") {
            Some(live.clone())
        } else {
            let Some(Selector::Labels(mut labels)) = selector(id, live) else {
                return Ok(());
            };
            if workload.by_replica_sets {
                let set = self.newest_replica_set(look, id, &labels, &owner).await;
                if let Some(set) = set.map_err(|error| ("its ReplicaSets", error))? {
                    labels = labels_of(&set, labels);
                    uid_of(&set).clone_into(&mut owner);
                }
            }
            let failing = self.failing_pod(look, id, &labels, &owner).await;
            failing.map_err(|error| ("its pods", error))?
        };
        let Some(pod) = &failing else {
            look.explanation.cause = explanation::replica_failure(live);
            // Events about failures to create pods are on the object that creates them.
            self.add_events(look, id, &About::Uid(&owner)).await;
            return Ok(());
        };
        if !id.is("", "Pod") {
            look.explanation.pod = pod["metadata"]["name"].as_str().map(ToOwned::to_owned);
        }
        let trouble = explanation::trouble(pod);
        self.add_events(look, id, &About::Uid(uid_of(pod))).await;
        if let Some(trouble) = trouble {
            look.explanation.cause = Some(trouble.cause);
            if let Some((container, which)) = trouble.log {
                match self.log(pod, &container, which).await {
                    Ok(log) if log.is_empty() => {}
                    Ok(log) => look.explanation.log = Some(log),
                    // It comes from the node, and is not worth another look.
                    Err(why) => look.explanation.unknown.push(why),
                }
            }
        }
        Ok(())
    }

    async fn add_events(&self, look: &mut Look, id: &ObjectId, about: &About<'_>) {
        let selector = match about {
            About::Uid(uid) => format!("involvedObject.uid={uid}"),
            About::Id(id) => {
                format!(
                    "involvedObject.kind={},involvedObject.name={}",
                    id.kind, id.name
                )
            }
        };
        // Events about objects without a namespace are in `default`.
        let namespace = id.namespace.as_deref().unwrap_or("default");
        let events = resource("", "v1", "Event", "events");
        let call = Call::get(events.path(Some(namespace), None))
            .query("fieldSelector", &selector)
            .query("limit", &PAGE.to_string());
        match self.connection.call(&call).await {
            Ok(list) => look.explanation.events = explanation::events(&items(list)),
            Err(error) => self.miss(look, "its events", &error),
        }
    }

    /// Finds the `ReplicaSet` of a Deployment's newest rollout. It may be on any page: those of earlier rollouts have these
    /// labels, too.
    async fn newest_replica_set(
        &self,
        look: &mut Look,
        id: &ObjectId,
        labels: &str,
        deployment: &str,
    ) -> Result<Option<Value>, RequestError> {
        let sets = resource("apps", "v1", "ReplicaSet", "replicasets");
        let mut found = Vec::new();
        let mut rest: Option<String> = None;
        for _ in 0..PAGES {
            let (page, next) = self.list(&sets, id, labels, rest.as_deref()).await?;
            found.extend(explanation::newest_replica_set(&page, deployment).cloned());
            rest = next;
            if rest.is_none() {
                return Ok(explanation::newest_replica_set(&found, deployment).cloned());
            }
        }
        look.leave_out("ReplicaSets");
        Ok(explanation::newest_replica_set(&found, deployment).cloned())
    }

    /// Finds the pod that says most about why its owner is not ready. If the pods fill many pages, only one page is in memory at
    /// a time, and no more are read after a page that has a pod in trouble.
    async fn failing_pod(
        &self,
        look: &mut Look,
        id: &ObjectId,
        labels: &str,
        owner: &str,
    ) -> Result<Option<Value>, RequestError> {
        let owners = BTreeSet::from([owner.to_owned()]);
        let mut found = Vec::new();
        let mut rest: Option<String> = None;
        for _ in 0..PAGES {
            let (page, next) = self.list(&pods(), id, labels, rest.as_deref()).await?;
            let failing = explanation::failing_pod(&page, &owners);
            let is_in_trouble = failing.and_then(explanation::trouble).is_some();
            found.extend(failing.cloned());
            rest = next;
            if rest.is_none() || is_in_trouble {
                return Ok(explanation::failing_pod(&found, &owners).cloned());
            }
        }
        look.leave_out("pods");
        Ok(explanation::failing_pod(&found, &owners).cloned())
    }

    /// Reads a page of the objects with these labels: the first page, or the one that `page` names. Also returns the name of the
    /// next page.
    async fn list(
        &self,
        resource: &ResourceType,
        id: &ObjectId,
        labels: &str,
        page: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), RequestError> {
        let mut call = Call::get(resource.path(id.namespace.as_deref(), None))
            .query("labelSelector", labels)
            .query("limit", &PAGE.to_string());
        if let Some(page) = page {
            call = call.query("continue", page);
        }
        let list = self.connection.call(&call).await?;
        let next = list["metadata"]["continue"].as_str();
        let next = next.filter(|next| !next.is_empty()).map(ToOwned::to_owned);
        Ok((items(list), next))
    }

    /// Reads the end of a log. If it cannot be read, returns the reason as the error.
    async fn log(&self, pod: &Value, container: &str, which: Log) -> Result<String, String> {
        let namespace = pod["metadata"]["namespace"].as_str();
        let name = encode(pod["metadata"]["name"].as_str().unwrap_or_default());
        let mut call = Call::get(format!("{}/{name}/log", pods().path(namespace, None)))
            .query("container", container)
            .query("tailLines", &LOG_LINES.to_string())
            .accept("*/*");
        if which == Log::Previous {
            call = call.query("previous", "true");
        }
        let asking = self.connection.call_text_once(&call);
        let text = match tokio::time::timeout(LOG_LIMIT, asking).await {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => return Err(self.why_unknown("its log", &error)),
            Err(_) => {
                return Err("its log cannot be read: its node does not answer".to_owned());
            }
        };
        Ok(plain::end_of(&text, LOG_BYTES))
    }

    /// Records what could not be read. What the account may not read is not retried: a granted right is not announced.
    fn miss(&self, look: &mut Look, what: &str, error: &RequestError) {
        look.explanation.unknown.push(self.why_unknown(what, error));
        look.is_partial |= error.is_retryable() && !error.is_forbidden();
    }

    fn why_unknown(&self, what: &str, error: &RequestError) -> String {
        if !error.is_forbidden() {
            return format!("{what} cannot be read: {error}");
        }
        match self.connection.identity() {
            Some(account) => format!("{what} cannot be read: {account} may not; {RIGHTS}"),
            None => format!("{what} cannot be read: you have no right to"),
        }
    }
}

/// Waits for a change of pods, then for the changes that come with it, and at least until the rest is over. Waits for ever if
/// they are not watched.
async fn change(changes: &mut Option<PodChanges>, rested: Instant) {
    let Some(changes) = changes else {
        return std::future::pending().await;
    };
    changes.next().await;
    let end = rested.max(Instant::now() + QUIET);
    while Instant::now() < end {
        // One look covers all of them.
        let _ = tokio::time::timeout_at(end, changes.next()).await;
    }
}

/// Waits for a time, or for ever without one.
async fn elapsed(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The selector of an object's pods.
enum Selector {
    Labels(String),
    Name(String),
}

fn selector(id: &ObjectId, live: &Value) -> Option<Selector> {
    if id.is("", "Pod") {
        return Some(Selector::Name(id.name.clone()));
    }
    let selector = &live["spec"]["selector"];
    let labels = selector["matchLabels"].as_object();
    let labels = labels.into_iter().flatten().filter_map(|(name, value)| {
        let value = value.as_str()?;
        Some(format!("{name}={value}"))
    });
    let expressions = selector["matchExpressions"].as_array();
    let expressions = expressions.into_iter().flatten().filter_map(requirement);
    let all: Vec<String> = labels.chain(expressions).collect();
    (!all.is_empty()).then(|| Selector::Labels(all.join(",")))
}

/// Narrows the query for the pods of a Deployment to those of one of its sets: the previous set may have many.
fn labels_of(set: &Value, labels: String) -> String {
    match set["metadata"]["labels"][TEMPLATE_HASH].as_str() {
        Some(hash) => format!("{labels},{TEMPLATE_HASH}={hash}"),
        None => labels,
    }
}

/// Writes one requirement as the query of a list.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>
fn requirement(expression: &Value) -> Option<String> {
    let key = expression["key"].as_str()?;
    let values = expression["values"].as_array().into_iter().flatten();
    let values: Vec<&str> = values.filter_map(Value::as_str).collect();
    let values = values.join(",");
    match expression["operator"].as_str()? {
        "In" => Some(format!("{key} in ({values})")),
        "NotIn" => Some(format!("{key} notin ({values})")),
        "Exists" => Some(key.to_owned()),
        "DoesNotExist" => Some(format!("!{key}")),
        _ => None,
    }
}

fn uid_of(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_its_controller_has_not_seen_yet_is_not_explained() {
        let deployment = |status: Value| json!({"apiVersion": "apps/v1", "metadata": {"generation": 2}, "status": status});
        assert!(!is_observed(&deployment(json!({}))));
        assert!(!is_observed(&deployment(json!({"observedGeneration": 1}))));
        assert!(is_observed(&deployment(json!({"observedGeneration": 2}))));
        assert!(is_observed(
            &json!({"apiVersion": "batch/v1", "metadata": {"generation": 2}})
        ));
    }

    #[test]
    fn only_the_pods_of_one_set_are_asked_for() {
        let of = |labels: Value| {
            let set = json!({"metadata": {"labels": labels}});
            labels_of(&set, "app=web".to_owned())
        };
        assert_eq!(
            of(json!({"app": "web", "pod-template-hash": "6f4d9b5c9d"})),
            "app=web,pod-template-hash=6f4d9b5c9d"
        );
        assert_eq!(of(json!({"app": "web"})), "app=web");
    }

    #[test]
    fn a_selector_is_written_as_a_query() {
        let id = |group: &str, kind: &str| ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        let labels =
            |spec: Value| match selector(&id("apps", "Deployment"), &json!({ "spec": spec })) {
                Some(Selector::Labels(labels)) => labels,
                Some(Selector::Name(name)) => panic!("{name}"),
                None => "none".to_owned(),
            };
        assert_eq!(
            labels(
                json!({"selector": {"matchLabels": {"app": "web"}, "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "canary", "operator": "DoesNotExist"}]}})
            ),
            "app=web,tier in (a,b),!canary"
        );
        // Without a selector, every pod of the namespace would count as its own.
        assert_eq!(labels(json!({"selector": {}})), "none");
        assert!(Workload::of(&id("", "Pod")).is_some());
        assert!(
            Workload::of(&id("apps", "Deployment"))
                .unwrap()
                .by_replica_sets
        );
        assert!(Workload::of(&id("example.com", "Deployment")).is_none());
    }
}
