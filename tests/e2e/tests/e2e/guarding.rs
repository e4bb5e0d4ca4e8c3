//! What runs is guarded against drift, whatever is wrong with a newer revision.

use std::fs;

use anyhow::Result;
use pintle_harness::until;
use serde_json::Value;

use crate::charts::Database;
use crate::drift::event;
use crate::removing::{admit, dismiss};
use crate::world::{LIMIT, Stage, condition, config_map, deployment};

fn made_again(stage: &Stage) -> Result<()> {
    until("the ConfigMap is there again", LIMIT, || {
        let found = stage.find("ConfigMap", "settings")?;
        Ok(found.map(drop).ok_or_else(|| "it is not".to_owned()))
    })?;
    assert_eq!(
        stage.object("ConfigMap", "settings")?["data"]["value"],
        "EUR"
    );
    event(
        stage,
        "DriftRepaired",
        "had been deleted and was made again",
    )
}

fn status(stage: &Stage) -> Result<Value> {
    Ok(stage.object("Application", "shop")?["status"].clone())
}

fn web(tag: &str) -> String {
    deployment("web", 1, &format!("registry.k8s.io/pause:{tag}"))
}

/// Deploys an application at a commit that works.
fn good(stage: &Stage, spec: &str) -> Result<String> {
    let (web, settings) = (web("3.9"), config_map("settings", "EUR"));
    let files = [("web.yaml", &*web), ("settings.yaml", &settings)];
    stage.deploy_with("shop", "", spec, &files)
}

