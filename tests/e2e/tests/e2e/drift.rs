//! What others change: repaired, only reported, left to them, or fought over.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Result;
use pintle_harness::until;
use serde_json::Value;

use crate::desk::as_administrator;
use crate::world::{LIMIT, Stage, condition, config_map, deployment};

const IMAGE: &str = "registry.k8s.io/pause:3.9";
const OTHER_IMAGE: &str = "registry.k8s.io/pause:3.10";

fn edit(stage: &Stage, manager: &str, value: &str) -> Result<String> {
    let manager = format!("--field-manager={manager}");
    let patch = format!(r#"{{"data":{{"value":"{value}"}}}}"#);
    stage.kubectl(&[
        "patch",
        "configmap",
        "settings",
        "--type=merge",
        &manager,
        "-p",
        &patch,
    ])
}

fn value(stage: &Stage) -> Result<Value> {
    Ok(stage.object("ConfigMap", "settings")?["data"]["value"].clone())
}

/// Waits until there is an Event about the shop with this reason, and with this part in its message.
pub(crate) fn event(stage: &Stage, reason: &str, part: &str) -> Result<()> {
    until(&format!("{reason} is told with: {part}"), LIMIT, || {
        let events = stage.events("shop")?;
        let is_told = events
            .iter()
            .any(|(found, note)| found == reason && note.contains(part));
        Ok(if is_told {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        })
    })
}

#[test]
fn what_is_only_reported_stays_until_somebody_asks() -> Result<()> {
    let stage = Stage::new("report")?;
    let files = [
        ("deploy/settings.yaml", config_map("settings", "EUR")),
        ("deploy/other.yaml", config_map("other", "1")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    stage.deploy_with("shop", "deploy", "drift: {mode: report}", &files)?;
    let mark = stage.mark()?;
    edit(&stage, "eve", "USD")?;
    let drifted = stage.condition("shop", "Drifted", "Reported")?;
    let object = format!("ConfigMap {}/settings", stage.namespace);
    assert_eq!(
        drifted["message"],
        format!("{object}: /data/value changed by eve")
    );
    let application = stage.object("Application", "shop")?;
    assert_eq!(condition(&application, "Ready")["status"], "True");
    let drift = &application["status"]["drift"][0];
    assert_eq!(drift["fields"][0], "/data/value");
    assert_eq!(drift["managers"][0], "eve");
    assert!(drift["changedAt"].is_string(), "{drift}");
    event(&stage, "DriftDetected", "was changed by eve of /data/value")?;

    // A commit does not touch what it does not change.
    stage.patch("shop", r#"{"spec":{"interval":"2s"}}"#)?;
    let files = [("deploy/other.yaml", config_map("other", "2"))];
    let commit = stage
        .repository
        .push_files(&[(files[0].0, &files[0].1)], "another")?;
    stage.ready_at("shop", &commit)?;
    assert_eq!(value(&stage)?, "USD");
    assert_eq!(
        stage.writes_since(mark)?,
        [("patch configmaps/other".to_owned(), 1)].into()
    );

    stage.request_and_wait("shop")?;
    assert_eq!(value(&stage)?, "EUR");
    until("the drift is no longer told", LIMIT, || {
        let status = &stage.object("Application", "shop")?["status"];
        let is_told =
            !status["drift"].is_null() || status["conditions"].to_string().contains("Drifted");
        Ok(if is_told {
            Err(status.to_string())
        } else {
            Ok(())
        })
    })
}

#[test]
fn who_asks_gets_repairs_also_together_with_a_new_commit() -> Result<()> {
    let stage = Stage::new("reportnew")?;
    let (settings, other) = (config_map("settings", "EUR"), config_map("other", "1"));
    let files = [
        ("deploy/settings.yaml", settings.as_str()),
        ("deploy/other.yaml", &other),
    ];
    stage.deploy_with("shop", "deploy", "drift: {mode: report}", &files)?;
    edit(&stage, "eve", "USD")?;
    stage.condition("shop", "Drifted", "Reported")?;

    // The commit is found only because of the request: a run starts for the commit, and is replaced by another one for the
    // request.
    let other = config_map("other", "2");
    let commit = stage.push("shop", &[("deploy/other.yaml", &other)])?;
    stage.has_value("settings", "EUR")?;
    stage.ready_at("shop", &commit)?;
    stage.has_value("other", "2")?;

    // The request was for one repair only.
    edit(&stage, "eve", "GBP")?;
    stage.condition("shop", "Drifted", "Reported")?;
    assert_eq!(value(&stage)?, "GBP");
    Ok(())
}

#[test]
fn a_deletion_that_is_only_reported_is_no_failure() -> Result<()> {
    let stage = Stage::new("reportgone")?;
    let files = [("deploy/settings.yaml", &*config_map("settings", "EUR"))];
    let commit = stage.deploy_with("shop", "deploy", "drift: {mode: report}", &files)?;
    stage.kubectl(&["delete", "configmap", "settings"])?;
    let drifted = stage.condition("shop", "Drifted", "Reported")?;
    let object = format!("ConfigMap {}/settings", stage.namespace);
    assert_eq!(drifted["message"], format!("{object}: deleted"));
    stage.ready_at("shop", &commit)?;
    let status = as_administrator(&["status", "shop", "-n", &stage.namespace], 0)?;
    let lists = |how: &str| status.contains(&format!("{object}  {how}"));
    assert!(lists("deleted") && !lists("healthy"), "{status}");
    stage.request_and_wait("shop")?;
    assert_eq!(value(&stage)?, "EUR");
    Ok(())
}

#[test]
fn a_label_that_is_removed_is_reported_as_what_it_is_and_is_no_failure() -> Result<()> {
    let stage = Stage::new("reportlabel")?;
    let files = [("deploy/settings.yaml", &*config_map("settings", "EUR"))];
    let commit = stage.deploy_with("shop", "deploy", "drift: {mode: report}", &files)?;
    stage.kubectl(&["label", "configmap", "settings", "pintle.dev/application-"])?;
    let drifted = stage.condition("shop", "Drifted", "Reported")?;
    let field = "/metadata/labels/pintle.dev~1application";
    let message = drifted["message"].to_string();
    assert!(message.contains(field), "{message}");
    let drift = &stage.object("Application", "shop")?["status"]["drift"][0];
    assert_eq!(drift["fields"][0], field);
    assert_ne!(drift["deleted"], true, "{drift}");
    event(&stage, "DriftDetected", field)?;
    stage.ready_at("shop", &commit)?;
    stage.request_and_wait("shop")?;
    let settings = stage.object("ConfigMap", "settings")?;
    let label = &settings["metadata"]["labels"]["pintle.dev/application"];
    assert_eq!(*label, format!("{}.shop", stage.namespace));
    Ok(())
}

#[test]
fn what_an_autoscaler_writes_is_left_to_it() -> Result<()> {
    let stage = Stage::new("ignore")?;
    let web = deployment("web", 2, IMAGE);
    let rule = "drift: {ignore: [{group: apps, kind: Deployment, pointers: [/spec/replicas]}]}";
    stage.deploy_with("shop", "deploy", rule, &[("deploy/web.yaml", &web)])?;
    let mark = stage.mark()?;
    stage.kubectl(&["scale", "deployment/web", "--replicas=5"])?;
    stage.request_and_wait("shop")?;
    assert_eq!(stage.writes_since(mark)?, [].into());

    // Another field changes, and the source has another number of replicas: the autoscaler's number stays.
    let web = deployment("web", 3, OTHER_IMAGE);
    let commit = stage.push("shop", &[("deploy/web.yaml", &web)])?;
    stage.ready_at("shop", &commit)?;
    let live = stage.object("Deployment", "web")?;
    assert_eq!(live["spec"]["replicas"], 5);
    assert_eq!(
        live["spec"]["template"]["spec"]["containers"][0]["image"],
        OTHER_IMAGE
    );

    // Drift in the other fields is still repaired.
    stage.kubectl(&[
        "set",
        "image",
        "deployment/web",
        "main=registry.k8s.io/pause:0",
    ])?;
    event(
        &stage,
        "DriftRepaired",
        "/spec/template/spec/containers/[name=main]/image",
    )?;
    let live = stage.object("Deployment", "web")?;
    assert_eq!(live["spec"]["replicas"], 5);
    let told = stage.events("shop")?;
    assert!(
        !told.iter().any(|(_, note)| note.contains("replicas")),
        "{told:?}"
    );
    Ok(())
}

#[test]
fn a_repair_that_keeps_being_undone_is_called_a_fight_and_ends_by_itself() -> Result<()> {
    let stage = Stage::new("fight")?;
    let settings = config_map("settings", "EUR");
    stage.deploy_with("shop", "deploy", "", &[("deploy/settings.yaml", &settings)])?;
    let stop = AtomicBool::new(false);
    let fighting = || -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            if value(&stage)? == "EUR" {
                edit(&stage, "eve", "USD")?;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<()> {
        let eve = scope.spawn(fighting);
        let fight = stage.condition("shop", "Drifted", "Fight");
        stop.store(true, Ordering::Relaxed);
        eve.join().expect("she does not panic")?;
        let message = fight?["message"].to_string();
        assert!(
            message.contains("/data/value changed by eve; put right 3 times in a row"),
            "{message}"
        );
        Ok(())
    })?;
    let both = format!(
        "eve and pintle/{}/shop undo each other's changes of /data/value",
        stage.namespace
    );
    event(&stage, "DriftFight", &both)?;
    let status = &stage.object("Application", "shop")?["status"];
    assert!(
        status["drift"][0]["fight"]["nextRepair"].is_string(),
        "{status}"
    );
    until("it is put right in the end", LIMIT, || {
        let value = value(&stage)?;
        Ok(if value == "EUR" {
            Ok(())
        } else {
            Err(value.to_string())
        })
    })?;
    until("the fight is over", 2 * LIMIT, || {
        let status = &stage.object("Application", "shop")?["status"];
        Ok(if status["drift"].is_null() {
            Ok(())
        } else {
            Err(status.to_string())
        })
    })?;
    event(&stage, "DriftFightEnded", "holds now")
}
