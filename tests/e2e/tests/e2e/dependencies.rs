//! Applications that wait for other applications.

use anyhow::Result;
use pintle_harness::until;
use serde_json::Value;

use crate::rollouts::misbehaving;
use crate::world::{LIMIT, Stage, condition, config_map, deployment};

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

    // One commit changes both: the dependency goes first, however long it takes.
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
    // A change to either application is enough to break the cycle.
    stage.kubectl(&["delete", "application", "one"])?;
    waits_for(
        &stage,
        "two",
        &format!("the application {namespace}/one does not exist"),
    )?;
    stage.apply(&stage.application("two", "", ""))?;
    stage.ready_at("two", &commit)
}

#[test]
fn a_commit_that_changes_nothing_of_an_application_is_no_reason_to_wait() -> Result<()> {
    let stage = Stage::new("apart")?;
    let names = ["db", "web", "third"];
    let files = names.map(|name| (format!("{name}/all.yaml"), config_map(name, "1")));
    let files = files
        .each_ref()
        .map(|(path, text)| (path.as_str(), text.as_str()));
    let commit = stage.repository.push_files(&files, "first")?;
    let depending = stage.application("web", "web", "dependsOn: [{name: db}]");
    let others = ["db", "third"].map(|name| stage.application(name, name, ""));
    stage.apply(&(depending + &others.concat()))?;
    for name in names {
        stage.ready_at(name, &commit)?;
    }
    let before = stage.object("Application", "web")?;

    let reused = "pintle_renders_total{outcome=\"reused\"}";
    let looks = stage.agent.metric(reused)?;
    let commit = stage.push("third", &[("third/all.yaml", &config_map("third", "2"))])?;
    stage.ready_at("third", &commit)?;
    until("both have looked at the commit", LIMIT, || {
        let more = stage.agent.metric(reused)? - looks;
        Ok(if more >= 2.0 {
            Ok(())
        } else {
            Err(format!("{more} have"))
        })
    })?;
    assert_eq!(stage.object("Application", "web")?, before);
    Ok(())
}

#[test]
fn what_runs_is_looked_after_whoever_is_not_ready() -> Result<()> {
    let mut stage = Stage::new("running")?;
    let files = [
        ("db/db.yaml", deployment("db", 1, IMAGE)),
        ("web/web.yaml", config_map("web", "1")),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let commit = stage.repository.push_files(&files, "first")?;
    let db = stage.application("db", "db", "");
    stage.apply(&(db + &stage.application("web", "web", "dependsOn: [{name: db}]")))?;
    stage.ready_at("web", &commit)?;

    stage.kubectl(&["create", "quota", "none", "--hard=pods=0"])?;
    stage.kubectl(&["delete", "pods", "--all"])?;
    until("db is not Ready", LIMIT, || {
        let ready = condition(&stage.object("Application", "db")?, "Ready");
        Ok(if ready["status"] == "True" {
            Err(ready.to_string())
        } else {
            Ok(())
        })
    })?;
    stage.agent.stop()?;
    stage.agent.start_again()?;
    stage.agent.wait_ready()?;
    let patch = r#"{"data":{"value":"theirs"}}"#;
    stage.kubectl(&["patch", "configmap", "web", "--type=merge", "-p", patch])?;
    stage.has_value("web", "1")?;
    stage.ready_at("web", &commit)?;
    let db = condition(&stage.object("Application", "db")?, "Ready");
    assert_ne!(db["status"], "True", "{db}");
    Ok(())
}
