//! Tests that carry out orders.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::object::ObjectId;

fn id(group: &str, kind: &str, name: &str) -> ObjectId {
    let is_global = matches!(kind, "Namespace" | "CustomResourceDefinition");
    ObjectId {
        group: group.into(),
        kind: kind.into(),
        namespace: (!is_global).then(|| "shop".into()),
        name: name.into(),
    }
}

fn item(group: &str, kind: &str, name: &str, annotations: &[(&str, &str)]) -> Item {
    let id = id(group, kind, name);
    let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
    let object = json!({"metadata": {"annotations": annotations}});
    Item {
        links: Links::of(&id, &object).unwrap(),
        defines: None,
        id,
    }
}

fn map(name: &str, annotations: &[(&str, &str)]) -> Item {
    item("", "ConfigMap", name, annotations)
}

const AFTER: &str = "pintle.dev/depends-on";
const WAVE: &str = "pintle.dev/wave";

fn order(mut items: Vec<Item>) -> Result<Order, OrderError> {
    items.sort_by(|a, b| a.id.cmp(&b.id));
    Order::of(&items)
}

/// Carries out an order. If several tasks can be done, `choose` picks the one that is done next. Returns what was done: the name
/// of each object when it is written, and its name with a `+` when it has been awaited.
fn carry_out(
    order: &Order,
    writes: &BTreeSet<&ObjectId>,
    mut choose: impl FnMut(usize) -> usize,
) -> Vec<String> {
    let mut schedule = Schedule::new(order, writes, Usable::Settled);
    let (mut open, mut log) = (Vec::new(), Vec::new());
    loop {
        open.extend(schedule.take());
        if open.is_empty() {
            return log;
        }
        let task = open.remove(choose(open.len()));
        let name = &schedule.object(task).name;
        log.push(match task {
            Task::Write(_) => name.clone(),
            Task::Await(_) => format!("{name}+"),
        });
        schedule.done(task);
    }
}

fn first(order: &Order, items: &[Item]) -> String {
    let writes = items.iter().map(|item| &item.id).collect();
    carry_out(order, &writes, |_| 0).join(" ")
}

fn carried_out(items: Vec<Item>) -> String {
    first(&order(items.clone()).unwrap(), &items)
}

#[test]
fn kinds_have_an_order_where_nothing_else_says_so() {
    let items = vec![
        item(
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration",
            "g",
            &[],
        ),
        item("example.com", "Widget", "f", &[]),
        item("apps", "Deployment", "e", &[]),
        item("", "Service", "d", &[]),
        item("", "ServiceAccount", "c", &[]),
        item("apiextensions.k8s.io", "CustomResourceDefinition", "b", &[]),
        item("", "Namespace", "a", &[]),
    ];
    assert_eq!(carried_out(items.clone()), "a b c d e f g");
    let mut sorted = items;
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(first(&Order::of_removal(&sorted), &sorted), "g d e f c b a");
    assert!(!order(sorted).unwrap().awaits());
}

#[test]
fn each_wave_is_healthy_before_the_next_and_removed_after_it() {
    let items = vec![
        map("last", &[(WAVE, "7")]),
        map("plain", &[]),
        map("first", &[("argocd.argoproj.io/sync-wave", "-1")]),
    ];
    assert_eq!(carried_out(items.clone()), "first first+ plain plain+ last");
    let mut sorted = items;
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(
        first(&Order::of_removal(&sorted), &sorted),
        "last last+ plain plain+ first"
    );
}

#[test]
fn a_dependency_is_healthy_first_and_holds_nobody_else_up() {
    let items = vec![
        map("web", &[(AFTER, "Job/migrate")]),
        map("other", &[]),
        item("batch", "Job", "migrate", &[(AFTER, "/ConfigMap/settings")]),
        map("settings", &[]),
    ];
    let done = carried_out(items);
    assert_eq!(done, "other settings settings+ migrate migrate+ web");
}

