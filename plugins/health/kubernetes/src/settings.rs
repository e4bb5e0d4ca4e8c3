//! What an application may set.

use std::collections::BTreeSet;

use pintle_sdk::{Problem, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// How objects are judged. Everything has a default.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own, which people turn on or off"
)]
pub struct Settings {
    /// Seconds for which a pod that cannot be scheduled, or cannot pull an image or find its configuration, is still
    /// progressing: the node, image or Secret may be on its way.
    pub pod_grace_seconds: u32,
    /// Whether a Job is healthy only when it is complete, rather than as soon as it runs.
    pub wait_for_job_completion: bool,
    /// Whether a Service of type `LoadBalancer` is healthy only when it has an address.
    pub wait_for_load_balancer: bool,
    /// Whether an Ingress is healthy only when it has an address. Not every controller writes one.
    pub wait_for_ingress_address: bool,
    /// Whether a persistent volume claim is healthy only when it is bound. Turn it off where a storage class binds with
    /// the first consumer and the consumer comes in a later wave, which would wait for the claim.
    pub wait_for_claim_binding: bool,
    /// Seconds for which a horizontal pod autoscaler without metrics or without its target is still progressing: the
    /// first metrics of a pod take a minute or two.
    pub autoscaler_grace_seconds: u32,
    /// How a custom resource without any condition is: many kinds never have one, so it is healthy unless set otherwise.
    pub without_conditions: WithoutConditions,
    /// Seconds after its creation for which a custom resource without any condition is progressing: its controller may
    /// not have seen it yet.
    pub without_conditions_grace_seconds: u32,
    /// Rules for kinds whose state the conventions do not tell, or tell wrongly; built-in kinds too. The first entry
    /// that names an object's group and kind judges it alone.
    pub kinds: Vec<KindRules>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pod_grace_seconds: 15,
            wait_for_job_completion: true,
            wait_for_load_balancer: true,
            wait_for_ingress_address: false,
            wait_for_claim_binding: true,
            autoscaler_grace_seconds: 300,
            without_conditions: WithoutConditions::Healthy,
            without_conditions_grace_seconds: 0,
            kinds: Vec::new(),
        }
    }
}

/// How a custom resource without any condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WithoutConditions {
    /// Nothing says otherwise.
    Healthy,
    /// Its controller has yet to write a condition.
    Progressing,
    /// Nobody knows.
    Unknown,
}

impl WithoutConditions {
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Healthy => Status::Healthy,
            Self::Progressing => Status::Progressing,
            Self::Unknown => Status::Unknown,
        }
    }
}

/// How objects of one kind are judged. The lists are tried in this order: suspended, degraded, healthy.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KindRules {
    /// API group; empty for the core group, `*` for any.
    pub group: String,
    /// Kind; `*` for any of the group.
    pub kind: String,
    /// Suspended when any of these holds.
    #[serde(default)]
    pub suspended_when: Vec<Rule>,
    /// Degraded when any of these holds.
    #[serde(default)]
    pub degraded_when: Vec<Rule>,
    /// Healthy when there are any and all of these hold.
    #[serde(default)]
    pub healthy_when: Vec<Rule>,
    /// What an object is otherwise; progressing unless set.
    #[serde(default)]
    pub otherwise: Option<Otherwise>,
    /// Whether to judge although `status.observedGeneration` is behind: for controllers that do not keep it up.
    #[serde(default)]
    pub ignore_generation: bool,
}

impl KindRules {
    pub(crate) fn judges(&self, group: &str, kind: &str) -> bool {
        (self.group == "*" || self.group == group) && (self.kind == "*" || self.kind == kind)
    }

    /// Returns whether it judges nothing but Secrets.
    fn is_for_secrets(&self) -> bool {
        self.group.is_empty() && self.kind == "Secret"
    }
}

