//! Plugins that will be needed, and plugins that have changed.

use std::{collections::BTreeSet, sync::Arc};

use pintle_core::{machine::Event, names::ApplicationName};

use super::{App, Controller};

impl App {
    /// Returns the event that follows from a plugin that has changed, or has become usable or unusable. Returns `None` if nothing
    /// follows, or if that is not known before the run in progress has ended.
    fn plugin_changed(&mut self, plugin: &str) -> Option<Event> {
        let memory = self.memory.as_ref();
        if memory.is_none_or(|memory| memory.plugins.contains(plugin)) {
            self.forget_render();
            return Some(Event::PluginChanged);
        }
        // The last render needed nothing from it. An application that waits for a change has no render, and may have asked for
        // this plugin: because a newer revision names it, or to find out which renderer the folder belongs to.
        if self.machine.is_blocked() {
            return Some(Event::Unblocked);
        }
        if self.run.is_some() {
            self.pending_plugins.insert(plugin.to_owned());
        }
        None
    }
}

impl Controller {
    /// Loads the built-in plugins that an application names while its source is being fetched: on a new machine they have to be
    /// compiled first. If something is wrong with one, the run that needs it reports that.
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

    /// Handles a plugin that has changed, or has become usable or unusable.
    pub(super) fn plugin_changed(&mut self, plugin: String) {
        let plugins = BTreeSet::from([plugin]);
        let names: Vec<_> = self.apps.keys().cloned().collect();
        for name in names {
            self.plugins_changed(&name, &plugins);
        }
    }

    /// Handles plugins that have changed now, or did so during a run that has ended.
    pub(super) fn plugins_changed(&mut self, name: &ApplicationName, plugins: &BTreeSet<String>) {
        for plugin in plugins {
            let app = self.apps.get_mut(name);
            if let Some(event) = app.and_then(|app| app.plugin_changed(plugin)) {
                self.step(name, event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use pintle_cluster::Application;
    use pintle_core::{
        application::ApplicationSpec,
        machine::{Outcome, Retry, RunId},
        readset::ReadSet,
        rendered::Rendered,
        seed::Seed,
    };
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::agent::job::Memory;

    fn memory(plugin: &str) -> Arc<Memory> {
        let rendered = Rendered::new(Vec::new(), None, Vec::new(), &Seed::from_text("s"));
        Arc::new(Memory {
            generation: 1,
            rendered: rendered.unwrap().pack(),
            reads: ReadSet::default(),
            account: None,
            fetched: Instant::now(),
            plugins: [plugin.to_owned()].into(),
            notifiers: Vec::new(),
            spec: ApplicationSpec::default(),
        })
    }

    /// Returns an application whose first run is in progress, and whose last render needed `manifests`.
    fn running() -> App {
        let metadata = json!({"namespace": "shop", "name": "web", "generation": 1});
        let application = Application::read(json!({"metadata": metadata}));
        let name = application.application_name();
        let mut app = App::new(&name, application, [None, None]);
        step(
            &mut app,
            Event::Spec {
                generation: 1,
                suspended: false,
            },
        );
        step(&mut app, Event::Revision("1".into()));
        app.run = Some((RunId(0), CancellationToken::new()));
        app.memory = Some(memory("manifests"));
        app
    }

    fn step(app: &mut App, event: Event) {
        app.machine = app.machine.clone().step(event).0;
    }

    fn end(app: &mut App, outcome: Outcome) {
        app.run = None;
        let run = RunId(0);
        let now = 1000;
        step(app, Event::Finished { run, outcome, now });
    }

    #[test]
    fn what_waits_for_a_change_may_have_asked_for_any_plugin() {
        let mut app = running();
        end(&mut app, Outcome::Failed(Retry::OnChange));
        assert_eq!(app.plugin_changed("helm"), Some(Event::Unblocked));
        assert!(app.memory.is_some());
        assert_eq!(app.plugin_changed("manifests"), Some(Event::PluginChanged));
        assert!(app.memory.is_none());
        // It is no longer known which plugins it uses.
        assert_eq!(app.plugin_changed("helm"), Some(Event::PluginChanged));
    }

    #[test]
    fn what_went_well_does_without_other_plugins() {
        let mut app = running();
        end(&mut app, Outcome::Done);
        assert_eq!(app.plugin_changed("helm"), None);
        assert!(app.pending_plugins.is_empty());
        assert_eq!(app.plugin_changed("manifests"), Some(Event::PluginChanged));
    }

    #[test]
    fn a_plugin_that_changes_during_a_run_is_looked_at_when_it_is_over() {
        let mut app = running();
        assert_eq!(app.plugin_changed("helm"), None);
        assert_eq!(app.pending_plugins, BTreeSet::from(["helm".to_owned()]));
        assert!(!app.is_render_void);
        // The run has rendered with the plugin as it was before.
        end(&mut app, Outcome::Done);
        app.memory = Some(memory("helm"));
        assert_eq!(app.plugin_changed("helm"), Some(Event::PluginChanged));
    }
}
