//! The objects that a render is about, even if it cannot be made ready for its cluster.

use pintle_core::{object::ObjectId, rendered::Rendered};

use crate::{discovery::Kinds, release::Release};

/// Returns the identities that the objects of a render have in a cluster that serves `kinds`. If the kind of an object is not
/// served, it is not known whether the object is namespaced, so both possible identities are returned.
pub(crate) fn identities(rendered: &Rendered, release: &Release, kinds: &Kinds) -> Vec<ObjectId> {
    let mut found = Vec::with_capacity(rendered.objects().len());
    for rendered in rendered.objects() {
        let id = rendered.object.id();
        let served = kinds.preferred(&id.group, &id.kind);
        let is_namespaced = served.map(|kind| kind.namespaced);
        if is_namespaced != Some(false) {
            let own = id.namespace.clone();
            let namespace = own.or_else(|| Some(release.namespace.clone()));
            found.push(ObjectId {
                namespace,
                ..id.clone()
            });
        }
        if is_namespaced != Some(true) {
            let namespace = None;
            found.push(ObjectId {
                namespace,
                ..id.clone()
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use pintle_core::{
        names::ApplicationName, object::Object, rendered::RenderedObject, seed::Seed,
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::discovery::tests::kinds;

    #[test]
    fn what_is_of_no_kind_that_is_served_has_each_identity_that_it_may_have() {
        let object = |api: &str, kind: &str, namespace: Value| RenderedObject {
            object: Object::new(json!({"apiVersion": api, "kind": kind,
                "metadata": {"name": "a", "namespace": namespace}}))
            .unwrap(),
            source: None,
            hook: None,
            keep: false,
        };
        let objects = vec![
            object("v1", "ConfigMap", Value::Null),
            object("v1", "Secret", json!("other")),
            object("v1", "Namespace", json!("wrong")),
            object("example.com/v1", "Nowhere", Value::Null),
        ];
        let seed = Seed::from_text("s");
        let rendered = Rendered::new(objects, None, Vec::new(), &seed).unwrap();
        let release = Release::new(ApplicationName::new("shop", "web"), seed);
        let found = identities(&rendered, &release, &kinds());
        let mut found: Vec<String> = found.iter().map(ToString::to_string).collect();
        found.sort();
        let nowhere = ["Nowhere.example.com a", "Nowhere.example.com shop/a"];
        let served = ["ConfigMap shop/a", "Namespace a"];
        assert_eq!(found, [&served[..], &nowhere, &["Secret other/a"]].concat());
    }
}
