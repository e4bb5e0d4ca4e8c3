//! What policies say to a plan.

use std::sync::Arc;

use pintle_core::{
    application::PluginUse,
    check::{Approved, Checked, Denied, Finding},
    plan::Plan,
    plugin::PluginError,
    seed::Seed,
};
use pintle_host::{ClusterReader, Context, PolicyRequest};
use serde_json::Value;

use super::{
    catalog::{Catalog, CatalogError},
    render::{RenderError, check_settings},
};

/// Why a plan may not be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// A policy refuses the plan.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A policy cannot be asked: nothing passes unseen.
    #[error(transparent)]
    Policy(#[from] RenderError),
}

impl From<CatalogError> for CheckError {
    fn from(error: CatalogError) -> Self {
        Self::Policy(error.into())
    }
}

impl From<PluginError> for CheckError {
    fn from(error: PluginError) -> Self {
        Self::Policy(error.into())
    }
}

/// Asks every policy, also after one has refused: all that is wrong is told at once. What they may read from the cluster they find
/// as `cluster` gives it now: nothing that they said before is kept.
pub(crate) async fn check(
    catalog: &Catalog,
    policies: &[PluginUse],
    plan: Plan,
    application: Value,
    context: &Context,
    seed: &Seed,
    cluster: Arc<dyn ClusterReader>,
) -> Result<Approved, CheckError> {
    let plan = Arc::new(plan);
    let application = Arc::new(application);
    let mut findings: Vec<Finding> = Vec::new();
    for of_use in policies {
        let ready = catalog.find(&of_use.plugin).await?;
        let policy = ready.plugin.policy().map_err(CatalogError::from)?;
        let settings = ready.settings(&of_use.settings);
        check_settings(&ready.plugin, &settings).await?;
        let request = PolicyRequest {
            settings,
            plan: Arc::clone(&plan),
            application: Arc::clone(&application),
            context: context.clone(),
            seed: seed.clone(),
            cluster: Arc::clone(&cluster),
        };
        findings.extend(policy.evaluate(request).await?);
    }
    let plan = Arc::try_unwrap(plan).unwrap_or_else(|shared| (*shared).clone());
    Ok(Approved::without_gates(Checked::new(plan, findings)?))
}
