//! How severe a violation is: severities, exceptions, and what the cluster already has.

use pintle_sdk::{Position, testing::MemoryPlan};
use serde_json::{Value, json};

use crate::{image, judged, short};

#[test]
fn severities_are_settings() {
    let plan = MemoryPlan::new().create(image("nginx"));
    let with = |level: Value| short(&plan, &json!({"rules": {"image-tag-missing": level}}));
    assert_eq!(with(json!("deny")), ["deny image-tag-missing"]);
    assert_eq!(with(json!("warn")), ["warn image-tag-missing"]);
    assert_eq!(with(json!("info")), ["info image-tag-missing"]);
    assert!(with(json!("off")).is_empty());
    assert!(with(json!(false)).is_empty());
}

#[test]
fn exceptions_make_findings_informative() {
    let exporter = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "node-exporter", "namespace": "monitoring"},
        "spec": {"template": {"spec": {
            "hostPID": true, "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
            "containers": [
                {"name": "exporter", "image": "q.io/a:1", "securityContext": {"privileged": true}},
                {"name": "b", "image": "q.io/b"},
            ],
        }}},
    });
    let plan = MemoryPlan::new()
        .create(exporter)
        .source(Position::new("exporter.yaml", 3, 1));
    let reason = "reads the host's metrics";
    let exception = json!({
        "rules": ["host-namespace", "host-path"], "kinds": ["DaemonSet"], "namespaces": ["monitoring"],
        "names": ["node-*"], "reason": reason,
    });
    insta::assert_snapshot!(judged(&plan, &json!({"exceptions": [exception]})), @"
    info host-namespace [apps/v1 DaemonSet monitoring/node-exporter] exporter.yaml:3:1: /spec/template/spec/hostPID: the pod shares the host's processes; excepted: reads the host's metrics (remove `hostPID`)
    info host-path [apps/v1 DaemonSet monitoring/node-exporter] exporter.yaml:3:1: /spec/template/spec/volumes/0/hostPath: the volume `root` is the path `/` of the host; excepted: reads the host's metrics (use a ConfigMap, a claim or an emptyDir; `pods.hostPaths` lists paths that may be mounted)
    deny privileged-container [apps/v1 DaemonSet monitoring/node-exporter] exporter.yaml:3:1: /spec/template/spec/containers/0/securityContext/privileged: the container `exporter` is privileged (remove it; a container that needs one right may be given that capability)
    deny image-tag-missing [apps/v1 DaemonSet monitoring/node-exporter] exporter.yaml:3:1: /spec/template/spec/containers/1/image: the container `b` uses the image `q.io/b` without a tag, which means `latest` (name the version: `:1.2.3`, or a digest)
    ");

    let with = |mut exception: Value| {
        exception["reason"] = json!(reason);
        short(&plan, &json!({"exceptions": [exception]}))
    };
    let untouched = [
        "deny host-namespace",
        "deny host-path",
        "deny privileged-container",
        "deny image-tag-missing",
    ];
    assert_eq!(
        with(json!({"rules": ["host-path"], "kinds": ["Deployment"]})),
        untouched
    );
    assert_eq!(
        with(json!({"rules": ["host-path"], "namespaces": ["shop"]})),
        untouched
    );
    assert_eq!(
        with(json!({"rules": ["host-path"], "names": ["exporter"]})),
        untouched
    );
    // A violation of the pod is not about any container.
    assert_eq!(
        with(json!({"rules": ["host-path"], "containers": ["*"]})),
        untouched
    );
    assert_eq!(
        with(json!({"rules": ["host-path"], "kinds": ["apps/*"]}))[1],
        "info host-path"
    );
    let one = with(
        json!({"rules": ["privileged-container", "image-tag-missing"], "containers": ["exporter"]}),
    );
    assert_eq!(
        one[2..],
        ["info privileged-container", "deny image-tag-missing"]
    );
}

#[test]
fn what_the_cluster_has_already_blocks_nothing() {
    let old = image("nginx");
    let mut scaled = old.clone();
    scaled["metadata"]["labels"] = json!({"x": "y"});
    let update = |desired: &Value, with: Value| {
        short(
            &MemoryPlan::new().update(old.clone(), desired.clone()),
            &with,
        )
    };
    let unchanged = |with: Value| short(&MemoryPlan::new().unchanged(old.clone()), &with);

    insta::assert_snapshot!(judged(&MemoryPlan::new().unchanged(old.clone()), &json!({})), @"warn image-tag-missing [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses the image `nginx` without a tag, which means `latest`; the cluster already has it (name the version: `:1.2.3`, or a digest)");
    assert_eq!(update(&scaled, json!({})), ["warn image-tag-missing"]);
    let replace = MemoryPlan::new().replace(old.clone(), scaled.clone());
    assert_eq!(short(&replace, &json!({})), ["warn image-tag-missing"]);
    // Another image without a tag is a new violation, and so is the same image in an additional container.
    assert_eq!(
        update(&image("httpd"), json!({})),
        ["deny image-tag-missing"]
    );
    let mut further = old.clone();
    further["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"name": "b", "image": "nginx"}));
    assert_eq!(
        update(&further, json!({})),
        ["deny image-tag-missing", "warn image-tag-missing"]
    );
    // Unless existing violations are to be judged like new ones. Anything below a warning stays below.
    assert_eq!(
        unchanged(json!({"existing": "deny"})),
        ["deny image-tag-missing"]
    );
    assert_eq!(
        update(&scaled, json!({"existing": "deny"})),
        ["deny image-tag-missing"]
    );
    assert_eq!(
        unchanged(json!({"rules": {"image-tag-missing": "info"}})),
        ["info image-tag-missing"]
    );
}
