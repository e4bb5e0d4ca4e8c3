//! Policies, which judge a whole plan before anything is written.

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
    /// A stable name that exceptions refer to: `image-tag-missing`. People see it after the plugin's name.
    pub rule: String,
    /// The severity.
    pub severity: Severity,
    /// The object that the finding is about; absent if it is about the plan as a whole.
    pub object: Option<ObjectId>,
    /// What is wrong. Its pointer points into the object.
    pub problem: Problem,
}

/// A plugin that judges a whole plan before anything is written. Pure.
pub trait Policy: Plugin {
    /// Returns all findings about the plan. A plan with a [`Severity::Deny`] finding is not applied.
    fn evaluate(
        settings: &Self::Settings,
        plan: &dyn Plan,
        context: &dyn Context,
    ) -> Result<Vec<Finding>, Failure>;
}
