use super::*;
use crate::drift::DriftSettings;
use proptest::prelude::*;
use serde_json::json;

const US: &str = "pintle/shop/web";

fn live(spec: Value, entries: &[(&str, Value)]) -> Value {
    let entry = |(manager, fields): &(&str, Value)| {
        let operation = if *manager == US { "Apply" } else { "Update" };
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields})
    };
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "managedFields": entries}, "spec": spec})
}

fn desired(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "spec": spec})
}

fn ignored(rule: Value) -> Ignored {
    let settings: DriftSettings = serde_json::from_value(json!({"ignore": [rule]})).unwrap();
    let id = crate::object::Object::new(desired(json!({})))
        .unwrap()
        .id()
        .clone();
    settings.ignored(&id)
}

fn applied(wanted: Value, live: &Value, rule: Value) -> (Value, bool) {
    let respected = respecting(&desired(wanted), live, US, &ignored(rule));
    (respected.object["spec"].clone(), respected.is_bound)
}

fn replicas() -> Value {
    json!({"pointers": ["/spec/replicas"]})
}

#[test]
fn an_ignored_field_that_is_ours_keeps_its_value_even_when_it_leaves_the_source() {
    let live = live(
        json!({"replicas": 3, "image": "1"}),
        &[(US, json!({"f:spec": {"f:replicas": {}, "f:image": {}}}))],
    );
    let wanted = json!({"replicas": 7, "image": "2"});
    assert_eq!(
        applied(wanted, &live, replicas()),
        (json!({"replicas": 3, "image": "2"}), true)
    );
    let without = json!({"image": "2"});
    assert_eq!(
        applied(without, &live, replicas()),
        (json!({"replicas": 3, "image": "2"}), true)
    );
}

#[test]
fn an_ignored_field_that_another_has_taken_is_left_to_them() {
    let live = live(
        json!({"replicas": 9, "image": "1"}),
        &[
            (US, json!({"f:spec": {"f:image": {}}})),
            ("scaler", json!({"f:spec": {"f:replicas": {}}})),
        ],
    );
    let wanted = || json!({"replicas": 3, "image": "2"});
    let expected = (json!({"image": "2"}), false);
    assert_eq!(applied(wanted(), &live, replicas()), expected);
    assert_eq!(
        applied(wanted(), &live, json!({"managers": ["scal*"]})),
        expected
    );
    assert_eq!(
        applied(wanted(), &live, json!({"managers": ["other"]})).0,
        wanted()
    );
}

#[test]
fn a_field_that_is_gone_stays_away() {
    let live = live(
        json!({"image": "1"}),
        &[(US, json!({"f:spec": {"f:image": {}}}))],
    );
    let wanted = json!({"replicas": 3, "image": "1"});
    assert_eq!(
        applied(wanted, &live, replicas()),
        (json!({"image": "1"}), false)
    );
}

#[test]
fn what_has_nothing_left_in_it_is_not_applied_and_what_was_empty_is() {
    let live = live(
        json!({"map": {"a": 2}, "emptyDir": {"sizeLimit": "1Gi"}}),
        &[(
            "bot",
            json!({"f:spec": {"f:map": {"f:a": {}}, "f:emptyDir": {"f:sizeLimit": {}}}}),
        )],
    );
    let wanted = || json!({"map": {"a": 1}, "emptyDir": {}, "x": 1});
    let expected = json!({"emptyDir": {}, "x": 1});
    let pointers = json!({"pointers": ["/spec/map/a", "/spec/emptyDir/sizeLimit"]});
    for rule in [pointers, json!({"managers": ["bot"]})] {
        assert_eq!(applied(wanted(), &live, rule).0, expected);
    }
}

