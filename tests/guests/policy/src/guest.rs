//! The exports, compiled only for the component target.

#[path = "../../field.rs"]
mod field;

wit_bindgen::generate!({
    path: ["../../../wit/types", "../../../wit/policy"],
    world: "pintle:policy/plugin",
    generate_all,
});

use exports::pintle::{
    policy::policy::{self, Finding, Severity},
    types::plugin::{self, Description, Request},
};
use field::field;
use pintle::types::{
    cluster, context,
    plan::Plan,
    types::{Failure, ObjectId, Problem},
};

struct Telltale;
export!(Telltale);

impl plugin::Guest for Telltale {
    fn describe() -> Description {
        Description {
            name: "telltale".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "tells everything it sees".to_owned(),
            settings_schema: r#"{"type": "object"}"#.to_owned(),
            requests: vec![Request::ClusterRead("v1/ConfigMap".to_owned())],
        }
    }

    fn validate(_: String) -> Vec<Problem> {
        Vec::new()
    }
}

impl policy::Guest for Telltale {
    fn evaluate(settings: String, plan: &Plan) -> Result<Vec<Finding>, Failure> {
        match field(&settings, "mode") {
            "tell" => Ok(tell(plan)),
            "deny" => Ok(vec![finding(
                Severity::Deny,
                None,
                "it is Friday".to_owned(),
            )]),
            "require" => Ok(require(field(&settings, "requires"))),
            "crash" => panic!("a policy that crashes stops the plan"),
            _ => Ok(Vec::new()),
        }
    }
}

fn tell(plan: &Plan) -> Vec<Finding> {
    let about = format!(
        "{} of {} in {}",
        plan.digest(),
        plan.application(),
        context::namespace()
    );
    let mut told = vec![finding(Severity::Info, None, about)];
    for (index, change) in (0u32..).zip(plan.changes()) {
        let differences: Vec<_> = plan
            .differences(index)
            .into_iter()
            .map(|difference| (difference.pointer, difference.before, difference.after))
            .collect();
        let text = format!(
            "{:?}, from {:?}, desired {:?}, live {:?}, differences {differences:?}",
            change.action,
            change.source.map(|source| (source.file, source.line)),
            plan.desired(index),
            plan.live(index),
        );
        told.push(finding(Severity::Warn, Some(change.id), text));
    }
    let beyond = u32::MAX;
    assert!(plan.desired(beyond).is_none() && plan.live(beyond).is_none());
    assert!(plan.differences(beyond).is_empty());
    told
}

/// Denies a plan as long as its target namespace has no `ConfigMap` of this name.
fn require(name: &str) -> Vec<Finding> {
    let id = ObjectId {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some(context::namespace()),
        name: name.to_owned(),
    };
    match cluster::get(&id) {
        Some(_) => Vec::new(),
        None => vec![finding(
            Severity::Deny,
            None,
            format!("there is no ConfigMap {name}"),
        )],
    }
}

fn finding(severity: Severity, object: Option<ObjectId>, message: String) -> Finding {
    Finding {
        rule: "told".to_owned(),
        severity,
        object,
        problem: Problem {
            message,
            pointer: None,
            position: None,
            hint: None,
        },
    }
}
