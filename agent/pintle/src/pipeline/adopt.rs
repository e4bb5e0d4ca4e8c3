//! Taking over what another tool has installed, without replacing any of its pods.

use pintle_core::{
    object::ObjectId,
    plan::{Action, Change, Plan},
    seed::Seed,
};

/// Returns the objects whose pods a plan would replace: what is taken over should continue to run.
pub(crate) fn restarts<'a>(plan: &'a Plan, seed: &Seed) -> Vec<&'a ObjectId> {
    let changes = plan.changes().iter().filter(|change| !change.is_hook());
    changes
        .filter(|change| replaces_pods(change, seed))
        .map(|change| &change.id)
        .collect()
}

fn replaces_pods(change: &Change, seed: &Seed) -> bool {
    let id = &change.id;
    let rolls = ["Deployment", "StatefulSet", "DaemonSet"]
        .into_iter()
        .any(|kind| id.is("apps", kind));
    let is_pod = id.is("", "Pod");
    match change.action {
        Action::Replace | Action::Delete => rolls || is_pod,
        Action::Update if rolls || is_pod => {
            let part = if rolls { "/spec/template" } else { "/spec" };
            let differences = change.differences(seed);
            differences
                .iter()
                .any(|difference| is_within(&difference.pointer, part))
        }
        _ => false,
    }
}

fn is_within(pointer: &str, part: &str) -> bool {
    pointer
        .strip_prefix(part)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Lists objects for a message, one in each line.
pub(crate) fn lines<'a>(ids: impl IntoIterator<Item = &'a ObjectId>) -> String {
    let lines: Vec<String> = ids.into_iter().map(|id| format!("  {id}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use pintle_core::plan::Depth;
    use serde_json::{Value, json};

    use super::*;

    fn change(group: &str, kind: &str, action: Action, before: Value, after: Value) -> Change {
        Change {
            id: ObjectId {
                group: group.into(),
                kind: kind.into(),
                namespace: Some("shop".into()),
                name: "web".into(),
            },
            version: "v1".into(),
            action,
            desired: None,
            source: None,
            hook: std::collections::BTreeSet::default(),
            for_removal: None,
            before,
            after,
            conflicts: Vec::new(),
            live: None,
        }
    }

    #[test]
    fn only_another_template_replaces_pods() {
        let seed = Seed::from_text("s");
        let replaces = |change: Change| {
            let plan = Plan::new(Depth::Server, vec![change], &seed);
            !restarts(&plan, &seed).is_empty()
        };
        let template = |image: &str| json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "main", "image": image}]}}}});
        let update = |kind: &str, before: Value, after: Value| {
            change("apps", kind, Action::Update, before, after)
        };
        for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
            assert!(replaces(update(kind, template("a:1"), template("a:2"))));
        }
        let mut labelled = template("a:1");
        labelled["metadata"] = json!({"labels": {"pintle.dev/application": "shop.web"}});
        labelled["spec"]["replicas"] = json!(3);
        assert!(!replaces(update("Deployment", template("a:1"), labelled)));
        assert!(!replaces(update(
            "ReplicaSet",
            template("a:1"),
            template("a:2")
        )));
        let anew = change("apps", "Deployment", Action::Replace, json!({}), json!({}));
        assert!(replaces(anew));
        let pod = |spec: Value| json!({ "spec": spec });
        assert!(replaces(change(
            "",
            "Pod",
            Action::Update,
            pod(json!({"containers": []})),
            pod(json!({"containers": [{}]}))
        )));
        assert!(!replaces(change(
            "",
            "ConfigMap",
            Action::Replace,
            json!({}),
            json!({})
        )));
    }
}