/// Deploys an application at its first commit, and pushes a second one, which is refused.
fn shop(prefix: &str) -> Result<(Stage, [String; 2])> {
    let stage = Stage::new(prefix)?;
    let first = good(&stage, "policies: [{plugin: guardrails}]")?;
    // The other change in the refused commit is not made either.
    let files = [
        ("web.yaml", web("latest")),
        ("settings.yaml", config_map("settings", "USD")),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let refused = stage.push("shop", &files)?;
    stage.condition("shop", "Stalled", "PolicyDenied")?;
    Ok((stage, [first, refused]))
}

fn told_no_more(stage: &Stage) -> Result<()> {
    until("no drift is told", LIMIT, || {
        let drift = &status(stage)?["drift"];
        Ok(if drift.is_null() {
            Ok(())
        } else {
            Err(drift.to_string())
        })
    })
}

#[test]
fn what_drifts_is_put_right_while_the_source_does_not_answer() -> Result<()> {
    let stage = Stage::new("unanswering")?;
    let first = stage.deploy("shop", &[("settings.yaml", &config_map("settings", "EUR"))])?;

    let bare = stage.repository.bare();
    let away = bare.with_extension("away");
    fs::rename(bare, &away)?;
    stage.request_and_wait("shop")?;
    let told = stage.condition("shop", "Ready", "SourceFailed")?;
    assert_eq!(told["status"], "False");
    stage.kubectl(&["delete", "configmap", "settings"])?;
    made_again(&stage)?;
    let found = stage.object("Application", "shop")?;
    assert_eq!(condition(&found, "Ready"), told);
    assert_eq!(found["status"]["revision"], first.as_str());
    until("the history tells that it is healthy", LIMIT, || {
        let history = &status(&stage)?["history"];
        Ok(if history[0]["ending"] == "healthy" {
            Ok(())
        } else {
            Err(history.to_string())
        })
    })?;

    fs::rename(&away, bare)?;
    stage.request("shop")?;
    stage.ready_at("shop", &first)?;
    let second = stage.push("shop", &[("settings.yaml", &config_map("settings", "USD"))])?;
    stage.ready_at("shop", &second)
}

#[test]
fn what_was_applied_is_put_right_while_a_newer_commit_is_refused() -> Result<()> {
    let (stage, [first, refused]) = shop("guarded")?;
    let before = status(&stage)?;

    stage.kubectl(&["delete", "configmap", "settings"])?;
    made_again(&stage)?;
    let after = status(&stage)?;
    assert_eq!(after["conditions"], before["conditions"]);
    assert_eq!(after["history"], before["history"]);
    assert_eq!(after["revision"], first.as_str());
    assert_eq!(after["attemptedRevision"], refused.as_str());

    // The revision was applied for another spec than the current one, so its drift is no longer repaired, but still reported. The
    // changed rules make no difference to that.
    stage.patch("shop", r#"{"spec":{"drift":{"ignore":[{"group":"apps","kind":"Deployment","pointers":["/spec/replicas"]}]}}}"#)?;
    until("the new spec is looked at", LIMIT, || {
        let found = stage.object("Application", "shop")?;
        let is_seen = found["status"]["observedGeneration"] == found["metadata"]["generation"]
            && condition(&found, "Stalled")["reason"] == "PolicyDenied";
        Ok(if is_seen {
            Ok(())
        } else {
            Err(found["status"]["conditions"].to_string())
        })
    })?;
    delete_and_hear(&stage, "settings was deleted: left as it is")?;
    assert!(stage.find("ConfigMap", "settings")?.is_none());
    stage.condition("shop", "Ready", "PolicyDenied")?;

    let fix = stage.push("shop", &[("web.yaml", &web("3.10"))])?;
    stage.ready_at("shop", &fix)?;
    assert_eq!(
        stage.object("ConfigMap", "settings")?["data"]["value"],
        "USD"
    );
    assert_eq!(status(&stage)?["drift"], Value::Null);
    Ok(())
}

#[test]
fn what_was_applied_is_put_right_while_a_newer_commit_has_a_file_that_nobody_can_read() -> Result<()>
{
    let stage = Stage::new("unusable")?;
    let first = good(&stage, "")?;
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    stage.push("shop", &[("settings.yaml", pointer)])?;
    stage.condition("shop", "Stalled", "RenderFailed")?;

    stage.kubectl(&["delete", "configmap", "settings"])?;
    made_again(&stage)?;
    assert_eq!(status(&stage)?["revision"], first.as_str());
    let fix = stage.push("shop", &[("settings.yaml", &config_map("settings", "USD"))])?;
    stage.ready_at("shop", &fix)
}

/// Deletes an object, and waits until the deletion is reported, with the reason why it is not repaired.
fn delete_and_hear(stage: &Stage, why: &str) -> Result<()> {
    stage.kubectl(&["delete", "configmap", "settings"])?;
    let drifted = stage.condition("shop", "Drifted", "Reported")?;
    let object = format!("ConfigMap {}/settings", stage.namespace);
    assert_eq!(drifted["message"], format!("{object}: deleted"));
    event(stage, "DriftDetected", why)
}

#[test]
fn what_was_applied_is_put_right_while_a_newer_commit_is_tried_again() -> Result<()> {
    let stage = Stage::new("retried")?;
    let database = Database::of(&stage);
    let (chart, settings) = (
        "apiVersion: v2\nname: shop\nversion: 0.1.0\n",
        config_map("settings", "EUR"),
    );
    let files = [
        ("chart/Chart.yaml", chart),
        ("chart/templates/settings.yaml", settings.as_str()),
    ];
    let first = stage.deploy_with("shop", "chart", "", &files)?;
    let files = [
        ("chart/Chart.yaml", database.chart.as_str()),
        ("chart/Chart.lock", database.lock.as_str()),
    ];
    let second = stage.push("shop", &files)?;
    stage.condition("shop", "Ready", "RenderFailed")?;

    stage.kubectl(&["delete", "configmap", "settings"])?;
    made_again(&stage)?;
    let found = stage.object("Application", "shop")?;
    assert_eq!(condition(&found, "Ready")["reason"], "RenderFailed");
    assert_eq!(found["status"]["revision"], first.as_str());
    assert_eq!(found["status"]["attemptedRevision"], second.as_str());
    assert_eq!(found["status"]["history"][0]["revision"], second.as_str());

    database.publish()?;
    stage.request("shop")?;
    stage.ready_at("shop", &second)
}

#[test]
fn a_repair_that_the_api_server_refuses_is_told_and_tried_again() -> Result<()> {
    let (stage, _) = shop("unrepaired")?;
    dismiss(&stage, &stage.namespace, "deployer")?;
    delete_and_hear(&stage, "the repair is refused, and tried again")?;
    stage.condition("shop", "Ready", "PolicyDenied")?;

    admit(&stage, &stage.namespace)?;
    made_again(&stage)?;
    told_no_more(&stage)
}
