//! Every recorded object is judged as recorded.

use std::collections::BTreeSet;

use pintle_health_kubernetes::{Kubernetes, Settings};
use pintle_sdk::testing::check_health;
use pintle_sdk::{Failure, GroupKind, Health, Plugin};
use serde_json::{Value, json};

use crate::{fixtures, variations};

#[test]
fn recorded_objects_are_judged_as_recorded() {
    let mut wrong = Vec::new();
    for case in fixtures::load() {
        assert_eq!(Kubernetes::validate(&case.settings), [], "{}", case.name);
        let assessment =
            Kubernetes::assess(&case.settings, &case.object, case.now_ms).expect(&case.name);
        let given = format!("{}: {}", assessment.status, assessment.message);
        if given != case.expected {
            wrong.push(format!(
                "{}\n  expected {}\n  given    {given}",
                case.name, case.expected
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_kind_that_is_named_is_recorded() {
    let recorded: BTreeSet<_> = fixtures::load()
        .iter()
        .map(|case| group_kind(&case.object))
        .collect();
    // One judge serves the routes of all protocols, and one serves both kinds of admission policies.
    let same = [
        "GRPCRoute",
        "TCPRoute",
        "TLSRoute",
        "UDPRoute",
        "MutatingAdmissionPolicy",
    ];
    let judged = Kubernetes::judges()
        .into_iter()
        .filter(|it| it.kind != "*" && !same.contains(&it.kind.as_str()));
    let missing: Vec<_> = judged.filter(|it| !recorded.contains(it)).collect();
    assert!(missing.is_empty(), "no recorded object for {missing:?}");
}

#[test]
fn the_plugin_keeps_the_rules_for_health_checks() {
    check_health::<Kubernetes>();
    assert!(Kubernetes::judges().contains(&GroupKind::new("*", "*")));
}

#[test]
fn what_is_no_object_is_refused() {
    for value in [
        Value::Null,
        json!([]),
        json!("Pod"),
        json!({}),
        json!({"apiVersion": "v1", "kind": 3}),
    ] {
        let failure =
            Kubernetes::assess(&Settings::default(), &value, 0).expect_err("it has no kind");
        insta::allow_duplicates! {
            insta::assert_snapshot!(failure, @"refused: /kind: the object has no kind");
        }
    }
}

#[test]
fn garbage_is_judged_or_refused_and_never_panics() {
    for case in fixtures::load() {
        for object in variations::garbage(&case.object) {
            match Kubernetes::assess(&case.settings, &object, case.now_ms) {
                Ok(assessment) => assert!(!assessment.message.is_empty(), "{object}"),
                Err(failure) => assert!(matches!(failure, Failure::Refused(_)), "{failure}"),
            }
        }
    }
}

fn group_kind(object: &Value) -> GroupKind {
    let version = object["apiVersion"].as_str().unwrap();
    GroupKind::new(
        version.split_once('/').map_or("", |(group, _)| group),
        object["kind"].as_str().unwrap(),
    )
}
