//! Pods, wherever they are, and what they may do to the node.

use pintle_sdk::{Finding, testing::MemoryPlan};
use serde_json::{Value, json};

use crate::{container, findings, judged, object, pod, short};

#[test]
fn every_kind_with_pods_is_looked_into() {
    let template = json!({"spec": {
        "containers": [{"name": "a", "image": "a"}],
        "initContainers": [{"name": "b", "image": "b"}],
        "ephemeralContainers": [{"name": "c", "image": "c"}],
        "volumes": [{"name": "d", "image": {"reference": "d"}}],
    }});
    let with = |api_version: &str, kind: &str, more: &Value| {
        let mut made = object(api_version, kind, "x");
        made.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        made
    };
    let usual = json!({"spec": {"template": template}});
    let objects = [
        with("v1", "Pod", &template),
        with("v1", "PodTemplate", &json!({"template": template})),
        with("v1", "ReplicationController", &usual),
        with("apps/v1", "Deployment", &usual),
        with("apps/v1beta1", "StatefulSet", &usual),
        with("apps/v1", "DaemonSet", &usual),
        with("apps/v1", "ReplicaSet", &usual),
        with("batch/v1", "Job", &usual),
        with(
            "batch/v1",
            "CronJob",
            &json!({"spec": {"jobTemplate": {"spec": {"template": template}}}}),
        ),
        with("argoproj.io/v1alpha1", "Rollout", &usual),
    ];
    let settings = json!({"pods": {"templates": [{"kind": "argoproj.io/Rollout", "pointer": "/spec/template"}]}});
    for made in objects {
        let found = findings(&MemoryPlan::new().create(made.clone()), &settings);
        let at = |finding: &Finding| {
            made.pointer(finding.problem.pointer.as_ref().unwrap())
                .unwrap()
                .clone()
        };
        let images: Vec<Value> = found.iter().map(at).collect();
        assert_eq!(images, ["a", "b", "c", "d"], "{}", made["kind"]);
    }
    // The kind of the same name in another group is a different one.
    let other = with("example.com/v1", "Deployment", &usual);
    assert_eq!(findings(&MemoryPlan::new().create(other), &json!({})), []);
}

