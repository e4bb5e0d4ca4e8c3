//! A view of an object of any kind, as the API server sent it.

use serde_json::{Map, Value};

use crate::time;

/// An error for an object that does not have the structure of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The RFC 6901 pointer to what is wrong.
    pub(crate) pointer: String,
    /// What should be there, such as `a list`.
    pub(crate) expected: &'static str,
}

/// A view of an object of any kind.
///
/// Numbers and texts of the wrong type read as absent: they come from an API server that has a schema. In many custom
/// resources, conditions have no schema, so reading those can fail.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a>(&'a Value);

impl<'a> Object<'a> {
    pub(crate) fn new(value: &'a Value) -> Self {
        Self(value)
    }

    /// Returns what an RFC 6901 pointer leads to, unless that is null.
    pub(crate) fn at(self, pointer: &str) -> Option<&'a Value> {
        self.0.pointer(pointer).filter(|value| !value.is_null())
    }

    /// Returns a part of the object, viewed in the same way.
    pub(crate) fn object(self, pointer: &str) -> Option<Object<'a>> {
        self.at(pointer).map(Object)
    }

    pub(crate) fn text(self, pointer: &str) -> Option<&'a str> {
        self.at(pointer)?.as_str()
    }

    pub(crate) fn int(self, pointer: &str) -> Option<i64> {
        self.at(pointer)?.as_i64()
    }

    /// Returns a counter, which controllers omit when it is zero.
    pub(crate) fn count(self, pointer: &str) -> i64 {
        self.int(pointer).unwrap_or(0)
    }

    pub(crate) fn flag(self, pointer: &str) -> bool {
        self.at(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Returns the items of a list, or none if there is no list.
    pub(crate) fn items(self, pointer: &str) -> impl Iterator<Item = Object<'a>> {
        self.at(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(Object)
    }

    /// Returns a time in milliseconds since the epoch.
    pub(crate) fn time(self, pointer: &str) -> Option<u64> {
        time::epoch_ms(self.text(pointer)?)
    }

    pub(crate) fn kind(self) -> &'a str {
        self.text("/kind").unwrap_or_default()
    }

    /// Returns the API group, which is empty for the core group.
    pub(crate) fn group(self) -> &'a str {
        self.text("/apiVersion")
            .and_then(|version| version.split_once('/'))
            .map_or("", |(group, _)| group)
    }

    pub(crate) fn generation(self) -> Option<i64> {
        self.int("/metadata/generation")
    }

    pub(crate) fn observed_generation(self) -> Option<i64> {
        self.at("/status/observedGeneration").and_then(generation)
    }

    /// Returns when anybody last wrote fields of the spec, in milliseconds since the epoch. The server records it to the
    /// second.
    pub(crate) fn spec_written(self) -> Option<u64> {
        self.items("/metadata/managedFields")
            .filter(|entry| entry.at("/fieldsV1/f:spec").is_some())
            .filter_map(|entry| entry.time("/time"))
            .max()
    }

    /// Returns the conditions in `/status/conditions`.
    pub(crate) fn conditions(self) -> Result<Conditions<'a>, Malformed> {
        match self.at("/status") {
            None | Some(Value::Object(_)) => self.conditions_at("/status/conditions"),
            Some(_) => Err(Malformed {
                pointer: "/status".into(),
                expected: "an object",
            }),
        }
    }

    /// Returns the conditions in a list elsewhere, such as those of each parent of a route.
    pub(crate) fn conditions_at(self, pointer: &str) -> Result<Conditions<'a>, Malformed> {
        let Some(list) = self.at(pointer) else {
            return Ok(Conditions(Vec::new()));
        };
        let list = list.as_array().ok_or_else(|| Malformed {
            pointer: pointer.into(),
            expected: "a list",
        })?;
        let conditions = list.iter().enumerate().map(|(index, item)| {
            Condition::read(item).ok_or_else(|| Malformed {
                pointer: format!("{pointer}/{index}"),
                expected: "a condition: an object whose type, status, reason and message are strings",
            })
        });
        conditions.collect::<Result<_, _>>().map(Conditions)
    }
}

/// One condition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition<'a> {
    pub(crate) kind: &'a str,
    /// `True`, `False` or `Unknown`.
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    /// The generation of the object that the condition is about, if it says so.
    pub(crate) generation: Option<i64>,
    /// When the status last changed, in milliseconds since the epoch.
    pub(crate) changed: Option<u64>,
    /// When the condition was last written, for those kinds that record it.
    pub(crate) updated: Option<u64>,
}

impl<'a> Condition<'a> {
    fn read(item: &'a Value) -> Option<Self> {
        let item = item.as_object()?;
        let time = |key: &str| {
            item.get(key)
                .and_then(Value::as_str)
                .and_then(time::epoch_ms)
        };
        Some(Self {
            kind: field(item, "type")?,
            status: field(item, "status")?,
            reason: field(item, "reason")?,
            message: field(item, "message")?,
            generation: item.get("observedGeneration").and_then(generation),
            changed: time("lastTransitionTime"),
            updated: time("lastUpdateTime"),
        })
    }

    pub(crate) fn is(&self, status: &str) -> bool {
        self.status == status
    }

    pub(crate) fn is_true(&self) -> bool {
        self.is("True")
    }

    /// Describes that the condition is about an older generation than the object's current one, if it is.
    pub(crate) fn outdated(&self, generation: Option<i64>) -> Option<String> {
        let (generation, seen) = (generation?, self.generation?);
        (seen < generation).then(|| {
            format!(
                "condition {} is about generation {seen}, not {generation}",
                self.kind
            )
        })
    }

    /// Returns the reason in the controller's words: `MinimumReplicasUnavailable: Deployment does not have minimum
    /// availability.`; or the condition itself, if it has no words.
    pub(crate) fn why(&self) -> String {
        match (self.reason, self.message.trim_end_matches('.')) {
            ("", "") => format!("condition {} is {}", self.kind, self.status),
            ("", words) | (words, "") => words.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

/// Reads an observed generation. Some controllers, such as that of Argo Rollouts, write it as a text.
fn generation(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Returns a text that may be omitted or null; `None` if it is something else.
fn field<'a>(item: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    match item.get(key) {
        None | Some(Value::Null) => Some(""),
        Some(value) => value.as_str(),
    }
}

/// The conditions of an object, in its order.
#[derive(Clone, Debug)]
pub(crate) struct Conditions<'a>(Vec<Condition<'a>>);

impl<'a> Conditions<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Condition<'a>> {
        self.0.iter()
    }

    /// Returns the first condition of that type.
    pub(crate) fn get(&self, kind: &str) -> Option<&Condition<'a>> {
        self.0.iter().find(|condition| condition.kind == kind)
    }

    /// Returns the first condition of that type that is `True`.
    pub(crate) fn truth(&self, kind: &str) -> Option<&Condition<'a>> {
        self.0
            .iter()
            .find(|condition| condition.kind == kind && condition.is_true())
    }

    /// Returns the first condition of that type that is `False`.
    pub(crate) fn untruth(&self, kind: &str) -> Option<&Condition<'a>> {
        self.0
            .iter()
            .find(|condition| condition.kind == kind && condition.is("False"))
    }
}
