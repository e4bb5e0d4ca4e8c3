//! The custom resource definitions, the manifests that install the agent, and the reference of both resources, all generated from
//! the types of `pintle-core`.
//!
//! `cargo run -p pintle-cluster --example generate` writes them into `deploy/` and `docs/reference/`; a test fails if the files
//! there differ.

mod gap;
mod manifests;
mod reference;
mod schema;
mod yaml;

use std::collections::BTreeMap;

use pintle_core::{
    application::{ApplicationSpec, ApplicationStatus, PluginSpec, PluginStatus},
    names::{GROUP, VERSION},
};
use serde_json::{Value, json};

use self::schema::{generated, structural};
pub use self::{
    gap::Gap,
    manifests::{CACHE_SIZE, WEBHOOK_SECRET},
};

/// Returns the definitions of Application and Plugin, ready to be applied.
pub fn definitions() -> [Value; 2] {
    [application(), plugin()]
}

/// Returns the content of all generated files, by their path in the repository.
pub fn files() -> BTreeMap<&'static str, String> {
    let [application, plugin] = definitions();
    BTreeMap::from([
        (
            "deploy/crds/applications.yaml",
            yaml::stream(HEADER, &[("", &application)]),
        ),
        (
            "deploy/crds/plugins.yaml",
            yaml::stream(HEADER, &[("", &plugin)]),
        ),
        ("deploy/install.yaml", manifests::install()),
        ("deploy/applier-cluster-admin.yaml", manifests::applier()),
        ("docs/reference/application.md", reference::application()),
        ("docs/reference/plugin.md", reference::plugin()),
    ])
}

const HEADER: &str =
    "Generated from agent/core by `cargo run -p pintle-cluster --example generate`: do not edit.";

