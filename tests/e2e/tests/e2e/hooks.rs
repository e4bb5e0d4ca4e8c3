//! Hooks: run by what really happens, once for each release, and explained when they fail.

use anyhow::Result;
use pintle_harness::until;

use crate::desk::as_administrator;
use crate::world::{LIMIT, Stage, condition, config_map};

/// A Job whose pod behaves as a label says, run at events.
fn hook(name: &str, events: &str, pod: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations: {{helm.sh/hook: '{events}'}}\n\
         spec:\n  backoffLimit: 0\n  template:\n    metadata: {{labels: {{testing.pintle.dev/pod: '{pod}'}}}}\n    \
         spec: {{restartPolicy: Never, containers: [{{name: main, image: 'main:1'}}]}}\n---\n"
    )
}

/// What a version of the shop consists of.
fn shop(version: &str, migration: &str) -> String {
    [
        config_map("settings", version),
        hook("migrate", "pre-install,pre-upgrade", migration),
        hook("welcome", "post-install", ""),
        hook("undo", "pre-rollback", ""),
        hook("save", "pre-delete", ""),
        hook("smoke", "test", ""),
    ]
    .concat()
}

/// What tells one Job from the next of the same name.
fn uid(stage: &Stage, job: &str) -> Result<String> {
    let uid = &stage.object("Job", job)?["metadata"]["uid"];
    Ok(uid.as_str().unwrap_or_default().to_owned())
}

#[test]
fn hooks_go_with_releases_and_not_with_reconciliations() -> Result<()> {
    let stage = Stage::new("hooks")?;
    let first = stage
        .repository
        .push_files(&[("all.yaml", &shop("1", ""))], "first")?;
    stage.apply(&stage.application("shop", "", ""))?;
    stage.ready_at("shop", &first)?;
    let (migrated, _) = (uid(&stage, "migrate")?, uid(&stage, "welcome")?);
    for absent in ["undo", "save", "smoke"] {
        assert_eq!(stage.find("Job", absent)?, None);
    }
    let application = stage.object("Application", "shop")?;
    assert_eq!(application["status"]["objects"], 1, "hooks do not count");

    // Neither a reconciliation nor a repair is a release.
    stage.kubectl(&["delete", "configmap", "settings"])?;
    until("the object is back", LIMIT, || {
        Ok(stage
            .find("ConfigMap", "settings")?
            .map(drop)
            .ok_or_else(|| "it is not".to_owned()))
    })?;
    stage.request_and_wait("shop")?;
    assert_eq!(uid(&stage, "migrate")?, migrated);

    let second = stage.push("shop", &[("all.yaml", &shop("2", ""))])?;
    stage.ready_at("shop", &second)?;
    let upgraded = uid(&stage, "migrate")?;
    assert_ne!(upgraded, migrated);
    assert_eq!(stage.find("Job", "undo")?, None);

    let back = stage.push("shop", &[("all.yaml", &shop("1", ""))])?;
    stage.ready_at("shop", &back)?;
    uid(&stage, "undo")?;
    assert_eq!(uid(&stage, "migrate")?, upgraded);
    assert_eq!(stage.object("ConfigMap", "settings")?["data"]["value"], "1");

    // The hooks for the removal run although the source is gone.
    stage.repository.remove("all.yaml")?;
    stage.kubectl(&["delete", "application", "shop", "--timeout=120s"])?;
    let saved = stage
        .writes_since(0)?
        .into_keys()
        .any(|write| write == "patch jobs/save");
    assert!(saved);
    assert_eq!(stage.kubectl(&["get", "jobs", "-o", "name"])?, "");
    Ok(())
}

#[test]
fn a_hook_that_fails_is_explained_and_holds_the_release_back() -> Result<()> {
    let stage = Stage::new("hook-fails")?;
    let files = [("all.yaml", shop("1", "failed"))];
    stage.repository.push_files(
        &files.each_ref().map(|(path, text)| (*path, text.as_str())),
        "broken",
    )?;
    stage.apply(&stage.application("shop", "", ""))?;
    let ready = stage.condition("shop", "Ready", "HookFailed")?;
    let message = ready["message"].as_str().unwrap_or_default();
    for part in [
        "migrate",
        "pre-install hook failed",
        "BackoffLimitExceeded",
        "main ended with exit code 1",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(stage.find("ConfigMap", "settings")?, None);
    let commit = stage.push("shop", &[("all.yaml", &shop("1", ""))])?;
    stage.ready_at("shop", &commit)?;
    uid(&stage, "welcome")?;
    Ok(())
}

#[test]
fn tests_run_when_somebody_asks() -> Result<()> {
    let stage = Stage::new("hook-tests")?;
    let tests = |pod: &str| {
        [
            config_map("settings", "1"),
            hook("good", "test", ""),
            hook("smoke", "test", pod),
        ]
        .concat()
    };
    let files = [("all.yaml", tests("failed"))];
    let commit = stage.repository.push_files(
        &files.each_ref().map(|(path, text)| (*path, text.as_str())),
        "first",
    )?;
    stage.apply(&stage.application("shop", "", ""))?;
    stage.ready_at("shop", &commit)?;
    assert_eq!(stage.find("Job", "smoke")?, None);
    let ask = |value: &str| -> Result<serde_json::Value> {
        let annotation = format!("pintle.dev/test-requested-at={value}");
        stage.kubectl(&[
            "annotate",
            "--overwrite",
            "application",
            "shop",
            &annotation,
        ])?;
        until("the tests are run", LIMIT, || {
            let found = stage.object("Application", "shop")?;
            Ok(if found["status"]["lastHandledTest"] == value {
                Ok(found)
            } else {
                Err(found["status"].to_string())
            })
        })
    };
    let application = ask("1")?;
    let results = &application["status"]["tests"];
    assert_eq!(results[0]["passed"], true, "{results}");
    assert_eq!(results[1]["passed"], false, "{results}");
    let message = results[1]["message"].as_str().unwrap_or_default();
    assert!(message.contains("main ended with exit code 1"), "{message}");
    assert_eq!(
        condition(&application, "Ready")["status"],
        "True",
        "a test says nothing against what is applied"
    );
    let reasons: Vec<String> = stage
        .events("shop")?
        .into_iter()
        .map(|(reason, _)| reason)
        .collect();
    assert!(
        reasons.iter().any(|reason| reason == "TestFailed"),
        "{reasons:?}"
    );
    let before = uid(&stage, "good")?;
    let limit = format!("{}s", LIMIT.as_secs());
    let test = ["test", "shop", "-n", &stage.namespace, "--timeout", &limit];
    let said = as_administrator(&test, 1)?;
    assert!(said.contains("1 passed, 1 failed"), "{said}");
    assert_ne!(uid(&stage, "good")?, before, "each request runs them");
    Ok(())
}
