//! What must hold after each schedule.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use pintle_harness::Proxied;
use serde_json::Value;

use crate::cluster::Namespace;
use crate::model::{Desired, History, Key, Kind, is_as, manifest};

/// The label by which the agent knows an object.
pub(crate) const LABEL: &str = "pintle.dev/application";

/// Returns the first difference from git that is still left, if any.
pub(crate) fn not_converged(
    namespace: &Namespace<'_>,
    desired: &Desired,
    deleted: &BTreeSet<String>,
    bystanders: &Bystanders,
) -> Result<Option<String>> {
    let mut seen = BTreeMap::new();
    for (application, objects) in &desired.applications {
        let resource = namespace.application(application)?;
        let is_deleted = deleted.contains(application);
        let reason = match &resource {
            None if is_deleted => None,
            None => Some("it is gone".to_owned()),
            Some(_) if is_deleted => Some("it still exists".to_owned()),
            Some(resource) => not_ready(resource, &objects.keys().collect()),
        };
        let told = match &resource {
            Some(resource) => format!(
                "{}, {}",
                resource["metadata"]["generation"], resource["status"]
            ),
            None => "it does not exist".to_owned(),
        };
        if let Some(reason) = reason {
            return Ok(Some(format!(
                "Application {application}: {reason}; seen: {told}"
            )));
        }
        seen.insert(application, told);
    }
    let live = namespace.objects()?;
    let reason = not_as_in_git(&namespace.name, &live, desired, deleted, &bystanders.keys());
    Ok(reason.map(|reason| format!("{reason}; seen: {seen:?}")))
}

/// Returns an error unless all 128 shards are held, each by one replica.
pub(crate) fn held_once(shards: &[Option<u32>]) -> Result<(), String> {
    let held: u32 = shards.iter().flatten().sum();
    let all_answer = shards.iter().all(Option::is_some);
    if all_answer && held == 128 {
        Ok(())
    } else {
        Err(format!("{shards:?}"))
    }
}