fn application() -> Value {
    let mut spec = structural(&generated::<ApplicationSpec>());
    // The types leave it optional, because a `pintle.yaml` has none.
    spec["required"] = json!(["source"]);
    spec["properties"]["deletionPolicy"]["default"] = json!("Delete");
    spec["properties"]["rollback"]["default"] = json!("Never");
    let source = &mut spec["properties"]["source"];
    source["x-kubernetes-validations"] = json!([{
        "rule": "[has(self.git), has(self.oci), has(self.chart)].filter(given, given).size() == 1",
        "message": "exactly one of git, oci and chart is expected",
    }]);
    let git = &mut source["properties"]["git"];
    git["x-kubernetes-validations"] = json!([{
        "rule": "[has(self.branch), has(self.tag), has(self.semver), has(self.commit)].filter(given, given).size() <= 1",
        "message": "at most one of branch, tag, semver and commit may be given",
    }]);
    git["properties"]["url"]["minLength"] = json!(1);
    let oci = &mut source["properties"]["oci"];
    oci["x-kubernetes-validations"] = json!([{
        "rule": "[has(self.tag), has(self.semver), has(self.digest)].filter(given, given).size() <= 1",
        "message": "at most one of tag, semver and digest may be given",
    }]);
    oci["properties"]["url"]["pattern"] = json!("^oci://.+");
    let chart = &mut source["properties"]["chart"];
    chart["properties"]["repository"]["pattern"] = json!("^https?://.+");
    chart["properties"]["name"]["minLength"] = json!(1);
    let columns = json!([
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
        {"name": "Status", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason"},
        {"name": "Health", "type": "string", "jsonPath": ".status.health"},
        {"name": "Objects", "type": "integer", "jsonPath": ".status.objects"},
        {"name": "Revision", "type": "string", "jsonPath": ".status.revision"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Message", "type": "string", "priority": 1, "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message"}
    ]);
    let names = json!({
        "kind": "Application", "listKind": "ApplicationList", "plural": "applications", "singular": "application",
        "shortNames": ["papp"], "categories": ["pintle"],
    });
    let status = structural(&generated::<ApplicationStatus>());
    definition(
        "Namespaced",
        names,
        columns,
        "What to deploy, where it comes from, and the rules for deploying it.",
        &spec,
        &status,
    )
}

fn plugin() -> Value {
    let mut spec = structural(&generated::<PluginSpec>());
    spec["properties"]["image"]["minLength"] = json!(1);
    let columns = json!([
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
        {"name": "Kind", "type": "string", "jsonPath": ".status.kind"},
        {"name": "Version", "type": "string", "jsonPath": ".status.version"},
        {"name": "Image", "type": "string", "jsonPath": ".spec.image"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Message", "type": "string", "priority": 1, "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message"}
    ]);
    let names = json!({
        "kind": "Plugin", "listKind": "PluginList", "plural": "plugins", "singular": "plugin",
        "shortNames": ["pplug"], "categories": ["pintle"],
    });
    let status = structural(&generated::<PluginStatus>());
    definition(
        "Cluster",
        names,
        columns,
        "A plugin that applications may use by name.",
        &spec,
        &status,
    )
}

fn definition(
    scope: &str,
    names: Value,
    columns: Value,
    about: &str,
    spec: &Value,
    status: &Value,
) -> Value {
    let plural = names["plural"].as_str().unwrap_or_default();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{GROUP}"),
            "labels": {"app.kubernetes.io/name": "pintle", "app.kubernetes.io/part-of": "pintle"},
        },
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": names,
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": about,
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "spec": spec,
                        "status": status,
                    },
                }},
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn what_is_in_the_repository_is_what_is_generated() {
        for (path, text) in files() {
            let found = std::fs::read_to_string(repository().join(path)).unwrap_or_default();
            assert!(
                found == text,
                "{path} differs: run `cargo run -p pintle-cluster --example generate`"
            );
        }
    }

    #[test]
    fn the_first_steps_name_the_image_that_is_installed_and_the_cluster_that_is_tested() {
        let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
        let page = read("docs/getting-started.md");
        let deployment = installed()
            .into_iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap();
        let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
        let image = image.unwrap();
        for command in [
            format!("docker build -f deploy/Dockerfile -t {image} .\n"),
            format!("docker build -t {image} image\n"),
            format!("kind load docker-image {image}\n"),
        ] {
            assert!(page.contains(&command), "{command}");
        }
        let modules = read("tests/cluster/go.mod");
        let version = modules
            .lines()
            .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
        let (minor, _) = version.unwrap().rsplit_once('.').unwrap();
        assert!(
            page.contains(&format!("with Kubernetes {minor},")),
            "{minor}"
        );
    }

    /// Returns the objects of `deploy/install.yaml`.
    fn installed() -> Vec<Value> {
        let installed = files().remove("deploy/install.yaml").unwrap();
        let documents = installed.split("\n---\n");
        documents
            .map(|document| serde_saphyr::from_str(document).unwrap())
            .collect()
    }

    /// Returns the rules of all installed roles whose names satisfy `is_meant`.
    fn rules(is_meant: impl Fn(&str) -> bool) -> Vec<Value> {
        let mut rules = Vec::new();
        for value in installed() {
            if value["metadata"]["name"].as_str().is_some_and(&is_meant) {
                let found = value["rules"].as_array().into_iter().flatten();
                rules.extend(found.cloned());
            }
        }
        assert!(rules.len() > 5, "{rules:?}");
        rules
    }

    fn has(rule: &Value, field: &str, what: &str) -> bool {
        let mut all = rule[field].as_array().into_iter().flatten();
        all.any(|one| one == what)
    }

    #[test]
    fn the_agent_may_get_nothing_by_which_commands_run() {
        for rule in rules(|_| true) {
            assert!(!has(&rule, "verbs", "*"), "{rule}");
            let gets_all = has(&rule, "resources", "*") && has(&rule, "verbs", "get");
            assert!(!gets_all, "{rule}");
        }
    }

    #[test]
    fn who_reaches_webhooks_does_not_reach_metrics() {
        let installed = installed();
        let services = installed.iter().filter(|one| one["kind"] == "Service");
        let ports: Vec<Value> = services
            .map(|one| json!([one["metadata"]["name"], one["spec"]["ports"]]))
            .collect();
        let port =
            |name: &str, port: u16| json!([{"name": name, "port": port, "targetPort": name}]);
        assert_eq!(
            ports,
            [
                json!(["pintle-agent", port("http", 9090)]),
                json!(["pintle-webhook", port("webhook", 9292)]),
            ]
        );
    }

    #[test]
    fn what_the_agent_watches_for_itself_needs_no_right_to_watch_everything() {
        let mut rules = rules(|name| name == "pintle-agent");
        rules.retain(|rule| !has(rule, "resources", "*"));
        for (group, resource) in [
            (GROUP, "applications"),
            (GROUP, "plugins"),
            ("", "pods"),
            ("", "secrets"),
            ("apiextensions.k8s.io", "customresourcedefinitions"),
            ("apiregistration.k8s.io", "apiservices"),
            ("coordination.k8s.io", "leases"),
        ] {
            let may_watch = |rule: &Value| {
                let is_about = has(rule, "apiGroups", group) && has(rule, "resources", resource);
                is_about && has(rule, "verbs", "list") && has(rule, "verbs", "watch")
            };
            assert!(rules.iter().any(may_watch), "{resource}");
        }
    }

    #[test]
    fn schemas_are_structural() {
        fn walk(schema: &Value, path: &str) {
            let Some(map) = schema.as_object() else {
                panic!("{path}: {schema}")
            };
            assert!(map.contains_key("type"), "{path} has no type: {schema}");
            for forbidden in [
                "$ref",
                "$schema",
                "definitions",
                "anyOf",
                "oneOf",
                "const",
                "nullable",
                "title",
            ] {
                assert!(!map.contains_key(forbidden), "{path} has {forbidden}");
            }
            for (name, property) in map
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                walk(property, &format!("{path}.{name}"));
            }
            map.get("items")
                .into_iter()
                .for_each(|items| walk(items, &format!("{path}[]")));
            map.get("additionalProperties")
                .into_iter()
                .for_each(|more| walk(more, &format!("{path}{{}}")));
        }
        for definition in definitions() {
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            walk(&schema["properties"]["spec"], "spec");
            walk(&schema["properties"]["status"], "status");
        }
    }

    #[test]
    fn an_optional_field_is_described_by_its_own_words() {
        let health = &application()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
            ["status"]["properties"]["health"];
        assert_eq!(health["description"], "The overall health of the objects.");
    }

    #[test]
    fn every_field_that_an_operator_writes_is_described() {
        fn walk(schema: &Value, path: &str) {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                assert!(
                    property["description"].is_string(),
                    "{path} has no description"
                );
                walk(property, &path);
                walk(&property["items"], &path);
            }
        }
        for definition in definitions() {
            walk(
                &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"],
                "spec",
            );
        }
    }
}
