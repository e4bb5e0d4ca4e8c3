//! The story, told and checked step by step.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use pintle_harness::until;
use serde_json::Value;

use super::{stage::Stage, tell};

/// The time limit for any step: far more than it needs, because the machine may be busy.
const LIMIT: Duration = Duration::from_mins(2);

const APPLICATION: &str = "shop";

pub(super) fn tell(stage: &Stage) -> Result<()> {
    first_push(stage)?;
    hand_edit(stage)?;
    refused_commit(stage)?;
    fixed_commit(stage)?;
    failing_rollout(stage)?;
    removal(stage)
}

fn first_push(stage: &Stage) -> Result<()> {
    tell::chapter(1, "A first push converges the cluster");
    push(
        stage,
        &shop("registry.k8s.io/pause:3.9", ""),
        "the shop opens",
    )?;
    stage.apply(&application(stage))?;
    let start = Instant::now();
    ready(stage, "the shop is healthy")?;
    tell::seen(start, "the Application is Ready, its Deployment available");
    show_applications(stage)?;
    let event = event(stage, "converged")?;
    tell::seen(
        start,
        &format!("the webhook was told: {}", event["message"]),
    );
    Ok(())
}

fn hand_edit(stage: &Stage) -> Result<()> {
    tell::chapter(2, "A hand edit is repaired");
    let args = [
        "-n",
        stage.namespace.as_str(),
        "scale",
        "deployment/web",
        "--replicas=5",
    ];
    let output = stage.kubectl(&args)?;
    tell::show("kubectl scale deployment/web --replicas=5", &output);
    let start = Instant::now();
    until("the replicas are as in git", LIMIT, || {
        let replicas = &deployment(stage)?["spec"]["replicas"];
        Ok(if *replicas == 2 {
            Ok(())
        } else {
            Err(format!("{replicas} replicas"))
        })
    })?;
    tell::seen(start, "there are 2 replicas again, as git says");
    let event = event(stage, "drift-repaired")?;
    let message = event["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("kubectl"),
        "the message names who did it: {message}"
    );
    tell::seen(start, message);
    Ok(())
}

fn refused_commit(stage: &Stage) -> Result<()> {
    tell::chapter(3, "A commit that policy refuses changes nothing");
    let before = deployment(stage)?["metadata"]["generation"].clone();
    push(
        stage,
        &shop("registry.k8s.io/pause:latest", ""),
        "always the newest",
    )?;
    let start = Instant::now();
    let condition = stalled(stage, "PolicyDenied")?;
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("image-tag-latest"),
        "the condition names the rule: {message}"
    );
    tell::seen(start, "the Application is Stalled:");
    for line in message.lines() {
        tell::line(&format!("     {line}"));
    }
    let after = deployment(stage)?;
    ensure!(
        after["metadata"]["generation"] == before,
        "the Deployment was touched"
    );
    ensure!(
        image(&after) == "registry.k8s.io/pause:3.9",
        "the image changed: {}",
        image(&after)
    );
    tell::seen(start, "the Deployment was not touched");
    Ok(())
}

fn fixed_commit(stage: &Stage) -> Result<()> {
    tell::chapter(4, "The fix goes out at once");
    let commit = push(
        stage,
        &shop("registry.k8s.io/pause:3.10", ""),
        "a pinned version",
    )?;
    let start = Instant::now();
    ready_at(stage, &commit)?;
    let image = image(&deployment(stage)?);
    ensure!(
        image == "registry.k8s.io/pause:3.10",
        "the image is {image}"
    );
    tell::seen(
        start,
        "the Application is Ready with registry.k8s.io/pause:3.10",
    );
    Ok(())
}

