//! Labels that objects must have.

use pintle_sdk::testing::MemoryPlan;
use serde_json::{Value, json};

use crate::{findings, judged, object};

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
    // Other kinds need no labels.
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
