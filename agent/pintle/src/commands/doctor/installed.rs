//! What is installed in the cluster: definitions, Applications and Plugins, and whether an agent has looked at them.

use pintle_cluster::{
    Application, Applications, Connection, Plugin, Plugins, Reader,
    crd::{self, Gap},
};
use pintle_core::{
    application::{ApplicationStatus, Condition, ConditionStatus},
    causes::chain,
};
use serde_json::Value;

use super::{Finding, Need, finding};

/// How many are named at most.
const NAMED: usize = 5;
const INSTALL: &str = "kubectl apply --server-side -f deploy/crds/";

/// Checks everything that may be read.
pub(super) async fn look(connection: &Connection, reader: &Reader) -> Vec<Finding> {
    let all = match Applications::applications(connection).list(None).await {
        Ok(all) => all,
        Err(error) => {
            let message = if error.is_not_found() {
                format!("the custom resources are not installed: {INSTALL}")
            } else {
                chain(&error)
            };
            return vec![finding("applications", Need::Optional, Err(message))];
        }
    };
    let mut findings: Vec<Finding> = definitions(reader).await.into_iter().collect();
    findings.push(finding("applications", Need::Optional, Ok(readiness(&all))));
    findings.extend(agent(&all).map(|result| finding("agent", Need::Optional, result)));
    findings.extend(plugins(connection).await);
    findings
}

/// Compares the definitions with those of this program. Returns `None` if they may not be read.
async fn definitions(reader: &Reader) -> Option<Finding> {
    const CHECK: &str = "definitions";
    let mut others = Vec::new();
    for own in crd::definitions() {
        let name = own["metadata"]["name"].as_str().unwrap_or_default();
        let (version, kind) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        match reader.get(version, kind, None, name).await {
            Ok(Some(installed)) => others.extend(other(&own, &installed)),
            Ok(None) => others.push(format!("there is no {name}: {INSTALL}")),
            Err(error) if error.is_forbidden() => return None,
            Err(error) => return Some(finding(CHECK, Need::Optional, Err(chain(&error)))),
        }
    }
    let result = if others.is_empty() {
        Ok("those of this program are installed".to_owned())
    } else {
        Err(others.join("; "))
    };
    Some(finding(CHECK, Need::Optional, result))
}

/// Describes how an installed definition differs from the one of this program.
fn other(own: &Value, installed: &Value) -> Option<String> {
    let kind = own["spec"]["names"]["kind"].as_str().unwrap_or_default();
    let gap = Gap::between(own, installed);
    if !gap.dropped.is_empty() {
        let dropped = some(&gap.dropped);
        return Some(format!(
            "that of {kind} is of an earlier version, and the API server drops {dropped}: {INSTALL}"
        ));
    }
    if gap.unknown.is_empty() {
        return None;
    }
    let unknown = some(&gap.unknown);
    Some(format!(
        "that of {kind} is of a later version, and this program does not know {unknown}: take the program of that version"
    ))
}

/// Counts Applications, and names those that are not Ready.
fn readiness(all: &[Application]) -> String {
    let unready = |application: &Application| {
        let conditions = &application.status.as_ref().ok()?.conditions;
        let ready = unready(conditions)?;
        let name = application.application_name();
        Some(format!("{name} ({})", ready.reason))
    };
    let unready: Vec<String> = all.iter().filter_map(unready).collect();
    let count = format!("{} Applications can be read", all.len());
    if unready.is_empty() {
        return count;
    }
    let names = some(&unready);
    format!("{count}; not Ready: {names}: `pintle status`")
}

/// Checks whether an agent has handled all Applications that are to be worked on. Returns `None` if there are none.
fn agent(all: &[Application]) -> Option<Result<String, String>> {
    let is_wanted = |one: &&Application| one.spec.as_ref().map_or(true, |spec| !spec.suspend);
    let wanted: Vec<&Application> = all.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        return None;
    }
    let is_new = |status: &ApplicationStatus| status.conditions.is_empty();
    let new = wanted
        .iter()
        .filter(|one| one.status.as_ref().is_ok_and(is_new));
    let new: Vec<String> = new.map(|one| one.application_name().to_string()).collect();
    if new.is_empty() {
        return Some(Ok("it has come to all Applications".to_owned()));
    }
    let names = some(&new);
    Some(Err(format!(
        "none has come to {names} yet, or the source has not answered yet: does an agent run (kubectl get pods -n pintle-system), and watch that namespace?"
    )))
}

