//! Plugins that will be needed.

use std::sync::Arc;

use pintle_core::names::ApplicationName;

use super::Controller;

impl Controller {
    /// Loads the built-in plugins that an application names while its source is fetched: on a new machine they have to be
    /// compiled first. What is wrong with one is told by the run that needs it.
    pub(super) fn warm_up(&self, name: &ApplicationName) {
        let Some(Ok(spec)) = self.apps.get(name).map(|app| &app.application.spec) else {
            return;
        };
        let uses = (spec.renderer.iter())
            .chain(&spec.policies)
            .chain(&spec.health);
        for plugin in uses.map(|of_use| of_use.plugin.as_str()) {
            if self.shared.catalog.is_cold(plugin) {
                let (shared, plugin) = (Arc::clone(&self.shared), plugin.to_owned());
                tokio::spawn(async move { shared.catalog.find(&plugin).await.map(drop) });
            }
        }
    }
}
