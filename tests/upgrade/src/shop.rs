//! What git has in each round, and which writes it takes to get there from the previous round.

use std::collections::{BTreeMap, BTreeSet};

/// Each application and its folder in the repository, in the order in which they are created.
pub(crate) const APPLICATIONS: [&str; 5] = ["shop", "hooked", "steady", "chart", "waiting"];

/// The number of the shop's settings that differ between rounds.
const SETTINGS: usize = 6;

/// Writes to objects by `VERB RESOURCE/NAME`.
pub(crate) type Writes = BTreeSet<String>;

/// Returns an Application's spec except for its source.
pub(crate) fn spec(application: &str) -> &'static str {
    match application {
        "shop" | "hooked" => "health: [{plugin: kubernetes}]",
        "chart" => "renderer: {plugin: helm}",
        "waiting" => "dependsOn: [{name: shop}]",
        _ => "",
    }
}

/// Returns the repository in a round: files by path.
pub(crate) fn files(round: u32) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut add = |path: &str, text: String| files.insert(path.to_owned(), text);
    for index in 0..SETTINGS {
        let name = format!("settings-{index}");
        add(
            &format!("shop/{name}.yaml"),
            config_map(&name, &round.to_string()),
        );
    }
    // The name differs in each round, so one object is created and one is pruned.
    add(
        "shop/moving.yaml",
        config_map(&format!("moving-{round}"), "moving"),
    );
    add("shop/web.yaml", web(round));
    add(
        "hooked/all.yaml",
        [
            config_map("release", &round.to_string()),
            job("migrate", "pre-install,pre-upgrade"),
            job("smoke", "post-install,post-upgrade"),
            job("save", "pre-delete"),
        ]
        .concat(),
    );
    add("steady/one.yaml", config_map("steady", "always"));
    add(
        "steady/two.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: steady}\nstringData: {value: always}\n"
            .to_owned(),
    );
    add(
        "chart/Chart.yaml",
        "apiVersion: v2\nname: chart\nversion: 0.1.0\n".to_owned(),
    );
    // Generated from the application's seed: another value would mean another seed.
    add(
        "chart/templates/password.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: password}\n\
         stringData: {password: {{ randAlphaNum 24 | quote }}}\n"
            .to_owned(),
    );
    add(
        "chart/templates/version.yaml",
        config_map("version", &round.to_string()),
    );
    add(
        "waiting/all.yaml",
        config_map("waiting", &round.to_string()),
    );
    files
}

/// Returns the writes that a round needs after the previous one: each once, and nothing else.
pub(crate) fn writes(round: u32) -> Writes {
    let mut writes: Writes = (0..SETTINGS)
        .map(|index| format!("patch configmaps/settings-{index}"))
        .collect();
    let before = round.saturating_sub(1);
    writes.extend([
        format!("patch configmaps/moving-{round}"),
        format!("delete configmaps/moving-{before}"),
    ]);
    // A Job of an earlier release is deleted before it runs again.
    writes.extend(
        [
            "patch deployments/web",
            "patch services/web",
            "patch configmaps/release",
            "delete jobs/migrate",
            "patch jobs/migrate",
            "delete jobs/smoke",
            "patch jobs/smoke",
            "patch configmaps/version",
            "patch configmaps/waiting",
        ]
        .map(ToOwned::to_owned),
    );
    writes
}

/// Returns the objects of an application in a round, as `KIND NAME`: what its inventory lists.
pub(crate) fn inventory(application: &str, round: u32) -> BTreeSet<String> {
    let moving = format!("ConfigMap moving-{round}");
    let mut all: BTreeSet<String> = match application {
        "shop" => vec![
            &moving,
            "Deployment web",
            "Service web",
            "ServiceAccount web",
        ],
        "hooked" => vec!["ConfigMap release", "Job migrate", "Job smoke"],
        "steady" => vec!["ConfigMap steady", "Secret steady"],
        "chart" => vec!["ConfigMap version", "Secret password"],
        _ => vec!["ConfigMap waiting"],
    }
    .into_iter()
    .map(ToOwned::to_owned)
    .collect();
    if application == "shop" {
        all.extend((0..SETTINGS).map(|index| format!("ConfigMap settings-{index}")));
    }
    all
}

fn config_map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: '{value}'}}\n---\n"
    )
}

fn web(round: u32) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: web}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n\
         spec: {{selector: {{app: web}}, ports: [{{port: {}}}]}}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 1\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    \
         spec: {{serviceAccountName: web, containers: [{{name: main, image: 'registry.k8s.io/pause:3.{round}'}}]}}\n",
        8000 + round
    )
}

fn job(name: &str, events: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations: {{pintle.dev/hook: '{events}'}}\n\
         spec:\n  backoffLimit: 0\n  template:\n    \
         spec: {{restartPolicy: Never, containers: [{{name: main, image: 'main:1'}}]}}\n---\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_rounds_is_what_is_written() {
        let (before, after) = (files(3), files(4));
        let differ: BTreeSet<_> = after
            .iter()
            .filter(|(path, text)| before.get(*path) != Some(text))
            .map(|(path, _)| path.split('/').next().unwrap_or_default())
            .collect();
        assert_eq!(
            differ,
            BTreeSet::from(["shop", "hooked", "chart", "waiting"])
        );
        assert!(writes(4).contains("delete configmaps/moving-3"));
    }
}