/// Either a condition or a field, and what it has to be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// Type of a condition in `status.conditions`: `Ready`.
    pub condition: Option<String>,
    /// The condition's status; `"True"` unless set. In YAML it needs the quotes.
    pub status: Option<ConditionStatus>,
    /// The condition's reason is one of these; any, if empty.
    pub reasons: Vec<String>,
    /// RFC 6901 pointer to a field: `/status/phase`.
    pub field: Option<String>,
    /// The field is one of these; there and not null, if empty.
    pub values: Vec<Value>,
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// `"True"`
    #[default]
    True,
    /// `"False"`
    False,
    /// `"Unknown"`
    Unknown,
}

impl ConditionStatus {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What an object is that no rule describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// As it should be.
    Healthy,
    /// On its way.
    Progressing,
    /// Will not become healthy without a change.
    Degraded,
    /// Nothing can be said.
    Unknown,
}

impl Otherwise {
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Healthy => Status::Healthy,
            Self::Progressing => Status::Progressing,
            Self::Degraded => Status::Degraded,
            Self::Unknown => Status::Unknown,
        }
    }
}

/// Checks what the schema cannot.
pub(crate) fn validate(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, rules) in settings.kinds.iter().enumerate() {
        let at = format!("/kinds/{index}");
        if rules.kind.is_empty() {
            problems.push(
                Problem::new("the kind is empty")
                    .pointer(format!("{at}/kind"))
                    .hint("name one, or * for any"),
            );
        }
        if !seen.insert((rules.group.as_str(), rules.kind.as_str())) {
            problems.push(
                Problem::new(format!(
                    "`{}` of group `{}` has rules already",
                    rules.kind, rules.group
                ))
                .pointer(at.clone())
                .hint("put all rules for a kind in one entry: only the first judges"),
            );
        }
        let lists = [
            ("suspendedWhen", &rules.suspended_when),
            ("degradedWhen", &rules.degraded_when),
            ("healthyWhen", &rules.healthy_when),
        ];
        if rules.healthy_when.is_empty() && rules.otherwise != Some(Otherwise::Healthy) {
            problems.push(
                Problem::new("no rule makes an object healthy")
                    .pointer(at.clone())
                    .hint("set healthyWhen, or `otherwise: healthy` for a kind that has no state"),
            );
        }
        for (name, list) in lists {
            for (rule_index, rule) in list.iter().enumerate() {
                let at = format!("{at}/{name}/{rule_index}");
                if rules.is_for_secrets() {
                    problems.extend(validate_secret_rule(rule, &at));
                }
                problems.extend(validate_rule(rule, &at));
            }
        }
    }
    problems
}

/// Returns whether the host conceals a field of a Secret before a check gets it.
pub(crate) fn is_concealed(pointer: &str) -> bool {
    let is_below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    let fields = ["/data", "/stringData"].into_iter();
    fields
        .filter_map(|field| pointer.strip_prefix(field))
        .any(is_below)
}

/// Refuses a rule that can never hold: nobody knows what stands in place of a concealed value.
fn validate_secret_rule(rule: &Rule, at: &str) -> Option<Problem> {
    let is_compared = !rule.values.is_empty() && rule.field.as_deref().is_some_and(is_concealed);
    is_compared.then(|| {
        Problem::new("the data of a Secret is concealed from checks, so it never equals a value")
            .pointer(format!("{at}/values"))
            .hint("leave out `values`: that the field is set can be required")
    })
}

