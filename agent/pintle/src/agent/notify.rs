//! Messages to notifiers: delivered in the background, tried again while what they need does not answer.

use std::{sync::Arc, time::Duration};

use pintle_cluster::{Application, Weight};
use pintle_core::{
    application::NotifierUse,
    causes::chain,
    event::Event,
    machine,
    plugin::{Fault, PluginError},
};
use pintle_host::{Secrets, SecretsError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    reasons,
    secrets::{self, SecretError},
    shared::Shared,
};
use crate::pipeline::{
    catalog::CatalogError,
    render::{RenderError, check_settings},
};

/// How often one message is tried. With pauses from 2 seconds to 5 minutes that is about a quarter of an hour.
const ATTEMPTS: u32 = 10;

/// The longest pause, whatever the one who is to be told asks for.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// How long deliveries that are under way may still take when the agent stops, and then the Events that tell of those that
/// did not end.
const LAST_DELIVERIES: Duration = Duration::from_secs(2);
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// The deliveries that are under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deliveries {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Deliveries {
    /// Ends them when the agent stops. What was not delivered is told: what a status says already, nobody sends again.
    pub(crate) async fn end(&self) {
        self.tasks.close();
        if tokio::time::timeout(LAST_DELIVERIES, self.tasks.wait())
            .await
            .is_err()
        {
            self.stop.cancel();
            let _ = tokio::time::timeout(LAST_EVENTS, self.tasks.wait()).await;
        }
    }
}

/// Why one attempt has told nobody.
#[derive(Debug)]
struct Missed {
    error: anyhow::Error,
    /// How long to wait at least before it is tried again; nothing if that would come to the same.
    again: Option<Duration>,
}

/// Starts the delivery of one event to each notifier. A notifier that fails is told in an Event and stops nothing else.
pub(crate) fn deliver(
    shared: &Arc<Shared>,
    application: &Application,
    notifiers: &[NotifierUse],
    event: &Event,
) {
    for of_use in notifiers {
        let (shared, application) = (Arc::clone(shared), application.clone());
        let (of_use, event) = (of_use.clone(), event.clone());
        let Deliveries { tasks, stop } = shared.deliveries.clone();
        tasks.spawn(async move {
            let delivered = tokio::select! {
                delivered = to_one(&shared, &application, &of_use, &event) => delivered,
                () = stop.cancelled() => Err(anyhow::anyhow!("the agent was stopped before")),
            };
            if let Err(error) = delivered {
                let note = format!(
                    "notifier {} was not told `{}`: {}",
                    of_use.plugin,
                    event.message,
                    chain(&*error)
                );
                tracing::warn!(application = %application.application_name(), note);
                shared
                    .events
                    .emit(
                        &application,
                        "Application",
                        Weight::Warning,
                        reasons::NOTIFICATION_FAILED,
                        "Notify",
                        &note,
                    )
                    .await;
            }
        });
    }
}

async fn to_one(
    shared: &Shared,
    resource: &Application,
    of_use: &NotifierUse,
    event: &Event,
) -> anyhow::Result<()> {
    let application = resource.application_name();
    let mut tried = 0;
    loop {
        tried += 1;
        let Err(missed) = attempt(shared, resource, of_use, event).await else {
            return Ok(());
        };
        let Some(pause) = missed.pause(event, tried) else {
            return Err(missed.error);
        };
        tracing::debug!(%application, error = %chain(&*missed.error), ?pause, "a notification is tried again");
        tokio::time::sleep(pause).await;
    }
}

/// Tries to tell a notifier once. Each attempt finds everything anew: what was in the way of one may be gone at the next.
async fn attempt(
    shared: &Shared,
    resource: &Application,
    of_use: &NotifierUse,
    event: &Event,
) -> Result<(), Missed> {
    let application = resource.application_name();
    let catalog = shared.catalog.within(&application.namespace);
    let ready = catalog.find(&of_use.plugin).await?;
    let notifier = ready.plugin.notifier().map_err(CatalogError::from)?;
    let settings = ready.settings(&of_use.settings);
    check_settings(&ready.plugin, &settings).await?;
    let values = Arc::new(secret_values(shared, resource, of_use).await?);
    notifier.notify(&settings, event, values).await?;
    Ok(())
}

async fn secret_values(
    shared: &Shared,
    resource: &Application,
    of_use: &NotifierUse,
) -> Result<Secrets, Missed> {
    let mut values = Secrets::default();
    if of_use.secrets.is_empty() {
        return Ok(values);
    }
    let application = resource.application_name();
    let spec = resource.spec.as_ref();
    let spec = spec.map_err(|error| Missed::lasting(error.clone()))?;
    let account = shared
        .accounts
        .of(&application, spec.service_account_name.as_deref())
        .map_err(Missed::lasting)?;
    for (name, key) in &of_use.secrets {
        let value = secrets::read_key(
            &shared.home,
            &account,
            &application.namespace,
            &key.name,
            &key.key,
        )
        .await?;
        values.add(name.clone(), value)?;
    }
    Ok(values)
}

impl Missed {
    /// What has to be mended before anybody is told.
    fn lasting(error: impl Into<anyhow::Error>) -> Self {
        Self {
            error: error.into(),
            again: None,
        }
    }

    /// Returns the pause before the next attempt, after so many; nothing if there is none.
    fn pause(&self, event: &Event, tried: u32) -> Option<Duration> {
        let least = self.again.filter(|_| tried < ATTEMPTS)?;
        let pause = machine::pause(&event.id, tried);
        Some(pause.max(least).min(LONGEST_PAUSE))
    }
}

