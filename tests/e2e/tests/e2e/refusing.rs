//! What must not happen does not happen, and is reported.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use pintle_harness::{
    Agent, AgentOptions, ControlPlane, ControlPlaneOptions, Fault, Proxy, Servers, ServersOptions,
    agent, to_stderr, until,
};
use serde_json::Value;

use crate::{
    desk::as_administrator,
    guests::telltale,
    world::{LIMIT, Stage, condition, config_map, deployment},
};

#[test]
fn what_a_policy_denies_is_not_written_and_a_fix_supersedes_it() -> Result<()> {
    let stage = Stage::new("policy")?;
    let good = deployment("web", 1, "registry.k8s.io/pause:3.9");
    let files = [("web.yaml", good.as_str())];
    let first = stage.deploy_with("shop", "", "policies: [{plugin: guardrails}]", &files)?;

    let mark = stage.mark()?;
    let bad = deployment("web", 1, "registry.k8s.io/pause:latest");
    // The refused commit also contains a change that would be allowed: a plan is applied as a whole or not at all.
    let files = [
        ("web.yaml", bad.as_str()),
        ("more.yaml", &config_map("more", "1")),
    ];
    let refused = stage.push("shop", &files)?;
    let stalled = stage.condition("shop", "Stalled", "PolicyDenied")?;
    assert_eq!(stalled["status"], "True");
    let message = stalled["message"].as_str().unwrap_or_default();
    assert!(message.contains("image-tag-latest"), "{message}");
    assert_eq!(stage.writes_since(mark)?, BTreeMap::new());
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["revision"], first.as_str());
    assert_eq!(status["attemptedRevision"], refused.as_str());

    let fixed = deployment("web", 1, "registry.k8s.io/pause:3.10");
    let fix = stage.push("shop", &[("web.yaml", &fixed)])?;
    stage.ready_at("shop", &fix)?;
    let web = stage.object("Deployment", "web")?;
    let image = &web["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "registry.k8s.io/pause:3.10");
    assert!(stage.find("ConfigMap", "more")?.is_some());
    Ok(())
}

#[test]
fn what_policies_find_and_let_pass_is_in_the_log() -> Result<()> {
    let stage = Stage::new("passing")?;
    let files = [
        (
            "web.yaml",
            deployment("web", 1, "registry.k8s.io/pause:3.9"),
        ),
        (
            "latest.yaml",
            deployment("latest", 1, "registry.k8s.io/pause:latest"),
        ),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let policies = "policies:\n- plugin: guardrails\n  settings:\n    rules: {image-digest-missing: warn}\n    \
                    exceptions: [{rules: [image-tag-latest], names: [latest], reason: it is new}]";
    stage.deploy_with("shop", "", policies, &files)?;

    let lines = stage.logged()?;
    let is_told = |level: &str, rule: &str, name: &str| {
        let object = format!("Deployment.apps {}/{name}", stage.namespace);
        lines.iter().any(|line| {
            line["level"] == level
                && line["plugin"] == "guardrails"
                && line["rule"] == rule
                && line["object"] == object.as_str()
                && line["application"] == format!("{}/shop", stage.namespace).as_str()
        })
    };
    assert!(is_told("WARN", "image-digest-missing", "web"), "{lines:?}");
    assert!(is_told("INFO", "image-tag-latest", "latest"), "{lines:?}");
    Ok(())
}

#[test]
fn a_policy_reads_the_cluster_in_the_name_of_the_application() -> Result<()> {
    let stage = Stage::new("permits")?;
    let plugin = format!("telltale-{}", stage.namespace);
    let registry = stage.world.servers.registry();
    let image = format!("{registry}/{}/telltale:1.0.0", stage.namespace);
    as_administrator(&["plugin", "push", telltale(), &image], 0)?;
    stage.apply(&format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: {plugin}}}\n\
         spec: {{image: '{image}', grants: {{clusterReads: ['v1/ConfigMap']}}}}\n"
    ))?;
    let commit = stage
        .repository
        .push_files(&[("a.yaml", &config_map("a", "1"))], "first")?;
    let policies =
        format!("policies: [{{plugin: {plugin}, settings: {{mode: require, requires: permit}}}}]");
    stage.apply(&stage.application("shop", "", &policies))?;
    let stalled = stage.condition("shop", "Stalled", "PolicyDenied")?;
    let message = stalled["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("there is no ConfigMap permit"),
        "{message}"
    );
    assert!(stage.find("ConfigMap", "a")?.is_none());

    let mark = stage.mark()?;
    stage.kubectl(&["create", "configmap", "permit"])?;
    // The objects that a policy reads are not watched: the policy is evaluated again when there is another reason to.
    stage.request("shop")?;
    stage.ready_at("shop", &commit)?;
    let requests = stage.requests_since(mark)?;
    let is_read = requests
        .iter()
        .any(|request| request.name == "permit" && request.verb == "get");
    assert!(is_read, "in the name of the application's account");
    stage
        .world
        .control_plane
        .kubectl(&["delete", "plugin.pintle.dev", &plugin])
        .map(drop)
}

