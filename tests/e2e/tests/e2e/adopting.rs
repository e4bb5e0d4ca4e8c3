//! Adopting what Helm has installed: no pod is replaced, no hook runs, and nothing is left behind.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use pintle_harness::{Program, to_stderr, until};

use crate::desk::Desk;
use crate::world::{LIMIT, Stage, config_map, deployment, service, world};

/// Runs Helm's own command line as the administrator.
fn helm(namespace: &str, args: &[&str]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    // Helm names its field manager after the executable.
    let executable = dir.path().join("helm");
    symlink(Program::Helm.build(&to_stderr)?, &executable)?;
    let output = Command::new(executable)
        .args(args)
        .args(["--namespace", namespace])
        .env("KUBECONFIG", world().control_plane.kubeconfig())
        .env("HOME", dir.path())
        .output()
        .context("start helm")?;
    if !output.status.success() {
        bail!(
            "helm {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Returns the objects of a release, usable as a chart's template and as a folder of manifests.
fn shop(image: &str, settings: &str) -> String {
    let hook = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: {helm.sh/hook: 'pre-install,pre-upgrade'}\n\
                spec:\n  template:\n    spec: {restartPolicy: Never, containers: [{name: main, image: 'main:1'}]}\n---\n";
    [
        deployment("web", 2, image).as_str(),
        &service("web", 80),
        settings,
        hook,
    ]
    .concat()
}

const CHART: &str = "apiVersion: v2\nname: shop\nversion: 1.2.3\n";
const IMAGE: &str = "registry.k8s.io/pause:3.9";
const SETTINGS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {currency: EUR, legacy: 'yes'}\n---\n";

/// Installs the chart, the way Helm 4 or Helm 3 does, and waits for its pods.
fn install(stage: &Stage, server_side: bool) -> Result<()> {
    let chart = tempfile::tempdir()?;
    std::fs::create_dir(chart.path().join("templates"))?;
    std::fs::write(chart.path().join("Chart.yaml"), CHART)?;
    std::fs::write(
        chart.path().join("templates/all.yaml"),
        shop(IMAGE, SETTINGS),
    )?;
    let chart = chart.path().to_string_lossy().into_owned();
    let side = format!("--server-side={server_side}");
    helm(
        &stage.namespace,
        &["install", "shop", &chart, "--wait", &side],
    )?;
    Ok(())
}

/// Returns what must not change: the pods, and the hook's Job.
fn running(stage: &Stage) -> Result<BTreeMap<String, String>> {
    let path = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
    let text = stage.kubectl(&["get", "pods,replicasets,jobs", "-o", path])?;
    let pair = |line: &str| {
        let (name, uid) = line.split_once(' ')?;
        Some((name.to_owned(), uid.to_owned()))
    };
    Ok(text.lines().filter_map(pair).collect())
}

/// Asserts that nothing belongs to Helm any more and that everything belongs to the application.
fn is_taken_over(stage: &Stage, application: &str) -> Result<()> {
    for (kind, name) in [
        ("Deployment", "web"),
        ("Service", "web"),
        ("ConfigMap", "settings"),
    ] {
        let object = stage.object(kind, name)?;
        let metadata = &object["metadata"];
        let managers = metadata["managedFields"].to_string();
        assert!(!managers.contains("\"helm\""), "{managers}");
        assert!(managers.contains(&format!("pintle/{}/{application}", stage.namespace)));
        assert!(metadata["annotations"]["meta.helm.sh/release-name"].is_null());
        assert_eq!(
            metadata["labels"]["pintle.dev/application"],
            format!("{}.{application}", stage.namespace)
        );
    }
    Ok(())
}

#[test]
fn a_release_is_shown_and_then_taken_over_from_the_command_line() -> Result<()> {
    let stage = Stage::new("adopt-cli")?;
    install(&stage, true)?;
    let before = running(&stage)?;
    assert_eq!(
        before.len(),
        5,
        "two pods, their replica set, a Job and its pod: {before:?}"
    );
    let desk = Desk::in_namespace(&stage.namespace)?;
    desk.repository
        .push_files(&[("README.md", "the shop")], "first")?;
    let adopt = [
        "adopt",
        "helm",
        "shop",
        "--dev",
        "--namespace",
        &stage.namespace,
    ];
    let with = |more: &[&'static str]| [&adopt[..], more].concat();

    // A change that would replace pods is refused, even with --yes.
    desk.repository
        .write("all.yaml", shop("registry.k8s.io/pause:3.10", SETTINGS))?;
    let refused = desk.pintle(&with(&["--yes"]), 1)?;
    assert!(
        refused.contains("pods of these would be replaced:"),
        "{refused}"
    );
    assert!(refused.contains("Deployment.apps"), "{refused}");

    desk.repository.write("all.yaml", shop(IMAGE, SETTINGS))?;
    let mark = world().control_plane.requests_mark()?;
    let plan = desk.pintle(&adopt, 3)?;
    assert!(
        plan.contains("shop-1.2.3, revision 1 of shop by Helm"),
        "{plan}"
    );
    assert!(plan.contains("no hook is run"), "{plan}");
    assert_eq!(desk.writes_since(mark)?, BTreeMap::new());

    desk.pintle(&with(&["--yes"]), 0)?;
    assert_eq!(running(&stage)?, before);
    is_taken_over(&stage, "shop")?;
    assert!(
        stage
            .find("Secret", "sh.helm.release.v1.shop.v1")?
            .is_some()
    );

    // From now on it behaves like any other application: what leaves the source leaves the cluster.
    let shorter =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {currency: EUR}\n---\n";
    desk.repository.write("all.yaml", shop(IMAGE, shorter))?;
    desk.pintle(
        &[
            "converge",
            "--dev",
            "--name",
            "shop",
            "--namespace",
            &stage.namespace,
        ],
        0,
    )?;
    let data = stage.object("ConfigMap", "settings")?["data"].clone();
    assert_eq!(data, serde_json::json!({"currency": "EUR"}));
    let after = running(&stage)?;
    assert_ne!(
        after["Job/migrate"], before["Job/migrate"],
        "an upgrade runs its hook"
    );

    desk.pintle(&with(&["--yes", "--forget"]), 0)?;
    assert_eq!(stage.find("Secret", "sh.helm.release.v1.shop.v1")?, None);
    assert_eq!(running(&stage)?, after);
    Ok(())
}

/// Creates an Application that asks to adopt a release, and waits until it reports why it cannot.
fn not_taken_over(stage: &Stage, release: &str, reason: &str) -> Result<String> {
    let annotation =
        format!("metadata: {{annotations: {{pintle.dev/adopt-helm-release: {release}}}, ");
    let application = stage.application("shop", "", "");
    stage.apply(&application.replacen("metadata: {", &annotation, 1))?;
    let ready = stage.condition("shop", "Ready", reason)?;
    Ok(ready["message"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn an_application_takes_a_release_over() -> Result<()> {
    let stage = Stage::new("adopt-agent")?;
    // The way Helm 3 did it: by updates, not by server-side apply.
    install(&stage, false)?;
    let before = running(&stage)?;
    let pushed = shop("registry.k8s.io/pause:3.10", SETTINGS);
    stage
        .repository
        .push_files(&[("all.yaml", &pushed)], "another image")?;
    let message = not_taken_over(&stage, "shop", "AdoptionReplacesPods")?;
    assert!(message.contains("Deployment.apps"), "{message}");
    assert_eq!(running(&stage)?, before);

    let commit = stage.push("shop", &[("all.yaml", &shop(IMAGE, SETTINGS))])?;
    stage.ready_at("shop", &commit)?;
    assert_eq!(running(&stage)?, before);
    is_taken_over(&stage, "shop")?;
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["adoptedHelmRelease"], "shop");

    // From now on drift is repaired, and no object is left behind.
    let shorter = shop(IMAGE, &config_map("settings", "1"));
    let commit = stage.push("shop", &[("all.yaml", &shorter)])?;
    stage.ready_at("shop", &commit)?;
    assert_eq!(
        stage.object("ConfigMap", "settings")?["data"],
        serde_json::json!({"value": "1"})
    );
    stage.kubectl(&["scale", "deployment/web", "--replicas=5"])?;
    until("the replicas are as in git", LIMIT, || {
        let replicas = stage.object("Deployment", "web")?["spec"]["replicas"].clone();
        Ok(if replicas == 2 {
            Ok(())
        } else {
            Err(replicas.to_string())
        })
    })
}

#[test]
fn a_release_that_cannot_be_is_named_and_not_asked_for_again() -> Result<()> {
    let stage = Stage::new("adopt-name")?;
    stage
        .repository
        .push_files(&[("all.yaml", &config_map("settings", "1"))], "the shop")?;
    let message = not_taken_over(&stage, "My Release", "AdoptionFailed")?;
    assert!(message.contains("knows no release My Release"), "{message}");
    stage
        .condition("shop", "Stalled", "AdoptionFailed")
        .map(drop)
}