impl From<PluginError> for Missed {
    fn from(error: PluginError) -> Self {
        let again = match &error.fault {
            Fault::Unavailable { retry_after, .. } => Some(retry_after.unwrap_or_default()),
            _ => None,
        };
        Self {
            error: error.into(),
            again,
        }
    }
}

impl From<RenderError> for Missed {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Plugin(error) => error.into(),
            error => Self {
                again: error.is_retryable().then_some(Duration::ZERO),
                error: error.into(),
            },
        }
    }
}

impl From<CatalogError> for Missed {
    fn from(error: CatalogError) -> Self {
        match error {
            // A run would begin anew when it is loaded; a message would be lost.
            CatalogError::Broken {
                is_retried: true, ..
            } => Self {
                error: error.into(),
                again: Some(Duration::ZERO),
            },
            error => RenderError::Catalog(error).into(),
        }
    }
}

impl From<SecretError> for Missed {
    fn from(error: SecretError) -> Self {
        Self {
            again: error.is_retryable().then_some(Duration::ZERO),
            error: error.into(),
        }
    }
}

impl From<SecretsError> for Missed {
    fn from(error: SecretsError) -> Self {
        Self::lasting(error)
    }
}

#[cfg(test)]
mod tests {
    use pintle_cluster::{ConnectError, RequestError};
    use pintle_core::{
        digest::Digest,
        event::Reason,
        plugin::{Kind, PluginId, Stage},
        readset::ReadSet,
    };
    use pintle_host::LoadError;
    use serde_json::json;

    use super::{super::secrets::Unread, *};

    fn failed(stage: Stage, fault: Fault) -> PluginError {
        PluginError {
            plugin: Box::new(PluginId {
                name: "slack".to_owned(),
                digest: Digest::of(""),
                kind: Kind::Notifier,
            }),
            stage,
            fault,
            looked_up: ReadSet::default(),
        }
    }

    fn unreadable(reason: Unread) -> SecretError {
        SecretError::Unreadable {
            namespace: "shop".to_owned(),
            name: "chat".to_owned(),
            by: String::new(),
            reason: Box::new(reason),
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_at_whichever_stage_it_is_in_the_way() {
        let away = |retry_after| Fault::Unavailable {
            reason: "too many instances of plugins are running".to_owned(),
            retry_after,
        };
        let (soon, later) = (Some(Duration::ZERO), Some(Duration::from_secs(7)));
        let load = CatalogError::Load(LoadError::Describe(failed(Stage::Describe, away(None))));
        assert_eq!(Missed::from(load).again, soon);
        let pulled = CatalogError::Broken {
            name: "slack".to_owned(),
            reason: "the registry does not answer".to_owned(),
            is_retried: true,
        };
        assert_eq!(Missed::from(pulled).again, soon);
        let settings = RenderError::Plugin(failed(Stage::Validate, away(later)));
        assert_eq!(Missed::from(settings).again, later);
        let secret = unreadable(Unread::Request(RequestError::Timeout {
            request: "GET /api/v1/namespaces/shop/secrets/chat".to_owned(),
            limit: Duration::from_secs(1),
        }));
        assert_eq!(Missed::from(secret).again, soon);
        assert_eq!(Missed::from(failed(Stage::Notify, away(None))).again, soon);
        assert_eq!(
            Missed::from(failed(Stage::Notify, away(later))).again,
            later
        );
    }

    #[test]
    fn what_has_to_be_mended_is_told_at_once() {
        let (namespace, name) = ("shop".to_owned(), "chat".to_owned());
        let all: [Missed; 8] = [
            CatalogError::Broken {
                name: "slack".to_owned(),
                reason: "its spec cannot be read".to_owned(),
                is_retried: false,
            }
            .into(),
            CatalogError::NotHere {
                name: "slack".to_owned(),
                namespace: namespace.clone(),
            }
            .into(),
            RenderError::Settings {
                plugin: "notifier `slack`".to_owned(),
                problems: Vec::new(),
            }
            .into(),
            SecretError::Key {
                namespace: namespace.clone(),
                name: name.clone(),
                key: "url".to_owned(),
                found: Vec::new(),
            }
            .into(),
            SecretError::Missing { namespace, name }.into(),
            SecretsError::TooMany.into(),
            unreadable(Unread::Connect(ConnectError::Client {
                detail: "it is no name of an account".to_owned(),
            }))
            .into(),
            failed(Stage::Notify, Fault::Trap("unreachable".to_owned())).into(),
        ];
        for missed in all {
            assert_eq!(missed.again, None, "{}", missed.error);
        }
    }

    #[test]
    fn a_message_is_tried_so_often_and_not_sooner_than_is_asked_for() {
        let event = Event::new(Reason::Converged, "1 is converged", 0, json!({}));
        let pause = |again, tried| {
            let error = anyhow::anyhow!("the chat does not answer");
            Missed { error, again }.pause(&event, tried)
        };
        let after = |minutes| Some(Duration::from_mins(minutes));
        let usual = Some(machine::pause(&event.id, 1));
        assert_eq!(pause(Some(Duration::ZERO), 1), usual);
        assert_eq!(pause(after(3), 1), after(3));
        assert_eq!(pause(after(60), 1), after(10));
        assert!(pause(Some(Duration::ZERO), ATTEMPTS - 1).is_some());
        assert_eq!(pause(Some(Duration::ZERO), ATTEMPTS), None);
        assert_eq!(pause(None, 1), None);
    }
}
