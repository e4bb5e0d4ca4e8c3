//! The control plane does what an agent needs from Kubernetes.

use std::process::Command;

use pintle_harness::{ControlPlane, ControlPlaneOptions, by_verb, to_stderr};

/// One of everything that the built-in controllers, the scheduler and kwok's stages act on.
const WORKLOADS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "nginx:1", ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: web
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: "pg:1", volumeMounts: [{name: v, mountPath: /v}]}]}
  volumeClaimTemplates:
  - metadata: {name: v}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ds}
spec:
  selector: {matchLabels: {app: ds}}
  template:
    metadata: {labels: {app: ds}}
    spec: {containers: [{name: c, image: "x:1"}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: good}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "x:1"}]}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {testing.pintle.dev/pod: failed}}
    spec: {restartPolicy: Never, containers: [{name: c, image: "x:1"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: stuck}
spec:
  progressDeadlineSeconds: 1
  selector: {matchLabels: {app: stuck}}
  template:
    metadata: {labels: {app: stuck, testing.pintle.dev/pod: crash-loop}}
    spec: {containers: [{name: c, image: "x:1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: no-image, labels: {testing.pintle.dev/pod: image-pull-backoff}}
spec: {containers: [{name: c, image: "nowhere:1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: slow, labels: {testing.pintle.dev/pod: never-ready}}
spec: {containers: [{name: c, image: "x:1"}]}
"#;

#[test]
fn controllers_and_fake_nodes_bring_workloads_to_their_states() {
    let cluster = ControlPlane::shared();
    let namespace = cluster.namespace("workloads").unwrap();
    let manifests = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(manifests.path(), WORKLOADS).unwrap();
    let file = manifests.path().to_str().unwrap();
    cluster
        .kubectl(&["apply", "--server-side", "-n", &namespace, "-f", file])
        .unwrap();
    for (object, state) in [
        ("deployment/web", "condition=Available"),
        (
            "service/web",
            "jsonpath={.status.loadBalancer.ingress[0].ip}=192.0.2.80",
        ),
        ("statefulset/db", "jsonpath={.status.readyReplicas}=2"),
        ("pvc/v-db-0", "jsonpath={.status.phase}=Bound"),
        ("daemonset/ds", "jsonpath={.status.numberReady}=2"),
        ("job/good", "condition=Complete"),
        ("job/bad", "condition=Failed"),
        (
            "deployment/stuck",
            "jsonpath={.status.conditions[?(@.type==\"Progressing\")].reason}=ProgressDeadlineExceeded",
        ),
        (
            "pod/no-image",
            "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff",
        ),
        (
            "pod/slow",
            "jsonpath={.status.containerStatuses[0].ready}=false",
        ),
    ] {
        cluster
            .kubectl(&[
                "wait",
                "-n",
                &namespace,
                object,
                &format!("--for={state}"),
                "--timeout=120s",
            ])
            .unwrap();
    }
}

#[test]
fn data_and_address_survive_a_kill() {
    let mut cluster = ControlPlane::start(ControlPlaneOptions::default(), &to_stderr).unwrap();
    let server = cluster.server().unwrap();
    let namespace = cluster.namespace("kept").unwrap();
    cluster.kill().unwrap();
    let error = cluster
        .kubectl(&["get", "namespace", &namespace])
        .unwrap_err()
        .to_string();
    assert!(error.contains("refused"), "{error}");

    cluster.restart().unwrap();
    assert_eq!(cluster.server().unwrap(), server);
    cluster.kubectl(&["get", "namespace", &namespace]).unwrap();
    let usage = cluster.process().usage().unwrap();
    assert!(
        usage.peak_memory > 100 << 20 && !usage.cpu.is_zero(),
        "{usage:?}"
    );

    let dir = cluster.dir().to_owned();
    cluster.stop().unwrap();
    drop(cluster);
    assert!(!dir.exists(), "the state of a passed test is removed");
}

#[tokio::test]
async fn an_account_has_its_own_rights_only_and_its_requests_are_told_apart() {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use kube::api::{Api, ListParams};

    let cluster = ControlPlane::shared();
    let namespace = cluster.namespace("rights").unwrap();
    let kubeconfig = cluster
        .service_account_kubeconfig(&namespace, "bot")
        .unwrap();
    cluster
        .kubectl(&[
            "create",
            "role",
            "r",
            "-n",
            &namespace,
            "--verb=list",
            "--resource=configmaps",
        ])
        .unwrap();
    let account = format!("--serviceaccount={namespace}:bot");
    cluster
        .kubectl(&[
            "create",
            "rolebinding",
            "r",
            "-n",
            &namespace,
            "--role=r",
            &account,
        ])
        .unwrap();

    let mark = cluster.requests_mark().unwrap();
    let bot = pintle_harness::connect(&kubeconfig).await.unwrap();
    let config_maps = Api::<ConfigMap>::namespaced(bot.clone(), &namespace);
    pintle_harness::until_async(
        "the binding is seen",
        std::time::Duration::from_secs(30),
        async || {
            Ok(config_maps
                .list(&ListParams::default())
                .await
                .map(drop)
                .map_err(|error| error.to_string()))
        },
    )
    .await
    .unwrap();
    let refused = Api::<Secret>::namespaced(bot, &namespace)
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 403),
        "{refused}"
    );
    let admin = cluster.client().await.unwrap();
    Api::<Secret>::namespaced(admin, &namespace)
        .list(&ListParams::default())
        .await
        .unwrap();

    let mut requests = cluster.requests_since(mark).unwrap();
    requests.retain(|request| request.user == format!("system:serviceaccount:{namespace}:bot"));
    assert_eq!(by_verb(&requests).into_keys().collect::<Vec<_>>(), ["list"]);
    let secrets: Vec<_> = requests
        .iter()
        .filter(|request| request.resource == "secrets")
        .collect();
    assert_eq!(secrets.len(), 1);
    assert_eq!(
        (secrets[0].code, secrets[0].namespace.as_str()),
        (403, namespace.as_str())
    );
}

/// Runs in a process of its own, which `a_killed_parent_takes_its_children_along` kills.
#[test]
#[ignore = "a part of another test"]
fn start_and_wait_to_be_killed() {
    let cluster = ControlPlane::start(ControlPlaneOptions::default(), &to_stderr).unwrap();
    println!(
        "cluster {} {}",
        cluster.process().id(),
        cluster.dir().display()
    );
    std::thread::sleep(std::time::Duration::from_mins(10));
}

#[test]
fn a_killed_parent_takes_its_children_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "control_plane::start_and_wait_to_be_killed",
        "--ignored",
        "--nocapture",
    ]);
    let mut parent =
        pintle_harness::Process::spawn("the parent", command, &dir.path().join("log")).unwrap();
    let limit = std::time::Duration::from_mins(5);
    let (id, state) = loop {
        let line = parent.line(limit).unwrap();
        if let Some((id, state)) = line
            .strip_prefix("cluster ")
            .and_then(|rest| rest.split_once(' '))
        {
            break (id.to_owned(), std::path::PathBuf::from(state));
        }
    };
    let alive = || {
        std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(alive() && state.exists());
    parent.kill().unwrap();
    pintle_harness::until("the control plane has ended", limit, || {
        Ok(if alive() {
            Err(format!("{id} is running"))
        } else {
            Ok(())
        })
    })
    .unwrap();
    // Creating the next folder removes those of dead processes.
    drop(pintle_harness::RunDir::new("sweep").unwrap());
    assert!(!state.exists(), "{} is left", state.display());
}
