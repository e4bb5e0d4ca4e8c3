//! What leaves git leaves the cluster, but not by accident.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pintle_harness::{AGENT_NAMESPACE, Fault, Proxy, until};
use serde_json::Value;

use crate::desk::Desk;
use crate::hooks::hook;
use crate::world::{LIMIT, Stage, condition, config_map, world};

const NAMES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

fn six(stage: &Stage, spec: &str) -> Result<()> {
    for name in NAMES {
        stage
            .repository
            .write(&format!("{name}.yaml"), config_map(name, "1"))?;
    }
    stage.deploy_with("six", "", spec, &[]).map(drop)
}

#[test]
fn what_leaves_git_is_pruned_and_too_much_waits_for_a_confirmation() -> Result<()> {
    let stage = Stage::new("prune")?;
    six(&stage, "")?;
    stage.repository.remove("one.yaml")?;
    let commit = stage.push("six", &[])?;
    stage.ready_at("six", &commit)?;
    assert!(
        stage.find("ConfigMap", "one")?.is_none(),
        "pruned before Ready"
    );
    assert_eq!(stage.names("ConfigMap", "six")?.len(), 5);

    let mark = stage.mark()?;
    for name in &NAMES[1..5] {
        stage.repository.remove(&format!("{name}.yaml"))?;
    }
    let commit = stage.push("six", &[("six.yaml", &config_map("six", "2"))])?;
    let stalled = stage.condition("six", "Stalled", "PruneRefused")?;
    assert_eq!(stage.writes_since(mark)?, BTreeMap::new());
    assert_eq!(stage.names("ConfigMap", "six")?.len(), 5);

    let message = stalled["message"].as_str().unwrap_or_default();
    let confirmation = message
        .split_whitespace()
        .find(|word| word.starts_with("pintle.dev/confirm-prune="))
        .with_context(|| format!("the message says how to confirm: {message}"))?;
    for name in &NAMES[1..5] {
        let object = format!("ConfigMap {}/{name}", stage.namespace);
        assert!(message.lines().any(|line| line == object), "{message}");
    }
    stage.annotate("six", confirmation)?;
    stage.ready_at("six", &commit)?;
    assert_eq!(stage.names("ConfigMap", "six")?, ["six".to_owned()].into());
    assert_eq!(stage.object("ConfigMap", "six")?["data"]["value"], "2");
    Ok(())
}

/// Writes another value into a `ConfigMap`, as somebody else.
fn change(stage: &Stage, name: &str) -> Result<()> {
    let patch = r#"{"data":{"value":"theirs"}}"#;
    stage.kubectl(&["patch", "configmap", name, "--type=merge", "-p", patch])?;
    Ok(())
}

/// Removes an object from git that is to stay in the cluster, then changes it as somebody else, and deletes it.
fn let_be(stage: &Stage, spec: &str, kept: &str) -> Result<()> {
    let rest = config_map("rest", "1");
    let files = [("kept.yaml", kept), ("rest.yaml", rest.as_str())];
    stage.deploy_with("shop", "", spec, &files)?;
    stage.repository.remove("kept.yaml")?;
    let commit = stage.push("shop", &[])?;
    stage.ready_at("shop", &commit)?;
    let ready = condition(&stage.object("Application", "shop")?, "Ready");
    let message = ready["message"].as_str().unwrap_or_default();
    let told = "1 objects are healthy, 1 more stay although they left git";
    assert!(message.ends_with(told), "{message}");
    let object = format!("ConfigMap {}/kept", stage.namespace);
    let lines = stage.logged()?;
    let has_reason = |line: &Value| line["object"] == object.as_str() && line["reason"].is_string();
    assert!(lines.iter().any(has_reason), "{lines:?}");

    let runs = stage.agent.metric("pintle_runs_total")?;
    change(stage, "kept")?;
    change(stage, "rest")?;
    stage.has_value("rest", "1")?;
    // Runs without any effect would go on and on.
    std::thread::sleep(Duration::from_secs(2));
    let more = stage.agent.metric("pintle_runs_total")? - runs;
    assert!(more < 5.0, "{more} runs");
    let value = &stage.object("ConfigMap", "kept")?["data"]["value"];
    assert_eq!(value, "theirs");
    let status = &stage.object("Application", "shop")?["status"];
    assert!(status["drift"].is_null(), "{status}");

    stage.kubectl(&["delete", "configmap", "kept"])?;
    until("it is forgotten", LIMIT, || {
        let application = stage.object("Application", "shop")?;
        let entries = &application["status"]["inventory"]["entries"];
        let is_so = entries.as_array().is_some_and(|all| all.len() == 1);
        Ok(if is_so {
            Ok(())
        } else {
            Err(entries.to_string())
        })
    })?;
    stage.ready_at("shop", &commit)?;
    assert!(stage.find("ConfigMap", "kept")?.is_none());
    let events = stage.events("shop")?;
    let is_told = events.iter().any(|(_, note)| note.contains("/kept"));
    assert!(!is_told, "{events:?}");
    Ok(())
}