#[test]
fn pods_keep_off_the_host() {
    let risky = pod(&json!({
        "hostNetwork": true, "hostPID": true, "hostIPC": true,
        "securityContext": {"windowsOptions": {"hostProcess": true}},
        "volumes": [
            {"name": "fine", "emptyDir": {}},
            {"name": "docker", "hostPath": {"path": "/var/run/docker.sock"}},
            {"name": "logs", "hostPath": {"path": "/var/log/pods"}},
            {"name": "climbs", "hostPath": {"path": "/var/log/../run"}},
        ],
        "containers": [{
            "name": "app", "image": "a/b:1", "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}],
            "securityContext": {
                "privileged": true, "allowPrivilegeEscalation": true,
                "capabilities": {"add": ["CHOWN", "CAP_SYS_ADMIN", "ALL"]},
                "windowsOptions": {"hostProcess": true},
            },
        }],
    }));
    let with = json!({"pods": {"hostPaths": ["/var/log/**"]}});
    insta::assert_snapshot!(judged(&MemoryPlan::new().create(risky), &with), @"
    deny host-namespace [v1 Pod shop/web] /spec/hostNetwork: the pod shares the host's network (remove `hostNetwork`)
    deny host-namespace [v1 Pod shop/web] /spec/hostPID: the pod shares the host's processes (remove `hostPID`)
    deny host-namespace [v1 Pod shop/web] /spec/hostIPC: the pod shares the host's shared memory (remove `hostIPC`)
    deny host-path [v1 Pod shop/web] /spec/volumes/1/hostPath: the volume `docker` is the path `/var/run/docker.sock` of the host (use a ConfigMap, a claim or an emptyDir; `pods.hostPaths` lists paths that may be mounted)
    deny host-path [v1 Pod shop/web] /spec/volumes/3/hostPath: the volume `climbs` is the path `/var/log/../run` of the host (use a ConfigMap, a claim or an emptyDir; `pods.hostPaths` lists paths that may be mounted)
    deny privileged-container [v1 Pod shop/web] /spec/securityContext/windowsOptions/hostProcess: the pod runs as a process of the host (remove it; a container that needs one right may be given that capability)
    deny privileged-container [v1 Pod shop/web] /spec/containers/0/securityContext/privileged: the container `app` is privileged (remove it; a container that needs one right may be given that capability)
    deny privileged-container [v1 Pod shop/web] /spec/containers/0/securityContext/windowsOptions/hostProcess: the container `app` runs as a process of the host (remove it; a container that needs one right may be given that capability)
    warn privilege-escalation [v1 Pod shop/web] /spec/containers/0/securityContext/allowPrivilegeEscalation: the container `app` may gain more rights than it starts with (set `allowPrivilegeEscalation: false`)
    deny capability-added [v1 Pod shop/web] /spec/containers/0/securityContext/capabilities/add/1: the container `app` adds the capability `CAP_SYS_ADMIN` (remove it; `pods.capabilities` lists those that may be added)
    deny capability-added [v1 Pod shop/web] /spec/containers/0/securityContext/capabilities/add/2: the container `app` adds the capability `ALL` (remove it; `pods.capabilities` lists those that may be added)
    warn host-port [v1 Pod shop/web] /spec/containers/0/ports/1/hostPort: the container `app` takes the port 81 of the host (use a Service)
    ");
    let adding =
        container(&json!({"securityContext": {"capabilities": {"add": ["net_admin", "CHOWN"]}}}));
    let with = json!({"pods": {"capabilities": ["CAP_NET_ADMIN"]}});
    insta::assert_snapshot!(judged(&MemoryPlan::new().create(adding), &with), @"deny capability-added [v1 Pod shop/web] /spec/containers/0/securityContext/capabilities/add/1: the container `app` adds the capability `CHOWN` (remove it; `pods.capabilities` lists those that may be added)");
    // Fields that are set, but do not ask for anything.
    let harmless = pod(&json!({
        "hostNetwork": false, "hostPID": null, "volumes": [{"name": "a", "hostPath": null}],
        "containers": [
            {"name": "app", "image": "a/b:1", "ports": [{"hostPort": 0}], "securityContext": {"privileged": false}},
        ],
    }));
    assert_eq!(
        findings(&MemoryPlan::new().create(harmless), &json!({})),
        []
    );
}

#[test]
fn a_volume_for_pods_is_no_path_of_a_node() {
    let volume = |spec: Value| {
        let mut volume = object("v1", "PersistentVolume", "v");
        volume["spec"] = spec;
        judged(
            &MemoryPlan::new().create(volume),
            &json!({"pods": {"hostPaths": ["/mnt/disks/*"]}}),
        )
    };
    insta::assert_snapshot!(volume(json!({"hostPath": {"path": "/etc"}})), @"deny host-path [v1 PersistentVolume shop/v] /spec/hostPath: the volume is the path `/etc` of the host (use a ConfigMap, a claim or an emptyDir; `pods.hostPaths` lists paths that may be mounted)");
    insta::assert_snapshot!(volume(json!({"local": {"path": "/etc"}})), @"deny host-path [v1 PersistentVolume shop/v] /spec/local: the volume is local: the path `/etc` of its node (use a ConfigMap, a claim or an emptyDir; `pods.hostPaths` lists paths that may be mounted)");
    assert_eq!(volume(json!({"local": {"path": "/mnt/disks/ssd1"}})), "");
    assert_eq!(
        volume(json!({"local": null, "hostPath": null, "csi": {"driver": "x"}})),
        ""
    );
}

#[test]
fn a_path_is_what_it_says_or_matches_no_pattern() {
    let is_allowed = |path: &str| {
        let spec = json!({"volumes": [{"name": "a", "hostPath": {"path": path}}]});
        let with = json!({"pods": {"hostPaths": ["/var/log/**", "/data", "/srv/*"]}});
        findings(&MemoryPlan::new().create(pod(&spec)), &with).is_empty()
    };
    for path in [
        "/var/log/pods",
        "/var/log/pods/",
        "/var/log/a/b",
        "/data",
        "/data/",
        "/srv/a",
        "/srv/a.b",
        "/srv/...",
    ] {
        assert!(is_allowed(path), "{path}");
    }
    for path in [
        "/var/log",
        "/var/log/",
        "/var/log/.",
        "/var/log/./",
        "/var/log//",
        "/var/log/../run",
        "/var/log/a/./b",
        "/var//log/a",
        "//data",
        "/data//",
        "/data/.",
        "/srv/",
        "/srv/.",
        "/srv/..",
        "/",
        "//",
        ".",
        "",
    ] {
        assert!(!is_allowed(path), "{path}");
    }
    // The whole host may be allowed by a pattern that says so.
    let root = pod(&json!({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}));
    let with = json!({"pods": {"hostPaths": ["/"]}});
    assert_eq!(findings(&MemoryPlan::new().create(root), &with), []);
}

/// Returns an object that holds pods where the settings say so.
fn pipeline(spec: Value) -> Value {
    let mut made = object("example.com/v1", "Pipeline", "x");
    made["spec"] = spec;
    made
}

fn template(image: &str) -> Value {
    json!({"spec": {"containers": [{"name": "a", "image": image}]}})
}

fn templates(pointers: &[&str]) -> Value {
    let templates: Vec<Value> = pointers
        .iter()
        .map(|pointer| json!({"kind": "example.com/*", "pointer": pointer}))
        .collect();
    json!({"pods": {"templates": templates}})
}

#[test]
fn a_pointer_leads_to_all_items_of_a_list_and_of_a_map() {
    let spec = json!({
        "tasks": [{"template": template("nginx")}, {"name": "none"}, {"template": template("httpd")}],
        "roles": {"a/b": template("redis"), "c": template("redis:8"), "d": null},
    });
    let with = templates(&["/spec/tasks/*/template", "/spec/tasks/2/*", "/spec/roles/*"]);
    insta::assert_snapshot!(judged(&MemoryPlan::new().create(pipeline(spec)), &with), @"
    deny image-tag-missing [example.com/v1 Pipeline shop/x] /spec/tasks/0/template/spec/containers/0/image: the container `a` uses the image `nginx` without a tag, which means `latest` (name the version: `:1.2.3`, or a digest)
    deny image-tag-missing [example.com/v1 Pipeline shop/x] /spec/tasks/2/template/spec/containers/0/image: the container `a` uses the image `httpd` without a tag, which means `latest` (name the version: `:1.2.3`, or a digest)
    deny image-tag-missing [example.com/v1 Pipeline shop/x] /spec/roles/a~1b/spec/containers/0/image: the container `a` uses the image `redis` without a tag, which means `latest` (name the version: `:1.2.3`, or a digest)
    ");
}

#[test]
fn templates_do_not_excuse_each_other_and_items_may_move() {
    let update = |live: Value, desired: Value, with: &Value| {
        short(
            &MemoryPlan::new().update(pipeline(live), pipeline(desired)),
            with,
        )
    };
    let (bad, good) = (|| template("nginx"), || template("nginx:1"));
    let two = templates(&["/spec/server", "/spec/client"]);
    assert_eq!(
        update(
            json!({"server": bad(), "client": good()}),
            json!({"server": bad(), "client": bad()}),
            &two
        ),
        ["warn image-tag-missing", "deny image-tag-missing"]
    );
    let list = templates(&["/spec/tasks/*"]);
    assert_eq!(
        update(
            json!({"tasks": [bad()]}),
            json!({"tasks": [good(), bad()]}),
            &list
        ),
        ["warn image-tag-missing"]
    );
}

#[test]
fn a_pointer_that_leads_nowhere_is_told() {
    let judge = |spec: Value, pointers: &[&str]| {
        judged(
            &MemoryPlan::new().create(pipeline(spec)),
            &templates(pointers),
        )
    };
    let tasks = json!({"tasks": [{"template": template("nginx:1")}]});
    insta::assert_snapshot!(judge(tasks.clone(), &["/spec/template", "/spec/tasks/*"]), @"warn pod-template-missing [example.com/v1 Pipeline shop/x] no pod template is at `/spec/template` or `/spec/tasks/*`: its pods are not looked at (let a pointer of `pods.templates` lead to what holds the `metadata` and `spec` of its pods)");
    // One pointer that leads somewhere is enough, as versions of a kind differ.
    assert_eq!(
        judge(tasks, &["/spec/template", "/spec/tasks/*/template"]),
        ""
    );
    // Other kinds hold no pods.
    let other = MemoryPlan::new().create(object("v1", "ConfigMap", "x"));
    assert_eq!(findings(&other, &templates(&["/spec/template"])), []);
}
