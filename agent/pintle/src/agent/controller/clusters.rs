//! Events in the clusters that applications deploy to.

use std::sync::Arc;

use pintle_core::{machine::Event, names::ApplicationName};

use super::Controller;
use crate::agent::{moves::Moved, shared::Shared, targets::TargetKey};

impl Controller {
    /// Follows the cluster that the spec names now.
    pub(super) fn follow_cluster(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.get(name) else {
            return;
        };
        // A spec that cannot be read does not say where the objects are.
        let Ok(spec) = &app.application.spec else {
            return;
        };
        let named = spec.service_account_name.as_deref();
        let account = self.shared.accounts.of(name, named);
        let has_moved = self.targets.follow(name, spec.cluster.as_ref(), account);
        if has_moved && let Some(app) = self.apps.get_mut(name) {
            // Nothing is known yet about the health of its objects in the new cluster.
            app.healthy = None;
        }
    }

    /// Takes up a connection, or the reason why there is none.
    pub(super) fn connected(&mut self, key: &TargetKey, shared: Arc<Shared>) {
        let (names, is_first) = self.targets.connected(key, shared);
        for name in names {
            // Lookups that went through the previous connection are followed again once the application has rendered through
            // this one.
            self.lookups.forget(&name);
            if is_first {
                self.tell_revision(&name);
            }
            // Applications that could not begin before begin now. Those that have begun with the first connection need not begin
            // again.
            let app = self.apps.get(&name);
            if !is_first || app.is_some_and(|app| app.run.is_none()) {
                self.step(&name, Event::PluginChanged);
            }
        }
    }

    /// Checks the applications whose objects in a cluster may have changed.
    pub(super) fn moved(&mut self, key: &TargetKey, moved: Moved) {
        let names = match moved {
            Moved::Of(names) => names,
            Moved::OfAny => self.targets.users(key).into_iter().collect(),
        };
        for name in names {
            self.look_for_drift(&name);
        }
    }

    /// Renders the applications again that asked a cluster which kinds it serves, because it now serves others.
    pub(super) fn served(&mut self, key: Option<&TargetKey>) {
        let names: Vec<ApplicationName> = if let Some(key) = key {
            self.targets.users(key)
        } else {
            let at_home = self
                .apps
                .keys()
                .filter(|name| self.targets.is_at_home(name));
            at_home.cloned().collect()
        };
        for name in names {
            let Some(app) = self.apps.get_mut(&name) else {
                continue;
            };
            if app.run.is_some() {
                app.pending_kinds = true;
            } else if app.asks_for_kinds() {
                self.render_again(&name);
            }
        }
    }
}
