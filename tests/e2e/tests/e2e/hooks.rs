//! Hooks: triggered by what really happens, run once for each release, and explained when they fail.

use std::collections::BTreeMap;

use anyhow::Result;
use pintle_harness::{AGENT_NAMESPACE, until};
use serde_json::{Value, json};

use crate::desk::{Desk, as_administrator};
use crate::world::{LIMIT, Stage, condition, config_map, deployment, world};

/// Returns a Job whose pod behaves as a label says and that runs at the given events.
pub(crate) fn hook(name: &str, events: &str, pod: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations: {{helm.sh/hook: '{events}'}}\n\
         spec:\n  backoffLimit: 0\n  template:\n    metadata: {{labels: {{testing.pintle.dev/pod: '{pod}'}}}}\n    \
         spec: {{restartPolicy: Never, containers: [{{name: main, image: 'main:1'}}]}}\n---\n"
    )
}

/// Returns a pre-delete Job that guardrails refuse: it is privileged, and has a volume with the files of its node.
fn risky(name: &str) -> Value {
    let container =
        json!({"name": "main", "image": "main:1", "securityContext": {"privileged": true}});
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "annotations": {"pintle.dev/hook": "pre-delete"}},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [container],
            "volumes": [{"name": "node", "hostPath": {"path": "/"}}],
        }}},
    })
}

/// Runs kubectl on the Secret in which the agent keeps the hooks for the removal of the shop.
fn of_kept(stage: &Stage, verb: &str, args: &[&str]) -> Result<String> {
    let name = format!("pintle-hooks.{}.shop", stage.namespace);
    let secret = ["--namespace", AGENT_NAMESPACE, verb, "secret", &name];
    let control_plane = stage.world.control_plane;
    control_plane.kubectl(&[&secret[..], args].concat())
}

/// Returns the resource version of that Secret, or an empty string if there is none.
fn kept(stage: &Stage) -> Result<String> {
    let version = "jsonpath={.metadata.resourceVersion}";
    of_kept(stage, "get", &["--ignore-not-found", "-o", version])
}

/// Waits until guardrails have refused a hook.
fn is_refused(stage: &Stage, hook: &str) -> Result<()> {
    let stalled = stage.condition("shop", "Stalled", "PolicyDenied")?;
    let message = stalled["message"].as_str().unwrap_or_default();
    for part in [hook, "privileged-container", "host-path"] {
        assert!(message.contains(part), "{message}");
    }
    Ok(())
}

/// Returns the objects of one version of the shop.
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

/// Returns the UID of a Job, which distinguishes it from the next Job of the same name.
fn uid(stage: &Stage, job: &str) -> Result<String> {
    let uid = &stage.object("Job", job)?["metadata"]["uid"];
    Ok(uid.as_str().unwrap_or_default().to_owned())
}