/// Checks the Plugins. Returns `None` if they may not be read, or there are none.
async fn plugins(connection: &Connection) -> Option<Finding> {
    let result = match Plugins::plugins(connection).list(None).await {
        Ok(all) if all.is_empty() => return None,
        Ok(all) => loaded(&all),
        Err(error) if error.is_forbidden() || error.is_not_found() => return None,
        Err(error) => Err(chain(&error)),
    };
    Some(finding("plugin resources", Need::Optional, result))
}

/// Describes which Plugins cannot be used, and why.
fn loaded(all: &[Plugin]) -> Result<String, String> {
    let broken = |plugin: &Plugin| {
        let why = match &plugin.status {
            Ok(status) => unready(&status.conditions)?.message.clone(),
            Err(error) => error.to_string(),
        };
        let why = why.lines().next().unwrap_or_default();
        Some(format!("{}: {why}", plugin.name))
    };
    let broken: Vec<String> = all.iter().filter_map(broken).collect();
    if broken.is_empty() {
        return Ok(format!("{} can be read, and none is broken", all.len()));
    }
    Err(some(&broken))
}

/// Returns the condition `Ready` if it is False.
fn unready(conditions: &[Condition]) -> Option<&Condition> {
    Condition::ready(conditions).filter(|ready| ready.status == ConditionStatus::False)
}

/// Lists the first names, and how many more there are.
fn some(names: &[String]) -> String {
    let (first, more) = names.split_at(names.len().min(NAMED));
    let first = first.join(", ");
    if more.is_empty() {
        first
    } else {
        format!("{first} and {} more", more.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn application(name: &str, suspend: bool, conditions: Value) -> Application {
        let source = json!({"git": {"url": "https://git.example.com/shop"}});
        Application::read(json!({
            "metadata": {"namespace": "shop", "name": name},
            "spec": {"source": source, "suspend": suspend},
            "status": {"conditions": conditions},
        }))
    }

    fn ready(status: &str) -> Value {
        json!([{
            "type": "Ready", "status": status, "reason": "SourceFailed", "message": "no answer\nat all", "lastTransitionTime": "t",
        }])
    }

    #[test]
    fn says_whose_definition_is_of_another_version_and_what_to_do() {
        let [own, _] = crd::definitions();
        assert_eq!(other(&own, &own), None);
        let mut later = own.clone();
        let schema = &mut later["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        schema["spec"]["properties"]["later"] = json!({"type": "string"});
        insta::assert_snapshot!(other(&later, &own).unwrap(), @"that of Application is of an earlier version, and the API server drops spec.later: kubectl apply --server-side -f deploy/crds/");
        insta::assert_snapshot!(other(&own, &later).unwrap(), @"that of Application is of a later version, and this program does not know spec.later: take the program of that version");
    }

    #[test]
    fn names_applications_that_are_not_ready_and_those_that_nobody_has_looked_at() {
        let done = application("done", false, ready("True"));
        let failed = application("failed", false, ready("False"));
        let new = application("new", false, json!([]));
        let resting = application("resting", true, json!([]));
        assert_eq!(agent(std::slice::from_ref(&resting)), None);
        let seen = [done, failed, resting];
        insta::assert_snapshot!(readiness(&seen), @"3 Applications can be read; not Ready: shop/failed (SourceFailed): `pintle status`");
        let told = agent(&seen).unwrap();
        assert_eq!(told, Ok("it has come to all Applications".to_owned()));
        let told = agent(&[new]).unwrap().unwrap_err();
        insta::assert_snapshot!(told, @"none has come to shop/new yet, or the source has not answered yet: does an agent run (kubectl get pods -n pintle-system), and watch that namespace?");
    }

    #[test]
    fn names_plugins_that_cannot_be_used() {
        let plugin = |name: &str, conditions: Value| {
            Plugin::read(json!({
                "metadata": {"name": name},
                "spec": {"image": "registry.example.com/plugins/web:1"},
                "status": {"conditions": conditions},
            }))
        };
        let fine = [plugin("fine", ready("True")), plugin("new", json!([]))];
        let told = loaded(&fine).unwrap();
        assert_eq!(told, "2 can be read, and none is broken");
        let broken: Vec<Plugin> = (0..7)
            .map(|number| plugin(&format!("p{number}"), ready("False")))
            .collect();
        let told = loaded(&broken).unwrap_err();
        insta::assert_snapshot!(told, @"p0: no answer, p1: no answer, p2: no answer, p3: no answer, p4: no answer and 2 more");
    }
}
