//! Values that turn on what a chart leaves off by default.

use pintle_helm_chart::{read_values, values::to_json};
use serde_json::{Map, Value};

/// What is turned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Values named `enabled`, `create` and the like.
    Features,
    /// All values that are false.
    All,
}

/// The keys of [`Switch::Features`].
const FEATURES: [&str; 4] = ["enabled", "create", "install", "enable"];

/// Returns the values to merge over those of a chart, given the text of its `values.yaml`. `None` if nothing is off.
pub fn switched_on(values: &[u8], switch: Switch) -> Option<Value> {
    let values = pintle_gotemplate::Value::Map(read_values(values).ok()?);
    table(to_json(&values).as_object()?, switch)
}

fn table(values: &Map<String, Value>, switch: Switch) -> Option<Value> {
    let changed = values.iter().filter_map(|(key, value)| {
        let changed = match value {
            Value::Object(inner) => table(inner, switch)?,
            Value::Bool(false) if switch == Switch::All || FEATURES.contains(&key.as_str()) => {
                Value::Bool(true)
            }
            _ => return None,
        };
        Some((key.clone(), changed))
    });
    let changed: Map<_, _> = changed.collect();
    (!changed.is_empty()).then_some(Value::Object(changed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_off_is_turned_on() {
        let values = b"a: {enabled: false, x: false, y: true}\nb: {enabled: true}\nlist: [false]\n";
        assert_eq!(
            switched_on(values, Switch::Features),
            Some(json!({"a": {"enabled": true}}))
        );
        assert_eq!(
            switched_on(values, Switch::All),
            Some(json!({"a": {"enabled": true, "x": true}}))
        );
        assert_eq!(switched_on(b"b: {enabled: true}", Switch::All), None);
    }
}