#[test]
fn a_broken_application_breaks_no_other() -> Result<()> {
    let stage = Stage::new("apart")?;
    let commit = stage
        .repository
        .push_files(&[("good.yaml", &config_map("good", "1"))], "good")?;
    // The port was bound and released: nothing listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let image = format!("{}/plugins/absent:1.0.0", stage.world.servers.registry());
    let plugin = format!("absent-{}", stage.namespace);
    stage.apply(&format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: {plugin}}}\nspec: {{image: '{image}'}}\n"
    ))?;
    let mut applications = stage.application_of(
        &format!("http://{closed}/team/lost.git"),
        "unreachable",
        "",
        "",
    );
    applications +=
        &stage.application("unrendered", "", &format!("renderer: {{plugin: {plugin}}}"));
    applications += &stage.application("good", "", "");
    stage.apply(&applications)?;

    stage.ready_at("good", &commit)?;
    let unreachable = stage.condition("unreachable", "Ready", "SourceFailed")?;
    let message = unreachable["message"].as_str().unwrap_or_default();
    assert!(
        message.contains(&closed.to_string()),
        "names where: {message}"
    );
    let unrendered = stage.condition("unrendered", "Ready", "PluginFailed")?;
    let message = unrendered["message"].as_str().unwrap_or_default();
    assert!(message.contains(&image), "names what: {message}");
    assert_eq!(unrendered["status"], "False");

    let next = stage.push("good", &[("good.yaml", &config_map("good", "2"))])?;
    stage.ready_at("good", &next)?;
    assert_eq!(stage.object("ConfigMap", "good")?["data"]["value"], "2");
    stage
        .world
        .control_plane
        .kubectl(&["delete", "plugin.pintle.dev", &plugin])
        .map(drop)
}

#[test]
fn a_plugin_that_is_not_loaded_yet_is_not_replaced_by_the_built_in_one() -> Result<()> {
    let stage = Stage::new("loading")?;
    let files = [("a.yaml", &*config_map("a", "1"))];
    let commit = stage.deploy_with("shop", "", "policies: [{plugin: guardrails}]", &files)?;

    // It accepts connections, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    stage.apply(&format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: guardrails}}\n\
         spec: {{image: '{}/plugins/guardrails:1.0.0', namespaces: ['{}']}}\n",
        silent.local_addr()?,
        stage.namespace
    ))?;
    let (mut commit, mut value) = (commit, 1);
    until("the policy of the operator is awaited", LIMIT, || {
        // Policies are not asked about what already runs.
        value += 1;
        let changed = config_map("a", &value.to_string());
        let files = [("a.yaml", &*changed)];
        commit = stage.repository.push_files(&files, "change")?;
        stage.request_and_wait("shop")?;
        let ready = condition(&stage.object("Application", "shop")?, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        let is_awaited = message.contains("plugin `guardrails` cannot be used yet");
        Ok(if is_awaited && ready["reason"] == "PluginFailed" {
            Ok(())
        } else {
            Err(ready.to_string())
        })
    })?;

    stage
        .world
        .control_plane
        .kubectl(&["delete", "plugin.pintle.dev", "guardrails"])?;
    stage.ready_at("shop", &commit)
}