#[test]
fn what_left_git_and_asks_to_stay_is_let_be_until_it_is_gone() -> Result<()> {
    let stage = Stage::new("leftover")?;
    let kept = config_map("kept", "1");
    let asking = "name: kept, annotations: {helm.sh/resource-policy: keep}";
    let_be(&stage, "", &kept.replace("name: kept", asking))
}

#[test]
fn what_left_git_is_let_be_where_nothing_is_pruned() -> Result<()> {
    let stage = Stage::new("unpruned")?;
    let_be(&stage, "prune: {enabled: false}", &config_map("kept", "1"))
}

#[test]
fn a_deleted_application_takes_its_objects_along() -> Result<()> {
    let stage = Stage::new("delete")?;
    six(&stage, "")?;
    stage.kubectl(&["delete", "application", "six", "--timeout=120s"])?;
    assert_eq!(stage.names("ConfigMap", "six")?, [].into());
    Ok(())
}

#[test]
fn an_orphaning_application_leaves_its_objects() -> Result<()> {
    let stage = Stage::new("orphan")?;
    six(&stage, "deletionPolicy: Orphan")?;
    let_go(&stage, "the application's `deletionPolicy` is `Orphan`")
}

#[test]
fn a_suspended_application_leaves_its_objects_and_runs_no_hook() -> Result<()> {
    let stage = Stage::new("asleep")?;
    let save = hook("save", "pre-delete", "");
    stage.repository.write("save.yaml", save)?;
    six(&stage, "deletionPolicy: Delete")?;
    stage.patch("six", r#"{"spec": {"suspend": true}}"#)?;
    let_go(&stage, "the application is suspended")?;
    assert!(stage.find("Job", "save")?.is_none());
    let secret = format!("pintle-hooks.{}.six", stage.namespace);
    let kept = ["-n", AGENT_NAMESPACE, "get", "secret", &secret];
    let plane = stage.world.control_plane;
    assert!(plane.kubectl(&kept).is_err(), "nobody runs it any more");
    Ok(())
}

#[test]
fn an_application_that_prunes_nothing_leaves_its_objects() -> Result<()> {
    let stage = Stage::new("unpruned-end")?;
    six(&stage, "prune: {enabled: false}")?;
    let_go(&stage, "pruning is off for the application")
}

/// Deletes an Application whose objects stay, and checks that this is reported with the reason.
fn let_go(stage: &Stage, why: &str) -> Result<()> {
    stage.kubectl(&["delete", "application", "six", "--timeout=120s"])?;
    for name in NAMES {
        assert_eq!(stage.object("ConfigMap", name)?["data"]["value"], "1");
    }
    until("an Event says why they stay", LIMIT, || {
        let events = stage.events("six")?;
        let is_told =
            |(reason, note): &(String, String)| reason == "Removed" && note.ends_with(why);
        Ok(if events.iter().any(is_told) {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        })
    })?;
    let lines = stage.logged()?;
    for name in NAMES {
        let object = format!("ConfigMap {}/{name}", stage.namespace);
        let is_told = |line: &Value| line["object"] == object.as_str() && line["reason"] == why;
        assert!(lines.iter().any(is_told), "{object}: {lines:?}");
    }
    Ok(())
}

#[test]
fn a_dismissal_that_ended_before_its_inventory_went_is_gone_on_with() -> Result<()> {
    let desk = Desk::new("halfway")?;
    desk.repository
        .push_files(&[("settings.yaml", &config_map("settings", "1"))], "first")?;
    desk.pintle(&["converge", ".", "--name", "shop"], 0)?;
    let plane = world().control_plane;
    let proxy = Proxy::before_api_server(plane)?;
    let account = plane.service_account_kubeconfig(&desk.namespace, "deployer")?;
    let kubeconfig = proxy.kubeconfig(&account)?;
    let dismiss = || -> Result<String> {
        let mut command = desk.command(&["dismiss", "shop"])?;
        let output = command.env("KUBECONFIG", &kubeconfig).output()?;
        assert_eq!(output.status.code(), Some(1));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let left = || desk.kubectl(&["get", "configmap,secret", "-o", "name"]);
    let refuse = |method: &str, part: &str| {
        proxy.inject(Fault::on(method, part).status(403, "Forbidden", "not you"));
    };
    refuse("DELETE", "/configmaps/pintle-inventory.shop");
    let said = dismiss()?;
    assert!(said.contains("not you"), "{said}");
    let kept = left()?;
    assert!(kept.contains("pintle-inventory.shop"), "{kept}");
    assert!(!kept.contains("configmap/settings"), "{kept}");

    desk.pintle(&["dismiss", "shop"], 0)?;
    let left = left()?;
    assert!(!left.contains("shop"), "{left}");

    // A user who may not list inventories still gets the answer to what they asked.
    refuse("GET", "/configmaps?");
    let said = dismiss()?;
    assert!(said.contains("nothing was converged under"), "{said}");
    Ok(())
}

/// Returns a `ConfigMap` in another namespace than the application's.
fn config_map_in(namespace: &str, name: &str) -> String {
    let named = format!("name: {name}");
    let placed = format!("name: {name}, namespace: {namespace}");
    config_map(name, "1").replace(&named, &placed)
}

/// Gives a stage's account the permissions for another namespace.
pub(crate) fn admit(stage: &Stage, namespace: &str) -> Result<()> {
    stage.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: visitor, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}\n\
         subjects: [{{kind: ServiceAccount, name: deployer, namespace: {}}}]\n",
        stage.namespace
    ))
}