/// Checks what an Application reports about itself.
fn not_ready(resource: &Value, wanted: &BTreeSet<&Key>) -> Option<String> {
    let status = &resource["status"];
    if status["observedGeneration"] != resource["metadata"]["generation"] {
        return Some("its status is about an older spec".to_owned());
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    if ready.next().is_none_or(|ready| ready["status"] != "True") {
        return Some("it is not Ready".to_owned());
    }
    let entries = status["inventory"]["entries"]
        .as_array()
        .into_iter()
        .flatten();
    let listed: BTreeSet<(&str, &str)> = entries
        .filter_map(|entry| Some((entry["kind"].as_str()?, entry["name"].as_str()?)))
        .collect();
    let wanted: BTreeSet<(&str, &str)> = wanted
        .iter()
        .map(|key| (key.kind.name(), key.name.as_str()))
        .collect();
    (listed != wanted).then(|| format!("its inventory lists {listed:?} where git has {wanted:?}"))
}

/// Compares all objects in a namespace with git: an object without its label counts as much as any other.
fn not_as_in_git(
    namespace: &str,
    live: &BTreeMap<Key, Value>,
    desired: &Desired,
    deleted: &BTreeSet<String>,
    bystanders: &BTreeSet<Key>,
) -> Option<String> {
    let mut left: BTreeSet<&Key> = live.keys().collect();
    for (application, objects) in &desired.applications {
        let label = format!("{namespace}.{application}");
        let found: BTreeSet<&Key> = live
            .iter()
            .filter(|(_, object)| object["metadata"]["labels"][LABEL] == label.as_str())
            .map(|(key, _)| key)
            .collect();
        let expected: BTreeSet<&Key> = if deleted.contains(application) {
            BTreeSet::new()
        } else {
            objects.keys().collect()
        };
        if found != expected {
            return Some(format!(
                "Application {application}: there are {found:?} where git has {expected:?}"
            ));
        }
        for key in expected {
            if let (Some(object), Some(version)) = (live.get(key), objects.get(key))
                && !is_as(object, &manifest(key, *version))
            {
                return Some(format!("{key} is {object} where git has version {version}"));
            }
            left.remove(key);
        }
    }
    left.retain(|key| !bystanders.contains(*key) && !is_of_namespace(key));
    (!left.is_empty()).then(|| format!("there are {left:?} where git has nothing"))
}

/// Returns whether an object is one of those that each namespace has from the start.
fn is_of_namespace(key: &Key) -> bool {
    match key.kind {
        Kind::ServiceAccount => key.name == "default" || key.name == "deployer",
        Kind::ConfigMap => key.name == "kube-root-ca.crt",
        _ => false,
    }
}

/// Objects that belong to no application, as they were when the schedule began.
pub(crate) struct Bystanders(Vec<(Key, Value)>);

impl Bystanders {
    pub(crate) fn remember(namespace: &Namespace<'_>, keys: &[Key]) -> Result<Self> {
        let keys = keys.iter().map(|key| {
            let object = namespace
                .get(key)?
                .with_context(|| format!("{key} is not there"))?;
            Ok((key.clone(), object["metadata"].clone()))
        });
        Ok(Self(keys.collect::<Result<_>>()?))
    }

    fn keys(&self) -> BTreeSet<Key> {
        self.0.iter().map(|(key, _)| key.clone()).collect()
    }

    pub(crate) fn are_untouched(&self, namespace: &Namespace<'_>) -> Result<()> {
        for (key, before) in &self.0 {
            let now = namespace.get(key)?.map(|object| object["metadata"].clone());
            let same = |field: &str| now.as_ref().is_some_and(|now| now[field] == before[field]);
            ensure!(
                same("uid") && same("resourceVersion"),
                "{key} belongs to no application and was touched: {before} became {now:?}"
            );
        }
        Ok(())
    }
}

/// Checks that git explains everything that reached the API server.
pub(crate) fn explained(
    requests: &[Proxied],
    namespace: &str,
    lane: &str,
    history: &History,
) -> Result<()> {
    for request in requests {
        if !may_have_written(request) {
            continue;
        }
        if let Some(key) = object(&request.uri, namespace) {
            let explained = match request.method.as_str() {
                "DELETE" => history.explains_deletion(&key),
                _ => serde_json::from_slice(&request.body).is_ok_and(|written: Value| {
                    history.explains_write(&key, &written) || hands_over(&written)
                }),
            };
            ensure!(
                explained,
                "git never said what {} {} did: {}",
                request.method,
                request.uri,
                String::from_utf8_lossy(&request.body)
            );
        } else if !is_own(&request.uri, namespace, lane) {
            bail!(
                "{} {} changes what no application has: {}",
                request.method,
                request.uri,
                String::from_utf8_lossy(&request.body)
            );
        }
    }
    Ok(())
}

/// Returns whether a write changes only the owners of an object's fields: an object that has moved is handed over before it is
/// written.
fn hands_over(written: &Value) -> bool {
    let names = |value: &Value| -> BTreeSet<String> {
        let map = value.as_object().into_iter().flatten();
        map.map(|(name, _)| name.clone()).collect()
    };
    let metadata = ["managedFields", "resourceVersion", "uid"].map(str::to_owned);
    names(written) == ["metadata".to_owned()].into()
        && names(&written["metadata"]) == metadata.into()
}

/// Returns whether a request has changed something. A request without an answer may have, whatever its client received.
pub(crate) fn may_have_written(request: &Proxied) -> bool {
    let refused = request.answered.is_some_and(|said| said.status >= 400);
    let is_write = request.method != "GET" && !request.uri.contains("dryRun=");
    is_write && request.passed_on && !refused
}

/// Checks that no run of a hook was started twice. The agent gives each run a ticket, and a Job that is created again for the
/// same ticket does its work again. An application that was deleted and created again starts counting anew.
pub(crate) fn hooks_ran_once(
    requests: &[Proxied],
    namespace: &str,
    history: &History,
) -> Result<()> {
    let mut begun = BTreeSet::new();
    let made = |request: &&Proxied| {
        let is_new = request.answered.is_some_and(|said| said.status == 201);
        is_new && may_have_written(request)
    };
    for request in requests.iter().filter(made) {
        let key = object(&request.uri, namespace);
        let Some(key) = key.filter(|key| key.kind == Kind::Job) else {
            continue;
        };
        let written: Value = serde_json::from_slice(&request.body).context("parse a Job")?;
        let ticket = &written["metadata"]["annotations"]["pintle.dev/hook-run"];
        let ticket = ticket
            .as_str()
            .with_context(|| format!("no ticket on {key}: {request:?}"))?;
        ensure!(
            history.is_dropped(&key) || begun.insert(ticket.to_owned()),
            "{key} was run twice for one release: {request:?}"
        );
    }
    Ok(())
}

/// Returns the object of the schedule's namespace that an address belongs to.
pub(crate) fn object(uri: &str, namespace: &str) -> Option<Key> {
    let path = uri.split('?').next()?;
    let (_, rest) = path.split_once(&format!("/namespaces/{namespace}/"))?;
    let (plural, name) = rest.split_once('/')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural)?;
    let name = name.to_owned();
    Some(Key { kind, name })
}