#[test]
fn a_registry_that_goes_away_takes_no_plugin_along() -> Result<()> {
    let stage = Stage::new("away")?;
    let mut registry = Servers::start(&ServersOptions::default(), &to_stderr)?;
    let image = format!("{}/plugins/manifests:1.0.0", registry.registry());
    as_administrator(&["plugin", "push", "manifests", &image], 0)?;
    let plugin = format!("away-{}", stage.namespace);
    stage.apply(&format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: {plugin}}}\n\
         spec: {{image: '{image}', interval: 10s}}\n"
    ))?;
    let renderer = format!("renderer: {{plugin: {plugin}}}");
    stage.deploy_with("shop", "", &renderer, &[("a.yaml", &config_map("a", "1"))])?;

    registry.kill()?;
    // Agents of other tests write the status of the Plugin as well, so the log tells what this agent knows.
    until("the agent cannot look up the image", LIMIT, || {
        let lines = stage.logged()?;
        let is_told = |line: &&Value| {
            let text = line.to_string();
            text.contains("the loaded one stays in use") && text.contains(&plugin)
        };
        Ok(match lines.iter().find(is_told) {
            Some(_) => Ok(()),
            None => Err(stage.agent.dir().display().to_string()),
        })
    })?;
    let next = stage.push("shop", &[("a.yaml", &config_map("a", "2"))])?;
    stage.ready_at("shop", &next)?;
    assert_eq!(stage.object("ConfigMap", "a")?["data"]["value"], "2");
    stage
        .world
        .control_plane
        .kubectl(&["delete", "plugin.pintle.dev", &plugin])
        .map(drop)
}

#[test]
fn a_plugin_whose_registry_goes_away_tells_so_and_stays_ready() -> Result<()> {
    // The test uses a control plane of its own: the agents of other tests would write the status.
    let plane = ControlPlane::start(ControlPlaneOptions::default(), &to_stderr)?;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let _agent = Agent::start(AgentOptions::new(agent::install(&plane, &deploy)?))?;
    let mut registry = Servers::start(&ServersOptions::default(), &to_stderr)?;
    let image = format!("{}/plugins/manifests:1.0.0", registry.registry());
    as_administrator(&["plugin", "push", "manifests", &image], 0)?;
    plane.apply(&format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: away}}\n\
         spec: {{image: '{image}', interval: 10s}}\n"
    ))?;
    let told = |text: &str| {
        until(&format!("the Plugin tells: {text}"), LIMIT, || {
            let get = ["get", "plugin.pintle.dev", "away", "--output", "json"];
            let found: Value = serde_json::from_str(&plane.kubectl(&get)?)?;
            let ready = condition(&found, "Ready");
            let message = ready["message"].as_str().unwrap_or_default();
            let stands = ready["status"] == "True" && found["status"]["digest"].is_string();
            Ok(if message.starts_with(text) && stands {
                Ok(())
            } else {
                Err(found["status"].to_string())
            })
        })
    };
    told("the plugin is loaded")?;
    registry.kill()?;
    told("the plugin is loaded; since ")
}

#[test]
fn a_notifier_that_cannot_be_pulled_yet_is_told_later() -> Result<()> {
    let stage = Stage::new("later")?;
    let servers = &stage.world.servers;
    let plugin = format!("later-{}", stage.namespace);
    let image = format!("{}/{}/webhook:1.0.0", servers.registry(), stage.namespace);
    stage.apply(&format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: {plugin}}}\n\
         spec: {{image: '{image}', interval: 10s, grants: {{httpHosts: ['*'], privateNetworks: true}}}}\n"
    ))?;
    let notifiers = format!(
        "notifiers: [{{plugin: {plugin}, settings: {{url: '{}'}}}}]",
        servers.sink(&stage.namespace)
    );
    stage.deploy_with("shop", "", &notifiers, &[("a.yaml", &config_map("a", "1"))])?;
    assert!(servers.deliveries(&stage.namespace)?.is_empty());

    as_administrator(&["plugin", "push", "webhook", &image], 0)?;
    until("the notifier is told", LIMIT, || {
        let told = servers.deliveries(&stage.namespace)?.len();
        Ok(if told == 1 {
            Ok(())
        } else {
            Err(told.to_string())
        })
    })?;
    stage
        .world
        .control_plane
        .kubectl(&["delete", "plugin.pintle.dev", &plugin])
        .map(drop)
}

