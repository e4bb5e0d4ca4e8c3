//! Rules from the settings.

use serde_json::Value;

use crate::generic;
use crate::object::{Malformed, Object};
use crate::settings::{KindRules, Otherwise, Rule, is_concealed};
use crate::verdict::{Verdict, assessment, degraded, healthy, suspended};

/// The result of checking a rule against an object.
enum Finding {
    Holds(String),
    Fails(String),
}

/// Judges an object by the rules for its kind.
pub(crate) fn judge(object: Object, rules: &KindRules) -> Verdict {
    if let Some(text) = first(&rules.suspended_when, object)? {
        return Ok(suspended(text));
    }
    if !rules.ignore_generation
        && let Some(outdated) = generic::outdated(object)
    {
        return Ok(outdated);
    }
    if let Some(text) = first(&rules.degraded_when, object)? {
        return Ok(degraded(text));
    }
    let otherwise = rules.otherwise.unwrap_or(Otherwise::Progressing).status();
    let mut held = Vec::new();
    for rule in &rules.healthy_when {
        match check(rule, object)? {
            Finding::Holds(text) => held.push(text),
            Finding::Fails(text) => return Ok(assessment(otherwise, text)),
        }
    }
    Ok(if held.is_empty() {
        assessment(
            otherwise,
            format!("by the settings {} objects are {otherwise}", object.kind()),
        )
    } else {
        healthy(held.join("; "))
    })
}

/// Returns the finding of the first rule that holds.
fn first(list: &[Rule], object: Object) -> Result<Option<String>, Malformed> {
    for rule in list {
        if let Finding::Holds(text) = check(rule, object)? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

fn check(rule: &Rule, object: Object) -> Result<Finding, Malformed> {
    match (&rule.condition, &rule.field) {
        (Some(kind), _) => check_condition(rule, kind, object),
        (None, Some(pointer)) => Ok(check_field(rule, pointer, object)),
        // Settings are validated before each call.
        (None, None) => Ok(Finding::Fails("a rule is about nothing".to_owned())),
    }
}

/// Checks a rule about a condition. Conditions are read only here: rules about fields are for kinds without conventional
/// conditions.
fn check_condition(rule: &Rule, kind: &str, object: Object) -> Result<Finding, Malformed> {
    let conditions = object.conditions()?;
    let Some(condition) = conditions.get(kind) else {
        return Ok(Finding::Fails(format!("has no condition {kind} yet")));
    };
    if let Some(outdated) = condition.outdated(object.generation()) {
        return Ok(Finding::Fails(outdated));
    }
    let words = match (condition.reason, condition.message) {
        ("", "") => String::new(),
        _ => format!(": {}", condition.why()),
    };
    let text = format!("condition {kind} is {}{words}", condition.status);
    let reason_fits =
        rule.reasons.is_empty() || rule.reasons.iter().any(|reason| reason == condition.reason);
    let wanted = rule.status.unwrap_or_default().text();
    Ok(if condition.is(wanted) && reason_fits {
        Finding::Holds(text)
    } else {
        Finding::Fails(text)
    })
}

fn check_field(rule: &Rule, pointer: &str, object: Object) -> Finding {
    let path = pointer.trim_start_matches('/').replace('/', ".");
    let Some(value) = object.at(pointer) else {
        return Finding::Fails(format!("{path} is not set"));
    };
    let holds = rule.values.is_empty() || rule.values.iter().any(|wanted| same(wanted, value));
    if is_secret(object) {
        return if holds {
            Finding::Holds(format!("{path} is set"))
        } else if is_concealed(pointer) {
            // Only an entry with a `*` gets here: rules for Secrets alone are refused.
            Finding::Fails(format!("{path} is concealed, and equals no value"))
        } else {
            Finding::Fails(format!("{path} is another value"))
        };
    }
    let text = format!("{path} is {value}");
    if holds {
        return Finding::Holds(text);
    }
    let wanted: Vec<String> = rule.values.iter().map(Value::to_string).collect();
    Finding::Fails(format!("{text}, not {}", wanted.join(" or ")))
}

/// Returns whether the contents of an object must not be revealed: verdicts appear in the status and in messages.
fn is_secret(object: Object) -> bool {
    (object.group(), object.kind()) == ("", "Secret")
}

/// Compares values such that `1` and `1.0` are the same number.
fn same(wanted: &Value, value: &Value) -> bool {
    wanted == value
        || matches!((wanted.as_f64(), value.as_f64()), (Some(a), Some(b)) if a.to_bits() == b.to_bits())
}
