//! A rollout that makes no progress says why, and one that only waits for time continues by itself.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use pintle_harness::{Fault, Proxy, until};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::releases::{allow_all, definition};
use crate::world::{LIMIT, Stage, config_map, world};

const IMAGE: &str = "registry.k8s.io/pause:3.9";

/// Returns a Deployment whose pods behave in a given way, and may run on certain nodes only.
pub(crate) fn misbehaving(name: &str, pod: &str, nodes: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
         metadata: {{labels: {{app: {name}, testing.pintle.dev/pod: '{pod}'}}}}\n    \
         spec:\n      nodeSelector: {{{nodes}}}\n      containers: [{{name: main, image: '{IMAGE}'}}]\n---\n"
    )
}

fn problem(status: &Value, name: &str) -> Option<Value> {
    let problems = status["problems"].as_array()?;
    let named = |one: &&Value| one["object"].as_str().is_some_and(|it| it.ends_with(name));
    problems.iter().find(named).cloned()
}

#[test]
fn the_status_and_an_event_say_why_pods_do_not_become_ready() -> Result<()> {
    let stage = Stage::new("stuck")?;
    let files = [
        ("crashing.yaml", misbehaving("crashing", "crash-loop", "")),
        (
            "imageless.yaml",
            misbehaving("imageless", "image-pull-backoff", ""),
        ),
        (
            "homeless.yaml",
            misbehaving("homeless", "", "disk: none-has-it"),
        ),
        ("fine.yaml", config_map("fine", "1")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    stage.repository.push_files(&files, "three that fail")?;
    let mark = stage.mark()?;
    let application = stage.application("shop", "", "");
    stage.apply(&application.replace("timeout: 1m", "timeout: 30s"))?;

    // The explanations come long before the timeout.
    let explained = until("the status explains all three", LIMIT, || {
        let status = stage.object("Application", "shop")?["status"].clone();
        let all = ["crashing", "imageless", "homeless"].map(|name| {
            let problem = problem(&status, name)?;
            problem["explanation"]["cause"]
                .is_string()
                .then_some(problem)
        });
        Ok(match all {
            [Some(crashing), Some(imageless), Some(homeless)] => {
                Ok((status, crashing, imageless, homeless))
            }
            _ => Err(status["problems"].to_string()),
        })
    })?;
    let (status, crashing, imageless, homeless) = explained;
    assert_eq!(status["conditions"][0]["reason"], "Progressing");
    let text = |problem: &Value, field: &str| problem["explanation"][field].to_string();
    assert_eq!(
        crashing["explanation"]["cause"],
        "main keeps ending with exit code 1 (CrashLoopBackOff, 3 restarts)"
    );
    assert!(text(&crashing, "pod").contains("crashing-"), "{crashing}");
    assert!(
        text(&imageless, "cause").contains("main waits: ImagePullBackOff"),
        "{imageless}"
    );
    let scheduled = text(&homeless, "cause");
    assert!(
        scheduled.contains("no node takes it") && scheduled.contains("node affinity"),
        "{homeless}"
    );
    assert!(
        text(&homeless, "events").contains("FailedScheduling"),
        "{homeless}"
    );
    // Without a kubelet there is no log. This is reported, and hides nothing else.
    assert!(
        text(&crashing, "unknown").contains("its log cannot be read"),
        "{crashing}"
    );
    assert!(problem(&status, "fine").is_none(), "{status}");

    let ready = stage.condition("shop", "Ready", "Degraded")?;
    let message = ready["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("main keeps ending with exit code 1"),
        "{message}"
    );
    until("the events tell why", LIMIT, || {
        let events = stage.events("shop")?;
        let told = |wanted: &str, text: &str| {
            events
                .iter()
                .any(|(reason, note)| reason == wanted && note.contains(text))
        };
        let both = told("NotReady", "the pod") || told("NotReady", "Pod ");
        Ok(if both && told("Degraded", "exit code 1") {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        })
    })?;
    // An inspection takes a handful of requests, and is repeated only when pods change.
    let requests = stage.requests_since(mark)?;
    let about_pods = requests
        .iter()
        .filter(|one| one.resource == "pods" && one.verb == "list");
    let count = about_pods.count();
    assert!((3..=12).contains(&count), "{count} lists of pods");
    Ok(())
}

#[test]
fn an_account_that_may_not_read_pods_is_told_so() -> Result<()> {
    let stage = Stage::new("blind")?;
    let namespace = &stage.namespace;
    stage.apply(&format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: blind, namespace: {namespace}}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: blind, namespace: {namespace}}}\n\
         rules: [{{apiGroups: [apps], resources: [deployments], verbs: ['*']}}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: blind, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: blind}}\n\
         subjects: [{{kind: ServiceAccount, name: blind, namespace: {namespace}}}]\n"
    ))?;
    let web = misbehaving("web", "crash-loop", "");
    stage
        .repository
        .push_files(&[("web.yaml", &web)], "crashing")?;
    let application = stage.application("shop", "", "");
    stage.apply(
        &application
            .replace("timeout: 1m", "timeout: 10s")
            .replace("serviceAccountName: deployer", "serviceAccountName: blind"),
    )?;
    stage.condition("shop", "Ready", "Degraded")?;
    let status = stage.object("Application", "shop")?["status"].clone();
    let problem = problem(&status, "web").ok_or_else(|| anyhow!("{status}"))?;
    let unknown = problem["explanation"]["unknown"].to_string();
    assert!(
        unknown.contains(&format!("system:serviceaccount:{namespace}:blind may not")),
        "{problem}"
    );
    Ok(())
}