#[test]
fn a_plugin_whose_spec_cannot_be_read_for_a_while_is_used_again() -> Result<()> {
    let stage = Stage::new("unread")?;
    let plugin = format!("unread-{}", stage.namespace);
    let registry = stage.world.servers.registry();
    let image = format!("{registry}/{}/manifests:1.0.0", stage.namespace);
    as_administrator(&["plugin", "push", "manifests", &image], 0)?;
    let with = |memory: u64| {
        stage.apply(&format!(
            "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: {plugin}}}\n\
             spec: {{image: '{image}', limits: {{memoryMib: {memory}}}}}\n"
        ))
    };
    let told = |reason: &str| {
        until(&format!("the Plugin is {reason}"), LIMIT, || {
            let get = ["get", "plugin.pintle.dev", &plugin, "--output", "json"];
            let found = stage.world.control_plane.kubectl(&get)?;
            let ready = condition(&serde_json::from_str(&found)?, "Ready");
            Ok(if ready["reason"] == reason {
                Ok(())
            } else {
                Err(ready.to_string())
            })
        })
    };
    with(64)?;
    let renderer = format!("renderer: {{plugin: {plugin}}}");
    stage.deploy_with("shop", "", &renderer, &[("a.yaml", &config_map("a", "1"))])?;

    // The API server accepts this value, but no machine has that much memory.
    with(5_000_000_000)?;
    told("InvalidSpec")?;
    stage.condition("shop", "Ready", "PluginFailed")?;
    with(64)?;
    told("Loaded")?;
    let next = stage.push("shop", &[("a.yaml", &config_map("a", "2"))])?;
    stage.ready_at("shop", &next)?;
    stage
        .world
        .control_plane
        .kubectl(&["delete", "plugin.pintle.dev", &plugin])
        .map(drop)
}

#[test]
fn a_plugin_whose_status_could_not_be_written_is_ready_later() -> Result<()> {
    // The test uses a control plane of its own: the agents of other tests would write the status.
    let plane = ControlPlane::start(ControlPlaneOptions::default(), &to_stderr)?;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let account = agent::install(&plane, &deploy)?;
    let proxy = Proxy::before_api_server(&plane)?;
    let agent = Agent::start(AgentOptions::new(proxy.kubeconfig(&account)?))?;
    for (plugin, spec, reason) in [
        ("manifests", "{}", "Loaded"),
        // The API server accepts this value, but no machine has that much memory.
        ("large", "{limits: {memoryMib: 5000000000}}", "InvalidSpec"),
    ] {
        let status = format!("/plugins/{plugin}/status");
        let away = Fault::on("PATCH", &status).status(503, "ServiceUnavailable", "not now");
        proxy.inject(away);
        plane.apply(&format!(
            "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: {plugin}}}\nspec: {spec}\n"
        ))?;
        until("the status was not written", LIMIT, || {
            let log = std::fs::read_to_string(agent.dir().join("agent.log"))?;
            let mut lines = log.lines();
            let is_told =
                |line: &str| line.contains("its status was not written") && line.contains(plugin);
            Ok(if lines.any(is_told) { Ok(()) } else { Err(log) })
        })?;
        // From here on nothing changes, except that the status can be written.
        proxy.heal();
        until(&format!("the Plugin is {reason}"), LIMIT, || {
            let get = ["get", "plugin.pintle.dev", plugin, "--output", "json"];
            let found: Value = serde_json::from_str(&plane.kubectl(&get)?)?;
            let ready = condition(&found, "Ready");
            Ok(if ready["reason"] == reason {
                Ok(())
            } else {
                Err(found["status"].to_string())
            })
        })?;
    }
    Ok(())
}