/// Takes the permissions for a namespace from a stage's account, and waits until it has none.
pub(crate) fn dismiss(stage: &Stage, namespace: &str, binding: &str) -> Result<()> {
    let plane = stage.world.control_plane;
    plane.kubectl(&["-n", namespace, "delete", "rolebinding", binding])?;
    let user = format!("--as=system:serviceaccount:{}:deployer", stage.namespace);
    until("the rights are gone", LIMIT, || {
        let may = ["auth", "can-i", "get", "configmaps", "-n", namespace, &user];
        Ok(match plane.kubectl(&may) {
            Ok(said) => Err(said),
            Err(_) => Ok(()),
        })
    })
}

#[test]
fn a_namespace_that_is_deleted_takes_its_applications_along() -> Result<()> {
    let stage = Stage::new("ending")?;
    let plane = stage.world.control_plane;
    let (near, far) = (
        plane.namespace("ending-near")?,
        plane.namespace("ending-far")?,
    );
    for namespace in [&near, &far] {
        admit(&stage, namespace)?;
    }
    let files = [
        ("own.yaml", config_map("own", "1")),
        ("near.yaml", config_map_in(&near, "near")),
        ("far.yaml", config_map_in(&far, "far")),
    ];
    for (file, text) in &files {
        stage.repository.write(file, text)?;
    }
    stage.deploy("leaving", &[])?;

    dismiss(&stage, &far, "visitor")?;
    plane.kubectl(&["delete", "namespace", &stage.namespace, "--wait=false"])?;
    until("the namespace is gone", LIMIT, || {
        let args = [
            "get",
            "namespace",
            &stage.namespace,
            "--ignore-not-found",
            "-o",
            "json",
        ];
        let found = plane.kubectl(&args)?;
        Ok(if found.trim().is_empty() {
            Ok(())
        } else {
            Err(found)
        })
    })?;
    let names =
        |namespace: &str| plane.kubectl(&["-n", namespace, "get", "configmaps", "-o", "name"]);
    assert!(!names(&near)?.contains("configmap/near"), "it was deleted");
    assert!(
        names(&far)?.contains("configmap/far"),
        "nobody may delete it"
    );
    let about = format!("{}/leaving went with its namespace", stage.namespace);
    let events = plane.kubectl(&[
        "-n",
        "default",
        "get",
        "events",
        "-o",
        "jsonpath={.items[*].message}",
    ])?;
    assert!(events.contains(&about), "{events}");
    assert!(events.contains(&format!("ConfigMap {far}/far")), "{events}");
    Ok(())
}

