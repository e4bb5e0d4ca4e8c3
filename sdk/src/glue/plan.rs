//! The host's plans.

use serde_json::Value;

use crate::{Action, Change, Difference, HookEvent, Plan};

use super::document;
use super::wit::plan;

impl Plan for plan::Plan {
    fn digest(&self) -> String {
        plan::Plan::digest(self)
    }

    fn application(&self) -> Value {
        document(&plan::Plan::application(self))
    }

    fn changes(&self) -> Vec<Change> {
        plan::Plan::changes(self)
            .into_iter()
            .map(Into::into)
            .collect()
    }

    fn desired(&self, index: usize) -> Option<Value> {
        plan::Plan::desired(self, u32::try_from(index).ok()?)
            .as_deref()
            .map(document)
    }

    fn live(&self, index: usize) -> Option<Value> {
        plan::Plan::live(self, u32::try_from(index).ok()?)
            .as_deref()
            .map(document)
    }

    fn differences(&self, index: usize) -> Vec<Difference> {
        let Ok(index) = u32::try_from(index) else {
            return Vec::new();
        };
        plan::Plan::differences(self, index)
            .into_iter()
            .map(Into::into)
            .collect()
    }
}

impl From<plan::Change> for Change {
    fn from(change: plan::Change) -> Self {
        let action = match change.action {
            plan::Action::Create => Action::Create,
            plan::Action::Update => Action::Update,
            plan::Action::Replace => Action::Replace,
            plan::Action::Delete => Action::Delete,
            plan::Action::Unchanged => Action::Unchanged,
        };
        Self {
            id: change.id.into(),
            action,
            source: change.source.map(Into::into),
            hook: HookEvent::ALL
                .into_iter()
                .filter(|event| change.hook.contains(super::hook_events([*event])))
                .collect(),
        }
    }
}

impl From<plan::Difference> for Difference {
    fn from(difference: plan::Difference) -> Self {
        Self {
            pointer: difference.pointer,
            before: difference.before.as_deref().map(document),
            after: difference.after.as_deref().map(document),
        }
    }
}