fn failing_rollout(stage: &Stage) -> Result<()> {
    tell::chapter(5, "A rollout that never becomes healthy is reported");
    let broken = shop(
        "registry.k8s.io/pause:0.0.0-missing",
        "testing.pintle.dev/pod: image-pull-backoff",
    );
    push(stage, &broken, "a version that does not exist")?;
    let start = Instant::now();
    let message = until("the rollout is reported as degraded", LIMIT, || {
        let condition = condition(&get_application(stage)?, "Ready");
        let message = condition["message"].as_str().unwrap_or_default().to_owned();
        let degraded = condition["status"] == "False" && condition["reason"] == "Degraded";
        Ok(if degraded {
            Ok(message)
        } else {
            Err(condition.to_string())
        })
    })?;
    tell::seen(start, &format!("Ready is False: {message}"));
    let event = event(stage, "degraded")?;
    tell::seen(
        start,
        &format!("the webhook was told: {}", event["message"]),
    );
    let commit = push(
        stage,
        &shop("registry.k8s.io/pause:3.10", ""),
        "back to the last good version",
    )?;
    ready_at(stage, &commit)?;
    tell::seen(start, "a new commit superseded it, and all is well again");
    Ok(())
}

fn removal(stage: &Stage) -> Result<()> {
    tell::chapter(6, "What leaves git leaves the cluster");
    stage.repository.remove("deploy/settings.yaml")?;
    stage.repository.commit("no settings any more")?;
    stage.repository.push()?;
    notify_agent(stage)?;
    let start = Instant::now();
    gone(stage, "configmap", "settings")?;
    tell::seen(start, "the ConfigMap is deleted");
    let output = stage.kubectl(&[
        "-n",
        &stage.namespace,
        "delete",
        "application",
        APPLICATION,
        "--timeout=120s",
    ])?;
    tell::show("kubectl delete application shop", &output);
    for (kind, name) in [
        ("deployment", "web"),
        ("service", "web"),
        ("serviceaccount", "web"),
    ] {
        gone(stage, kind, name)?;
    }
    tell::seen(start, "Deployment, Service and ServiceAccount are deleted");
    event(stage, "removed")?;
    tell::seen(start, "the webhook was told");
    Ok(())
}

/// Returns the shop's files: two replicas of an image, with a label on the pods that the test's kubelet understands.
fn shop(image: &str, pod_label: &str) -> [(String, String); 3] {
    let deployment = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  labels: {{app.kubernetes.io/name: web}}\n\
         spec:\n  replicas: 2\n  progressDeadlineSeconds: 10\n  selector:\n    matchLabels: {{app: web}}\n  \
         template:\n    metadata:\n      labels:\n        app: web\n        {pod_label}\n    spec:\n      \
         serviceAccountName: web\n      containers:\n      - name: web\n        image: {image}\n        ports:\n        - containerPort: 80\n"
    );
    let service = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: web\n---\n\
                   apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  selector: {app: web}\n  ports:\n  - port: 80\n";
    let settings =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  currency: EUR\n";
    [
        ("deploy/web.yaml".to_owned(), deployment),
        ("deploy/service.yaml".to_owned(), service.to_owned()),
        ("deploy/settings.yaml".to_owned(), settings.to_owned()),
    ]
}

fn application(stage: &Stage) -> String {
    format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Application\nmetadata:\n  name: {APPLICATION}\n  namespace: {}\nspec:\n  \
         serviceAccountName: deployer\n  source:\n    git:\n      url: {}\n      branch: main\n      path: deploy\n  \
         renderer: {{plugin: manifests}}\n  policies:\n  - plugin: guardrails\n  health:\n  - plugin: kubernetes\n  \
         notifiers:\n  - plugin: webhook\n    settings: {{url: '{}'}}\n  timeout: 30s\n",
        stage.namespace,
        stage.servers.git_http(&stage.repository),
        stage.servers.sink(APPLICATION),
    )
}

fn push(stage: &Stage, files: &[(String, String)], message: &str) -> Result<String> {
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let commit = stage.repository.push_files(&files, message)?;
    tell::show(
        &format!("git commit -m '{message}' && git push"),
        &commit[..12],
    );
    notify_agent(stage)?;
    Ok(commit)
}

