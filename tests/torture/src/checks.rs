//! What must hold after each schedule.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use pintle_harness::Proxied;
use serde_json::Value;

use crate::cluster::Namespace;
use crate::model::{Desired, History, Key, Kind, is_as, manifest};

/// Says what is not yet as git says, if anything.
pub(crate) fn not_converged(
    namespace: &Namespace<'_>,
    desired: &Desired,
    deleted: &BTreeSet<String>,
) -> Result<Option<String>> {
    for (application, objects) in &desired.applications {
        let resource = namespace.application(application)?;
        let is_deleted = deleted.contains(application);
        let wanted: BTreeSet<&Key> = if is_deleted {
            BTreeSet::new()
        } else {
            objects.keys().collect()
        };
        let seen = match &resource {
            Some(resource) => format!(
                "{}, {}",
                resource["metadata"]["generation"], resource["status"]
            ),
            None => "it does not exist".to_owned(),
        };
        let reason = match &resource {
            None if is_deleted => None,
            None => Some("it is gone".to_owned()),
            Some(_) if is_deleted => Some("it still exists".to_owned()),
            Some(resource) => not_ready(resource, &wanted),
        };
        let reason = match reason {
            Some(reason) => Some(reason),
            None => not_as_in_git(namespace, application, objects, &wanted)?,
        };
        if let Some(reason) = reason {
            return Ok(Some(format!(
                "Application {application}: {reason}; seen: {seen}"
            )));
        }
    }
    Ok(None)
}

/// Says what is wrong with how many shards each replica holds, if anything: all 128 are held, each by one of them.
pub(crate) fn held_once(shards: &[Option<u32>]) -> Result<(), String> {
    let held: u32 = shards.iter().flatten().sum();
    let all_answer = shards.iter().all(Option::is_some);
    if all_answer && held == 128 {
        Ok(())
    } else {
        Err(format!("{shards:?}"))
    }
}

/// Compares what an Application says of itself.
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

/// Compares the objects themselves.
fn not_as_in_git(
    namespace: &Namespace<'_>,
    application: &str,
    objects: &std::collections::BTreeMap<Key, u32>,
    wanted: &BTreeSet<&Key>,
) -> Result<Option<String>> {
    for kind in Kind::ALL {
        let live = namespace.labelled(kind, application)?;
        let name = |object: &Value| {
            object["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let found: BTreeSet<Key> = live
            .iter()
            .map(|object| Key {
                kind,
                name: name(object),
            })
            .collect();
        let expected: BTreeSet<Key> = wanted
            .iter()
            .filter(|key| key.kind == kind)
            .map(|key| (*key).clone())
            .collect();
        if found != expected {
            return Ok(Some(format!(
                "there are {found:?} where git has {expected:?}"
            )));
        }
        for object in &live {
            let key = Key {
                kind,
                name: name(object),
            };
            let Some(version) = objects.get(&key) else {
                continue;
            };
            if !is_as(object, &manifest(&key, *version)) {
                return Ok(Some(format!(
                    "{key} is {object} where git has version {version}"
                )));
            }
        }
    }
    Ok(None)
}

/// Objects that are nobody's: what they were when the schedule began.
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
        let path = request.uri.split('?').next().unwrap_or_default();
        if let Some(key) = object(path, namespace) {
            let explained = match request.method.as_str() {
                "DELETE" => history.explains_deletion(&key),
                _ => serde_json::from_slice(&request.body)
                    .is_ok_and(|written: Value| history.explains_write(&key, &written)),
            };
            ensure!(
                explained,
                "git never said what {} {} did: {}",
                request.method,
                request.uri,
                String::from_utf8_lossy(&request.body)
            );
        } else if !is_own(path, namespace, lane) {
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

/// Says whether a request has changed something. One without an answer may have, whatever its client heard.
pub(crate) fn may_have_written(request: &Proxied) -> bool {
    let refused = request.answered.is_some_and(|said| said.status >= 400);
    let is_write = request.method != "GET" && !request.uri.contains("dryRun=");
    is_write && request.passed_on && !refused
}

/// Checks that no run of a hook was begun twice: the agent gives each run a ticket, and a Job that is made again for a
/// ticket does its work again. An application that was deleted and made again begins to count anew.
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
        let path = request.uri.split('?').next().unwrap_or_default();
        let Some(key) = object(path, namespace).filter(|key| key.kind == Kind::Job) else {
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

/// Reads of which object of the schedule's namespace a path is.
pub(crate) fn object(path: &str, namespace: &str) -> Option<Key> {
    let (_, rest) = path.split_once(&format!("/namespaces/{namespace}/"))?;
    let (plural, name) = rest.split_once('/')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural)?;
    let name = name.to_owned();
    Some(Key { kind, name })
}

/// Says whether a path is of what the agent writes on its own behalf.
fn is_own(path: &str, namespace: &str, lane: &str) -> bool {
    let applications = format!("/apis/pintle.dev/v1alpha1/namespaces/{namespace}/applications/");
    let events = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    path.starts_with(&applications)
        || path.starts_with(&events)
        || path.starts_with("/apis/pintle.dev/v1alpha1/plugins/")
        || path.contains(&format!("/namespaces/{lane}/leases"))
        || path.contains(&format!("/namespaces/{lane}/secrets"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
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

    /// Is a request whose client never heard what the server said.
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
