//! The fields of an object that one manager owns, and the digest over them. A change of that digest is drift.
//!
//! Responses to server-side apply contain `managedFields`. The `fieldsV1` of an entry names exactly the paths that its manager
//! owns, so projecting an object onto them needs no schema.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>

mod items;

use serde_json::{Map, Value};

pub use self::items::{Items, KEY_SETS, Keys, key_of, keys_of, keys_text, select};
use crate::{canonical, digest::Digest, drift::Ignored, object, seed::Seed};

/// Returns the fields of an object that `manager` owns by apply: the entry's `fieldsV1`.
///
/// Fields of the status subresource are not counted: a deploy agent applies none.
pub fn owned_by<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
    object["metadata"]["managedFields"]
        .as_array()?
        .iter()
        .find_map(|entry| {
            let ours = entry["manager"] == manager
                && entry["operation"] == "Apply"
                && entry["subresource"].as_str().unwrap_or_default().is_empty();
            ours.then(|| &entry["fieldsV1"])
        })
}

/// Projects an object onto a `fieldsV1` set.
///
/// List items are written under their key (`k:{…}`) and set members under their value (`v:…`), so the order never matters for a
/// list whose order the server does not preserve. An owned field that is gone from the object is left out, which changes the
/// digest.
pub fn project(object: &Value, fields: &Value) -> Value {
    let Some(fields) = fields.as_object() else {
        return Value::Null;
    };
    // An empty set is a leaf: the whole value is owned.
    if fields.is_empty() {
        return object.clone();
    }
    let mut out = Map::new();
    let mut items = Items::of(object);
    for (path, inner) in fields {
        if path == "." {
            out.insert(".".to_owned(), Value::Bool(true));
        } else if let Some(value) = select(object, &mut items, path) {
            out.insert(path.clone(), project(value, inner));
        }
    }
    Value::Object(out)
}

/// Returns the digest over the fields that `manager` owns, as the server stored them and without what is ignored, or `None` if it
/// owns none.
pub fn stored_digest(
    object: &Value,
    manager: &str,
    seed: &Seed,
    ignored: &Ignored,
) -> Option<Digest> {
    let fields = owned_by(object, manager)?;
    let is_secret = object["kind"] == "Secret" && object["apiVersion"] == "v1";
    let concealed = object::conceal(is_secret, object, seed);
    let projected = if ignored.has_pointers() {
        ignored.project(&concealed, fields)
    } else {
        project(&concealed, fields)
    };
    Some(Digest::of(canonical::to_string(&projected)))
}

/// Returns whether a field manager is one that Helm uses: its own command, Flux's controller, or Terraform's provider.
///
/// Helm's default is the name of its executable. The others set their own.
pub fn is_helm(manager: &str) -> bool {
    matches!(manager, "helm" | "Helm" | "helm-controller")
        || manager.starts_with("terraform-provider-helm")
}