#[test]
fn what_is_needed_comes_with_the_wave_that_needs_it() {
    let id = id("apps", "Deployment", "web");
    let object =
        json!({"metadata": {}, "spec": {"template": {"spec": {"serviceAccountName": "web"}}}});
    let deployment = Item {
        links: Links::of(&id, &object).unwrap(),
        defines: None,
        id,
    };
    let account = item("", "ServiceAccount", "web", &[(WAVE, "5")]);
    let definition = Item {
        defines: Some(("example.com".into(), "Widget".into())),
        ..item(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            "widgets",
            &[(WAVE, "5")],
        )
    };
    let widget = item("example.com", "Widget", "one", &[]);
    let items = vec![deployment, account, definition, widget];
    assert_eq!(carried_out(items), "widgets web web one");
}

#[test]
fn what_cannot_be_ordered_is_refused_with_the_objects() {
    let namespace = Item {
        links: Links::of(
            &id("", "Namespace", "shop"),
            &json!({"metadata": {"annotations": {AFTER: "ConfigMap/a"}}}),
        )
        .unwrap(),
        ..item("", "Namespace", "shop", &[])
    };
    let mut inside = map("a", &[]);
    inside.id.namespace = Some("shop".into());
    let said: Vec<String> = [
        vec![
            map("a", &[(AFTER, "ConfigMap/b")]),
            map("b", &[(AFTER, "ConfigMap/c")]),
            map("c", &[(AFTER, "ConfigMap/a")]),
        ],
        vec![map("a", &[(AFTER, "ConfigMap/a")])],
        vec![map("a", &[(AFTER, "apps/Deployment/db")])],
        vec![
            map("a", &[(AFTER, "Ingress/x")]),
            item("extensions", "Ingress", "x", &[]),
            item("networking.k8s.io", "Ingress", "x", &[]),
        ],
        vec![
            map("a", &[(AFTER, "ConfigMap/b")]),
            map("b", &[(WAVE, "1")]),
        ],
    ]
    .into_iter()
    .map(|items| order(items).unwrap_err().to_string())
    .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    objects wait for each other: ConfigMap shop/a depends on ConfigMap shop/b, ConfigMap shop/b depends on ConfigMap shop/c, ConfigMap shop/c depends on ConfigMap shop/a; remove one of these dependencies
    objects wait for each other: ConfigMap shop/a depends on ConfigMap shop/a; remove one of these dependencies
    ConfigMap shop/a depends on apps/Deployment/db, which is not rendered with it: correct the name, or let the application that brings it come first
    ConfigMap shop/a depends on Ingress/x, which may be Ingress.extensions shop/x or Ingress.networking.k8s.io shop/x: name the group as well, as GROUP/KIND/NAMESPACE/NAME
    ConfigMap shop/a in wave 0 depends on ConfigMap shop/b, which is in the later wave 1: neither could ever be written first
    ");
    let mut both = vec![namespace, inside];
    both[0].links.after = map("x", &[(AFTER, "/ConfigMap/shop/a")]).links.after;
    let error = order(both).unwrap_err();
    assert_eq!(error.objects().len(), 2);
    assert!(
        error
            .to_string()
            .contains("ConfigMap shop/a needs Namespace shop"),
        "{error}"
    );
}

#[test]
fn only_what_comes_before_a_write_is_awaited() {
    let items = [
        map("a", &[]),
        map("b", &[(AFTER, "ConfigMap/a")]),
        map("c", &[(WAVE, "1")]),
    ];
    let order = Order::of(&items).unwrap();
    let done = |names: &[usize]| {
        let writes = names.iter().map(|index| &items[*index].id).collect();
        carry_out(&order, &writes, |_| 0).join(" ")
    };
    assert_eq!(done(&[]), "");
    assert_eq!(done(&[0]), "a");
    assert_eq!(done(&[1]), "a+ b");
    assert_eq!(done(&[2]), "a+ b+ c");
}

