//! Applications whose objects are in another cluster: a second control plane.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{Patch, PatchParams};
use pintle_harness::{ApiRequest, ControlPlane, ControlPlaneOptions, to_stderr, until};
use serde_json::{Value, json};

use crate::charts::BOAT;
use crate::desk::as_administrator;
use crate::world::{LIMIT, Stage, config_map};

/// Another cluster, where the stage's namespace exists with the stage's account.
struct Remote {
    plane: ControlPlane,
    namespace: String,
}

impl Remote {
    fn start(stage: &Stage) -> Result<Self> {
        let plane = ControlPlane::start(ControlPlaneOptions::default(), &to_stderr)?;
        let namespace = stage.namespace.clone();
        plane.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
             metadata: {{name: deployer, namespace: {namespace}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}\n\
             subjects: [{{kind: ServiceAccount, name: deployer, namespace: {namespace}}}]\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: visitor}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}\n\
             subjects: [{{kind: ServiceAccount, name: visitor, namespace: default}}]\n"
        ))?;
        Ok(Self { plane, namespace })
    }

    /// Returns a self-contained kubeconfig, with a new token each time.
    fn kubeconfig(&self) -> Result<String> {
        self.kubeconfig_of("visitor")
    }

    fn kubeconfig_of(&self, user: &str) -> Result<String> {
        let path = self.plane.service_account_kubeconfig("default", user)?;
        let output = Command::new(self.plane.kubectl_path())
            .arg("--kubeconfig")
            .arg(&path)
            .args(["config", "view", "--raw", "--flatten", "--minify"])
            .output()
            .context("run kubectl")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    fn find(&self, name: &str) -> Result<Option<Value>> {
        let args = [
            "-n",
            &self.namespace,
            "get",
            "configmap",
            name,
            "-o",
            "json",
            "--ignore-not-found",
        ];
        let text = self.plane.kubectl(&args)?;
        Ok(serde_json::from_str(&text).ok())
    }

    fn has_value(&self, name: &str, value: &str) -> Result<()> {
        until(&format!("{name} is {value} there"), LIMIT, || {
            let found = self.find(name)?.unwrap_or_default()["data"]["value"].clone();
            Ok(if found == value {
                Ok(())
            } else {
                Err(found.to_string())
            })
        })
    }
}

/// Stores a kubeconfig in a Secret of the home cluster.
fn keep(stage: &Stage, secret: &str, kubeconfig: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": stage.namespace},
        "stringData": {"value": kubeconfig},
    });
    stage.apply(&secret.to_string())
}

fn in_status(stage: &Stage, application: &str, expected: &str) -> Result<()> {
    until(&format!("{application} says {expected}"), LIMIT, || {
        let status = stage.object("Application", application)?["status"].clone();
        let found = status["conditions"].to_string();
        Ok(if found.contains(expected) {
            Ok(())
        } else {
            Err(found)
        })
    })
}