/// Returns `managedFields` after some managers have handed their fields over to `to`, or `None` if those managers own nothing.
///
/// `to` then owns by apply what `taken` leaves of their fields. Without this, a field that the new manager gives up would stay
/// because the old manager, which nobody runs any more, still owns it. Entries written through subresources stay as they are, and
/// so do entries in another API version, whose fields may have other names.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership>
pub fn handed_over(
    object: &Value,
    from: impl Fn(&str) -> bool,
    to: &str,
    taken: impl Fn(&Value) -> Value,
) -> Option<Vec<Value>> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    let is_plain = |entry: &Value| {
        entry["subresource"].as_str().unwrap_or_default().is_empty()
            && entry["apiVersion"] == object["apiVersion"]
    };
    let goes = |entry: &Value| is_plain(entry) && entry["manager"].as_str().is_some_and(&from);
    let mut fields = Value::Object(Map::new());
    let mut time = Value::Null;
    for entry in entries.iter().filter(|entry| goes(entry)) {
        unite(&mut fields, &taken(&entry["fieldsV1"]));
        time.clone_from(&entry["time"]);
    }
    if time.is_null() {
        return None;
    }
    let is_new_one =
        |entry: &Value| is_plain(entry) && entry["manager"] == to && entry["operation"] == "Apply";
    for entry in entries.iter().filter(|entry| is_new_one(entry)) {
        unite(&mut fields, &entry["fieldsV1"]);
    }
    let mut all: Vec<Value> = entries
        .iter()
        .filter(|entry| !goes(entry) && !is_new_one(entry))
        .cloned()
        .collect();
    if fields.as_object().is_some_and(|fields| !fields.is_empty()) {
        all.push(serde_json::json!({
            "manager": to, "operation": "Apply", "apiVersion": object["apiVersion"], "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        }));
    }
    Some(all)
}

/// Adds the fields of a `fieldsV1` to another. A leaf stays a leaf only if it is one in both; what is inside it is owned anyway.
pub(crate) fn unite(fields: &mut Value, more: &Value) {
    let (Some(fields), Some(more)) = (fields.as_object_mut(), more.as_object()) else {
        return;
    };
    for (path, inner) in more {
        let mine = fields
            .entry(path.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        unite(mine, inner);
    }
}

/// Returns who else last changed an object: its other managers, newest first, without those that only write the status.
///
/// Other subresources count: `kubectl scale` writes owned fields through one.
pub fn other_managers<'a>(object: &'a Value, manager: &str) -> Vec<&'a str> {
    let Some(entries) = object["metadata"]["managedFields"].as_array() else {
        return Vec::new();
    };
    let mut others: Vec<(&str, &str)> = entries
        .iter()
        .filter(|entry| entry["subresource"] != "status")
        .filter_map(|entry| {
            Some((
                entry["time"].as_str().unwrap_or_default(),
                entry["manager"].as_str()?,
            ))
        })
        .filter(|(_, name)| *name != manager)
        .collect();
    // RFC 3339 timestamps in UTC sort correctly as text.
    others.sort_by(|a, b| b.cmp(a));
    others.dedup_by(|a, b| a.1 == b.1);
    others.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn service() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "web", "resourceVersion": "5", "labels": {"app": "web", "other": "x"},
                "managedFields": [
                    {"manager": "pintle/shop/web", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:app": {}}},
                        "f:spec": {
                            "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:name": {}}},
                            "f:selector": {}
                        }
                    }},
                    {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": {}},
                    {"manager": "kubectl", "operation": "Update", "subresource": "scale", "time": "2026-01-01T12:00:00Z"},
                    {"manager": "kcm", "operation": "Update", "subresource": "status", "time": "2026-01-03T00:00:00Z"}
                ]
            },
            "spec": {
                "clusterIP": "10.0.0.1", "selector": {"app": "web", "tier": "a"},
                "ports": [{"port": 443, "protocol": "TCP", "name": "tls"}, {"port": 80, "name": "http", "nodePort": 1}]
            }
        })
    }

    const US: &str = "pintle/shop/web";

    #[test]
    fn what_helm_owns_is_handed_over_and_nothing_else() {
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields});
        let mut scaled = entry("helm", "Update", json!({"f:spec": {"f:replicas": {}}}));
        scaled["subresource"] = json!("scale");
        let object = json!({"apiVersion": "v1", "metadata": {"managedFields": [
            entry("helm", "Update", json!({"f:data": {".": {}, "f:a": {}}})),
            entry("helm-controller", "Apply", json!({"f:data": {"f:b": {}}})),
            entry("kubectl-edit", "Update", json!({"f:data": {"f:c": {}}})),
            scaled,
            entry(US, "Apply", json!({"f:data": {"f:d": {}}})),
        ]}});
        let without_b = |fields: &Value| {
            let mut fields = fields.clone();
            fields["f:data"].as_object_mut().unwrap().remove("f:b");
            fields
        };
        let after = handed_over(&object, is_helm, US, without_b).unwrap();
        let managers: Vec<_> = after.iter().map(|entry| &entry["manager"]).collect();
        assert_eq!(managers, ["kubectl-edit", "helm", US]);
        assert_eq!(
            after[2]["fieldsV1"],
            json!({"f:data": {".": {}, "f:a": {}, "f:d": {}}})
        );
        let object = json!({"apiVersion": "v1", "metadata": {"managedFields": after}});
        assert_eq!(
            handed_over(&object, is_helm, US, Value::clone),
            None,
            "only once"
        );
    }

    fn digest(object: &Value) -> Option<Digest> {
        stored_digest(object, US, &Seed::from_text("s"), &Ignored::default())
    }

    fn with(change: impl FnOnce(&mut Value)) -> Option<Digest> {
        let mut object = service();
        change(&mut object);
        digest(&object)
    }

    #[test]
    fn projects_owned_paths_only() {
        let object = service();
        let projected = project(&object, owned_by(&object, US).unwrap());
        assert_eq!(
            canonical::to_string(&projected),
            concat!(
                r#"{"f:metadata":{"f:labels":{"f:app":"web"}},"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":"#,
                r#"{".":true,"f:name":"http","f:port":80}},"f:selector":{"app":"web","tier":"a"}}}"#
            )
        );
    }

    #[test]
    fn an_owned_field_always_changes_the_digest() {
        let base = digest(&service());
        assert_ne!(with(|o| o["metadata"]["labels"]["app"] = json!("x")), base);
        assert_ne!(with(|o| o["spec"]["ports"][1]["name"] = json!("x")), base);
        assert_ne!(with(|o| o["spec"]["selector"]["tier"] = json!("b")), base);
        assert_ne!(
            with(|o| drop(o["spec"]["ports"].as_array_mut().unwrap().pop())),
            base
        );
        assert_ne!(
            with(|o| drop(
                o["metadata"]["labels"]
                    .as_object_mut()
                    .unwrap()
                    .remove("app")
            )),
            base
        );
    }

    #[test]
    fn what_others_own_never_does() {
        let base = digest(&service());
        assert_eq!(
            with(|o| o["metadata"]["labels"]["other"] = json!("y")),
            base
        );
        assert_eq!(
            with(|o| o["metadata"]["resourceVersion"] = json!("6")),
            base
        );
        assert_eq!(with(|o| o["spec"]["ports"][1]["nodePort"] = json!(2)), base);
        assert_eq!(
            with(|o| o["spec"]["ports"].as_array_mut().unwrap().reverse()),
            base
        );
        assert_eq!(with(|o| o["status"] = json!({"a": 1})), base);
    }

    #[test]
    fn an_object_without_our_fields_has_no_digest() {
        assert_eq!(
            stored_digest(
                &service(),
                "pintle/other/app",
                &Seed::from_text("s"),
                &Ignored::default()
            ),
            None
        );
        assert_eq!(digest(&json!({})), None);
    }

    #[test]
    fn names_who_else_changed_it_newest_first() {
        assert_eq!(other_managers(&service(), US), ["kubectl-edit", "kubectl"]);
    }

    proptest! {
        #[test]
        fn set_members_are_found_in_any_order(mut members in prop::collection::vec("[a-z]{1,4}", 1..6)) {
            members.sort();
            members.dedup();
            let fields: Map<String, Value> = members.iter().map(|m| (format!("v:{}", json!(m)), json!({}))).collect();
            let fields = json!({"f:finalizers": fields});
            let before = project(&json!({"finalizers": members}), &fields);
            members.reverse();
            prop_assert_eq!(project(&json!({"finalizers": members}), &fields), before);
        }

        #[test]
        fn malformed_field_sets_never_panic(key in ".{0,12}", value in ".{0,6}") {
            project(&json!({"a": [value]}), &json!({ "f:a": { key: {} } }));
        }
    }
}