#[test]
fn a_removal_without_rights_names_the_way_out() -> Result<()> {
    let stage = Stage::new("rightless")?;
    six(&stage, "")?;
    dismiss(&stage, &stage.namespace, "deployer")?;
    stage.kubectl(&["delete", "application", "six", "--wait=false"])?;
    until("the way out is told", LIMIT, || {
        let ready = condition(&stage.object("Application", "six")?, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        let is_told =
            message.contains("may not do this") && message.contains("`deletionPolicy: Orphan`");
        Ok(if is_told {
            Ok(())
        } else {
            Err(ready.to_string())
        })
    })?;
    let patch = r#"{"spec":{"deletionPolicy":"Orphan"}}"#;
    stage.patch("six", patch)?;
    until("the Application is gone", LIMIT, || {
        Ok(match stage.find("Application", "six")? {
            None => Ok(()),
            Some(found) => Err(found["status"]["conditions"].to_string()),
        })
    })?;
    for name in NAMES {
        assert_eq!(stage.object("ConfigMap", name)?["data"]["value"], "1");
    }
    Ok(())
}

/// Returns a kind that an operator installs, with the permissions of the stage's account for its objects.
fn operator(stage: &Stage) -> String {
    let group = format!("{}.example.com", stage.namespace);
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: gadgets.{group}}}\n\
         spec:\n  group: {group}\n  scope: Namespaced\n  names: {{kind: Gadget, plural: gadgets}}\n  versions:\n  \
         - name: v1\n    served: true\n    storage: true\n    schema: {{openAPIV3Schema: {{type: object}}}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: gadgets, namespace: {ns}}}\n\
         rules: [{{apiGroups: [{group}], resources: ['*'], verbs: ['*']}}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: gadgets, namespace: {ns}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: gadgets}}\n\
         subjects: [{{kind: ServiceAccount, name: deployer, namespace: {ns}}}]\n",
        ns = stage.namespace
    )
}

#[test]
fn an_application_goes_after_the_operator_of_its_kinds() -> Result<()> {
    let stage = Stage::new("operator")?;
    stage.apply(&operator(&stage))?;
    let definition = format!("crd/gadgets.{}.example.com", stage.namespace);
    let established = [
        "wait",
        &definition,
        "--for=condition=Established",
        "--timeout=60s",
    ];
    stage.kubectl(&established)?;
    let gadget = format!(
        "apiVersion: {}.example.com/v1\nkind: Gadget\nmetadata: {{name: g}}\n---\n{}",
        stage.namespace,
        config_map("beside", "1")
    );
    stage.deploy("gadgets", &[("all.yaml", &gadget)])?;

    // The operator is uninstalled with the permissions that it had brought. No tenant's account may read APIServices.
    stage.kubectl(&["delete", &definition])?;
    stage.kubectl(&["delete", "rolebinding,role", "gadgets"])?;
    stage.kubectl(&["delete", "application", "gadgets", "--timeout=120s"])?;
    assert!(stage.find("ConfigMap", "beside")?.is_none());
    Ok(())
}

/// How long the answer to the last request of a removal takes.
const LATE: Duration = Duration::from_secs(3);

