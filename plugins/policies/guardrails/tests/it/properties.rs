//! Properties of every object and every plan.

use pintle_sdk::testing::MemoryPlan;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{findings, image, object, pod, short};

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
        "annotations",
        "seLinuxOptions",
        "type",
        "sysctls",
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

    /// Whatever the order of the changes, the findings are the same.
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
