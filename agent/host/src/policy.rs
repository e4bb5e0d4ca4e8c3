//! Policies: plugins that judge a whole plan before anything is written.

pub(crate) mod bindings;

use std::{fmt, sync::Arc, time::Duration};

use pintle_core::{
    check::{Finding, Severity},
    plan::Plan,
    plugin::{Fault, PluginError, PluginId, Stage},
    seed::Seed,
};
use serde_json::Value;
use wasmtime::component::Resource;

use self::bindings::{EvaluatesPre, policy};
use crate::{
    ClusterReader, Context, Facts, Plugin,
    call::Setup,
    capability::{cluster::ClusterAccess, plan::PlanView},
    settings::Settings,
    state::State,
    wasi::Pure,
    wire,
};

/// The plan to judge, and the settings to judge it by.
#[derive(Debug, Clone)]
pub struct PolicyRequest {
    /// The merged settings.
    pub settings: Settings,
    /// The plan. The values of Secrets are concealed before they cross.
    pub plan: Arc<Plan>,
    /// The application: name, namespace, labels, source, revision, author and committer.
    pub application: Arc<Value>,
    /// The destination of the plan.
    pub context: Context,
    /// The application's seed.
    pub seed: Seed,
    /// The reader of the cluster for the kinds that are granted. A plan is never judged without one: a policy that may read would
    /// find nothing, and would let pass what it should reject.
    pub cluster: Arc<dyn ClusterReader>,
}

/// A policy. Cheap to clone.
#[derive(Clone)]
pub struct Policy {
    plugin: Plugin,
    pre: EvaluatesPre<State>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policy").field(self.plugin.id()).finish()
    }
}

impl Policy {
    pub(crate) fn new(plugin: Plugin, pre: EvaluatesPre<State>) -> Self {
        Self { plugin, pre }
    }

    /// Returns the plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Returns the name, digest and kind.
    pub fn id(&self) -> &PluginId {
        self.plugin.id()
    }

    /// Judges a plan. A failure stops the plan as a denial does.
    pub async fn evaluate(&self, request: PolicyRequest) -> Result<Vec<Finding>, PluginError> {
        let caller = self.plugin.caller();
        let PolicyRequest {
            settings,
            plan,
            application,
            context,
            seed,
            cluster,
        } = request;
        let view = PlanView {
            plan,
            application,
            seed: seed.clone(),
        };
        let setup = Setup {
            pure: Some(Pure {
                time: Duration::from_secs(context.revision_time.try_into().unwrap_or_default()),
                seed: seed.clone(),
            }),
            cluster: Some(ClusterAccess {
                reader: cluster,
                grants: Arc::clone(&caller.grants),
                seed: seed.clone(),
            }),
            facts: Some(Arc::new(Facts { context, seed })),
            http: None,
        };
        let pre = self.pre.clone();
        let name = &caller.id.name;
        let finish = |outcome: Result<Vec<policy::Finding>, _>, _| {
            findings(name, outcome.map_err(wire::from_failure)?)
        };
        caller
            .run(
                Stage::Evaluate,
                setup,
                move |store| {
                    Box::pin(async move {
                        let own = store.data_mut().table.push(view)?;
                        let plan = Resource::new_borrow(own.rep());
                        let instance = pre.instantiate_async(&mut *store).await?;
                        let policy = instance.pintle_policy_policy();
                        policy
                            .call_evaluate(&mut *store, settings.json(), plan)
                            .await
                    })
                },
                finish,
            )
            .await
    }
}

/// The maximum number of findings about one plan: many for each object of the largest application.
const FINDINGS: usize = 100_000;

/// Converts the findings. None is left out, since it may be the one that denies.
fn findings(policy: &str, found: Vec<policy::Finding>) -> Result<Vec<Finding>, Fault> {
    let count = found.len();
    if count > FINDINGS {
        return Err(Fault::Contract(format!(
            "it has {count} findings, and the limit is {FINDINGS}"
        )));
    }
    let taken = found.into_iter().map(|found| finding(policy, found));
    Ok(taken.collect())
}

fn finding(policy: &str, found: policy::Finding) -> Finding {
    Finding {
        policy: policy.to_owned(),
        rule: wire::text(found.rule),
        severity: match found.severity {
            policy::Severity::Info => Severity::Info,
            policy::Severity::Warn => Severity::Warn,
            policy::Severity::Deny => Severity::Deny,
        },
        object: found.object.map(wire::from_object_id),
        problem: wire::from_problem(found.problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::wit::types::Problem;

    #[test]
    fn so_many_findings_and_no_more() {
        let found = |count: usize| -> Vec<policy::Finding> {
            let finding = |_| policy::Finding {
                rule: "no-latest".to_owned(),
                severity: policy::Severity::Info,
                object: None,
                problem: Problem {
                    message: String::new(),
                    pointer: None,
                    position: None,
                    hint: None,
                },
            };
            (0..count).map(finding).collect()
        };
        assert_eq!(findings("p", found(FINDINGS)).unwrap().len(), FINDINGS);
        let fault = findings("p", found(FINDINGS + 1)).unwrap_err();
        insta::assert_snapshot!(fault, @"it broke the contract: it has 100001 findings, and the limit is 100000");
    }
}
