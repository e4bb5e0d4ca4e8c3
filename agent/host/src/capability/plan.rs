//! `pintle:types/plan`: the complete plan. Documents cross only when requested.

use std::{borrow::Cow, sync::Arc};

use pintle_core::{
    object::{ObjectId, conceal},
    plan::{Action, Plan},
    seed::Seed,
};
use serde_json::Value;
use wasmtime::component::Resource;

use crate::{
    bindings::wit::plan::{self, Change, Difference, Host, HostPlan},
    state::State,
    wire,
};

/// A plan held by a guest.
///
/// The values of Secrets are concealed: equal values stay equal, and nothing else can be learned about them. A policy can tell
/// that a Secret changes, but never what it holds.
#[derive(Debug, Clone)]
#[expect(unreachable_pub, reason = "the generated bindings export it again")]
pub struct PlanView {
    pub(crate) plan: Arc<Plan>,
    pub(crate) application: Arc<Value>,
    pub(crate) seed: Seed,
}

impl PlanView {
    fn document(&self, id: &ObjectId, value: &Value) -> String {
        let value: Cow<'_, Value> = conceal(id.is_secret(), value, &self.seed);
        value.to_string()
    }
}

impl State {
    fn view(&mut self, this: &Resource<PlanView>) -> wasmtime::Result<PlanView> {
        self.called(0)?;
        Ok(self.table.get(this)?.clone())
    }

    fn given(&mut self, text: Option<String>) -> wasmtime::Result<Option<String>> {
        self.traffic.charge(text.as_ref().map_or(0, String::len))?;
        Ok(text)
    }
}

impl Host for State {}

impl HostPlan for State {
    fn digest(&mut self, this: Resource<PlanView>) -> wasmtime::Result<String> {
        Ok(self.view(&this)?.plan.digest().to_string())
    }

    fn application(&mut self, this: Resource<PlanView>) -> wasmtime::Result<String> {
        Ok(self.view(&this)?.application.to_string())
    }

    fn changes(&mut self, this: Resource<PlanView>) -> wasmtime::Result<Vec<Change>> {
        let view = self.view(&this)?;
        self.traffic.charge(view.plan.changes().len() * 128)?;
        let change = |change: &pintle_core::plan::Change| Change {
            id: wire::object_id(&change.id, &change.version),
            action: match change.action {
                // An object that is kept now will be created later, and nothing else sees it before then.
                Action::Create | Action::Keep => plan::Action::Create,
                Action::Update => plan::Action::Update,
                Action::Replace => plan::Action::Replace,
                Action::Delete => plan::Action::Delete,
                Action::Unchanged => plan::Action::Unchanged,
            },
            source: change.source.clone().map(wire::position),
            hook: wire::hook_events(&change.hook),
        };
        Ok(view.plan.changes().iter().map(change).collect())
    }

    fn desired(
        &mut self,
        this: Resource<PlanView>,
        index: u32,
    ) -> wasmtime::Result<Option<String>> {
        let view = self.view(&this)?;
        let text =
            view.plan.changes().get(index as usize).and_then(|change| {
                Some(view.document(&change.id, change.desired.as_ref()?.value()))
            });
        self.given(text)
    }

    fn live(&mut self, this: Resource<PlanView>, index: u32) -> wasmtime::Result<Option<String>> {
        let view = self.view(&this)?;
        let text = view
            .plan
            .changes()
            .get(index as usize)
            .and_then(|change| Some(view.document(&change.id, change.live.as_ref()?)));
        self.given(text)
    }

    fn differences(
        &mut self,
        this: Resource<PlanView>,
        index: u32,
    ) -> wasmtime::Result<Vec<Difference>> {
        let view = self.view(&this)?;
        let Some(change) = view.plan.changes().get(index as usize) else {
            return Ok(Vec::new());
        };
        let mut differences = change.differences(&view.seed);
        differences.sort_by(|a, b| a.pointer.cmp(&b.pointer));
        let mut size = 0;
        let found: Vec<Difference> = differences
            .into_iter()
            .map(|difference| Difference {
                before: side(&difference.pointer, difference.before),
                after: side(&difference.pointer, difference.after),
                pointer: difference.pointer,
            })
            .inspect(|found| {
                let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                size += found.pointer.len() + length(&found.before) + length(&found.after);
            })
            .collect();
        self.traffic.charge(size)?;
        Ok(found)
    }

    fn drop(&mut self, this: Resource<PlanView>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// Returns one side of a difference. For a whole object that does not exist, it is null in the core and absent for plugins.
fn side(pointer: &str, value: Option<Value>) -> Option<String> {
    let value = value?;
    (!pointer.is_empty() || !value.is_null()).then(|| value.to_string())
}
