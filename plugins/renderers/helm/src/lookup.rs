//! `lookup` queries the host, as far as the operator allows it.

use std::rc::Rc;

use pintle_gotemplate::{Map, Value};
use pintle_helm_chart::values::from_json_exact;
use pintle_sdk::{Context, ObjectId};

use crate::engine::Lookup;

/// The cluster as the host shows it.
pub(crate) struct HostCluster(pub(crate) Rc<dyn Context>);

impl Lookup for HostCluster {
    fn lookup(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Map>, String> {
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
        if name.is_empty() {
            let found = self.0.cluster().find(api_version, kind, namespace);
            return Ok(list(api_version, kind, &found));
        }
        let found = self.0.cluster().get(&ObjectId {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        });
        Ok(found.and_then(|object| match from_json_exact(&object) {
            Value::Map(object) => Some(object),
            _ => None,
        }))
    }
}

/// Returns the list that the API server would return, or None if nothing was found. The host gives the same answer when access is
/// not granted, and there Helm without a cluster returns an empty table.
fn list(api_version: &str, kind: &str, found: &[serde_json::Value]) -> Option<Map> {
    if found.is_empty() {
        return None;
    }
    let items = found.iter().map(from_json_exact).collect();
    let metadata: Map = [("resourceVersion", Value::from(""))].into_iter().collect();
    let list = [
        ("apiVersion", Value::from(api_version)),
        ("kind", format!("{kind}List").into()),
        ("metadata", metadata.into()),
        ("items", Value::list(items)),
    ];
    Some(list.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use pintle_sdk::testing::{FixedContext, MemoryCluster};
    use serde_json::json;

    use super::*;

    #[test]
    fn one_object_all_of_a_kind_and_none() {
        let secret = |name: &str| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "n", "generation": 3},
            })
        };
        let cluster = MemoryCluster::new().object(secret("a")).object(secret("b"));
        let context = FixedContext::new().with_cluster(cluster);
        let cluster = HostCluster(Rc::new(context));
        let ask = |kind: &str, name: &str| cluster.lookup("v1", kind, "n", name).expect("no error");
        assert_eq!(
            ask("Secret", "b").map(Value::from),
            Some(from_json_exact(&secret("b")))
        );
        assert!(ask("Secret", "c").is_none());
        assert!(ask("ConfigMap", "").is_none());
        let all = ask("Secret", "").expect("a list");
        assert_eq!(all.get(b"kind"), Some("SecretList".into()));
        let items = all.get(b"items").expect("items");
        assert_eq!(items.as_list().map(|items| items.items().len()), Some(2));
    }
}
