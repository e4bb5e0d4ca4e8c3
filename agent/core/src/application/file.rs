//! `pintle.yaml`: an application's settings next to its files, with environments.

use serde_json::Value;

use super::ApplicationSpec;
use crate::problem::Problem;

/// The reason why a `pintle.yaml` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pintle.yaml{}: {}", at(.0), .0.message)]
pub struct FileError(pub Problem);

fn at(problem: &Problem) -> String {
    problem
        .pointer
        .as_ref()
        .map(|pointer| format!(" {pointer}"))
        .unwrap_or_default()
}

/// Reads the settings in a `pintle.yaml`: an Application's spec, with `environments` next to it.
///
/// Each environment is a JSON merge patch (RFC 7396) on the rest. Asking for an environment that does not exist is an error that
/// lists the ones that do.
pub fn parse_file(
    mut value: Value,
    environment: Option<&str>,
) -> Result<ApplicationSpec, FileError> {
    let error = |problem: Problem| Err(FileError(problem));
    if value.is_null() {
        value = Value::Object(serde_json::Map::new());
    }
    let Some(map) = value.as_object_mut() else {
        return error(Problem::new(format!(
            "expected an object, found {}",
            crate::object::type_name(&value)
        )));
    };
    let environments = match map.remove("environments") {
        None => serde_json::Map::new(),
        Some(Value::Object(environments)) => environments,
        Some(other) => {
            let found = crate::object::type_name(&other);
            return error(
                Problem::new(format!("expected an object, found {found}")).pointer("/environments"),
            );
        }
    };
    let mut pointer_base = String::new();
    if let Some(name) = environment {
        let Some(patch) = environments.get(name) else {
            let mut known: Vec<&str> = environments.keys().map(String::as_str).collect();
            known.sort_unstable();
            let known = if known.is_empty() {
                "none is defined".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            return error(
                Problem::new(format!("environment `{name}` is not defined: {known}"))
                    .pointer("/environments"),
            );
        };
        merge(&mut value, patch, false);
        pointer_base = format!(" (environment `{name}` applied)");
    }
    serde_path_to_error::deserialize(value).map_err(|failure| {
        let path = failure.path().to_string();
        let pointer = if path == "." {
            String::new()
        } else {
            format!("/{}", path.replace(['.', '['], "/").replace(']', ""))
        };
        FileError(Problem::new(format!("{}{pointer_base}", failure.inner())).pointer(pointer))
    })
}

/// Applies a merge patch as in RFC 7396, section 2, with one exception: within plugin settings, a null that removes nothing is
/// kept. It may mean something to the plugin, as it does in a chart's values.
fn merge(target: &mut Value, patch: &Value, in_settings: bool) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let map = target.as_object_mut().expect("made an object above");
    for (key, value) in patch {
        if value.is_null() {
            if map.remove(key).is_none() && in_settings {
                map.insert(key.clone(), Value::Null);
            }
            continue;
        }
        let place = map.entry(key.clone()).or_insert(Value::Null);
        merge(place, value, in_settings || key == "settings");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;
    use serde_json::json;

    #[test]
    fn environments_are_merged_over_the_rest() {
        let file = json!({
            "namespace": "shop",
            "renderer": {"plugin": "manifests", "settings": {"include": ["base/**"], "x": 1}},
            "environments": {"staging": {"namespace": "shop-staging", "renderer": {"settings": {"x": null, "y": 2, "z": {"k": null}}}}}
        });
        assert_eq!(
            parse_file(file.clone(), None).unwrap().namespace.unwrap(),
            "shop"
        );
        let staging = parse_file(file.clone(), Some("staging")).unwrap();
        assert_eq!(staging.namespace.unwrap(), "shop-staging");
        assert_eq!(
            staging.renderer.unwrap().settings,
            json!({"include": ["base/**"], "y": 2, "z": {"k": null}})
        );
        assert_snapshot!(parse_file(file, Some("prod")).unwrap_err(), @"pintle.yaml /environments: environment `prod` is not defined: there are staging");
    }

    #[test]
    fn errors_name_the_field_and_list_the_valid_ones() {
        assert_snapshot!(parse_file(json!([]), None).unwrap_err(), @"pintle.yaml: expected an object, found a list");
        assert_snapshot!(parse_file(json!({"prune": {"enable": true}}), None).unwrap_err(), @"pintle.yaml /prune/enable: unknown field `enable`, expected one of `enabled`, `allowKinds`, `maxPercent`, `freely`");
        assert_snapshot!(parse_file(json!({"policies": [{"plugin": 5}]}), None).unwrap_err(), @"pintle.yaml /policies/0/plugin: invalid type: integer `5`, expected a string");
        assert_snapshot!(parse_file(json!({"timeout": "5 minutes"}), None).unwrap_err(), @"pintle.yaml /timeout: `5 minutes` is not a duration: expected numbers with the units `ms`, `s`, `m` or `h`, such as `30s` or `1h30m`, a year (`8760h`) in all at most");
    }
}