#[test]
fn hooks_go_with_releases_and_not_with_reconciliations() -> Result<()> {
    let stage = Stage::new("hooks")?;
    stage.deploy("shop", &[("all.yaml", &shop("1", ""))])?;
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

    // The pre-delete hooks run although the source is gone.
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
fn a_release_whose_hook_fails_is_taken_back_where_that_is_asked_for() -> Result<()> {
    let stage = Stage::new("hook-back")?;
    let release = |version: &str, pod: &str| {
        config_map("settings", version) + &hook("welcome", "post-upgrade", pod)
    };
    let files = [("all.yaml", &*release("1", ""))];
    let good = stage.deploy_with("shop", "", "rollback: OnFailure", &files)?;
    let broken = stage.push("shop", &[("all.yaml", &release("2", "failed"))])?;
    let stalled = stage.condition("shop", "Stalled", "RolledBack")?;
    let message = stalled["message"].as_str().unwrap_or_default();
    let says = format!("running {} instead of {}", &good[..12], &broken[..12]);
    assert!(
        message.contains(&says) && message.contains("post-upgrade hook failed"),
        "{message}"
    );
    assert_eq!(stage.object("ConfigMap", "settings")?["data"]["value"], "1");
    let status = stage.object("Application", "shop")?["status"].clone();
    let endings = [0_usize, 1, 2].map(|at| status["history"][at]["ending"].clone());
    assert_eq!(endings, ["healthy", "failed", "healthy"], "{status}");
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
    stage.deploy("shop", &[("all.yaml", &tests("failed"))])?;
    assert_eq!(stage.find("Job", "smoke")?, None);
    let ask = |value: &str| -> Result<Value> {
        let annotation = format!("pintle.dev/test-requested-at={value}");
        stage.annotate("shop", &annotation)?;
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
    let asked = stage.object("Application", "shop")?["metadata"]["managedFields"].clone();
    let asked = asked.as_array().into_iter().flatten().find(|one| {
        one["fieldsV1"]
            .to_string()
            .contains("pintle.dev/test-requested-at")
    });
    let manager = asked.map(|one| &one["manager"]);
    assert_eq!(manager, Some(&"pintle-cli".into()), "a person has asked");
    assert_ne!(uid(&stage, "good")?, before, "each request runs them");
    Ok(())
}

#[test]
fn a_hook_for_the_removal_is_kept_only_if_policies_agree() -> Result<()> {
    let stage = Stage::new("hook-denied")?;
    let (settings, worst) = (config_map("settings", "1"), risky("worst").to_string());
    let files = [
        ("settings.yaml", settings.as_str()),
        ("worst.yaml", worst.as_str()),
    ];
    stage.repository.push_files(&files, "first")?;
    stage.apply(&stage.application("shop", "", "policies: [{plugin: guardrails}]"))?;
    is_refused(&stage, "worst")?;
    assert_eq!(stage.find("ConfigMap", "settings")?, None);
    assert_eq!(kept(&stage)?, "");
    stage.repository.remove("worst.yaml")?;
    let good = stage.push("shop", &[])?;
    stage.ready_at("shop", &good)?;

    // Except for the hook, this commit changes nothing in the cluster.
    let mark = stage.mark()?;
    stage.push("shop", &[("worst.yaml", &worst)])?;
    is_refused(&stage, "worst")?;
    assert_eq!(stage.writes_since(mark)?, BTreeMap::new());
    assert_eq!(kept(&stage)?, "");

    stage.repository.remove("worst.yaml")?;
    let save = hook("save", "pre-delete", "");
    let fixed = stage.push("shop", &[("save.yaml", &save)])?;
    stage.ready_at("shop", &fixed)?;
    let allowed = kept(&stage)?;
    assert_ne!(allowed, "");
    let plan = stage.object("Application", "shop")?["status"]["plan"].clone();
    assert_eq!(plan["keptHooks"], 1, "{plan}");
    assert_eq!(plan["create"], 0, "{plan}");
    assert_eq!(stage.find("Job", "save")?, None, "its time has not come");

    // A refused hook replaces none of those that are kept.
    stage.push("shop", &[("worst.yaml", &worst)])?;
    is_refused(&stage, "worst")?;
    assert_eq!(kept(&stage)?, allowed);
    let mark = stage.mark()?;
    stage.kubectl(&["delete", "application", "shop", "--timeout=120s"])?;
    let writes = stage.writes_since(mark)?;
    assert!(writes.contains_key("patch jobs/save"), "{writes:?}");
    assert!(!writes.contains_key("patch jobs/worst"), "{writes:?}");
    assert_eq!(kept(&stage)?, "");
    Ok(())
}

#[test]
fn a_hook_that_an_earlier_version_has_kept_is_judged_before_it_runs() -> Result<()> {
    let stage = Stage::new("hook-unseen")?;
    let all = config_map("settings", "1") + &hook("save", "pre-delete", "");
    let files = [("all.yaml", all.as_str())];
    stage.deploy_with("shop", "", "policies: [{plugin: guardrails}]", &files)?;
    let stored = json!([{"object": risky("worst"), "hook": {"events": ["pre-delete"]}}]);
    let patch = json!({"stringData": {"hooks.json": stored.to_string()}}).to_string();
    of_kept(&stage, "patch", &["--type=merge", "--patch", &patch])?;

    let mark = stage.mark()?;
    stage.kubectl(&["delete", "application", "shop", "--wait=false"])?;
    is_refused(&stage, "worst")?;
    assert_eq!(stage.writes_since(mark)?, BTreeMap::new());
    // A user who may change the application's policies may let it go.
    let patch = r#"{"spec": {"policies": null}}"#;
    stage.patch("shop", patch)?;
    until("the Application is gone", LIMIT, || {
        let found = stage.find("Application", "shop")?;
        Ok(found.map_or(Ok(()), |found| Err(found["status"].to_string())))
    })?;
    let writes = stage.writes_since(mark)?;
    assert!(writes.contains_key("patch jobs/worst"), "{writes:?}");
    Ok(())
}

#[test]
fn the_command_line_keeps_a_hook_for_the_removal_only_if_policies_agree() -> Result<()> {
    let desk = Desk::new("hook-desk")?;
    let settings = config_map("settings", "1");
    let files = [
        ("pintle.yaml", "policies: [{plugin: guardrails}]\n"),
        ("settings.yaml", settings.as_str()),
    ];
    desk.repository.push_files(&files, "first")?;
    let run = |command: &str, expected| desk.pintle(&[command, ".", "--name", "shop"], expected);
    let kept = || {
        let secret = ["get", "secret", "pintle-hooks.shop"];
        desk.kubectl(&[&secret[..], &["--ignore-not-found", "-o", "name"]].concat())
    };
    run("converge", 0)?;

    let worst = risky("worst").to_string();
    desk.repository
        .push_files(&[("worst.yaml", &worst)], "worst")?;
    for command in ["plan", "converge"] {
        let refused = run(command, 4)?;
        assert!(refused.contains("privileged-container"), "{refused}");
    }
    assert_eq!(kept()?, "");

    desk.repository.remove("worst.yaml")?;
    let save = hook("save", "pre-delete", "");
    desk.repository
        .push_files(&[("save.yaml", &save)], "save")?;
    let plan = run("plan", 3)?;
    for part in [
        "(hook: pre-delete, kept for the removal)",
        "0 to create",
        "1 hook to keep for the removal",
    ] {
        assert!(plan.contains(part), "{plan}");
    }
    run("converge", 0)?;
    assert_ne!(kept()?, "");
    run("plan", 0)?;
    let mark = world().control_plane.requests_mark()?;
    desk.pintle(&["dismiss", "shop"], 0)?;
    let writes = desk.writes_since(mark)?;
    assert!(writes.contains_key("patch jobs/save"), "{writes:?}");
    assert_eq!(kept()?, "");
    Ok(())
}

#[test]
fn after_a_dismissal_that_left_something_all_hooks_run_again() -> Result<()> {
    let desk = Desk::new("hook-again")?;
    let stays = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: orders\n  \
                 annotations: {helm.sh/resource-policy: keep}\n---\n";
    let shop = [
        stays.to_owned(),
        config_map("settings", "1"),
        hook("migrate", "pre-install", ""),
        hook("transform", "pre-upgrade", ""),
        hook("save", "pre-delete", ""),
    ];
    desk.repository
        .push_files(&[("shop.yaml", &shop.concat())], "first")?;
    for time in ["first", "again"] {
        let mark = world().control_plane.requests_mark()?;
        desk.pintle(&["converge", ".", "--name", "shop"], 0)?;
        let writes = desk.writes_since(mark)?;
        assert!(
            writes.contains_key("patch jobs/migrate"),
            "{time}: {writes:?}"
        );
        assert!(
            !writes.contains_key("patch jobs/transform"),
            "{time}: {writes:?}"
        );
        let mark = world().control_plane.requests_mark()?;
        let said = desk.pintle(&["dismiss", "shop"], 0)?;
        assert!(!said.contains("are lost"), "{time}: {said}");
        let writes = desk.writes_since(mark)?;
        assert!(writes.contains_key("patch jobs/save"), "{time}: {writes:?}");
        desk.kubectl(&["get", "configmap", "orders"])?;
    }
    Ok(())
}

#[test]
fn a_program_gets_one_result_with_the_findings_and_the_tests_in_it() -> Result<()> {
    let desk = Desk::new("hook-result")?;
    let policy = "{plugin: guardrails, settings: {rules: {image-digest-missing: warn}}}";
    let all = [
        deployment("web", 1, "registry.k8s.io/pause:3.9"),
        hook("good", "test", ""),
        hook("smoke", "test", "failed"),
    ];
    let files = [
        ("pintle.yaml", &*format!("policies: [{policy}]\n")),
        ("all.yaml", &*all.concat()),
    ];
    desk.repository.push_files(&files, "first")?;
    let converge = |format: &str| -> Result<String> {
        let args = ["converge", ".", "--name", "shop", "--test", "-o", format];
        let output = desk.command(&args)?.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("smoke"), "{said}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let whole: Value = serde_json::from_str(&converge("json")?)?;
    assert_eq!(whole["healthy"], true, "{whole:#}");
    let found = &whole["findings"][0]["rule"];
    assert_eq!(found, "image-digest-missing", "{whole:#}");
    let lines = converge("jsonl")?;
    let last: Value = serde_json::from_str(lines.lines().last().unwrap_or_default())?;
    for result in [whole, last] {
        let tests = &result["tests"];
        let passed = [0, 1].map(|at| tests[at]["passed"].clone());
        assert_eq!(passed, [true, false].map(Value::from), "{result:#}");
        let why = tests[1]["message"].as_str().unwrap_or_default();
        assert!(why.contains("main ended with exit code 1"), "{result:#}");
    }
    Ok(())
}

/// The permissions that the command line page lists for `converge` and `dismiss` with pre-delete hooks, and no others.
const LISTED: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: listed}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get, create, patch, update, delete, list, watch]}
- {apiGroups: [''], resources: [secrets], verbs: [get, create, update, delete]}
- {apiGroups: [batch], resources: [jobs], verbs: [get, create, patch, delete, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: listed}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: listed}
subjects: [{kind: ServiceAccount, name: deployer}]
";

#[test]
fn hooks_for_the_removal_change_and_go_by_the_rights_that_are_listed() -> Result<()> {
    let plane = world().control_plane;
    let namespace = plane.namespace("listed")?;
    let named = format!("metadata: {{namespace: {namespace}, ");
    let bound = format!("kind: ServiceAccount, namespace: {namespace}, ");
    let rights = LISTED.replace("metadata: {", &named);
    plane.apply(&rights.replace("kind: ServiceAccount, ", &bound))?;
    let desk = Desk::in_namespace(&namespace)?;
    let converge = |hooks: &str, message: &str| {
        let shop = config_map("settings", "1") + hooks;
        desk.repository
            .push_files(&[("shop.yaml", &shop)], message)?;
        desk.pintle(&["converge", ".", "--name", "shop"], 0)
    };
    let save = hook("save", "pre-delete", "");
    converge(&save, "kept")?;
    converge(&hook("save-all", "pre-delete", ""), "changed")?;
    converge("", "dropped")?;
    converge(&save, "kept again")?;
    desk.pintle(&["dismiss", "shop"], 0)?;
    let secret = ["get", "secrets", "-o", "name"];
    assert_eq!(desk.kubectl(&secret)?, "");
    Ok(())
}