#[test]
fn an_application_for_another_cluster_lives_there_and_stops_nothing_here() -> Result<()> {
    let stage = Stage::new("remote")?;
    let mut remote = Remote::start(&stage)?;
    keep(&stage, "prod", &remote.kubeconfig()?)?;
    let push = |round: &str| {
        let (far, near) = (config_map("far", round), config_map("near", round));
        let files = [("far/a.yaml", far.as_str()), ("near/a.yaml", near.as_str())];
        stage.repository.push_files(&files, round)
    };
    let first = push("1")?;
    let spec = "cluster: {kubeconfig: {secretName: prod}, serviceAccountName: deployer}";
    let mark = remote.plane.requests_mark()?;
    stage
        .apply(&(stage.application("far", "far", spec) + &stage.application("near", "near", "")))?;
    stage.ready_at("far", &first)?;
    stage.ready_at("near", &first)?;
    assert_eq!(
        remote.find("far")?.context("it is there")?["data"]["value"],
        "1"
    );
    assert!(stage.find("ConfigMap", "far")?.is_none(), "it is not here");
    let inventory =
        stage.object("Application", "far")?["status"]["inventory"]["entries"].to_string();
    assert!(
        inventory.contains("far"),
        "the inventory is at home: {inventory}"
    );
    let deployer = format!("system:serviceaccount:{}:deployer", stage.namespace);
    let mut writes = remote.plane.requests_since(mark)?;
    writes.retain(|request| {
        request.resource == "configmaps" && request.name == "far" && request.is_write()
    });
    assert!(!writes.is_empty());
    assert!(
        writes
            .iter()
            .all(|write| write.impersonated.as_deref() == Some(&deployer)),
        "{writes:?}"
    );

    // Drift is detected in the other cluster, too.
    let edit = [
        "-n",
        &remote.namespace,
        "patch",
        "configmap",
        "far",
        "-p",
        r#"{"data":{"value":"edited"}}"#,
    ];
    remote.plane.kubectl(&edit)?;
    remote.has_value("far", "1")?;

    // A user who looks there for an Application is told why there is none.
    let there = remote.plane.kubeconfig().display().to_string();
    let look = [
        "status",
        "far",
        "-n",
        &stage.namespace,
        "--kubeconfig",
        &there,
    ];
    let unknown = as_administrator(&look, 1)?;
    let why = "custom resources of pintle.dev are not installed";
    assert!(unknown.contains(why), "{unknown}");

    // An unusable Secret is reported. A new one is picked up automatically.
    keep(&stage, "prod", "not a kubeconfig")?;
    in_status(&stage, "far", "it is no kubeconfig")?;
    keep(&stage, "prod", &remote.kubeconfig()?)?;
    stage.ready_at("far", &first)?;

    // An unreachable cluster holds up no other application, and what was missed is caught up on.
    remote.plane.kill()?;
    let second = push("2")?;
    stage.request("far")?;
    stage.request("near")?;
    stage.ready_at("near", &second)?;
    assert_eq!(stage.object("ConfigMap", "near")?["data"]["value"], "2");
    in_status(&stage, "far", "cannot reach the API server")?;
    let away = as_administrator(&look, 1)?;
    assert!(away.contains(&remote.plane.server()?), "{away}");
    remote.plane.restart()?;
    stage.ready_at("far", &second)?;
    remote.has_value("far", "2")?;

    stage.kubectl(&["delete", "application", "far"])?;
    assert!(remote.find("far")?.is_none(), "it is removed there");
    Ok(())
}

#[test]
fn a_cluster_that_has_not_answered_yet_is_no_failure() -> Result<()> {
    let mut stage = Stage::new("remote-account")?;
    let remote = Remote::start(&stage)?;
    keep(&stage, "prod", &remote.kubeconfig()?)?;
    let file = config_map("far", "1");
    let spec = "cluster: {kubeconfig: {secretName: prod}, serviceAccountName: deployer}";
    let commit = stage.deploy_with("far", "", spec, &[("a.yaml", &file)])?;

    // For another account, the Secret is read again and a new connection is made.
    let namespace = &stage.namespace;
    stage.apply(&format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: other, namespace: {namespace}}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: other, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}\n\
         subjects: [{{kind: ServiceAccount, name: other, namespace: {namespace}}}]\n"
    ))?;
    stage.patch("far", r#"{"spec":{"serviceAccountName":"other"}}"#)?;
    until("the agent has come to the other account", LIMIT, || {
        let found = stage.object("Application", "far")?;
        let is_seen = found["status"]["observedGeneration"] == found["metadata"]["generation"];
        let conditions = found["status"]["conditions"].to_string();
        Ok(if is_seen { Ok(()) } else { Err(conditions) })
    })?;
    stage.ready_at("far", &commit)?;

    // An agent that has just started knows no cluster yet, and there is something to remove from one.
    stage.agent.stop()?;
    stage.kubectl(&["delete", "application", "far", "--wait=false"])?;
    stage.agent.start_again()?;
    stage.agent.wait_ready()?;
    until("the Application is gone", LIMIT, || {
        let found = stage.find("Application", "far")?;
        Ok(found.map_or(Ok(()), |found| {
            Err(found["status"]["conditions"].to_string())
        }))
    })?;
    assert!(remote.find("far")?.is_none(), "it is removed there");
    let events = stage.events("far")?;
    let failed = events.iter().find(|(reason, _)| reason == "ApplyFailed");
    assert_eq!(failed, None);
    Ok(())
}

