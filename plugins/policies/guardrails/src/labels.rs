//! Labels that objects must have.

use pintle_sdk::ObjectId;
use serde_json::Value;

use crate::{
    pods::Pod,
    rules::Rule,
    settings::{Label, Labels, matches_kind},
    violation::{Violation, pointer},
};

/// Returns whether the labels of an object of this kind matter.
pub(crate) fn is_looked_into(settings: &Labels, id: &ObjectId) -> bool {
    !settings.required.is_empty() && matches_kind(&settings.kinds, id)
}

/// Checks the labels of an object.
pub(crate) fn check(settings: &Labels, id: &ObjectId, object: &Value, found: &mut Vec<Violation>) {
    if is_looked_into(settings, id) {
        check_all(settings, object.get("metadata"), "/metadata", "", found);
    }
}

/// Checks the labels of an object's pod template.
pub(crate) fn check_pod(
    settings: &Labels,
    id: &ObjectId,
    pod: &Pod<'_>,
    found: &mut Vec<Violation>,
) {
    if settings.pod_templates && pod.is_template() && is_looked_into(settings, id) {
        check_all(
            settings,
            pod.metadata(),
            &format!("{}/metadata", pod.pointer()),
            "pod template's ",
            found,
        );
    }
}

fn check_all(
    settings: &Labels,
    metadata: Option<&Value>,
    at: &str,
    whose: &str,
    found: &mut Vec<Violation>,
) {
    let labels = metadata.and_then(|metadata| metadata.get("labels"));
    for label in &settings.required {
        let value = labels
            .and_then(|labels| labels.get(&label.key))
            .and_then(Value::as_str);
        found.extend(check_one(label, value, at, labels.is_some(), whose));
    }
}

fn check_one(
    label: &Label,
    value: Option<&str>,
    at: &str,
    has_labels: bool,
    whose: &str,
) -> Option<Violation> {
    let Label { key, values } = label;
    let value = value.filter(|value| !value.is_empty());
    let allowed: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    let (rule, pointer, message) = match value {
        None => {
            let pointer = if has_labels {
                format!("{at}/labels")
            } else {
                at.to_owned()
            };
            (
                Rule::LabelMissing,
                pointer,
                format!("the {whose}label `{key}` is missing"),
            )
        }
        Some(value)
            if !values.is_empty() && !values.iter().any(|pattern| pattern.matches(value)) =>
        {
            (
                Rule::LabelInvalid,
                pointer(&format!("{at}/labels"), key),
                format!("the {whose}label `{key}` must not be `{value}`"),
            )
        }
        Some(_) => return None,
    };
    let hint = match (rule, allowed.is_empty()) {
        (Rule::LabelMissing, true) => format!("add `{key}`"),
        (Rule::LabelMissing, false) => format!("add `{key}` with one of {}", allowed.join(", ")),
        _ => format!("use one of {}", allowed.join(", ")),
    };
    let subject = format!("{whose}{key}={}", value.unwrap_or_default());
    Some(Violation {
        subject,
        ..Violation::new(rule, pointer, message, hint)
    })
}
