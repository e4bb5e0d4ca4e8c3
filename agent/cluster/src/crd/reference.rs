//! The reference of both resources for people, in Markdown.

use std::fmt::Write as _;

use pintle_core::names::{GROUP, VERSION};
use serde_json::Value;

use super::definitions;

const NOTE: &str = "<!-- Generated from agent/core by `cargo run -p pintle-cluster --example generate`: do not edit. -->";

/// Returns the reference of Application.
pub(super) fn application() -> String {
    let [application, _] = definitions();
    page(&application, APPLICATION)
}

/// Returns the reference of Plugin.
pub(super) fn plugin() -> String {
    let [_, plugin] = definitions();
    page(&plugin, PLUGIN)
}

const APPLICATION: &str = "\
An Application is namespaced. A `pintle.yaml` file in a repository has the same fields as the `spec` of an Application. The command
line reads the file, and it completes what the Application leaves open.

```yaml
apiVersion: pintle.dev/v1alpha1
kind: Application
metadata:
  name: shop
  namespace: shop
spec:
  source:
    git:
      url: https://git.example.com/shop.git
      branch: main
      path: deploy
  serviceAccountName: deployer
  policies:
  - plugin: guardrails
```

On an Application, a new value of the annotation `pintle.dev/reconcile-requested-at` requests a reconciliation now. The annotation
`pintle.dev/confirm-prune`, with the digest from the message, confirms many deletions at once. It confirms the deletion of exactly these
objects, and no longer counts if they are created again. `pintle reconcile`, `suspend` and `rollback` write annotations that also say
who made the request, when and why: see [Operating](../operating.md). The objects that an Application deploys may have these
annotations:

| Annotation | Value | Effect |
|---|---|---|
| `pintle.dev/prune` | `disabled` | The object stays when it leaves the source: it is listed, but [no longer managed](ownership.md#what-stays-although-it-left-the-source). |
| `pintle.dev/prune` | `allowed` | A namespace, claim or definition may be deleted when it leaves the source. A namespace or definition is deleted only if none of the application's objects in it, or of its kind, stays. |
| `pintle.dev/replace` | `allowed` | The object may be deleted and created again when an immutable field changes and the API server has no other objection. A workload is created again when its pods are gone. |
| `pintle.dev/wave` | a whole number | Each wave is healthy before the next is written: see [order](order.md). |
| `pintle.dev/depends-on` | `GROUP/KIND/NAMESPACE/NAME`, … | These objects are healthy before this one is written: see [order](order.md). |
| `pintle.dev/adopt` | `allowed` | Fields of an existing object may be taken over from their owners. |
| `pintle.dev/desired` | a digest | Set by Pintle: identifies what was last applied. |
| `pintle.dev/hook-run` | a string | Set by Pintle on objects that a hook created: identifies the run of the hook. |

An Application records all its objects in its own status, for which etcd accepts at most 1.5 MiB. That is room for some 4,800 objects,
or fewer if their names, the spec or the annotations are long. Objects that are about to be deleted count too. A revision with more
objects is refused before anything is written, with the reason `InventoryTooLarge`: split the application. The command line records
objects in a ConfigMap, which has room for some 3,500.
";

const PLUGIN: &str = "\
A Plugin is cluster-scoped. Applications use it by name.

```yaml
apiVersion: pintle.dev/v1alpha1
kind: Plugin
metadata:
  name: chat
spec:
  image: registry.example.com/plugins/slack:1.0.0
  grants:
    httpHosts: [hooks.slack.com]
```
";

fn page(definition: &Value, about: &str) -> String {
    let kind = definition["spec"]["names"]["kind"]
        .as_str()
        .unwrap_or_default();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut out = format!("{NOTE}\n\n# {kind}\n\n`{GROUP}/{VERSION}`\n\n{about}");
    for part in ["spec", "status"] {
        section(&mut out, &schema[part], part, "##");
    }
    out
}

/// Writes a table of an object's fields, and then one for each object in it.
fn section(out: &mut String, schema: &Value, path: &str, level: &str) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    write!(out, "\n{level} `{path}`\n\n").expect("writing to a string");
    if let Some(about) = schema["description"].as_str() {
        write!(out, "{}\n\n", about.replace('\n', "\n\n")).expect("writing to a string");
    }
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        write!(
            out,
            "Checked by the API server: {}.\n\n",
            rule["message"].as_str().unwrap_or_default()
        )
        .expect("writing to a string");
    }
    out.push_str("| Field | Type | Default | Description |\n|---|---|---|---|\n");
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut names: Vec<&String> = properties.keys().collect();
    names.sort();
    for name in &names {
        let property = &properties[*name];
        let default = match (property.get("default"), required.contains(&name.as_str())) {
            (Some(default), _) => format!("`{}`", plain(default)),
            (None, true) => "required".to_owned(),
            (None, false) => String::new(),
        };
        let about = property["description"]
            .as_str()
            .unwrap_or_default()
            .replace('\n', " ")
            .replace('|', "\\|");
        writeln!(
            out,
            "| `{name}` | {} | {default} | {about}{} |",
            type_of(property),
            choices(property)
        )
        .expect("writing to a string");
    }
    for name in names {
        let property = &properties[name];
        section(out, property, &format!("{path}.{name}"), "###");
        section(out, &property["items"], &format!("{path}.{name}[]"), "###");
        section(
            out,
            &property["additionalProperties"],
            &format!("{path}.{name}.*"),
            "###",
        );
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn type_of(schema: &Value) -> String {
    let kind = schema["type"].as_str().unwrap_or("any");
    match kind {
        "array" => format!("list of {}", type_of(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&schema["additionalProperties"]))
        }
        other => other.to_owned(),
    }
}

fn choices(schema: &Value) -> String {
    let of = if schema["type"] == "array" {
        &schema["items"]
    } else {
        schema
    };
    let mut out = String::new();
    if let Some(values) = of["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .map(|value| format!("`{}`", plain(value)))
            .collect();
        write!(out, " One of {}.", values.join(", ")).expect("writing to a string");
    }
    match (of["minimum"].as_f64(), of["maximum"].as_f64()) {
        (Some(low), Some(high)) => {
            write!(out, " From {low} to {high}.").expect("writing to a string");
        }
        (None, Some(high)) => {
            write!(out, " At most {high}.").expect("writing to a string");
        }
        _ => {}
    }
    out
}