fn validate_rule(rule: &Rule, at: &str) -> Option<Problem> {
    let (pointer, message, hint) = match (&rule.condition, &rule.field) {
        (Some(_), Some(_)) | (None, None) => (
            at.to_owned(),
            "a rule is about either a condition or a field",
            "set exactly one of `condition` and `field`",
        ),
        (Some(condition), None) if condition.is_empty() => (
            format!("{at}/condition"),
            "the condition's type is empty",
            "name one, such as Ready",
        ),
        (Some(_), None) if !rule.values.is_empty() => (
            format!("{at}/values"),
            "`values` belongs to a field",
            "use `status` and `reasons` for a condition",
        ),
        (None, Some(field)) if !field.starts_with('/') => (
            format!("{at}/field"),
            "a field is an RFC 6901 pointer",
            "write it as /status/phase",
        ),
        (None, Some(_)) if rule.status.is_some() || !rule.reasons.is_empty() => (
            at.to_owned(),
            "`status` and `reasons` belong to a condition",
            "use `values` for a field",
        ),
        _ => return None,
    };
    Some(Problem::new(message).pointer(pointer).hint(hint))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    fn problems(settings: Value) -> String {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        validate(&settings)
            .iter()
            .map(Problem::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let settings: Settings = serde_json::from_value(json!({})).unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(validate(&settings), []);
    }

    #[test]
    fn good_rules_are_accepted() {
        assert_eq!(
            problems(json!({"kinds": [
                {"group": "example.com", "kind": "Config", "otherwise": "healthy"},
                {"group": "example.com", "kind": "Queue", "degradedWhen": [{"condition": "Broken", "reasons": ["Disk"]}],
                 "healthyWhen": [{"field": "/status/phase", "values": ["Up"]}, {"field": "/status/url"}]},
            ]})),
            ""
        );
    }

    #[test]
    fn values_in_the_data_of_a_secret_are_refused() {
        let values = json!(["cmVhZHk="]);
        assert_snapshot!(problems(json!({"kinds": [
            {"group": "", "kind": "Secret", "degradedWhen": [{"field": "/stringData", "values": values}], "healthyWhen": [
                {"field": "/data/state", "values": values}, {"field": "/data/state"}, {"field": "/type", "values": ["Opaque"]},
                {"field": "/database", "values": values},
            ]},
            {"group": "", "kind": "ConfigMap", "healthyWhen": [{"field": "/data/state", "values": values}]},
            {"group": "example.com", "kind": "Secret", "healthyWhen": [{"field": "/data/state", "values": values}]},
        ]})), @"
        /kinds/0/degradedWhen/0/values: the data of a Secret is concealed from checks, so it never equals a value (leave out `values`: that the field is set can be required)
        /kinds/0/healthyWhen/0/values: the data of a Secret is concealed from checks, so it never equals a value (leave out `values`: that the field is set can be required)
        ");
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        assert_snapshot!(problems(json!({"kinds": [
            {"group": "example.com", "kind": "A"},
            {"group": "example.com", "kind": "B", "degradedWhen": [{"condition": "Broken"}]},
            {"group": "example.com", "kind": "C", "healthyWhen": [
                {}, {"condition": "Ready", "field": "/status/phase"}, {"condition": ""},
                {"condition": "Ready", "values": [1]}, {"field": "status.phase"}, {"field": "/a", "status": "False"},
            ]},
            {"group": "example.com", "kind": "C", "otherwise": "healthy"},
            {"group": "", "kind": "", "otherwise": "healthy"},
        ]})), @"
        /kinds/0: no rule makes an object healthy (set healthyWhen, or `otherwise: healthy` for a kind that has no state)
        /kinds/1: no rule makes an object healthy (set healthyWhen, or `otherwise: healthy` for a kind that has no state)
        /kinds/2/healthyWhen/0: a rule is about either a condition or a field (set exactly one of `condition` and `field`)
        /kinds/2/healthyWhen/1: a rule is about either a condition or a field (set exactly one of `condition` and `field`)
        /kinds/2/healthyWhen/2/condition: the condition's type is empty (name one, such as Ready)
        /kinds/2/healthyWhen/3/values: `values` belongs to a field (use `status` and `reasons` for a condition)
        /kinds/2/healthyWhen/4/field: a field is an RFC 6901 pointer (write it as /status/phase)
        /kinds/2/healthyWhen/5: `status` and `reasons` belong to a condition (use `values` for a field)
        /kinds/3: `C` of group `example.com` has rules already (put all rules for a kind in one entry: only the first judges)
        /kinds/4/kind: the kind is empty (name one, or * for any)
        ");
    }
}
