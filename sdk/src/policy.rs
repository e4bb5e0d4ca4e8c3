//! Policies judge a whole plan before anything is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, Failure, ObjectId, Plan, Plugin, Problem};

/// How much a finding weighs. In settings: `info`, `warn`, `deny`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Shown, and lets the plan through.
    Warn,
    /// Stops the plan.
    Deny,
}

/// What a policy has to say about a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable, for exceptions: `image-tag-missing`. People are shown it behind the plugin's name.
    pub rule: String,
    /// How much it weighs.
    pub severity: Severity,
    /// Absent: the finding is about the plan as a whole.
    pub object: Option<ObjectId>,
    /// What is wrong; its pointer is into the object.
    pub problem: Problem,
}

/// Judges a whole plan before anything is written. Pure.
pub trait Policy: Plugin {
    /// Gives everything that is to be said about the plan; a plan with a [`Severity::Deny`] finding is not applied.
    fn evaluate(
        settings: &Self::Settings,
        plan: &dyn Plan,
        context: &dyn Context,
    ) -> Result<Vec<Finding>, Failure>;
}
