//! What is in git gets into the cluster, and stays there as it is in git.

use std::collections::BTreeMap;

use anyhow::Result;
use pintle_harness::{Fault, Proxy, until};
use serde_json::Value;

use crate::releases::{allow_all, definition};
use crate::world::{LIMIT, Stage, config_map, deployment, service, world};

const IMAGE: &str = "registry.k8s.io/pause:3.9";

fn shop(stage: &Stage) -> Result<()> {
    let web = deployment("web", 2, IMAGE) + &service("web", 80);
    let files = [
        ("deploy/web.yaml", web.as_str()),
        ("deploy/settings.yaml", &config_map("settings", "EUR")),
    ];
    stage
        .deploy_with("shop", "deploy", "health: [{plugin: kubernetes}]", &files)
        .map(drop)
}

#[test]
fn a_label_without_a_text_is_written_once() -> Result<()> {
    let stage = Stage::new("nulls")?;
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n  \
                labels: {version: {{ .Chart.AppVersion }}, tier: web}\n  annotations: {note: ~}\ndata: {a: b}\n";
    let chart = "apiVersion: v2\nname: shop\nversion: 1.0.0\n";
    let files = [("Chart.yaml", chart), ("templates/settings.yaml", text)];
    stage.deploy("shop", &files)?;
    let metadata = stage.object("ConfigMap", "settings")?["metadata"].clone();
    assert_eq!(metadata["labels"]["tier"], "web", "{metadata}");
    let mark = stage.mark()?;
    stage.request_and_wait("shop")?;
    assert_eq!(stage.writes_since(mark)?, BTreeMap::new());
    Ok(())
}

#[test]
fn a_first_push_converges_and_then_nothing_is_written() -> Result<()> {
    let stage = Stage::new("first")?;
    shop(&stage)?;
    let web = stage.object("Deployment", "web")?;
    assert_eq!(
        web["status"]["availableReplicas"], 2,
        "Ready means available"
    );
    assert_eq!(
        stage.object("ConfigMap", "settings")?["data"]["value"],
        "EUR"
    );
    let application = stage.object("Application", "shop")?;
    assert_eq!(
        application["status"]["objects"], 4,
        "{}",
        application["status"]
    );

    let mark = stage.mark()?;
    stage.request_and_wait("shop")?;
    stage
        .repository
        .push_files(&[("README.md", "unrelated")], "a note")?;
    stage.request_and_wait("shop")?;
    assert_eq!(stage.writes_since(mark)?, BTreeMap::new());
    assert_eq!(
        stage.object("Deployment", "web")?["metadata"]["generation"],
        web["metadata"]["generation"],
    );

    // The application owns the fields, and all of them were written as the account.
    let owners = stage.object("ConfigMap", "settings")?["metadata"]["managedFields"].clone();
    assert_eq!(
        owners[0]["manager"],
        format!("pintle/{}/shop", stage.namespace)
    );
    Ok(())
}

#[test]
fn a_kind_that_comes_with_its_objects_is_not_waited_for_before_it_is_there() -> Result<()> {
    let proxy = Proxy::before_api_server(world().control_plane)?;
    let stage = Stage::through("comes", &proxy)?;
    allow_all(&stage)?;
    let group = format!("{}.example.com", stage.namespace);
    let widget = format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: w}}\n");
    let files = [
        ("definition.yaml", definition(&group)),
        ("widget.yaml", widget),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    stage.deploy("shop", &files)?;

    let first = |method: &str, part: &str, more: &str| {
        let is_it = |uri: &str| uri.contains(part) && uri.contains(more);
        let mut seen = proxy.seen().into_iter();
        seen.position(|one| one.method == method && is_it(&one.uri))
    };
    until("the kind is watched", LIMIT, || {
        let watched = first("GET", &format!("/apis/{group}/"), "watch=");
        let Some(watched) = watched else {
            return Ok(Err("it is not".to_owned()));
        };
        let made = first("PATCH", "/customresourcedefinitions/", &group);
        assert!(made.is_some_and(|made| made < watched), "{made:?}");
        Ok(Ok(()))
    })
}