#[test]
fn what_is_given_another_cluster_is_not_watched_here_any_more() -> Result<()> {
    let stage = Stage::new("remote-moved")?;
    // No other test has a NetworkPolicy, and all agents watch all namespaces.
    let file = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed}\n\
                spec: {podSelector: {}, policyTypes: [Ingress]}\n";
    let commit = stage.repository.push_files(&[("a.yaml", file)], "1")?;
    let watches_since = |mark: u64| {
        let requests = stage.world.control_plane.requests_since(mark)?;
        let is_watch = |one: &&ApiRequest| {
            let is_ours = one.user_agent.starts_with("pintle/");
            is_ours && one.verb == "watch" && one.resource == "networkpolicies"
        };
        anyhow::Ok(requests.iter().filter(is_watch).count())
    };
    let mark = stage.mark()?;
    stage.apply(&stage.application("moving", "", ""))?;
    stage.ready_at("moving", &commit)?;
    assert!(watches_since(mark)? > 0);

    let elsewhere = r#"{"spec":{"cluster":{"kubeconfig":{"secretName":"absent"}}}}"#;
    stage.patch("moving", elsewhere)?;
    stage.condition("moving", "Stalled", "ClusterChanged")?;
    let mark = stage.mark()?;
    stage.patch("moving", r#"{"spec":{"cluster":null}}"#)?;
    stage.ready_at("moving", &commit)?;
    assert!(watches_since(mark)? > 0, "the watch was still open");
    Ok(())
}

/// Lets the kubeconfig's user do everything but watch. Watches that are already open continue.
fn forbid_watches(remote: &Remote) -> Result<()> {
    remote
        .plane
        .kubectl(&["delete", "clusterrolebinding", "visitor"])?;
    remote.plane.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: blind}\n\
         rules: [{apiGroups: ['*'], resources: ['*'], verbs: [get, list, create, patch, update, delete, impersonate]}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: blind}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: blind}\n\
         subjects: [{kind: ServiceAccount, name: visitor, namespace: default}]\n",
    )
}

/// Loses the cluster of the application `far`, and gets it back without the permission to watch its objects.
fn lose_sight(stage: &Stage, remote: &mut Remote) -> Result<()> {
    forbid_watches(remote)?;
    remote.plane.kill()?;
    in_status(stage, "far", "cannot reach the API server")?;
    remote.plane.restart()?;
    // The cluster is back, and only its objects cannot be seen.
    in_status(stage, "far", "objects cannot be watched")
}

fn allow_watches(remote: &Remote) -> Result<()> {
    remote.plane.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: seeing}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n\
         subjects: [{kind: ServiceAccount, name: visitor, namespace: default}]\n",
    )
}

#[test]
fn a_cluster_that_is_lost_at_rest_is_told_until_it_is_in_sight_again() -> Result<()> {
    let stage = Stage::new("remote-lost")?;
    let mut remote = Remote::start(&stage)?;
    keep(&stage, "prod", &remote.kubeconfig()?)?;
    let file = config_map("far", "1");
    let spec = "cluster: {kubeconfig: {secretName: prod}, serviceAccountName: deployer}";
    let commit = stage.deploy_with("far", "", spec, &[("a.yaml", &file)])?;

    // From here on there are no requests for a reconciliation.
    lose_sight(&stage, &mut remote)?;
    let ready = stage.condition("far", "Ready", "ApplyFailed")?;
    assert_eq!(ready["status"], "False", "{ready}");

    allow_watches(&remote)?;
    stage.ready_at("far", &commit)?;
    Ok(())
}

#[test]
fn a_deletion_that_is_only_reported_is_looked_at_once_while_nobody_watches() -> Result<()> {
    let stage = Stage::new("remote-gone")?;
    let mut remote = Remote::start(&stage)?;
    keep(&stage, "prod", &remote.kubeconfig()?)?;
    let file = config_map("far", "1");
    let spec = "cluster: {kubeconfig: {secretName: prod}, serviceAccountName: deployer}\n\
                drift: {mode: report}";
    stage.deploy_with("far", "", spec, &[("a.yaml", &file)])?;
    let namespace = &remote.namespace;
    let deletion = ["-n", namespace, "delete", "configmap", "far"];
    remote.plane.kubectl(&deletion)?;
    stage.condition("far", "Drifted", "Reported")?;

    lose_sight(&stage, &mut remote)?;

    // Each run gets the object as the account, and nothing else does.
    let mark = remote.plane.requests_mark()?;
    std::thread::sleep(Duration::from_secs(5));
    let requests = remote.plane.requests_since(mark)?;
    let is_look = |one: &&ApiRequest| one.verb == "get" && one.resource == "configmaps";
    let looks = requests.iter().filter(is_look).count();
    assert!(looks < 5, "{looks} looks");
    assert!(remote.find("far")?.is_none(), "it is only reported");
    stage.condition("far", "Drifted", "Reported")?;
    Ok(())
}

