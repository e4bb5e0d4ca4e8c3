//! How objects are: which plugin judges which kind.

use pintle_core::{
    application::PluginUse,
    health::{Assessment, GroupKind, Status},
    object::ObjectId,
    plugin::PluginId,
};
use pintle_host::{Health, Limits, Settings};
use serde_json::Value;

use super::{
    catalog::{Catalog, CatalogError},
    render::{RenderError, check_settings},
};

/// The plugin that judges what no other does.
const BUILT_IN: &str = "kubernetes";

struct Member {
    health: Health,
    settings: Settings,
    kinds: Vec<GroupKind>,
}

impl Member {
    /// Returns all that its opinion rests on beside the object. A call that is cut short is an opinion, too.
    fn basis(&self) -> (&PluginId, &Limits, &Settings) {
        let plugin = self.health.plugin();
        (plugin.id(), plugin.limits(), &self.settings)
    }
}

/// The health checks of one application, in order: those that it names, then the built-in one.
pub(crate) struct Judges(Vec<Member>);

impl Judges {
    /// Finds the health checks, and asks each which kinds it judges.
    pub(crate) async fn find(catalog: &Catalog, uses: &[PluginUse]) -> Result<Self, RenderError> {
        let built_in = PluginUse {
            plugin: BUILT_IN.to_owned(),
            settings: Value::Null,
        };
        let named = uses.iter().any(|of_use| of_use.plugin == BUILT_IN);
        let mut members = Vec::new();
        for of_use in uses.iter().chain((!named).then_some(&built_in)) {
            let ready = catalog.find(&of_use.plugin).await?;
            let health = ready.plugin.health().map_err(CatalogError::from)?;
            let settings = ready.settings(&of_use.settings);
            check_settings(&ready.plugin, &settings).await?;
            let kinds = health.judges().await?;
            members.push(Member {
                health,
                settings,
                kinds,
            });
        }
        Ok(Self(members))
    }

    /// Says whether others come to the same about every object.
    pub(crate) fn agree_with(&self, others: &Self) -> bool {
        let bases = self.0.iter().map(Member::basis);
        bases.eq(others.0.iter().map(Member::basis))
    }

    /// Judges an object by the check that names its kind most exactly; among equals the first counts.
    ///
    /// A check that fails leaves the object `unknown`, with what happened: it is no reason to think it well.
    pub(crate) async fn assess(&self, id: &ObjectId, object: &Value, now_ms: u64) -> Assessment {
        let exactness = |member: &&Member| {
            member
                .kinds
                .iter()
                .filter_map(|kind| kind.specificity(id))
                .max()
        };
        let mut best: Option<(u8, &Member)> = None;
        for member in &self.0 {
            if let Some(exact) = exactness(&member)
                && best.is_none_or(|(before, _)| exact > before)
            {
                best = Some((exact, member));
            }
        }
        let Some((_, member)) = best else {
            return Assessment::new(Status::Unknown, "no health check judges this kind");
        };
        match member.health.assess(&member.settings, object, now_ms).await {
            Ok(assessment) => assessment,
            Err(error) => {
                let error = anyhow::Error::new(error);
                Assessment::new(Status::Unknown, crate::cli::output::chain(&error))
            }
        }
    }
}
