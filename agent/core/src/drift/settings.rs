//! An application's settings for drift.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Ignored, pointer::FieldPointer};
use crate::object::ObjectId;

/// How to handle changes that others make to an application's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DriftSettings {
    /// Whether drift is repaired or only reported.
    pub mode: DriftMode,
    /// Fields that others may write. Changes to them are neither reported nor repaired, and an apply of other fields leaves them
    /// as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoreRule>,
}

/// How to handle drift.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum DriftMode {
    /// Drift is repaired at once.
    #[default]
    Repair,
    /// Drift is shown, and is repaired when a person requests a reconciliation.
    Report,
}

/// Fields that others may write, and the objects that this applies to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", try_from = "RuleFields")]
#[schemars(with = "RuleFields")]
pub struct IgnoreRule {
    /// API group of the objects. If unset, any group matches. The core group is written as an empty string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the objects. If unset, any kind matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace of the objects. If unset, any namespace matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object. If unset, any name matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pointers: Vec<FieldPointer>,
    /// Field managers that may write any field. One `*` at the end of a name matches anything.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub managers: BTreeSet<String>,
}

/// A rule as it is written.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RuleFields {
    /// API group of the objects. If unset, any group matches. The core group is written as an empty string.
    group: Option<String>,
    /// Kind of the objects. If unset, any kind matches.
    kind: Option<String>,
    /// Namespace of the objects. If unset, any namespace matches.
    namespace: Option<String>,
    /// Name of the object. If unset, any name matches.
    name: Option<String>,
    /// The fields, as RFC 6901 pointers. A part of a pointer may also be `*`, for every key or item, or `[name=main]`, for the
    /// items of a list with this value.
    pointers: Vec<FieldPointer>,
    /// Field managers that may write any field. One `*` at the end of a name matches anything.
    managers: BTreeSet<String>,
}

/// The reason why a rule is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreRuleError {
    /// The rule names nothing to ignore.
    #[error(
        "a rule without `pointers` and `managers` ignores nothing: expected at least one of them"
    )]
    Empty,
    /// The rule would ignore everybody's fields.
    #[error(
        "the manager `*` would ignore whatever anybody changes: set `mode: report`, or name managers"
    )]
    Everybody,
}

impl TryFrom<RuleFields> for IgnoreRule {
    type Error = IgnoreRuleError;

    fn try_from(fields: RuleFields) -> Result<Self, Self::Error> {
        if fields.pointers.is_empty() && fields.managers.is_empty() {
            return Err(IgnoreRuleError::Empty);
        }
        if fields.managers.contains("*") {
            return Err(IgnoreRuleError::Everybody);
        }
        Ok(Self {
            group: fields.group,
            kind: fields.kind,
            namespace: fields.namespace,
            name: fields.name,
            pointers: fields.pointers,
            managers: fields.managers,
        })
    }
}

impl IgnoreRule {
    fn concerns(&self, id: &ObjectId) -> bool {
        let fits = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        fits(&self.group, &id.group)
            && fits(&self.kind, &id.kind)
            && fits(&self.namespace, id.namespace.as_deref().unwrap_or_default())
            && fits(&self.name, &id.name)
    }
}

impl DriftSettings {
    /// Returns what is ignored in one object.
    pub fn ignored(&self, id: &ObjectId) -> Ignored {
        let mut ignored = Ignored::default();
        for rule in self.ignore.iter().filter(|rule| rule.concerns(id)) {
            ignored.pointers.extend(rule.pointers.iter().cloned());
            ignored.managers.extend(rule.managers.iter().cloned());
        }
        ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<DriftSettings, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn rules_say_which_objects_they_concern() {
        let settings = read(json!({"ignore": [
            {"kind": "Deployment", "group": "apps", "pointers": ["/spec/replicas"]},
            {"group": "", "managers": ["cert-manager*"]},
            {"kind": "Deployment", "name": "other", "pointers": ["/spec/paused"]},
        ]}))
        .unwrap();
        let id = |group: &str, kind: &str| ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        let deployment = settings.ignored(&id("apps", "Deployment"));
        assert_eq!(
            (deployment.pointers.len(), deployment.managers.len()),
            (1, 0)
        );
        let secret = settings.ignored(&id("", "Secret"));
        assert!(secret.is_manager("cert-manager-cainjector") && !secret.is_manager("kubectl"));
        assert!(settings.ignored(&id("batch", "Job")).is_nothing());
    }

    #[test]
    fn what_is_written_is_read_again_and_mistakes_are_named() {
        let written = json!({"mode": "report", "ignore": [{"kind": "Service", "pointers": ["/spec/ports/*"]}]});
        let settings = read(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&settings).unwrap(), written);
        let said: Vec<String> = [
            json!({"ignore": [{"kind": "Service"}]}),
            json!({"ignore": [{"managers": ["*"]}]}),
            json!({"ignore": [{"jsonPointers": ["/a"]}]}),
            json!({"ignore": [{"pointers": [".spec.replicas"]}]}),
            json!({"mode": "ignore"}),
        ]
        .map(|value| read(value).unwrap_err().to_string())
        .to_vec();
        insta::assert_snapshot!(said.join("\n"), @r"
        a rule without `pointers` and `managers` ignores nothing: expected at least one of them
        the manager `*` would ignore whatever anybody changes: set `mode: report`, or name managers
        unknown field `jsonPointers`, expected one of `group`, `kind`, `namespace`, `name`, `pointers`, `managers`
        `.spec.replicas` names no field: expected parts that each begin with a slash, such as `/spec/replicas`
        unknown variant `ignore`, expected `repair` or `report`
        ");
    }
}