#[test]
fn what_was_looked_up_is_followed_with_the_kubeconfig_of_now() -> Result<()> {
    let stage = Stage::new("remote-tide")?;
    let remote = Remote::start(&stage)?;
    let namespace = &stage.namespace;
    let tide = |level: &str| {
        remote.plane.apply(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: tide, namespace: {namespace}}}\n\
             data: {{level: {level}}}\n"
        ))
    };
    tide("low")?;
    keep(&stage, "prod", &remote.kubeconfig()?)?;
    let plugin = format!("{namespace}-helm");
    let registry = stage.world.servers.registry();
    let image = format!("{registry}/remotes/helm:{namespace}");
    let pushed = as_administrator(&["plugin", "push", "helm", &image], 0)?;
    let image = pushed.trim();
    let commit = stage.repository.push_files(&BOAT, "a boat")?;
    let spec = format!(
        "cluster: {{kubeconfig: {{secretName: prod}}, serviceAccountName: deployer}}\n\
         renderer: {{plugin: {plugin}}}"
    );
    stage.apply(&format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: {plugin}}}\n\
         spec: {{image: '{image}', namespaces: ['{namespace}'], grants: {{clusterReads: ['v1/ConfigMap']}}}}\n---\n{}",
        stage.application("boat", "boat", &spec)
    ))?;
    stage.ready_at("boat", &commit)?;
    remote.has_value("boat", "low")?;

    // Another user replaces the previous one, who has no permissions any more.
    remote.plane.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: guest}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n\
         subjects: [{kind: ServiceAccount, name: guest, namespace: default}]\n",
    )?;
    let mark = remote.plane.requests_mark()?;
    keep(&stage, "prod", &remote.kubeconfig_of("guest")?)?;
    until("it is rendered with the new kubeconfig", LIMIT, || {
        let requests = remote.plane.requests_since(mark)?;
        let reads = requests.iter().any(|request| {
            request.user == "system:serviceaccount:default:guest"
                && (request.verb.as_str(), request.name.as_str()) == ("get", "tide")
        });
        Ok(if reads {
            Ok(())
        } else {
            Err(format!("{} requests", requests.len()))
        })
    })?;
    remote
        .plane
        .kubectl(&["delete", "clusterrolebinding", "visitor"])?;
    let user = "--as=system:serviceaccount:default:visitor";
    until("the user of before may do nothing", LIMIT, || {
        let may = ["auth", "can-i", "impersonate", "serviceaccounts", user];
        let may = remote.plane.kubectl(&may);
        Ok(may.err().map(drop).ok_or_else(|| "they may".to_owned()))
    })?;
    tide("high")?;
    remote.has_value("boat", "high")
}

#[test]
fn a_kubeconfig_runs_no_program_and_reads_no_file_of_the_agent() -> Result<()> {
    let stage = Stage::new("kubeconfig")?;
    let commit = stage
        .repository
        .push_files(&[("a.yaml", &config_map("a", "1"))], "a")?;
    let proof = stage.agent.dir().join("proof");
    let users = [
        (
            "program",
            format!(
                "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: touch, args: ['{}']}}",
                proof.display()
            ),
            "`exec`",
        ),
        (
            "file",
            format!("tokenFile: '{}'", stage.world.agent_kubeconfig().display()),
            "`tokenFile`",
        ),
    ];
    for (name, user, field) in &users {
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             clusters: [{{name: a, cluster: {{server: '{}'}}}}]\nusers: [{{name: a, user: {{{user}}}}}]\n",
            stage.world.control_plane.server()?
        );
        keep(&stage, name, &kubeconfig)?;
        stage.apply(&stage.application(
            name,
            "",
            &format!("cluster: {{kubeconfig: {{secretName: {name}}}}}"),
        ))?;
        in_status(&stage, name, &format!("{field} of its user"))?;
    }
    assert!(!proof.exists());
    // A Secret for another cluster is as unreachable as any other Secret in another namespace.
    stage.apply(&stage.application("absent", "", "cluster: {kubeconfig: {secretName: absent}}"))?;
    in_status(
        &stage,
        "absent",
        &format!("Secret {}/absent does not exist", stage.namespace),
    )?;
    // A change of the spec does not move objects from one cluster to another.
    stage.apply(&stage.application("moving", "", ""))?;
    stage.ready_at("moving", &commit)?;
    let cluster = json!({"spec": {"cluster": {"kubeconfig": {"secretName": "absent"}}}});
    let patch = Patch::Merge(cluster);
    stage.world.wait(
        stage
            .api("Application")
            .patch("moving", &PatchParams::default(), &patch),
    )?;
    stage.condition("moving", "Stalled", "ClusterChanged")?;
    assert!(stage.find("ConfigMap", "a")?.is_some());
    Ok(())
}
