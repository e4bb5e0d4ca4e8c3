//! Rules about what is deleted.

use pintle_sdk::{HookEvent, testing::MemoryPlan};
use serde_json::json;

use crate::{findings, image, judged, object};

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
    // What a deleted object holds does not matter.
    assert_eq!(
        findings(&MemoryPlan::new().delete(image("nginx")), &json!({})),
        []
    );
}

#[test]
fn a_hook_that_runs_again_deletes_nothing_but_data() {
    let run_again = |api_version: &str, kind: &str| {
        let hook = object(api_version, kind, "migrate");
        MemoryPlan::new()
            .replace(hook.clone(), hook)
            .hook([HookEvent::PreUpgrade])
    };
    let none = json!({"deletions": {"kinds": ["*"], "limit": 0}});
    assert_eq!(findings(&run_again("batch/v1", "Job"), &none), []);
    assert_eq!(findings(&run_again("v1", "Pod"), &none), []);
    insta::assert_snapshot!(judged(&run_again("v1", "PersistentVolumeClaim"), &none), @"deny deletion-of-kind [v1 PersistentVolumeClaim shop/migrate] a PersistentVolumeClaim is deleted before it is made again as a hook, with all that it holds (let it be no hook, so that it stays from one release to the next, or except it)");

    // A Job that is not a hook is deleted like anything else.
    let job = object("batch/v1", "Job", "migrate");
    insta::assert_snapshot!(judged(&MemoryPlan::new().replace(job.clone(), job), &none), @"
    deny deletion-of-kind [batch/v1 Job shop/migrate] a Job is deleted and made again, with all that it holds (undo the change of the field that cannot be changed in place, or except it)
    deny too-many-deletions [] the plan deletes 0 objects and replaces 1, more than the limit of 0 (if that is meant, raise `deletions.limit` for this change, or make it in several)
    ");
}