/// Returns whether an address belongs to something that the agent writes on its own behalf.
fn is_own(uri: &str, namespace: &str, lane: &str) -> bool {
    let applications = format!("/apis/pintle.dev/v1alpha1/namespaces/{namespace}/applications/");
    let events = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    uri.starts_with(&applications)
        || uri.starts_with(&events)
        || uri.starts_with("/apis/pintle.dev/v1alpha1/plugins/")
        || uri.contains(&format!("/namespaces/{lane}/leases"))
        || uri.contains(&format!("/namespaces/{lane}/secrets"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use pintle_harness::Answered;

    use super::*;
    use crate::model::hook;

    fn write(method: &str, path: &str, body: &Value) -> Proxied {
        let request = Proxied {
            method: method.to_owned(),
            uri: path.to_owned(),
            arrived: Instant::now(),
            status: 0,
            passed_on: true,
            answered: None,
            body: body.to_string().into_bytes().into(),
        };
        answered(200, request)
    }

    fn answered(status: u16, request: Proxied) -> Proxied {
        let at = Instant::now();
        Proxied {
            status,
            answered: Some(Answered { status, at }),
            ..request
        }
    }

    /// Returns a request whose client never received the server's answer.
    fn unheard(request: &Proxied) -> Proxied {
        Proxied {
            status: 0,
            ..request.clone()
        }
    }

    fn check(requests: &[Proxied]) -> Result<()> {
        let key = Key {
            kind: Kind::ConfigMap,
            name: "one".to_owned(),
        };
        let mut history = History::default();
        history.commit(&Desired {
            applications: BTreeMap::from([("a".to_owned(), BTreeMap::from([(key, 1)]))]),
        });
        explained(requests, "n", "lane", &history)
    }

    #[test]
    fn a_hook_that_ran_twice_for_a_release_is_found() {
        let run = |ticket: &str| {
            let path = "/apis/batch/v1/namespaces/n/jobs/a-hook?fieldManager=x";
            let body =
                serde_json::json!({"metadata": {"annotations": {"pintle.dev/hook-run": ticket}}});
            answered(201, write("PATCH", path, &body))
        };
        let mut history = History::default();
        let desired = |objects| Desired {
            applications: BTreeMap::from([("a".to_owned(), objects)]),
        };
        history.commit(&desired(BTreeMap::from([(hook("a"), 1)])));
        let check =
            |requests: &[Proxied], history: &History| hooks_ran_once(requests, "n", history);
        check(&[run("1"), run("2")], &history).unwrap();
        check(&[run("1"), run("1")], &history).unwrap_err();
        check(&[unheard(&run("1")), run("1")], &history).unwrap_err();
        let again = answered(200, run("1"));
        check(&[unheard(&run("1")), again], &history).unwrap();
        history.application_deleted(&desired(BTreeMap::from([(hook("a"), 1)])), "a");
        check(&[run("1"), run("1")], &history).unwrap();
    }

    #[test]
    fn what_is_left_is_found_without_its_label() {
        let key = |name: &str| Key {
            kind: Kind::ConfigMap,
            name: name.to_owned(),
        };
        let object = |name: &str, label: &str| {
            let mut object = manifest(&key(name), 1);
            object["metadata"]["labels"] = serde_json::json!({LABEL: label});
            (key(name), object)
        };
        let desired = Desired {
            applications: BTreeMap::from([("a".to_owned(), BTreeMap::from([(key("one"), 1)]))]),
        };
        let bystanders = BTreeSet::from([key("bystander")]);
        let nobody = ["bystander", "kube-root-ca.crt"].map(|name| object(name, ""));
        let check = |objects: &[(Key, Value)], deleted: &[&str]| {
            let live = objects.iter().chain(&nobody).cloned().collect();
            let deleted = deleted.iter().map(|name| (*name).to_owned()).collect();
            not_as_in_git("n", &live, &desired, &deleted, &bystanders)
        };
        let one = object("one", "n.a");
        assert_eq!(check(std::slice::from_ref(&one), &[]), None);
        assert_eq!(check(&[], &["a"]), None);
        for (objects, deleted) in [
            (vec![], vec![]),
            (vec![object("one", "")], vec![]),
            (vec![one.clone(), object("two", "n.a")], vec![]),
            (vec![one.clone(), object("two", "")], vec![]),
            (vec![one], vec!["a"]),
            (vec![object("one", "")], vec!["a"]),
        ] {
            assert!(check(&objects, &deleted).is_some(), "{objects:?}");
        }
    }

    #[test]
    fn what_git_never_said_is_found() {
        let path = "/api/v1/namespaces/n/configmaps/one";
        let said = serde_json::json!({"metadata": {"name": "one"}, "data": {"value": "version 1", "same": "always"}});
        let never = serde_json::json!({"data": {"value": "version 2", "same": "always"}});
        check(&[write("PATCH", path, &said)]).unwrap();
        check(&[write(
            "PATCH",
            "/apis/pintle.dev/v1alpha1/namespaces/n/applications/a/status",
            &said,
        )])
        .unwrap();
        for broken in [
            write("PATCH", path, &never),
            write("DELETE", path, &Value::Null),
            write("PATCH", "/api/v1/namespaces/n/configmaps/two", &said),
            write("PATCH", "/api/v1/namespaces/other/configmaps/one", &said),
            write("DELETE", "/api/v1/namespaces/n", &Value::Null),
        ] {
            let refused = answered(409, broken.clone());
            check(&[refused]).unwrap();
            let unanswered = Proxied {
                answered: None,
                ..unheard(&broken)
            };
            for broken in [unheard(&broken), unanswered, broken] {
                assert!(check(std::slice::from_ref(&broken)).is_err(), "{broken:?}");
            }
        }
    }
}
