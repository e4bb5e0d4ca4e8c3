//! The policy as a plan meets it: settings and changes in, findings out.

#![expect(clippy::unwrap_used, reason = "tests")]

use pintle_policy_guardrails::{Guardrails, rules::Rule, settings::Settings};
use pintle_sdk::{
    Finding, Policy, Position, Problem,
    policy::Severity,
    testing::{FixedContext, MemoryPlan, check_plugin, settings},
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn parsed(with: &Value) -> Settings {
    settings::<Guardrails>(with).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn findings(plan: &MemoryPlan, with: &Value) -> Vec<Finding> {
    Guardrails::evaluate(&parsed(with), plan, &FixedContext::new()).unwrap()
}

fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Deny => "deny",
        Severity::Warn => "warn",
        Severity::Info => "info",
    };
    let object = finding
        .object
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{severity} {} [{object}] {}", finding.rule, finding.problem)
}

fn judged(plan: &MemoryPlan, with: &Value) -> String {
    let lines: Vec<String> = findings(plan, with).iter().map(line).collect();
    lines.join("\n")
}

/// Severity and rule of each finding: `deny host-path`.
fn short(plan: &MemoryPlan, with: &Value) -> Vec<String> {
    findings(plan, with)
        .iter()
        .map(|finding| {
            line(finding)
                .split(' ')
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

fn pod(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

/// A pod with one container that has these fields more.
fn container(more: &Value) -> Value {
    let mut container = json!({"name": "app", "image": "ghcr.io/acme/web:1.2.3"});
    container
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    pod(&json!({"containers": [container]}))
}

fn image(image: &str) -> Value {
    container(&json!({"image": image}))
}

fn object(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}})
}

#[test]
fn keeps_the_rules_of_plugins() {
    check_plugin::<Guardrails>();
}

#[test]
fn the_schema_names_every_rule() {
    let schema = pintle_sdk::testing::schema::<Guardrails>().to_string();
    for rule in Rule::ALL {
        assert!(
            schema.contains(&format!("\"{rule}\"")),
            "{rule} is missing in {schema}"
        );
    }
}

#[test]
fn names_of_rules_are_those_of_the_settings() {
    for rule in Rule::ALL {
        let settings = parsed(&json!({"rules": {rule.name(): "info"}}));
        assert_eq!(
            settings.level(rule).severity(),
            Some(Severity::Info),
            "{rule}"
        );
    }
}

#[test]
fn a_sound_plan_has_no_findings() {
    let security = json!({"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}});
    let plan = MemoryPlan::new()
        .create(container(&security))
        .create(object("v1", "ConfigMap", "a"))
        .unchanged(object("v1", "Service", "a"))
        .delete(object("v1", "ConfigMap", "old"));
    assert_eq!(findings(&plan, &json!({})), []);
}

#[test]
fn images_are_pinned() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let all =
        |reference: &str, with: Value| judged(&MemoryPlan::new().create(image(reference)), &with);
    insta::assert_snapshot!(all("nginx", json!({})), @"deny image-tag-missing [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses the image `nginx` without a tag, which means `latest` (name the version: `:1.2.3`, or a digest)");
    insta::assert_snapshot!(all("nginx:latest", json!({})), @"deny image-tag-latest [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses the image `nginx:latest`, whose tag moves (name the version: `:1.2.3`, or a digest)");
    insta::assert_snapshot!(all("nginx:${TAG}", json!({})), @"deny image-invalid [v1 Pod shop/web] /spec/containers/0/image: the container `app` has an image `nginx:${TAG}`, which is no reference (write `registry/repository:tag`, lowercase, without blanks)");
    insta::assert_snapshot!(all("nginx:1.27", json!({"rules": {"image-digest-missing": "warn"}})), @"warn image-digest-missing [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses the image `nginx:1.27` without a digest (add the digest: `@sha256:…`)");
    insta::assert_snapshot!(all("nginx:dev-12", json!({"images": {"mutableTags": ["dev-*", "main"]}})), @"deny image-tag-latest [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses the image `nginx:dev-12`, whose tag moves (name the version: `:1.2.3`, or a digest)");
    assert_eq!(
        all("nginx:latest", json!({"images": {"mutableTags": []}})),
        ""
    );
    for pinned in [format!("nginx@{digest}"), format!("nginx:latest@{digest}")] {
        assert_eq!(
            all(&pinned, json!({"rules": {"image-digest-missing": "deny"}})),
            ""
        );
    }
}

#[test]
fn registries_are_allowed_by_pattern() {
    let patterns = [
        "ghcr.io/acme/**",
        "docker.io/library/*",
        "registry.k8s.io",
        "*.example.com",
    ];
    let with = json!({"images": {"registries": patterns}});
    let allowed = |reference: &str| judged(&MemoryPlan::new().create(image(reference)), &with);
    for yes in [
        "ghcr.io/acme/web:1",
        "ghcr.io/acme/team/web:1",
        "nginx:1",
        "docker.io/nginx:1",
        "registry.k8s.io/a/b/c:1",
        "eu.example.com/x:1",
    ] {
        assert_eq!(allowed(yes), "", "{yes}");
    }
    insta::assert_snapshot!(allowed("acme/web:1"), @"deny registry-not-allowed [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses an image of `docker.io/acme/web`, which is not allowed (use an image of `ghcr.io/acme/**`, `docker.io/library/*`, `registry.k8s.io`, `*.example.com`)");
    for no in [
        "ghcr.io/acme:1",
        "ghcr.io/acmeevil/web:1",
        "example.com/x:1",
        "registry.k8s.io.evil.com/x:1",
    ] {
        assert!(allowed(no).starts_with("deny registry-not-allowed"), "{no}");
    }
}

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
    // The same kind of another group is none of them.
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
    let mut volume = object("v1", "PersistentVolume", "v");
    volume["spec"] = json!({"hostPath": {"path": "/etc"}});
    insta::assert_snapshot!(judged(&MemoryPlan::new().create(volume), &with), @"deny host-path [v1 PersistentVolume shop/v] /spec/hostPath: the volume is the path `/etc` of the host (use a ConfigMap, a claim or an emptyDir; `pods.hostPaths` lists paths that may be mounted)");
    let adding =
        container(&json!({"securityContext": {"capabilities": {"add": ["net_admin", "CHOWN"]}}}));
    let with = json!({"pods": {"capabilities": ["CAP_NET_ADMIN"]}});
    insta::assert_snapshot!(judged(&MemoryPlan::new().create(adding), &with), @"deny capability-added [v1 Pod shop/web] /spec/containers/0/securityContext/capabilities/add/1: the container `app` adds the capability `CHOWN` (remove it; `pods.capabilities` lists those that may be added)");
    // Fields that are there and say no.
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
fn labels_are_required() {
    let with = json!({"labels": {
        "required": [{"key": "team", "values": ["payments", "core-*"]}, {"key": "example.com/tier"}],
        "kinds": ["Deployment", "v?", "batch/*"], "podTemplates": true,
    }});
    let labelled = |labels: Value| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": labels},
            "spec": {"template": {"metadata": {"labels": labels}}},
        })
    };
    let judge = |labels: Value| judged(&MemoryPlan::new().create(labelled(labels)), &with);
    insta::assert_snapshot!(judge(json!(null)), @"
    deny label-missing [apps/v1 Deployment web] /metadata/labels: the label `team` is missing (add `team` with one of `payments`, `core-*`)
    deny label-missing [apps/v1 Deployment web] /metadata/labels: the label `example.com/tier` is missing (add `example.com/tier`)
    deny label-missing [apps/v1 Deployment web] /spec/template/metadata/labels: the pod template's label `team` is missing (add `team` with one of `payments`, `core-*`)
    deny label-missing [apps/v1 Deployment web] /spec/template/metadata/labels: the pod template's label `example.com/tier` is missing (add `example.com/tier`)
    ");
    insta::assert_snapshot!(judge(json!({"team": "sales", "example.com/tier": ""})), @"
    deny label-invalid [apps/v1 Deployment web] /metadata/labels/team: the label `team` must not be `sales` (use one of `payments`, `core-*`)
    deny label-missing [apps/v1 Deployment web] /metadata/labels: the label `example.com/tier` is missing (add `example.com/tier`)
    deny label-invalid [apps/v1 Deployment web] /spec/template/metadata/labels/team: the pod template's label `team` must not be `sales` (use one of `payments`, `core-*`)
    deny label-missing [apps/v1 Deployment web] /spec/template/metadata/labels: the pod template's label `example.com/tier` is missing (add `example.com/tier`)
    ");
    assert_eq!(
        judge(json!({"team": "core-db", "example.com/tier": "1"})),
        ""
    );
    // Other kinds need none.
    assert_eq!(
        findings(
            &MemoryPlan::new().create(object("v1", "ConfigMap", "x")),
            &with
        ),
        []
    );
    assert_eq!(
        findings(
            &MemoryPlan::new().create(object("batch/v1", "Job", "x")),
            &with
        )
        .len(),
        2
    );
}

#[test]
fn deletions_are_watched() {
    let claim = |name: &str| object("v1", "PersistentVolumeClaim", name);
    let plan = MemoryPlan::new()
        .delete(claim("data"))
        .replace(claim("more"), claim("more"))
        .delete(object(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "x",
        ))
        .delete(object("v1", "ConfigMap", "x"))
        .update(claim("kept"), claim("kept"));
    insta::assert_snapshot!(judged(&plan, &json!({})), @"
    deny deletion-of-kind [v1 PersistentVolumeClaim shop/data] a PersistentVolumeClaim is deleted, with all that it holds (keep it in the sources, or except it if its loss is meant)
    deny deletion-of-kind [v1 PersistentVolumeClaim shop/more] a PersistentVolumeClaim is deleted and made again, with all that it holds (undo the change of the field that cannot be changed in place, or except it)
    deny deletion-of-kind [apiextensions.k8s.io/v1 CustomResourceDefinition shop/x] a CustomResourceDefinition is deleted, with all that it holds (keep it in the sources, or except it if its loss is meant)
    ");
    insta::assert_snapshot!(judged(&plan, &json!({"deletions": {"kinds": ["Config*"], "limit": 3}})), @"
    deny deletion-of-kind [v1 ConfigMap shop/x] a ConfigMap is deleted, with all that it holds (keep it in the sources, or except it if its loss is meant)
    deny too-many-deletions [] the plan deletes 3 objects and replaces 1, more than the limit of 3 (if that is meant, raise `deletions.limit` for this change, or make it in several)
    ");
    let with =
        json!({"deletions": {"kinds": [], "limit": 3}, "rules": {"too-many-deletions": false}});
    assert_eq!(findings(&plan, &with), []);
    let many = |count: usize| {
        (0..count).fold(MemoryPlan::new(), |plan, index| {
            plan.delete(object("v1", "Secret", &format!("s{index}")))
        })
    };
    assert_eq!(findings(&many(20), &json!({})), []);
    insta::assert_snapshot!(judged(&many(21), &json!({})), @"deny too-many-deletions [] the plan deletes 21 objects, more than the limit of 20 (if that is meant, raise `deletions.limit` for this change, or make it in several)");
    // Whatever an object that goes away holds is no matter.
    assert_eq!(
        findings(&MemoryPlan::new().delete(image("nginx")), &json!({})),
        []
    );
}

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
    // What is about the pod is about no container.
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
    // Another image without a tag is a new violation, and so is the same one in a further container.
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
    // Unless it is to be judged as a new one. What is less than a warning stays so.
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

#[test]
fn settings_are_checked() {
    let wrong = |with: Value| {
        let problems = settings::<Guardrails>(&with).unwrap_err();
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        lines.join("\n")
    };
    insta::assert_snapshot!(wrong(json!({"rule": {}})), @"/rule: unknown field `rule`, expected one of `rules`, `exceptions`, `existing`, `images`, `labels`, `pods`, `deletions`");
    insta::assert_snapshot!(wrong(json!({"rules": {"image-tag-mising": "deny"}})), @"/rules/image-tag-mising: there is no rule `image-tag-mising`; the rules are `image-invalid`, `image-tag-missing`, `image-tag-latest`, `image-digest-missing`, `registry-not-allowed`, `label-missing`, `label-invalid`, `privileged-container`, `privilege-escalation`, `capability-added`, `host-namespace`, `host-path`, `host-port`, `deletion-of-kind`, `too-many-deletions`");
    insta::assert_snapshot!(wrong(json!({"rules": {"host-path": "block"}})), @"/rules/host-path: unknown variant `block`, expected one of `deny`, `warn`, `info`, `off`");
    insta::assert_snapshot!(wrong(json!({"rules": {"host-path": true}})), @"/rules/host-path: invalid value: boolean `true`, expected `deny`, `warn`, `info` or `off`");
    insta::assert_snapshot!(wrong(json!({"exceptions": [{"rules": ["x"], "names": ["x"], "reason": "x"}]})), @"/exceptions/0/rules/0: there is no rule `x`; the rules are `image-invalid`, `image-tag-missing`, `image-tag-latest`, `image-digest-missing`, `registry-not-allowed`, `label-missing`, `label-invalid`, `privileged-container`, `privilege-escalation`, `capability-added`, `host-namespace`, `host-path`, `host-port`, `deletion-of-kind`, `too-many-deletions`");
    insta::assert_snapshot!(wrong(json!({"exceptions": [{"rules": ["host-path"], "names": ["x"]}]})), @"/exceptions/0: missing field `reason`");
    let exceptions = json!([
        {"rules": ["host-path"], "reason": " "},
        {"rules": [], "names": ["x"], "reason": "x"},
        {"rules": ["too-many-deletions"], "names": ["x"], "reason": "x"},
    ]);
    insta::assert_snapshot!(wrong(json!({"exceptions": exceptions})), @"
    /exceptions/0/reason: an exception needs a reason
    /exceptions/0: an exception for everything switches the rule off (give it kinds, namespaces, names or containers, or set the rule to `off` in `rules`)
    /exceptions/1/rules: an exception names at least one rule
    /exceptions/2/rules: `too-many-deletions` is about the whole plan and has no exceptions (raise `deletions.limit`, or set the rule to `warn`)
    ");
    let registries = ["acme/**", "ghcr.io", "*", "localhost/x"];
    insta::assert_snapshot!(wrong(json!({"images": {"registries": registries}})), @"/images/registries/0: `acme/**` does not begin with a registry (write the registry too: `docker.io/acme/**`)");
    insta::assert_snapshot!(wrong(json!({"images": {"registries": ["["]}})), @r"/images/registries/0: `[` is no pattern: `[` has no closing `]`; write `\[` for the character itself");
    let template = json!({"kind": "X", "pointer": "spec"});
    let with = json!({"labels": {"required": [{"key": ""}]}, "pods": {"templates": [template]}});
    insta::assert_snapshot!(wrong(with), @"
    /labels/required/0/key: a label needs a key
    /pods/templates/0/pointer: `spec` is no JSON pointer (write it with `/` before each part: `/spec/template`)
    ");
    insta::assert_snapshot!(wrong(json!({"deletions": {"limit": -1}})), @"/deletions/limit: invalid value: integer `-1`, expected u32");
}

/// Any JSON where a manifest is expected.
fn values() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        "[a-z:/@A-Z ]{0,8}".prop_map(Value::from)
    ];
    let key = proptest::sample::select(vec![
        "spec",
        "template",
        "containers",
        "volumes",
        "hostPath",
        "path",
        "securityContext",
        "capabilities",
        "add",
        "ports",
        "hostPort",
        "image",
        "metadata",
        "labels",
    ]);
    scalar.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_panics(spec in values(), template in values()) {
        let with = json!({
            "labels": {"required": [{"key": "a"}], "podTemplates": true}, "images": {"registries": ["a.io"]},
            "rules": {"image-digest-missing": "deny"},
        });
        let mut deployment = object("apps/v1", "Deployment", "x");
        deployment["spec"] = spec;
        deployment["spec2"] = template.clone();
        let pod = pod(&template);
        let plan = MemoryPlan::new().create(deployment.clone()).update(pod.clone(), deployment).unchanged(pod);
        let _ = findings(&plan, &with);
    }

    #[test]
    fn no_image_panics(text in "\\PC{0,40}") {
        let _ = findings(&MemoryPlan::new().create(image(&text)), &json!({"images": {"registries": ["a.io/**"]}}));
    }

    /// Whatever the order of the changes: the same findings.
    #[test]
    fn the_order_of_changes_changes_nothing(order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle()) {
        let made = |index: usize| {
            let mut made = image(["nginx", "a:1", "b:latest", "bad image", "c", "d:2"][index]);
            made["metadata"]["name"] = json!(format!("p{index}"));
            made
        };
        let plan = order.iter().fold(MemoryPlan::new(), |plan, index| plan.create(made(*index)));
        let mut found = short(&plan, &json!({}));
        found.sort();
        let expected =
            ["deny image-invalid", "deny image-tag-latest", "deny image-tag-missing", "deny image-tag-missing"];
        prop_assert_eq!(found, expected);
    }
}
