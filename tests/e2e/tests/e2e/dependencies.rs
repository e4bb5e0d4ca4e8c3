//! Applications that wait for others.

use anyhow::Result;
use pintle_harness::until;
use serde_json::Value;

use crate::rollouts::misbehaving;
use crate::world::{LIMIT, Stage, config_map, deployment};

const IMAGE: &str = "registry.k8s.io/pause:3.9";

fn waits_for(stage: &Stage, application: &str, text: &str) -> Result<()> {
    until(&format!("{application} waits: {text}"), LIMIT, || {
        let found = stage.object("Application", application)?;
        let ready = &found["status"]["conditions"][0];
        let waits = ready["reason"] == "DependencyNotReady";
        let says = ready["message"]
            .as_str()
            .is_some_and(|message| message.contains(text));
        Ok(if waits && says {
            Ok(())
        } else {
            Err(ready.to_string())
        })
    })
}

#[test]
fn an_application_waits_until_what_it_depends_on_is_ready() -> Result<()> {
    let stage = Stage::new("order")?;
    let namespace = stage.namespace.clone();
    let files = [
        ("db/db.yaml", misbehaving("db", "never-ready", "")),
        ("web/web.yaml", config_map("web", "1")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    stage.repository.push_files(&files, "first")?;
    stage.apply(&stage.application("web", "web", "dependsOn: [{name: db}]"))?;
    waits_for(
        &stage,
        "web",
        &format!("the application {namespace}/db does not exist"),
    )?;
    stage.apply(&stage.application("db", "db", ""))?;
    waits_for(
        &stage,
        "web",
        &format!("the application {namespace}/db is not Ready: it is on its way"),
    )?;
    assert_eq!(stage.find("ConfigMap", "web")?, None);

    let commit = stage.push("db", &[("db/db.yaml", &deployment("db", 1, IMAGE))])?;
    stage.ready_at("db", &commit)?;
    stage.ready_at("web", &commit)?;
    assert!(stage.find("ConfigMap", "web")?.is_some());

    // One commit for both: the one that is depended on goes first, however long it takes.
    let mark = stage.mark()?;
    let files = [
        ("db/db.yaml", deployment("db", 2, IMAGE)),
        ("web/web.yaml", config_map("web", "2")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let commit = stage.push("web", &files)?;
    stage.ready_at("web", &commit)?;
    let db = stage.object("Application", "db")?["status"].clone();
    assert_eq!(
        (&db["revision"], &db["conditions"][0]["status"]),
        (&commit.into(), &Value::from("True"))
    );
    let requests = stage.requests_since(mark)?;
    let written: Vec<&str> = requests
        .iter()
        .filter(|one| one.is_write())
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(written, ["db", "web"]);
    Ok(())
}

#[test]
fn those_that_wait_for_each_other_are_named() -> Result<()> {
    let stage = Stage::new("circle")?;
    let namespace = stage.namespace.clone();
    let commit = stage
        .repository
        .push_files(&[("a.yaml", &config_map("a", "1"))], "first")?;
    let both = stage.application("one", "", "dependsOn: [{name: two}]")
        + &stage.application(
            "two",
            "",
            &format!("dependsOn: [{{name: one, namespace: {namespace}}}]"),
        );
    stage.apply(&both)?;
    waits_for(
        &stage,
        "one",
        &format!("{namespace}/one → {namespace}/two → {namespace}/one"),
    )?;
    let stalled = stage.condition("two", "Stalled", "DependencyNotReady")?;
    assert_eq!(stalled["status"], "True");
    // A change of one of them is all it takes.
    stage.kubectl(&["delete", "application", "one"])?;
    waits_for(
        &stage,
        "two",
        &format!("the application {namespace}/one does not exist"),
    )?;
    stage.apply(&stage.application("two", "", ""))?;
    stage.ready_at("two", &commit)
}
