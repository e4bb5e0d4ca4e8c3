//! Health checks: plugins that judge the health of objects.

pub(crate) mod bindings;

use std::{fmt, time::Duration};

use pintle_core::{
    health::{Assessment, GroupKind, Status},
    object::{ObjectId, conceal},
    plugin::{Fault, PluginError, PluginId, Stage},
    seed::Seed,
};
use serde_json::Value;

use self::bindings::{AssessesPre, health};
use crate::{Plugin, call::Setup, settings::Settings, state::State, wasi::Pure, wire};

/// The object to judge, and the settings to judge it by.
#[derive(Debug, Clone, Copy)]
pub struct HealthRequest<'a> {
    /// The merged settings.
    pub settings: &'a Settings,
    /// The identity of the object.
    pub id: &'a ObjectId,
    /// The object as stored in the cluster. The values of a Secret are concealed before they cross: what a check says about it
    /// ends up in a status, and no grant is required.
    pub object: &'a Value,
    /// The application's seed.
    pub seed: &'a Seed,
    /// The time in milliseconds since the epoch.
    pub now_ms: u64,
}

/// A health check. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    plugin: Plugin,
    pre: AssessesPre<State>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(self.plugin.id()).finish()
    }
}

impl Health {
    pub(crate) fn new(plugin: Plugin, pre: AssessesPre<State>) -> Self {
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

    /// Asks the plugin which kinds it judges. The answer is always the same for the same component, so one call is enough.
    pub async fn judges(&self) -> Result<Vec<GroupKind>, PluginError> {
        let pre = self.pre.clone();
        let finish = |judged: Vec<health::GroupKind>, _| kinds(judged);
        self.plugin
            .caller()
            .run(
                Stage::Judges,
                Setup::default(),
                move |store| {
                    Box::pin(async move {
                        let instance = pre.instantiate_async(&mut *store).await?;
                        instance
                            .pintle_health_health()
                            .call_judges(&mut *store)
                            .await
                    })
                },
                finish,
            )
            .await
    }

    /// Judges one object.
    pub async fn assess(&self, request: HealthRequest<'_>) -> Result<Assessment, PluginError> {
        let HealthRequest {
            settings,
            id,
            object,
            seed,
            now_ms,
        } = request;
        let caller = self.plugin.caller();
        let setup = Setup {
            pure: Some(Pure {
                time: Duration::from_millis(now_ms),
                seed: Seed::from_text(&caller.id.digest.to_string()),
            }),
            ..Setup::default()
        };
        let object = conceal(id.is_secret(), object, seed).to_string();
        let (pre, settings) = (self.pre.clone(), settings.clone());
        let finish = |outcome: Result<health::Assessment, _>, _| {
            let assessment = outcome.map_err(wire::from_failure)?;
            Ok(Assessment {
                status: status(assessment.status),
                message: wire::text(assessment.message),
                recheck_after: assessment.recheck_after_ms.map(Duration::from_millis),
            })
        };
        caller
            .run(
                Stage::Assess,
                setup,
                move |store| {
                    Box::pin(async move {
                        let instance = pre.instantiate_async(&mut *store).await?;
                        let health = instance.pintle_health_health();
                        health
                            .call_assess(&mut *store, settings.json(), &object, now_ms)
                            .await
                    })
                },
                finish,
            )
            .await
    }
}

/// The maximum number of kinds that one check judges.
const KINDS: usize = 1_000;

fn kinds(judged: Vec<health::GroupKind>) -> Result<Vec<GroupKind>, Fault> {
    let count = judged.len();
    if count > KINDS {
        return Err(Fault::Contract(format!(
            "it judges {count} kinds, and the limit is {KINDS}: name `*` for any"
        )));
    }
    let group_kind = |kind: health::GroupKind| GroupKind {
        group: wire::text(kind.group),
        kind: wire::text(kind.kind),
    };
    Ok(judged.into_iter().map(group_kind).collect())
}

fn status(status: health::Status) -> Status {
    match status {
        health::Status::Healthy => Status::Healthy,
        health::Status::Progressing => Status::Progressing,
        health::Status::Degraded => Status::Degraded,
        health::Status::Suspended => Status::Suspended,
        health::Status::Unknown => Status::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_kinds_and_no_more() {
        let judged = |count: usize| -> Vec<health::GroupKind> {
            let kind = |number: usize| health::GroupKind {
                group: "example.com".to_owned(),
                kind: format!("Kind{number}"),
            };
            (0..count).map(kind).collect()
        };
        assert_eq!(kinds(judged(KINDS)).unwrap().len(), KINDS);
        let fault = kinds(judged(KINDS + 1)).unwrap_err();
        insta::assert_snapshot!(fault, @"it broke the contract: it judges 1001 kinds, and the limit is 1000: name `*` for any");
    }
}
