//! How the definition that a cluster has differs from the one in this program.

use std::collections::BTreeSet;

use pintle_core::names::VERSION;
use serde_json::Value;

/// The fields that only one of the two knows, such as `spec.source.git.url`. If such fields are nested, only the outermost is
/// listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gap {
    /// Fields of this program that the API server drops: the definition is from an earlier version.
    pub dropped: Vec<String>,
    /// Fields that this program does not know: the definition is from a later version.
    pub unknown: Vec<String>,
}

impl Gap {
    /// Compares the definition of this program with the one that is installed.
    pub fn between(own: &Value, installed: &Value) -> Self {
        let (own, installed) = (fields(own), fields(installed));
        Self {
            dropped: outermost(&own, &installed),
            unknown: outermost(&installed, &own),
        }
    }
}

/// Returns the outermost fields that only the first set has.
fn outermost(first: &BTreeSet<String>, second: &BTreeSet<String>) -> Vec<String> {
    let only: Vec<&String> = first.difference(second).collect();
    let is_within = |path: &str, other: &str| {
        let rest = path.strip_prefix(other);
        rest.is_some_and(|rest| rest.starts_with(['.', '[']))
    };
    let outer = only
        .iter()
        .filter(|path| !only.iter().any(|other| is_within(path, other)));
    outer.map(|path| (*path).clone()).collect()
}

/// Returns all fields of the version that this program uses.
fn fields(definition: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let versions = definition["spec"]["versions"].as_array();
    for version in versions.into_iter().flatten() {
        if version["name"] == VERSION {
            walk(&version["schema"]["openAPIV3Schema"], "", &mut found);
        }
    }
    found
}

fn walk(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        walk(property, &path, found);
        found.insert(path);
    }
    for (nested, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        let nested = &schema[nested];
        if nested.is_object() {
            walk(nested, &format!("{path}{mark}"), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crd::definitions;

    #[test]
    fn a_definition_of_this_program_is_as_this_program_knows_it() {
        for definition in definitions() {
            assert_eq!(Gap::between(&definition, &definition), Gap::default());
        }
    }

    #[test]
    fn a_definition_of_another_version_has_other_fields() {
        let [own, _] = definitions();
        let mut earlier = own.clone();
        let schema = &mut earlier["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        let spec = schema["spec"]["properties"].as_object_mut().unwrap();
        assert!(spec.remove("cluster").is_some());
        let depends_on = spec["dependsOn"]["items"]["properties"].as_object_mut();
        assert!(depends_on.unwrap().remove("namespace").is_some());
        spec.insert("later".to_owned(), json!({"type": "string"}));
        let gap = Gap::between(&own, &earlier);
        assert_eq!(gap.dropped, ["spec.cluster", "spec.dependsOn[].namespace"]);
        assert_eq!(gap.unknown, ["spec.later"]);
    }

    #[test]
    fn of_a_definition_without_this_version_nothing_is_known() {
        let [own, _] = definitions();
        let mut other = own.clone();
        other["spec"]["versions"][0]["name"] = json!("v2");
        let gap = Gap::between(&own, &other);
        assert!(gap.dropped.iter().any(|field| field == "spec"), "{gap:?}");
        assert!(gap.unknown.is_empty(), "{gap:?}");
    }
}