/// Objects with random waves, kinds and dependencies.
fn any_items() -> impl Strategy<Value = Vec<Item>> {
    let kinds = prop::sample::select(vec![
        ("", "ConfigMap"),
        ("", "Namespace"),
        ("batch", "Job"),
        ("apps", "Deployment"),
    ]);
    let one = (kinds, -1..2i32, prop::collection::vec(0..12usize, 0..3));
    prop::collection::vec(one, 1..12).prop_map(|all| {
        let ids: Vec<ObjectId> = all
            .iter()
            .enumerate()
            .map(|(index, ((group, kind), ..))| id(group, kind, &format!("o{index:02}")))
            .collect();
        let mut items: Vec<Item> = all
            .iter()
            .zip(&ids)
            .map(|((_, wave, after), id)| {
                let after: Vec<String> = after
                    .iter()
                    .filter_map(|index| ids.get(*index))
                    .map(|id| format!("{}/{}/{}", id.group, id.kind, id.name))
                    .collect();
                let annotations = json!({WAVE: wave.to_string(), AFTER: after.join(",")});
                let object = json!({"metadata": {"annotations": annotations}});
                Item {
                    links: Links::of(id, &object).unwrap(),
                    defines: None,
                    id: id.clone(),
                }
            })
            .collect();
        items.sort_by(|a, b| a.id.cmp(&b.id));
        items
    })
}

proptest! {
    #[test]
    fn every_write_is_done_once_and_after_what_it_depends_on(
        items in any_items(), written in prop::collection::vec(any::<bool>(), 12), choices in prop::collection::vec(any::<u16>(), 1..80),
    ) {
        let Ok(order) = Order::of(&items) else { return Ok(()) };
        let writes: BTreeSet<&ObjectId> = items.iter().zip(&written).filter(|(_, is)| **is).map(|(item, _)| &item.id).collect();
        let mut choices = choices.into_iter().cycle();
        let log = carry_out(&order, &writes, |count| usize::from(choices.next().unwrap_or_default()) % count);
        let at = |entry: &str| log.iter().position(|done| done == entry);
        let names: BTreeSet<&String> = log.iter().filter(|done| !done.ends_with('+')).collect();
        let wanted: BTreeSet<&String> = writes.iter().map(|id| &id.name).collect();
        prop_assert_eq!(&names, &wanted, "{:?}", log);
        prop_assert_eq!(log.len(), log.iter().collect::<BTreeSet<_>>().len(), "nothing is done twice: {:?}", log);
        for item in items.iter().filter(|item| writes.contains(&item.id)) {
            let written = at(&item.id.name);
            for other in &items {
                let depends = item.links.after.iter().any(|reference| reference.means(&other.id, Some("shop")));
                if depends || other.links.wave < item.links.wave {
                    let healthy = at(&format!("{}+", other.id.name));
                    prop_assert!(healthy.is_some() && healthy < written, "{} before {}: {:?}", other.id, item.id, log);
                }
            }
        }
    }

    #[test]
    fn a_removal_always_comes_to_its_end_and_the_other_way_round(items in any_items()) {
        let writes: BTreeSet<&ObjectId> = items.iter().map(|item| &item.id).collect();
        let log = carry_out(&Order::of_removal(&items), &writes, |_| 0);
        let at = |entry: &str| log.iter().position(|done| done == entry);
        prop_assert!(items.iter().all(|item| at(&item.id.name).is_some()));
        if Order::of(&items).is_ok() {
            for item in &items {
                for other in items.iter().filter(|other| other.links.wave < item.links.wave) {
                    prop_assert!(at(&format!("{}+", item.id.name)) < at(&other.id.name), "{:?}", log);
                }
            }
        }
    }

    #[test]
    fn the_order_of_input_means_nothing(items in any_items()) {
        let mut other = items.clone();
        other.reverse();
        let result = |items: &[Item]| Order::of(items).map(|order| {
            let mut all = carry_out(&order, &items.iter().map(|item| &item.id).collect(), |_| 0);
            all.sort();
            all
        });
        prop_assert_eq!(result(&items).is_ok(), result(&other).is_ok());
        if let (Ok(one), Ok(two)) = (result(&items), result(&other)) { prop_assert_eq!(one, two) }
    }
}