#[test]
fn an_application_that_is_made_again_while_a_removal_ends_is_watched_as_any_other() -> Result<()> {
    let proxy = Proxy::before_api_server(world().control_plane)?;
    let stage = Stage::through("again", &proxy)?;
    six(&stage, "health: [{plugin: kubernetes}]")?;
    // The finalizer is removed by a request on the resource itself. The answer arrives when another Application of the same name
    // already exists.
    let finalizer = format!("/namespaces/{}/applications/six?", stage.namespace);
    proxy.inject(Fault::on("PATCH", &finalizer).times(1).pace(LATE));
    stage.kubectl(&["delete", "application", "six"])?;
    let removed = std::time::Instant::now();
    six(&stage, "health: [{plugin: kubernetes}]")?;
    std::thread::sleep((LATE + Duration::from_secs(1)).saturating_sub(removed.elapsed()));

    stage.kubectl(&["delete", "configmap", "one"])?;
    until("the ConfigMap is there again", LIMIT, || {
        Ok(stage
            .find("ConfigMap", "one")?
            .map(drop)
            .ok_or_else(|| "it is not".to_owned()))
    })
}

#[test]
fn a_removal_is_told_once_and_when_it_is_done() -> Result<()> {
    let proxy = Proxy::before_api_server(world().control_plane)?;
    let stage = Stage::through("once", &proxy)?;
    six(&stage, "")?;
    let finalizer = format!("/namespaces/{}/applications/six?", stage.namespace);
    let refusal = Fault::on("PATCH", &finalizer).status(403, "Forbidden", "not yet");
    proxy.inject(refusal.times(1));
    stage.kubectl(&["delete", "application", "six", "--timeout=120s"])?;
    let told = until("the removal is told", LIMIT, || {
        let mut events = stage.events("six")?;
        events.retain(|(reason, _)| reason == "Removed");
        Ok(if events.is_empty() {
            Err("it is not".to_owned())
        } else {
            Ok(events)
        })
    })?;
    assert_eq!(told.len(), 1, "{told:?}");
    let refused = proxy
        .seen()
        .into_iter()
        .filter(|request| request.uri.contains(&finalizer) && request.status == 403);
    assert_eq!(refused.count(), 1);
    Ok(())
}

/// How often the agent sends a request before it gives up.
const ATTEMPTS: usize = 6;

#[test]
fn what_a_status_without_an_answer_wrote_is_read_before_anything_is_made() -> Result<()> {
    let proxy = Proxy::before_api_server(world().control_plane)?;
    let stage = Stage::through("unanswered", &proxy)?;
    six(&stage, "")?;
    stage.patch("six", r#"{"spec":{"interval":"1s"}}"#)?;
    stage.request_and_wait("six")?;
    // From now on no watch reports the Application, and the inventory without `one` is written, but the answer is lost.
    let status = format!("/namespaces/{}/applications/six/status?", stage.namespace);
    proxy.inject(Fault::on("GET", "/applications?").refuse());
    proxy.inject(Fault::on("PATCH", &status).times(ATTEMPTS).lose_answer());
    proxy.cut_answers();
    proxy.forget();
    stage.repository.remove("one.yaml")?;
    stage.repository.push_files(&[], "without one")?;
    until("the inventory lists five", LIMIT, || {
        let objects = &stage.object("Application", "six")?["status"]["objects"];
        Ok((objects == 5)
            .then_some(())
            .ok_or_else(|| objects.to_string()))
    })?;
    stage
        .repository
        .push_files(&[("one.yaml", &config_map("one", "1"))], "with one")?;
    until("`one` is there again", LIMIT, || {
        let found = stage.find("ConfigMap", "one")?;
        Ok(found.map(drop).ok_or_else(|| "it is not".to_owned()))
    })?;

    let seen = proxy.seen();
    let listed = seen.iter().position(|request| {
        request.method == "PATCH" && request.uri.contains(&status) && request.status == 200
    });
    let made = seen.iter().position(|request| {
        request.method == "PATCH" && request.uri.contains("/configmaps/one?") && request.passed_on
    });
    assert!(
        listed.is_some() && listed < made,
        "listed at {listed:?}, made at {made:?}"
    );
    Ok(())
}
