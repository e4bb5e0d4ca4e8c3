//! A loaded plugin, whatever its kind.

use std::{fmt, sync::Arc};

use pintle_core::{
    plugin::{Description, Kind, PluginError, PluginId, Stage},
    problem::Problem,
};

use crate::{
    call::{Caller, Setup},
    compiled::Exports,
    grants::EffectiveGrants,
    health::Health,
    limits::Limits,
    notifier::Notifier,
    policy::Policy,
    renderer::Renderer,
    settings::{Schema, Settings},
    wire,
};

/// The error for a plugin of another kind than the one expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{plugin} stands where a {expected} is expected")]
pub struct WrongKind {
    /// The plugin.
    pub plugin: PluginId,
    /// The expected kind.
    pub expected: Kind,
}

/// A loaded plugin. Cheap to clone: clones are the same plugin.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

struct Inner {
    caller: Caller,
    description: Description,
    schema: Schema,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plugin").field(self.id()).finish()
    }
}

impl Plugin {
    pub(crate) fn new(caller: Caller, description: Description, schema: Schema) -> Self {
        Self(Arc::new(Inner {
            caller,
            description,
            schema,
        }))
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// Returns the name, digest and kind.
    pub fn id(&self) -> &PluginId {
        &self.0.caller.id
    }

    /// Returns the plugin's description of itself.
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// Returns what the plugin may do, and what it requests without being granted it.
    pub fn grants(&self) -> &EffectiveGrants {
        &self.0.caller.grants
    }

    /// Returns the limits on its calls.
    pub fn limits(&self) -> &Limits {
        &self.0.caller.limits
    }

    /// Checks settings against the schema alone and returns the problems; none if they match it. Unknown fields are reported
    /// along with the valid ones.
    ///
    /// That is enough for settings with which the plugin is called next: every function rejects invalid ones, as
    /// [`Self::validate`] does.
    pub async fn schema_problems(&self, settings: &Settings) -> Result<Vec<Problem>, PluginError> {
        let caller = &self.0.caller;
        let time = caller.limits.time(Stage::Validate);
        let problems = self.0.schema.problems(settings, time).await;
        problems.map_err(|fault| caller.failed(Stage::Validate, fault))
    }

    /// Checks settings against the schema and then by asking the plugin. Returns the problems; none if they are valid.
    ///
    /// The plugin is asked only about settings that match its schema.
    pub async fn validate(&self, settings: &Settings) -> Result<Vec<Problem>, PluginError> {
        let problems = self.schema_problems(settings).await?;
        if !problems.is_empty() {
            return Ok(problems);
        }
        let caller = &self.0.caller;
        let (pre, settings) = (caller.compiled.plugin.clone(), settings.clone());
        caller
            .run(
                Stage::Validate,
                Setup::default(),
                move |store| {
                    Box::pin(async move {
                        let instance = pre.instantiate_async(&mut *store).await?;
                        let plugin = instance.pintle_types_plugin();
                        plugin.call_validate(&mut *store, settings.json()).await
                    })
                },
                |problems, _| Ok(wire::from_problems(problems)),
            )
            .await
    }

    /// Returns the plugin as a renderer.
    pub fn renderer(&self) -> Result<Renderer, WrongKind> {
        match &self.0.caller.compiled.exports {
            Exports::Renderer(pre) => Ok(Renderer::new(self.clone(), pre.clone())),
            _ => Err(self.is_no(Kind::Renderer)),
        }
    }

    /// Returns the plugin as a policy.
    pub fn policy(&self) -> Result<Policy, WrongKind> {
        match &self.0.caller.compiled.exports {
            Exports::Policy(pre) => Ok(Policy::new(self.clone(), pre.clone())),
            _ => Err(self.is_no(Kind::Policy)),
        }
    }

    /// Returns the plugin as a health check.
    pub fn health(&self) -> Result<Health, WrongKind> {
        match &self.0.caller.compiled.exports {
            Exports::Health(pre) => Ok(Health::new(self.clone(), pre.clone())),
            _ => Err(self.is_no(Kind::Health)),
        }
    }

    /// Returns the plugin as a notifier.
    pub fn notifier(&self) -> Result<Notifier, WrongKind> {
        match &self.0.caller.compiled.exports {
            Exports::Notifier(pre) => Ok(Notifier::new(self.clone(), pre.clone())),
            _ => Err(self.is_no(Kind::Notifier)),
        }
    }

    fn is_no(&self, expected: Kind) -> WrongKind {
        WrongKind {
            plugin: self.id().clone(),
            expected,
        }
    }
}