#[test]
fn items_are_matched_by_their_keys() {
    let live = live(
        json!({"containers": [{"name": "injected", "image": "x"}, {"name": "main", "image": "5", "args": ["a"]}]}),
        &[
            (
                US,
                json!({"f:spec": {"f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:name": {}, "f:args": {}}}}}),
            ),
            (
                "bot",
                json!({"f:spec": {"f:containers": {
                    "k:{\"name\":\"main\"}": {"f:image": {}}, "k:{\"name\":\"injected\"}": {".": {}, "f:name": {}, "f:image": {}},
                }}}),
            ),
        ],
    );
    let wanted = || json!({"containers": [{"name": "main", "image": "1", "args": ["b"]}]});
    let expected = json!({"containers": [{"name": "main", "args": ["b"]}]});
    for rule in [
        json!({"pointers": ["/spec/containers/[name=main]/image"]}),
        json!({"pointers": ["/spec/containers/*/image"]}),
        json!({"managers": ["bot"]}),
    ] {
        assert_eq!(applied(wanted(), &live, rule), (expected.clone(), false));
    }
    let sidecar = json!({"containers": [{"name": "main"}, {"name": "injected", "image": "y"}]});
    assert_eq!(
        applied(sidecar, &live, json!({"managers": ["bot"]})).0,
        json!({"containers": [{"name": "main"}]}),
        "what another has made is theirs"
    );
}

#[test]
fn of_an_atomic_field_the_ignored_part_is_kept_and_the_rest_put_right() {
    let live = live(
        json!({"rules": [{"host": "edited", "weight": 9}]}),
        &[("scaler", json!({"f:spec": {"f:rules": {}}}))],
    );
    let wanted = json!({"rules": [{"host": "a", "weight": 1}]});
    assert_eq!(
        applied(wanted, &live, json!({"pointers": ["/spec/rules/0/weight"]})),
        (json!({"rules": [{"host": "a", "weight": 9}]}), true)
    );
}

/// Items as in an `HTTPRoute`: with a name and a weight.
fn refs(items: &[(&str, u32)]) -> Value {
    let items = items
        .iter()
        .map(|(name, weight)| json!({"name": name, "weight": weight}));
    json!({"refs": items.collect::<Vec<_>>()})
}

/// Live items of a list that someone owns as a whole.
fn atomic(items: &[(&str, u32)], owner: &str) -> Value {
    live(refs(items), &[(owner, json!({"f:spec": {"f:refs": {}}}))])
}

/// The fields that someone owns in a list with keys.
fn keyed(names: &[&str]) -> Value {
    let item = |name: &&str| {
        let key = format!("k:{}", json!({"name": name}));
        (key, json!({".": {}, "f:name": {}, "f:weight": {}}))
    };
    let items: Map<String, Value> = names.iter().map(item).collect();
    json!({"f:spec": {"f:refs": items}})
}

fn pointing(pointers: &[&str]) -> Value {
    json!({"pointers": pointers})
}

#[test]
fn in_a_list_without_keys_a_value_stays_with_the_item_that_a_pointer_means() {
    let live = atomic(&[("stable", 20), ("canary", 80)], "rollouts");
    let wanted = || refs(&[("mirror", 1), ("stable", 100), ("canary", 0)]);
    let kept = |pointers: &[&str]| applied(wanted(), &live, pointing(pointers));
    let (stable, canary) = (
        "/spec/refs/[name=stable]/weight",
        "/spec/refs/[name=canary]/weight",
    );
    let expected = |stable, canary| {
        (
            refs(&[("mirror", 1), ("stable", stable), ("canary", canary)]),
            true,
        )
    };
    assert_eq!(kept(&[stable]), expected(20, 0));
    assert_eq!(kept(&[canary]), expected(100, 80));
    assert_eq!(kept(&[canary, stable]), expected(20, 80));
    assert_eq!(kept(&["/spec/refs/*/weight"]), expected(20, 80));
    assert_eq!(
        kept(&["/spec/refs/0/weight"]).0,
        refs(&[("mirror", 20), ("stable", 100), ("canary", 0)]),
        "a number is a place"
    );
}

#[test]
fn an_item_that_is_ignored_as_a_whole_does_not_become_another() {
    let live = atomic(&[("stable", 20), ("canary", 80)], US);
    let wanted = refs(&[("mirror", 1), ("canary", 1), ("stable", 1)]);
    assert_eq!(
        applied(wanted, &live, pointing(&["/spec/refs/[name=stable]"])),
        (refs(&[("mirror", 1), ("canary", 1), ("stable", 20)]), true)
    );
    let all = refs(&[("stable", 20), ("canary", 80)]);
    let wanted = refs(&[("canary", 1), ("mirror", 1), ("stable", 1)]);
    assert_eq!(
        applied(wanted, &live, pointing(&["/spec/refs/*"])),
        (all, true),
        "the order is ignored with the items"
    );
}

