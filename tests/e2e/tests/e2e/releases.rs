//! A release of a chart through an Application, from installation to removal: subcharts, definitions, hooks and tests.

use anyhow::Result;
use serde_json::{Value, json};

use crate::desk::as_administrator;
use crate::world::{LIMIT, Stage};

const CHART: &str = "apiVersion: v2\nname: shop\nversion: 1.0.0\n\
    dependencies: [{name: cache, version: 0.1.0, condition: cache.enabled}]\n";
const HELPERS: &str = "{{- define \"shop.labels\" -}}\napp.kubernetes.io/name: {{ .Chart.Name }}\n\
    app.kubernetes.io/instance: {{ .Release.Name }}\n{{- end }}\n";
const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}-web\n  \
    labels: {{- include \"shop.labels\" . | nindent 4 }}\nspec:\n  replicas: {{ .Values.replicas }}\n  \
    selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    \
    spec: {containers: [{name: main, image: 'registry.k8s.io/pause:3.9'}]}\n";
const KEPT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: orders\n  \
    annotations: {helm.sh/resource-policy: keep}\n";
const CACHE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-cache'}\n\
    data: {size: '{{ .Values.size }}', region: '{{ .Values.global.region }}'}\n";
/// One template for all hooks: the name, events, weight and deletion policy of each.
const HOOKS: &str = "{{- range $name, $hook := .Values.hooks }}\n---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  \
    name: {{ $.Release.Name }}-{{ $name }}\n  annotations:\n    helm.sh/hook: {{ $hook.events }}\n    \
    helm.sh/hook-delete-policy: {{ $hook.delete | default \"before-hook-creation\" }}\nspec:\n  backoffLimit: 0\n  \
    template:\n    spec: {restartPolicy: Never, containers: [{name: main, image: 'main:1'}]}\n{{- end }}\n";

fn values(replicas: u32, size: u32) -> String {
    json!({
        "replicas": replicas,
        "global": {"region": "north"},
        "cache": {"enabled": true, "size": size},
        "hooks": {
            "migrate": {"events": "pre-install,pre-upgrade"},
            "welcome": {"events": "post-install", "delete": "hook-succeeded"},
            "undo": {"events": "pre-rollback"},
            "save": {"events": "pre-delete"},
            "bye": {"events": "post-delete", "delete": "hook-succeeded"},
            "smoke": {"events": "test"},
        },
    })
    .to_string()
}

/// Returns a definition in a group of the test's own, because definitions are cluster-wide.
pub(crate) fn definition(group: &str) -> String {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
    .to_string()
}

/// Gives the stage's account all permissions, because it creates definitions.
pub(crate) fn allow_all(stage: &Stage) -> Result<()> {
    let namespace = &stage.namespace;
    stage.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}\n\
         subjects: [{{kind: ServiceAccount, name: deployer, namespace: {namespace}}}]\n"
    ))
}

/// Returns the UID of a hook's Job, if the Job exists.
fn ran(stage: &Stage, hook: &str) -> Result<Option<Value>> {
    let job = stage.find("Job", &format!("shop-{hook}"))?;
    Ok(job.map(|job| job["metadata"]["uid"].clone()))
}

#[test]
fn a_chart_is_installed_tested_upgraded_rolled_back_and_removed() -> Result<()> {
    let stage = Stage::new("chart")?;
    allow_all(&stage)?;
    let group = format!("{}.example.com", stage.namespace);
    let widget = format!(
        "apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: shop}}\nspec: {{size: 1}}\n"
    );
    let files = [
        ("chart/Chart.yaml", CHART.to_owned()),
        ("chart/values.yaml", values(1, 1)),
        ("chart/crds/widgets.yaml", definition(&group)),
        ("chart/templates/_helpers.tpl", HELPERS.to_owned()),
        ("chart/templates/web.yaml", WEB.to_owned()),
        ("chart/templates/widget.yaml", widget),
        ("chart/templates/kept.yaml", KEPT.to_owned()),
        ("chart/templates/hooks.yaml", HOOKS.to_owned()),
        (
            "chart/charts/cache/Chart.yaml",
            "apiVersion: v2\nname: cache\nversion: 0.1.0\n".to_owned(),
        ),
        ("chart/charts/cache/values.yaml", "size: 0\n".to_owned()),
        ("chart/charts/cache/templates/cache.yaml", CACHE.to_owned()),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    stage.deploy_with("shop", "chart", "health: [{plugin: kubernetes}]", &files)?;
    let web = stage.object("Deployment", "shop-web")?;
    assert_eq!(
        web["metadata"]["labels"]["app.kubernetes.io/instance"],
        "shop"
    );
    assert_eq!(web["status"]["availableReplicas"], 1);
    let cache = stage.object("ConfigMap", "shop-cache")?["data"].clone();
    assert_eq!(cache, json!({"size": "1", "region": "north"}));
    let plural = format!("widgets.{group}");
    assert!(
        stage
            .kubectl(&["get", &plural, "-o", "name"])?
            .contains("/shop")
    );
    let installed = ran(&stage, "migrate")?;
    assert!(installed.is_some());
    for absent in ["welcome", "undo", "save", "bye", "smoke"] {
        assert_eq!(ran(&stage, absent)?, None, "{absent}");
    }
    assert!(
        stage
            .writes_since(0)?
            .contains_key("patch jobs/shop-welcome")
    );

    let limit = format!("{}s", LIMIT.as_secs());
    let test = ["test", "shop", "-n", &stage.namespace, "--timeout", &limit];
    let said = as_administrator(&test, 0)?;
    assert!(
        said.contains("passed") && said.contains("shop-smoke"),
        "{said}"
    );
    assert!(ran(&stage, "smoke")?.is_some());

    let commit = stage.push("shop", &[("chart/values.yaml", &values(2, 5))])?;
    stage.ready_at("shop", &commit)?;
    assert_eq!(
        stage.object("Deployment", "shop-web")?["status"]["availableReplicas"],
        2
    );
    assert_eq!(
        stage.object("ConfigMap", "shop-cache")?["data"]["size"],
        "5"
    );
    let upgraded = ran(&stage, "migrate")?;
    assert_ne!(upgraded, installed);
    assert_eq!(ran(&stage, "undo")?, None);

    let commit = stage.push("shop", &[("chart/values.yaml", &values(1, 1))])?;
    stage.ready_at("shop", &commit)?;
    assert_eq!(
        stage.object("ConfigMap", "shop-cache")?["data"]["size"],
        "1"
    );
    assert!(ran(&stage, "undo")?.is_some());
    assert_eq!(ran(&stage, "migrate")?, upgraded);

    let mark = stage.mark()?;
    stage.kubectl(&["delete", "application", "shop", "--timeout=120s"])?;
    let writes = stage.writes_since(mark)?;
    for hook in ["save", "bye"] {
        assert!(
            writes.contains_key(&format!("patch jobs/shop-{hook}")),
            "{writes:?}"
        );
    }
    assert_eq!(stage.find("Deployment", "shop-web")?, None);
    assert_eq!(stage.find("ConfigMap", "shop-cache")?, None);
    assert!(
        stage.find("ConfigMap", "orders")?.is_some(),
        "it asks to stay"
    );
    assert_eq!(stage.kubectl(&["get", "jobs", "-o", "name"])?, "");
    stage.kubectl(&[
        "delete",
        "customresourcedefinition",
        &plural,
        "--ignore-not-found",
    ])?;
    Ok(())
}
