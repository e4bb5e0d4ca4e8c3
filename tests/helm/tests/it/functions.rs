//! Every function of Helm's library exists.

use pintle_helm_tests::{oracle::Oracle, ours};

#[test]
fn none_is_missing() {
    let engine = ours::engine();
    let missing: Vec<String> = Oracle::start()
        .unwrap()
        .functions()
        .unwrap()
        .into_iter()
        .filter(|function| !function.builtin && engine.functions().get(&function.name).is_none())
        .map(|function| function.name)
        .collect();
    assert!(
        missing.is_empty(),
        "{} are missing: {missing:?}",
        missing.len()
    );
}
