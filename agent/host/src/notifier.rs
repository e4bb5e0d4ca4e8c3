//! Notifiers: plugins that deliver events to somebody.

pub(crate) mod bindings;

use std::{fmt, sync::Arc};

use pintle_core::{
    event::{Event, EventSeverity},
    plugin::{PluginError, PluginId, Stage},
};

use self::bindings::{NotifiesPre, notifier};
use crate::{
    Plugin, Secrets, call::Setup, capability::http::HttpAccess, settings::Settings, state::State,
    wire,
};

/// A notifier. Cheap to clone.
#[derive(Clone)]
pub struct Notifier {
    plugin: Plugin,
    pre: NotifiesPre<State>,
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notifier").field(self.plugin.id()).finish()
    }
}

impl Notifier {
    pub(crate) fn new(plugin: Plugin, pre: NotifiesPre<State>) -> Self {
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

    /// Delivers one event. After [`Fault::Unavailable`](pintle_core::plugin::Fault::Unavailable), call again with the same event;
    /// after other faults, do not.
    ///
    /// `secrets` are put into requests on their way out. The plugin never holds them.
    pub async fn notify(
        &self,
        settings: &Settings,
        event: &Event,
        secrets: Arc<Secrets>,
    ) -> Result<(), PluginError> {
        let caller = self.plugin.caller();
        let setup = Setup {
            http: Some(HttpAccess {
                clients: caller.shared.http.clone(),
                grants: Arc::clone(&caller.grants),
                secrets,
            }),
            ..Setup::default()
        };
        let (pre, settings, event) = (self.pre.clone(), settings.clone(), wire_event(event));
        let finish = |outcome: Result<(), _>, _| outcome.map_err(wire::from_failure);
        caller
            .run(
                Stage::Notify,
                setup,
                move |store| {
                    Box::pin(async move {
                        let instance = pre.instantiate_async(&mut *store).await?;
                        let notifier = instance.pintle_notifier_notifier();
                        notifier
                            .call_notify(&mut *store, settings.json(), &event)
                            .await
                    })
                },
                finish,
            )
            .await
    }
}

fn wire_event(event: &Event) -> notifier::Event {
    notifier::Event {
        id: event.id.clone(),
        reason: event.reason.name().to_owned(),
        severity: match event.severity {
            EventSeverity::Info => notifier::Severity::Info,
            EventSeverity::Warn => notifier::Severity::Warn,
            EventSeverity::Error => notifier::Severity::Error,
        },
        message: event.message.clone(),
        time_ms: event.time_ms,
        details: event.details.to_string(),
    }
}
