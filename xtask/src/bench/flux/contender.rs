//! The contenders that are measured.

mod kustomize_controller;
mod pintle;

use anyhow::Result;
use kube::api::{ApiResource, DynamicObject};
use serde_json::Value;

use super::super::applications::Names;
use super::super::measure::{Phase, Subject};
use super::arena::Arena;

/// One of the two contenders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Pintle,
    Flux,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pintle => "Pintle",
            Self::Flux => "Flux",
        }
    }

    /// Installs and starts it in an arena, and returns what that cost.
    pub(super) fn start(self, arena: &Arena) -> Result<(Box<dyn Contender>, Phase)> {
        Ok(match self {
            Self::Pintle => {
                let (agent, phase) = pintle::Pintle::start(arena)?;
                (Box::new(agent), phase)
            }
            Self::Flux => {
                let (controller, phase) = kustomize_controller::Flux::start(arena)?;
                (Box::new(controller), phase)
            }
        })
    }
}

/// A running controller, and how it is told of applications and of pushes.
pub(super) trait Contender {
    fn subject(&self) -> Subject<'_>;

    /// Returns the kind whose status reports the state of an application.
    fn resource(&self) -> ApiResource;

    /// Returns a function that reads the relevant parts of such a status.
    fn standing(&self) -> fn(&DynamicObject) -> Standing;

    /// Returns the manifests that make the controller reconcile all applications, at an interval in seconds.
    fn applications(&self, arena: &Arena, names: Names, interval: u64) -> String;

    /// Returns a commit as a status spells it.
    fn revision(&self, commit: &str) -> String;

    /// Makes a commit available that the git server already has. This is not part of the measurement.
    fn publish(&mut self, arena: &Arena, commit: &str) -> Result<()>;

    /// Notifies the controller of something new, as a webhook would.
    fn announce(&self, arena: &Arena) -> Result<()>;

    /// Returns how often it has determined what a commit means for an application. `None` if each application's status names each
    /// commit.
    fn looks(&self) -> Result<Option<f64>>;

    /// Ends it. Fails unless it ends well.
    fn stop(&mut self) -> Result<()>;
}

/// The state of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The revision that is applied, if any.
    pub(super) revision: Option<String>,
    /// Whether all of it exists and is healthy.
    pub(super) ready: bool,
    /// The application's own message. `None` if it has not been looked at yet.
    pub(super) message: Option<String>,
}

impl Standing {
    /// Reads the applied revision and the condition `Ready`, which both controllers write according to kstatus.
    fn read(object: &DynamicObject, revision: &str) -> Self {
        let status = &object.data["status"];
        let conditions = status["conditions"].as_array();
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready");
        let is_current = status["observedGeneration"].as_i64() == object.metadata.generation;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            revision: text(&status[revision]),
            ready: is_current && ready.is_some_and(|ready| ready["status"] == "True"),
            message: ready.and_then(|ready| text(&ready["message"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn standing(status: Value) -> Standing {
        let object = json!({
            "apiVersion": "example.com/v1", "kind": "App", "metadata": {"name": "a", "generation": 2},
            "status": status,
        });
        let object = serde_json::from_value(object).unwrap();
        Standing::read(&object, "applied")
    }

    #[test]
    fn a_status_of_an_older_spec_is_not_ready() {
        let ready = json!([{"type": "Ready", "status": "True", "message": "well"}]);
        let of = |generation: i64| json!({"observedGeneration": generation, "applied": "abc", "conditions": ready});
        assert!(standing(of(2)).ready);
        assert!(!standing(of(1)).ready);
        assert_eq!(standing(of(2)).revision.as_deref(), Some("abc"));
        assert_eq!(standing(of(2)).message.as_deref(), Some("well"));
    }

    #[test]
    fn what_nobody_looked_at_says_nothing() {
        assert_eq!(
            standing(Value::Null),
            Standing {
                revision: None,
                ready: false,
                message: None
            }
        );
    }
}
