//! What is written first, and what waits for what else.

use anyhow::Result;
use pintle_harness::until;

use crate::world::{LIMIT, Stage, config_map, deployment};

const IMAGE: &str = "registry.k8s.io/pause:3.9";

/// Returns a Job of the first wave, whose pod behaves as a label says.
fn gate(name: &str, pod: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations: {{pintle.dev/wave: '-1'}}\n\
         spec:\n  backoffLimit: 0\n  template:\n    metadata: {{labels: {{testing.pintle.dev/pod: '{pod}'}}}}\n    \
         spec: {{restartPolicy: Never, containers: [{{name: main, image: '{IMAGE}'}}]}}\n---\n"
    )
}

fn after(name: &str, annotation: &str) -> String {
    config_map(name, "1").replace(
        &format!("{{name: {name}}}"),
        &format!("{{name: {name}, annotations: {{{annotation}}}}}"),
    )
}

#[test]
fn a_wave_that_fails_holds_back_the_next_until_it_is_mended() -> Result<()> {
    let stage = Stage::new("waves")?;
    let broken = gate("gate", "failed") + &config_map("plain", "1");
    stage
        .repository
        .push_files(&[("deploy/all.yaml", &broken)], "broken")?;
    stage.apply(&stage.application("shop", "deploy", ""))?;
    let degraded = stage.condition("shop", "Ready", "Degraded")?;
    let message = degraded["message"].to_string();
    assert!(
        message.contains(&format!("Job.batch {}/gate", stage.namespace)),
        "{message}"
    );
    assert!(message.contains("waits until it is healthy"), "{message}");
    assert_eq!(stage.find("ConfigMap", "plain")?, None);
    let status = stage.object("Application", "shop")?["status"].clone();
    let problem = &status["problems"][0];
    let object = format!("Job.batch {}/gate", stage.namespace);
    assert_eq!(problem["object"], object, "{status}");
    assert!(problem["explanation"]["events"].is_array(), "{status}");

    let mended = gate("other", "") + &config_map("plain", "1");
    let commit = stage.push("shop", &[("deploy/all.yaml", &mended)])?;
    stage.ready_at("shop", &commit)?;
    assert!(stage.find("ConfigMap", "plain")?.is_some());
    until("what failed is gone", LIMIT, || {
        Ok(match stage.find("Job", "gate")? {
            None => Ok(()),
            Some(job) => Err(job["metadata"].to_string()),
        })
    })
}

#[test]
fn what_an_object_depends_on_is_healthy_before_it_is_written() -> Result<()> {
    let stage = Stage::new("depends")?;
    let all = deployment("web", 1, IMAGE) + &after("last", "pintle.dev/depends-on: Deployment/web");
    stage.deploy_with("shop", "deploy", "", &[("deploy/all.yaml", &all)])?;
    let web = stage.object("Deployment", "web")?;
    let conditions = web["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let available = conditions.iter().find(|one| one["type"] == "Available");
    let available = available.map(|one| one["lastTransitionTime"].to_string());
    let made = stage.object("ConfigMap", "last")?["metadata"]["creationTimestamp"].to_string();
    assert!(
        available.is_some_and(|available| available <= made),
        "{conditions:?}, {made}"
    );
    Ok(())
}

#[test]
fn objects_that_wait_for_each_other_are_refused_before_anything_is_written() -> Result<()> {
    let stage = Stage::new("circle")?;
    let all = after("one", "pintle.dev/depends-on: ConfigMap/two")
        + &after("two", "config.kubernetes.io/depends-on: ConfigMap/one")
        + &config_map("plain", "1");
    stage
        .repository
        .push_files(&[("deploy/all.yaml", &all)], "all")?;
    let mark = stage.mark()?;
    stage.apply(&stage.application("shop", "deploy", ""))?;
    let stalled = stage.condition("shop", "Stalled", "ApplyFailed")?;
    let space = &stage.namespace;
    let message = stalled["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with(&format!(
            "objects wait for each other: ConfigMap {space}/one depends on ConfigMap {space}/two, \
             ConfigMap {space}/two depends on ConfigMap {space}/one; remove one of these dependencies"
        )),
        "{message}"
    );
    assert!(message.contains("all.yaml:"), "{message}");
    assert_eq!(stage.writes_since(mark)?, [].into());
    Ok(())
}
