//! The first-party plugins keep the contract.

use std::collections::BTreeSet;

use pintle_builtin::{component, components};
use pintle_core::digest::Digest;
use pintle_core::plugin::Kind;
use pintle_guests::interfaces;

#[test]
fn each_imports_nothing_but_the_contract_and_exports_its_kind() {
    for component in components() {
        let interfaces = interfaces(component.bytes).expect("a component");
        let foreign: Vec<_> = interfaces
            .imports
            .iter()
            .filter(|import| !import.starts_with("pintle:types/"))
            .collect();
        assert!(foreign.is_empty(), "{} imports {foreign:?}", component.name);
        let kind = component.kind;
        let expected = BTreeSet::from([
            format!("pintle:{kind}/{kind}@1.0.0"),
            "pintle:types/plugin@1.0.0".to_owned(),
        ]);
        assert_eq!(
            BTreeSet::from_iter(interfaces.exports),
            expected,
            "{}",
            component.name
        );
    }
}

#[test]
fn only_notifiers_have_a_network() {
    for component in components() {
        let imports = interfaces(component.bytes).expect("a component").imports;
        let http = imports
            .iter()
            .any(|import| import.starts_with("pintle:types/http@"));
        assert_eq!(http, component.kind == Kind::Notifier, "{}", component.name);
    }
}

#[test]
fn every_kind_is_there_and_is_found_by_name() {
    let kinds: BTreeSet<_> = components()
        .iter()
        .map(|component| component.kind)
        .collect();
    assert_eq!(kinds, BTreeSet::from(Kind::ALL));
    let manifests = component(Kind::Renderer, "manifests").expect("built in");
    assert_eq!(manifests.digest, Digest::of(manifests.bytes));
    assert!(
        component(Kind::Policy, "manifests").is_none(),
        "the kind is part of the name"
    );
}

#[test]
fn none_holds_a_path_of_this_machine() {
    let home = std::env::var("HOME").expect("HOME is set");
    for component in components() {
        let text = String::from_utf8_lossy(component.bytes);
        assert!(
            !text.contains(&format!("{home}/")),
            "{} contains {home}",
            component.name
        );
    }
}

/// Returns the most bytes that a component may have: the chart engine comes with two hundred functions.
fn limit(name: &str) -> usize {
    if name == "helm" { 3_000_000 } else { 1_000_000 }
}

#[test]
fn they_are_small_enough_to_build_in() {
    for component in components() {
        assert!(
            component.bytes.len() < limit(component.name),
            "{} has {} bytes",
            component.name,
            component.bytes.len()
        );
    }
}