#[test]
fn members_of_a_set_are_known_by_their_values() {
    let set = |items: &[&str]| json!({"finalizers": items});
    let kept = |wanted: &[&str], found: &[&str], is_ours: bool| {
        let x = json!({"f:spec": {"f:finalizers": {".": {}, "v:\"x\"": {}}}});
        let y = json!({"f:spec": {"f:finalizers": {".": {}, "v:\"y\"": {}}}});
        let live = live(
            set(found),
            &[(if is_ours { US } else { "bot" }, x), ("other", y)],
        );
        applied(set(wanted), &live, pointing(&["/spec/finalizers/[=x]"]))
    };
    let (both, turned) = (&["x", "y"], &["y", "x"]);
    assert_eq!(kept(both, turned, true), (set(both), true));
    assert_eq!(kept(&["y"], turned, true), (set(turned), true), "it stays");
    assert_eq!(kept(both, turned, false), (set(&["y"]), false), "theirs");
    assert_eq!(kept(both, &["y"], true), (set(&["y"]), false), "removed");
}

#[test]
fn an_ignored_item_that_the_source_does_not_have_stays() {
    let both = || refs(&[("main", 1), ("side", 5)]);
    let ours = live(both(), &[(US, keyed(&["main", "side"]))]);
    let theirs = live(both(), &[(US, keyed(&["main"])), ("bot", keyed(&["side"]))]);
    let (side, weight) = ("/spec/refs/[name=side]", "/spec/refs/[name=side]/weight");
    let kept = |live: &Value, pointer: &str| {
        let wanted = refs(&[("main", 2)]);
        applied(wanted, live, pointing(&[pointer]))
    };
    let with = (refs(&[("main", 2), ("side", 5)]), true);
    let without = (refs(&[("main", 2)]), false);
    assert_eq!(kept(&ours, side), with);
    assert_eq!(
        kept(&ours, weight),
        without,
        "an item goes with what is ignored of it"
    );
    assert_eq!(kept(&theirs, side), without, "nobody removes it");
    for owner in [US, "rollouts"] {
        let live = atomic(&[("main", 1), ("side", 5)], owner);
        assert_eq!(kept(&live, side), with, "applied without it, it would go");
        assert_eq!(kept(&live, weight), without);
    }
    let theirs = atomic(&[("main", 1), ("side", 5)], "rollouts");
    assert_eq!(
        applied(json!({"image": "1"}), &theirs, pointing(&[side])),
        (json!({"image": "1"}), false),
        "a list that is not applied loses nothing"
    );
}

#[test]
fn what_others_put_into_a_map_that_is_applied_as_a_whole_stays() {
    let live = live(
        json!({"selector": {"app": "a", "extra": "x"}}),
        &[("bot", json!({"f:spec": {"f:selector": {}}}))],
    );
    let kept = |wanted: Value| applied(wanted, &live, pointing(&["/spec/selector/extra"]));
    assert_eq!(
        kept(json!({"selector": {"app": "b"}})),
        (json!({"selector": {"app": "b", "extra": "x"}}), true)
    );
    let other = || json!({"image": "1"});
    assert_eq!(kept(other()), (other(), false));
}

#[test]
fn items_without_names_are_known_by_what_is_not_ignored_and_else_by_their_place() {
    let rules = |rules: &[(&str, u32)]| {
        let rules = rules
            .iter()
            .map(|(path, weight)| json!({"path": path, "weight": weight}));
        json!({"rules": rules.collect::<Vec<_>>()})
    };
    let kept = |wanted: &[(&str, u32)], found: Value| {
        let live = live(found, &[(US, json!({"f:spec": {"f:rules": {}}}))]);
        applied(rules(wanted), &live, pointing(&["/spec/rules/*/weight"])).0
    };
    let mut defaulted = rules(&[("/a", 9)]);
    defaulted["rules"][0]["kind"] = json!("Service");
    assert_eq!(
        kept(&[("/new", 1), ("/a", 1)], defaulted),
        rules(&[("/new", 1), ("/a", 9)])
    );
    assert_eq!(
        kept(&[("/a", 1), ("/b", 1)], rules(&[("/b", 8), ("/a", 9)])),
        rules(&[("/a", 9), ("/b", 8)])
    );
    assert_eq!(
        kept(&[("/other", 1)], rules(&[("/a", 9)])),
        rules(&[("/other", 9)])
    );
}

