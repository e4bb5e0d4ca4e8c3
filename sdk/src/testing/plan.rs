//! An in-memory plan.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{Action, Change, Difference, HookEvent, ObjectId, Plan, Position};

/// An in-memory plan. Differences are computed field by field.
///
/// ```
/// use pintle_sdk::{Plan, testing::MemoryPlan};
/// use serde_json::json;
///
/// let config = |color: &str| json!({
///     "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "paint", "namespace": "shop"}, "data": {"color": color},
/// });
/// let plan = MemoryPlan::new().update(config("red"), config("blue"));
/// assert_eq!(plan.differences(0)[0].pointer, "/data/color");
/// ```
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    application: Value,
    objects: Vec<Object>,
}

#[derive(Clone, Debug)]
struct Object {
    change: Change,
    live: Option<Value>,
    desired: Option<Value>,
}

impl Default for MemoryPlan {
    fn default() -> Self {
        Self {
            application: json!({
                "name": "app", "namespace": "default", "labels": {}, "source": {},
                "revision": "", "author": "", "committer": "",
            }),
            objects: Vec::new(),
        }
    }
}

impl MemoryPlan {
    /// Creates an empty plan for the application `app` in the namespace `default`. Nothing else is known of the
    /// application.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value that [`Plan::application`] returns.
    #[must_use]
    pub fn application(mut self, application: Value) -> Self {
        self.application = application;
        self
    }

    /// Adds an object that is created.
    #[must_use]
    pub fn create(self, desired: Value) -> Self {
        self.push(Action::Create, None, Some(desired))
    }

    /// Adds an object that is changed in place.
    #[must_use]
    pub fn update(self, live: Value, desired: Value) -> Self {
        self.push(Action::Update, Some(live), Some(desired))
    }

    /// Adds an object that is deleted and created again.
    #[must_use]
    pub fn replace(self, live: Value, desired: Value) -> Self {
        self.push(Action::Replace, Some(live), Some(desired))
    }

    /// Adds an object that is deleted.
    #[must_use]
    pub fn delete(self, live: Value) -> Self {
        self.push(Action::Delete, Some(live), None)
    }

    /// Adds an object to which nothing happens.
    #[must_use]
    pub fn unchanged(self, object: Value) -> Self {
        self.push(Action::Unchanged, Some(object.clone()), Some(object))
    }

    /// Sets the position that the last added object comes from.
    ///
    /// # Panics
    ///
    /// Panics if no object was added.
    #[must_use]
    pub fn source(mut self, source: Position) -> Self {
        let last = self
            .objects
            .last_mut()
            .expect("`source` follows the object that it is about");
        last.change.source = Some(source);
        self
    }

    /// Makes the last added object a hook that runs at some events.
    ///
    /// # Panics
    ///
    /// Panics if no object was added.
    #[must_use]
    pub fn hook(mut self, events: impl IntoIterator<Item = HookEvent>) -> Self {
        let last = self
            .objects
            .last_mut()
            .expect("`hook` follows the object that it is about");
        last.change.hook = events.into_iter().collect();
        self
    }

    fn push(mut self, action: Action, live: Option<Value>, desired: Option<Value>) -> Self {
        let id = desired
            .as_ref()
            .or(live.as_ref())
            .and_then(ObjectId::of)
            .expect("a test object has apiVersion, kind and metadata.name");
        self.objects.push(Object {
            change: Change {
                id,
                action,
                source: None,
                hook: BTreeSet::new(),
            },
            live,
            desired,
        });
        self
    }
}

impl Plan for MemoryPlan {
    fn digest(&self) -> String {
        format!("sha256:{:064x}", self.objects.len())
    }

    fn application(&self) -> Value {
        self.application.clone()
    }

    fn changes(&self) -> Vec<Change> {
        self.objects
            .iter()
            .map(|object| object.change.clone())
            .collect()
    }

    fn desired(&self, index: usize) -> Option<Value> {
        self.objects.get(index)?.desired.clone()
    }

    fn live(&self, index: usize) -> Option<Value> {
        self.objects.get(index)?.live.clone()
    }

    fn differences(&self, index: usize) -> Vec<Difference> {
        let mut differences = Vec::new();
        if let Some(object) = self.objects.get(index) {
            compare(
                "",
                object.live.as_ref(),
                object.desired.as_ref(),
                &mut differences,
            );
            differences.sort_by(|one, other| one.pointer.cmp(&other.pointer));
        }
        differences
    }
}

/// Compares two values: objects field by field, everything else as a whole.
fn compare(
    pointer: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    differences: &mut Vec<Difference>,
) {
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let removed = before.keys().filter(|key| !after.contains_key(*key));
            for key in after.keys().chain(removed) {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                compare(
                    &format!("{pointer}/{escaped}"),
                    before.get(key),
                    after.get(key),
                    differences,
                );
            }
        }
        _ if before == after => {}
        _ => differences.push(Difference {
            pointer: pointer.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_has_what_the_contract_says() {
        let contract = include_str!("../../../wit/types/types.wit");
        let said = contract
            .lines()
            .find_map(|line| line.trim().strip_prefix("/// The application: "))
            .expect("the contract says what policies are told of an application");
        let said = said.trim_end_matches('.').replace(" and ", ", ");
        let application = MemoryPlan::new().application;
        let fields = application.as_object().expect("it is an object");
        assert_eq!(fields.len(), said.split(", ").count());
        for field in said.split(", ") {
            assert!(fields.contains_key(field), "{field}");
        }
    }
}