#[test]
fn nothing_tells_what_a_secret_holds() -> Result<()> {
    // The value as it was written, and as the API returns it.
    const FORMS: [&str; 2] = ["918273645", "OTE4MjczNjQ1"];
    let stage = Stage::new("hidden")?;
    let nothing_tells = || -> Result<()> {
        let log = fs::read_to_string(stage.agent.dir().join("agent.log"))?;
        let status = stage.object("Application", "shop")?;
        let events = stage.kubectl(&["get", "events.events.k8s.io", "-o", "json"])?;
        for form in FORMS {
            for text in [&log, &status.to_string(), &events] {
                assert!(!text.contains(form), "{text}");
            }
        }
        Ok(())
    };
    let told = |what: &str| {
        until(what, LIMIT, || {
            let status = stage.object("Application", "shop")?["status"].to_string();
            Ok(status.contains(what).then_some(()).ok_or(status))
        })
    };
    let secret = |pin: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: pin}}\nstringData: {{pin: {pin}}}\n"
        )
    };
    let number = secret(FORMS[0]);
    let text = secret(&format!("'{}'", FORMS[0]));
    let web = misbehaving("web", "crash-loop", "");

    // A value that is no text is refused, and the reason does not quote it.
    stage
        .repository
        .push_files(&[("pin.yaml", &number)], "no text")?;
    stage.apply(&stage.application("shop", "", ""))?;
    told("expected text")?;
    nothing_tells()?;
    stage.push("shop", &[("pin.yaml", &text), ("web.yaml", &web)])?;
    told("CrashLoopBackOff")?;
    let pin = stage.object("Secret", "pin")?["data"]["pin"].clone();
    assert_eq!(pin, FORMS[1]);
    nothing_tells()
}

/// Returns a definition and an object of it. There is no controller, so nothing but time happens to the object.
fn widget(stage: &Stage) -> Result<[String; 2]> {
    allow_all(stage)?;
    let group = format!("{}.example.com", stage.namespace);
    let widget = format!(
        "apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: shop}}\nspec: {{size: 1}}\n"
    );
    Ok([definition(&group), widget])
}