#[test]
fn an_application_that_gets_another_source_follows_that_one() -> Result<()> {
    let stage = Stage::new("source")?;
    shop(&stage)?;
    stage.repository.branch("next")?;
    let settings = config_map("settings", "USD");
    let commit = stage
        .repository
        .push_files(&[("deploy/settings.yaml", &settings)], "another currency")?;
    let source = |branch: &str| {
        let patch = format!(r#"{{"spec": {{"source": {{"git": {{"branch": "{branch}"}}}}}}}}"#);
        stage.patch("shop", &patch)
    };
    // First a revision that does not exist, then one that does: neither is mistaken for what was fetched before.
    source("absent")?;
    stage.condition("shop", "Ready", "SourceFailed")?;
    source("next")?;
    stage.ready_at("shop", &commit)?;
    assert_eq!(
        stage.object("ConfigMap", "settings")?["data"]["value"],
        "USD"
    );
    Ok(())
}

#[test]
fn a_hand_edit_is_repaired() -> Result<()> {
    let stage = Stage::new("edit")?;
    shop(&stage)?;
    stage.kubectl(&["scale", "deployment/web", "--replicas=5"])?;
    until("the replicas are as in git", LIMIT, || {
        let replicas = &stage.object("Deployment", "web")?["spec"]["replicas"];
        Ok(if *replicas == 2 {
            Ok(())
        } else {
            Err(replicas.to_string())
        })
    })?;
    let object = format!("Deployment.apps {}/web", stage.namespace);
    repair_is_told(
        &stage,
        &format!("{object} was put right after a change by kubectl of /spec/replicas"),
    )
}

#[test]
fn a_deletion_is_repaired() -> Result<()> {
    let stage = Stage::new("deletion")?;
    shop(&stage)?;
    let before = stage.object("ConfigMap", "settings")?;
    stage.kubectl(&["delete", "configmap", "settings"])?;
    until("the ConfigMap is there again", LIMIT, || {
        let found = stage.find("ConfigMap", "settings")?;
        let is_new = |found: &Value| found["metadata"]["uid"] != before["metadata"]["uid"];
        Ok(if found.as_ref().is_some_and(is_new) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        })
    })?;
    let object = format!("ConfigMap {}/settings", stage.namespace);
    repair_is_told(
        &stage,
        &format!("{object} had been deleted and was made again"),
    )
}

fn repair_is_told(stage: &Stage, text: &str) -> Result<()> {
    until(&format!("an event tells: {text}"), LIMIT, || {
        let events = stage.events("shop")?;
        let told = events
            .iter()
            .any(|(reason, note)| reason == "DriftRepaired" && note == text);
        Ok(if told {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        })
    })
}

/// How often the agent sends a request before it gives up.
const ATTEMPTS: usize = 6;

#[test]
fn a_rollout_that_could_neither_be_done_nor_told_is_not_taken_for_done() -> Result<()> {
    let proxy = Proxy::before_api_server(world().control_plane)?;
    let stage = Stage::through("untold", &proxy)?;
    let files = [("shop/a.yaml", &*config_map("a", "1"))];
    stage.deploy_with("shop", "shop", "", &files)?;
    stage.patch("shop", r#"{"spec":{"interval":"1s"}}"#)?;
    stage.request_and_wait("shop")?;

    // Neither the object nor the status can be written, so the status keeps its old content.
    let status = format!("/namespaces/{}/applications/shop/status?", stage.namespace);
    let object = format!("/namespaces/{}/configmaps/a?", stage.namespace);
    for path in [&status, &object] {
        proxy.inject(Fault::on("PATCH", path).refuse());
    }
    proxy.forget();
    stage
        .repository
        .push_files(&[("shop/a.yaml", &config_map("a", "2"))], "second")?;
    until("two runs have given up", LIMIT, || {
        let seen = proxy.seen();
        let told = seen.iter().filter(|one| one.uri.contains(&status)).count();
        Ok((told >= 2 * ATTEMPTS)
            .then_some(())
            .ok_or_else(|| told.to_string()))
    })?;
    // The next commit changes nothing that the application reads, and arrives while the application waits for its next attempt.
    proxy.heal();
    stage
        .repository
        .push_files(&[("README.md", "unrelated")], "third")?;
    stage.has_value("a", "2")
}
