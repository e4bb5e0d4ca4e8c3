//! What notifiers and the cluster's Events report.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{brief, digest::Digester};

/// The maximum number of findings or objects in an event. An event about thousands of them would be too large to send.
const LISTED: usize = 200;

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventSeverity {
    /// All is well.
    Info,
    /// Somebody should look.
    Warn,
    /// Somebody has to act.
    Error,
}

/// The reason for an event. The names are stable: filters and dashboards use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A revision is in the cluster and healthy.
    Converged,
    /// Somebody changed an owned field, and it was repaired.
    DriftRepaired,
    /// Somebody changed an owned field, and it is left as it is.
    DriftDetected,
    /// A repair keeps being undone.
    DriftFight,
    /// A repair that kept being undone holds.
    DriftFightEnded,
    /// A policy refused a plan; nothing was written.
    PolicyDenied,
    /// A revision could not be rendered.
    RenderFailed,
    /// The source could not be fetched.
    SourceFailed,
    /// The cluster refused something.
    ApplyFailed,
    /// A plugin could not be loaded.
    PluginFailed,
    /// A hook did not succeed.
    HookFailed,
    /// Tests that somebody requested failed.
    TestFailed,
    /// The render would delete too much; it waits for confirmation.
    PruneRefused,
    /// There is no room to record all objects; nothing was written.
    InventoryTooLarge,
    /// Objects did not become healthy in time, or failed.
    Degraded,
    /// An earlier revision runs instead of the source's current one.
    RolledBack,
    /// A revision is in the cluster and healthy, after it or an earlier one was reported as failed.
    Recovered,
    /// The application and its objects are gone.
    Removed,
}

impl Reason {
    /// Returns the stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::DriftRepaired => "drift-repaired",
            Self::DriftDetected => "drift-detected",
            Self::DriftFight => "drift-fight",
            Self::DriftFightEnded => "drift-fight-ended",
            Self::PolicyDenied => "policy-denied",
            Self::RenderFailed => "render-failed",
            Self::SourceFailed => "source-failed",
            Self::ApplyFailed => "apply-failed",
            Self::PluginFailed => "plugin-failed",
            Self::HookFailed => "hook-failed",
            Self::TestFailed => "test-failed",
            Self::PruneRefused => "prune-refused",
            Self::InventoryTooLarge => "inventory-too-large",
            Self::Degraded => "degraded",
            Self::RolledBack => "rolled-back",
            Self::Recovered => "recovered",
            Self::Removed => "removed",
        }
    }

    /// Returns the name in the form used for Kubernetes Events and conditions: `DriftRepaired`.
    pub fn camel(self) -> String {
        self.name()
            .split('-')
            .map(|word| word[..1].to_uppercase() + &word[1..])
            .collect()
    }

    /// Returns whether this is also reported as a Kubernetes Event. A converged revision is not: the Application's history
    /// already has it, and it is what happens most often: docs/decisions/0022-no-event-for-success.md
    pub const fn is_kubernetes_event(self) -> bool {
        !matches!(self, Self::Converged)
    }

    /// Returns the severity.
    pub const fn severity(self) -> EventSeverity {
        match self {
            Self::Converged | Self::Recovered | Self::Removed | Self::DriftFightEnded => {
                EventSeverity::Info
            }
            Self::DriftRepaired | Self::DriftDetected | Self::PruneRefused => EventSeverity::Warn,
            _ => EventSeverity::Error,
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Unique id; the same on every retry, so that receivers can drop duplicates.
    pub id: String,
    /// The reason.
    pub reason: Reason,
    /// The severity.
    pub severity: EventSeverity,
    /// One line for people. The details say which application it is about.
    pub message: String,
    /// Time in milliseconds since the epoch.
    pub time_ms: u64,
    /// Application, revision, digests, findings and objects, as documented for the reason.
    pub details: Value,
}

impl Event {
    /// Creates an event. Its id is derived from its content, so the same occurrence reported twice has one id. Null values are
    /// left out of the details: receivers are promised that a field is present only where it applies. A long list is cut to its
    /// beginning and the number of items left out.
    pub fn new(
        reason: Reason,
        message: impl Into<String>,
        time_ms: u64,
        mut details: Value,
    ) -> Self {
        let message = message.into();
        leave_out_nulls(&mut details);
        shorten_lists(&mut details);
        let id = Digester::new("event/v1")
            .part(reason.name())
            .part(&message)
            .part(time_ms.to_be_bytes())
            .part(crate::canonical::to_string(&details))
            .finish()
            .hex();
        Self {
            id,
            reason,
            severity: reason.severity(),
            message,
            time_ms,
            details,
        }
    }
}

fn leave_out_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(leave_out_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out_nulls),
        _ => {}
    }
}

fn shorten_lists(details: &mut Value) {
    let Value::Object(details) = details else {
        return;
    };
    for (name, omitted) in [
        ("findings", "findingsOmitted"),
        ("objects", "objectsOmitted"),
    ] {
        let Some(Value::Array(list)) = details.get_mut(name) else {
            continue;
        };
        let more = list.len().saturating_sub(LISTED);
        list.truncate(LISTED);
        list.iter_mut().for_each(shorten_texts);
        if more > 0 {
            details.insert(omitted.to_owned(), json!(more));
        }
    }
}

fn shorten_texts(one: &mut Value) {
    for name in ["message", "hint"] {
        if let Some(Value::String(text)) = one.get_mut(name) {
            *text = brief::cut(text).into_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_apply_is_not_there() {
        let details = json!({"revision": null, "findings": [{"rule": "a", "object": null}]});
        let event = Event::new(Reason::PolicyDenied, "x", 1, details);
        assert_eq!(event.details, json!({"findings": [{"rule": "a"}]}));
    }

    #[test]
    fn what_thousands_of_objects_come_to_can_be_sent() {
        let long = "ü".repeat(100_000);
        let finding = json!({"rule": "a", "message": long, "hint": long});
        let objects: Vec<Value> = (0..1000).map(|number| json!({"name": number})).collect();
        let details = json!({"findings": vec![finding; 201], "objects": objects});
        let told = Event::new(Reason::PolicyDenied, "x", 1, details).details;
        let length = |list: &str| told[list].as_array().map(Vec::len);
        assert_eq!(
            (length("findings"), length("objects")),
            (Some(200), Some(200))
        );
        assert_eq!(
            (&told["findingsOmitted"], &told["objectsOmitted"]),
            (&json!(1), &json!(800))
        );
        assert_eq!(told["objects"][199]["name"], 199);
        assert!(told.to_string().len() < 2 * 1024 * 1024);

        let few = json!({"findings": vec![json!({"message": "no"}); 200], "objects": []});
        assert_eq!(
            Event::new(Reason::PolicyDenied, "x", 1, few.clone()).details,
            few
        );
    }

    #[test]
    fn one_happening_has_one_id() {
        let event = |time| Event::new(Reason::DriftRepaired, "x", time, json!({"a": 1}));
        assert_eq!(event(1).id, event(1).id);
        assert_ne!(event(1).id, event(2).id);
        assert_eq!(Reason::DriftRepaired.camel(), "DriftRepaired");
        assert_eq!(
            serde_json::to_value(Reason::DriftRepaired).unwrap(),
            json!(Reason::DriftRepaired.name())
        );
    }
}