/// Does what the git server's webhook does, with the signature that it would send.
fn notify_agent(stage: &Stage) -> Result<()> {
    stage
        .kubectl(&[
            "-n",
            &stage.namespace,
            "annotate",
            "--overwrite",
            "application",
            APPLICATION,
            &format!(
                "pintle.dev/reconcile-requested-at={}",
                stage.repository.head()?
            ),
        ])
        .map(drop)
        .or_else(|error| {
            if error.to_string().contains("NotFound") {
                Ok(())
            } else {
                Err(error)
            }
        })
}

fn get_application(stage: &Stage) -> Result<Value> {
    get(stage, "application.pintle.dev", APPLICATION)
}

fn deployment(stage: &Stage) -> Result<Value> {
    get(stage, "deployment", "web")
}

fn get(stage: &Stage, kind: &str, name: &str) -> Result<Value> {
    let text = stage.kubectl(&["-n", &stage.namespace, "get", kind, name, "-o", "json"])?;
    serde_json::from_str(&text).context("kubectl prints JSON")
}

fn image(deployment: &Value) -> String {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn condition(application: &Value, kind: &str) -> Value {
    let conditions = application["status"]["conditions"].as_array();
    conditions
        .and_then(|all| all.iter().find(|one| one["type"] == kind))
        .cloned()
        .unwrap_or_default()
}

fn ready(stage: &Stage, what: &str) -> Result<()> {
    until(what, LIMIT, || {
        let ready = condition(&get_application(stage)?, "Ready");
        Ok(if ready["status"] == "True" {
            Ok(())
        } else {
            Err(ready.to_string())
        })
    })
}

fn ready_at(stage: &Stage, commit: &str) -> Result<()> {
    until(&format!("commit {} is Ready", &commit[..12]), LIMIT, || {
        let application = get_application(stage)?;
        let ready = condition(&application, "Ready");
        let there = application["status"]["revision"] == commit && ready["status"] == "True";
        Ok(if there {
            Ok(())
        } else {
            Err(ready.to_string())
        })
    })
}

fn stalled(stage: &Stage, reason: &str) -> Result<Value> {
    until(
        &format!("the Application is Stalled with {reason}"),
        LIMIT,
        || {
            let stalled = condition(&get_application(stage)?, "Stalled");
            let there = stalled["status"] == "True" && stalled["reason"] == reason;
            Ok(if there {
                Ok(stalled)
            } else {
                Err(stalled.to_string())
            })
        },
    )
}

fn gone(stage: &Stage, kind: &str, name: &str) -> Result<()> {
    until(&format!("{kind} {name} is gone"), LIMIT, || {
        let found = stage.kubectl(&[
            "-n",
            &stage.namespace,
            "get",
            kind,
            name,
            "--ignore-not-found",
            "-o",
            "name",
        ])?;
        Ok(if found.trim().is_empty() {
            Ok(())
        } else {
            Err(format!("{} is there", found.trim()))
        })
    })
}

/// Returns the latest event with a reason that the webhook notifier has sent.
fn event(stage: &Stage, reason: &str) -> Result<Value> {
    until(&format!("the webhook is told `{reason}`"), LIMIT, || {
        let mut found = None;
        for delivery in stage.servers.deliveries(APPLICATION)? {
            let body = delivery.json()?;
            if body["reason"] == reason {
                found = Some(body);
            }
        }
        Ok(found.ok_or_else(|| "not told yet".to_owned()))
    })
}

fn show_applications(stage: &Stage) -> Result<()> {
    let output = stage.pintle(&["get", "applications", "-n", &stage.namespace])?;
    if !output.contains(APPLICATION) {
        bail!("`pintle get applications` does not show the application:\n{output}");
    }
    tell::show("pintle get applications", &output);
    Ok(())
}