/// Drift is detected by the live object. An apply that kept a value that the rule does not match there would never end the drift.
#[test]
fn a_condition_is_about_the_item_as_it_is() {
    let item =
        |mode: &str, image: &str| json!({"refs": [{"name": "a", "mode": mode, "image": image}]});
    let live = live(
        item("manual", "5"),
        &[(
            US,
            json!({"f:spec": {"f:refs": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:mode": {}, "f:image": {}}}}}),
        )],
    );
    let kept = |mode: &str| {
        let pointer = format!("/spec/refs/[mode={mode}]/image");
        applied(item("auto", "1"), &live, pointing(&[&pointer]))
    };
    assert_eq!(kept("auto"), (item("auto", "1"), false));
    assert_eq!(kept("manual"), (item("auto", "5"), true));
}

/// Some of four names, in any order.
fn names() -> impl Strategy<Value = Vec<&'static str>> {
    let shuffled = Just(vec!["a", "b", "c", "d"]).prop_shuffle();
    (shuffled, 0..=4usize).prop_map(|(mut names, count)| {
        names.truncate(count);
        names
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        "[ab]".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_changes_where_nothing_is_ignored(wanted in value(), found in value()) {
        let live = live(found, &[(US, json!({"f:spec": {}}))]);
        let respected = respecting(&desired(wanted.clone()), &live, US, &Ignored::default());
        prop_assert_eq!(respected, Respected { object: desired(wanted), is_bound: false });
    }

    #[test]
    fn what_is_ours_and_ignored_as_a_whole_is_applied_as_it_is(wanted in value(), found in value()) {
        let live = live(found.clone(), &[(US, json!({"f:spec": {}}))]);
        prop_assert_eq!(applied(wanted, &live, json!({"pointers": ["/spec"]})).0, found);
    }

    #[test]
    fn no_object_panics(wanted in value(), found in value(), text in "/spec(/[a-c*0-1]){0,3}") {
        let live = live(found, &[(US, json!({"f:spec": {"f:a": {}}})), ("x", json!({"f:spec": {"f:b": {"i:0": {}}}}))]);
        applied(wanted, &live, json!({"pointers": [text], "managers": ["x"]}));
    }

    #[test]
    fn the_order_of_items_changes_no_kept_value(
        wanted in names(), found in names(), is_atomic in any::<bool>(), rule in 0..3usize,
    ) {
        let weight = |name: &str| if name == "a" { 10 } else { 20 };
        let items: Vec<_> = found.iter().map(|name| (*name, weight(name))).collect();
        let live = if is_atomic { atomic(&items, US) } else { live(refs(&items), &[(US, keyed(&found))]) };
        let pointer = ["/spec/refs/[name=a]/weight", "/spec/refs/*/weight", "/spec/refs/[name=a]"][rule];
        let items: Vec<_> = wanted.iter().map(|name| (*name, 1)).collect();
        let result = applied(refs(&items), &live, pointing(&[pointer])).0;

        let mut expected: Vec<_> = wanted.iter().map(|name| {
            let is_kept = found.contains(name) && (rule == 1 || *name == "a");
            (*name, if is_kept { weight(name) } else { 1 })
        }).collect();
        if rule == 2 {
            // The item exists if it existed before, whatever the source says.
            expected.retain(|(name, _)| *name != "a");
            expected.extend(found.contains(&"a").then(|| ("a", weight("a"))));
        }
        let mut kept: Vec<_> = result["refs"].as_array().cloned().unwrap_or_default();
        let mut expected = refs(&expected)["refs"].as_array().cloned().unwrap_or_default();
        for items in [&mut kept, &mut expected] {
            items.sort_by_key(|item| item["name"].to_string());
        }
        prop_assert_eq!(kept, expected);
    }
}