#[test]
fn a_custom_resource_without_conditions_is_healthy_when_its_grace_is_over() -> Result<()> {
    let stage = Stage::new("grace")?;
    let [definition, widget] = widget(&stage)?;
    let commit = stage.repository.push_files(
        &[("definition.yaml", &definition), ("widget.yaml", &widget)],
        "first",
    )?;
    let begin = Instant::now();
    let health = "health: [{plugin: kubernetes, settings: {withoutConditionsGraceSeconds: 5}}]";
    stage.apply(&stage.application("shop", "", health))?;
    stage.ready_at("shop", &commit)?;
    // Creation timestamps have a resolution of a second, so the object may seem older than it is.
    assert!(
        begin.elapsed() >= Duration::from_secs(4),
        "after {:?}",
        begin.elapsed()
    );
    Ok(())
}

#[test]
fn a_commit_that_changes_only_health_checks_is_judged_by_them() -> Result<()> {
    let stage = Stage::new("rejudged")?;
    let [definition, widget] = widget(&stage)?;
    let files = [
        ("definition.yaml", definition.as_str()),
        ("widget.yaml", &widget),
        (
            "pintle.yaml",
            "health: [{plugin: kubernetes, settings: {withoutConditions: progressing}}]\n",
        ),
    ];
    stage.repository.push_files(&files, "it never is")?;
    let application = stage.application("shop", "", "");
    stage.apply(&application.replace("timeout: 1m", "timeout: 10s"))?;
    stage.condition("shop", "Ready", "Degraded")?;
    let mended = [("pintle.yaml", "health: [{plugin: kubernetes}]\n")];
    let commit = stage.push("shop", &mended)?;
    stage.ready_at("shop", &commit)
}

#[test]
fn a_converge_does_not_take_what_was_before_for_what_it_has_written() -> Result<()> {
    let desk = Desk::new("lagging")?;
    let web = |pod: &str| misbehaving("web", pod, "");
    desk.repository
        .push_files(&[("web.yaml", &web(""))], "first")?;
    let args = ["converge", ".", "--name", "shop", "--timeout"];
    desk.pintle(&[&args[..], &["1m"]].concat(), 0)?;
    let get = ["get", "deployment", "web", "-o", "json"];
    let before = desk.kubectl(&[&get[..], &["--show-managed-fields"]].concat())?;
    let before: Value = serde_json::from_str(&before)?;

    // The first watch starts with the old state, and no later one reports anything more.
    let end = json!({"type": "BOOKMARK", "object": {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {
        "resourceVersion": before["metadata"]["resourceVersion"],
        "annotations": {"k8s.io/initial-events-end": "true"},
    }}});
    let told = format!("{}\n{end}\n", json!({"type": "ADDED", "object": before}));
    let mut first = Some(Fault::on("GET", "").body(200, "application/json", told));
    let plane = world().control_plane;
    let proxy = Proxy::before_api_server(plane)?;
    proxy.decide_by(move |_, uri| {
        let is_watch = uri.contains("/deployments?") && uri.contains("watch=true");
        let never = || Fault::on("GET", "").delay(Duration::from_mins(10));
        is_watch.then(|| first.take().unwrap_or_else(never))
    });
    desk.repository
        .push_files(&[("web.yaml", &web("never-ready"))], "second")?;
    let account = plane.service_account_kubeconfig(&desk.namespace, "deployer")?;
    let mut command = desk.command(&[&args[..], &["8s"]].concat())?;
    let output = command
        .env("KUBECONFIG", proxy.kubeconfig(&account)?)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not healthy after 8s"), "{said}");
    Ok(())
}

#[test]
fn a_converge_that_fails_says_why() -> Result<()> {
    let desk = Desk::new("failing")?;
    let web = misbehaving("web", "image-pull-backoff", "");
    desk.repository.push_files(&[("web.yaml", &web)], "first")?;
    let said = desk.pintle(&["converge", ".", "--name", "shop", "--timeout", "15s"], 1)?;
    assert!(said.contains("not healthy after 15s"), "{said}");
    let end = said.split("not healthy after").last().unwrap_or_default();
    for text in [
        "Pod web-",
        "main waits: ImagePullBackOff",
        "event: Failed: Failed to pull image",
    ] {
        assert!(end.contains(text), "{text} is missing: {said}");
    }
    Ok(())
}
