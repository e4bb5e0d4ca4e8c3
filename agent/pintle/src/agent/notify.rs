//! Messages to notifiers. They are delivered in the background, and retried while a service that they need does not answer.

mod lanes;

use std::{sync::Arc, time::Duration};

use pintle_cluster::{About, Application, Unreadable, Weight};
use pintle_core::{
    application::NotifierUse,
    causes::chain,
    event::Event,
    machine,
    names::ApplicationName,
    plugin::{Fault, PluginError},
};
use pintle_host::{Secrets, SecretsError};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::lanes::{LaneName, Lanes, Next};
use super::{
    reasons,
    secrets::{self, SecretError},
    shared::Shared,
};
use crate::pipeline::{
    catalog::CatalogError,
    render::{RenderError, check_settings},
};

/// How often one message is tried. With pauses from 2 seconds to 5 minutes, that takes about a quarter of an hour.
const ATTEMPTS: u32 = 10;

/// The longest pause, whatever the recipient asks for.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// The time that deliveries in progress still get when the agent stops. After it, the Events about unfinished deliveries get
/// [`LAST_EVENTS`].
const LAST_DELIVERIES: Duration = Duration::from_secs(2);
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// The deliveries in progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deliveries {
    tasks: TaskTracker,
    stop: CancellationToken,
    lanes: Arc<Lanes<Letter>>,
}

/// One event for one notifier.
#[derive(Debug)]
struct Letter {
    subject: Arc<Subject>,
    of_use: NotifierUse,
    event: Arc<Event>,
}

/// The parts of an Application that a delivery needs. A message may wait for hours, and would otherwise keep the status with its
/// inventory in memory.
#[derive(Debug)]
struct Subject {
    application: ApplicationName,
    about: About,
    service_account: Result<Option<String>, Unreadable>,
}

impl Subject {
    fn of(application: &Application) -> Self {
        let spec = application.spec.as_ref();
        let account = spec.map(|spec| spec.service_account_name.clone());
        Self {
            application: application.application_name(),
            about: About::of(application),
            service_account: account.map_err(Clone::clone),
        }
    }
}

impl Deliveries {
    /// Ends the deliveries when the agent stops, and reports the messages that were not delivered: what a status already says is
    /// not sent again by anyone.
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

/// Why one attempt has reached nobody.
#[derive(Debug)]
struct Missed {
    error: anyhow::Error,
    /// The minimum wait before the next attempt, or `None` if that would have the same result.
    again: Option<Duration>,
}

/// Starts the delivery of one event to each notifier. A notifier that fails is reported in an Event and does not stop anything
/// else.
pub(crate) fn deliver(
    shared: &Arc<Shared>,
    application: &Application,
    notifiers: &[NotifierUse],
    event: &Event,
) {
    if notifiers.is_empty() {
        return;
    }
    let (subject, event) = (Arc::new(Subject::of(application)), Arc::new(event.clone()));
    let event_bytes = event.message.len() + event.details.to_string().len();
    let Deliveries { tasks, lanes, .. } = &shared.deliveries;
    for (position, of_use) in notifiers.iter().enumerate() {
        let name = LaneName {
            namespace: subject.application.namespace.clone(),
            application: subject.application.name.clone(),
            position,
        };
        let letter = Letter {
            subject: Arc::clone(&subject),
            of_use: of_use.clone(),
            event: Arc::clone(&event),
        };
        let bytes = event_bytes + of_use.settings.to_string().len();
        if let Some(turns) = lanes.post(&name, letter, bytes) {
            let lane = Lane {
                shared: Arc::clone(shared),
                name,
                turns,
                subject: Arc::clone(&subject),
                plugin: of_use.plugin.clone(),
            };
            tasks.spawn(async move { lane.work().await });
        }
    }
}

/// The worker for one notifier of an application.
struct Lane {
    shared: Arc<Shared>,
    name: LaneName,
    /// The turns of the tenant.
    turns: Arc<Semaphore>,
    /// The subject of reports about letters that are no longer there.
    subject: Arc<Subject>,
    plugin: String,
}

impl Lane {
    /// Tries what is in the lane until it is empty or the agent stops.
    async fn work(&self) {
        let Deliveries { stop, lanes, .. } = &self.shared.deliveries;
        tokio::select! {
            () = self.tell_all() => return,
            () = stop.cancelled() => {}
        }
        let left = lanes.close(&self.name);
        let more = left.lost + left.letters.len().saturating_sub(1);
        let what = match left.letters.first() {
            Some(letter) if more == 0 => format!("`{}`", letter.event.message),
            Some(letter) => format!("`{}`, and {more} more", letter.event.message),
            None if more == 0 => return,
            None => format!("{more} messages"),
        };
        self.failed(&self.subject, &what, "the agent was stopped before")
            .await;
    }

    async fn tell_all(&self) {
        let lanes = &self.shared.deliveries.lanes;
        while let Some(next) = lanes.next(&self.name).await {
            match next {
                Next::Try {
                    number,
                    tried,
                    letter,
                } => self.tell(number, tried, &letter).await,
                Next::Lost(letters) => {
                    let what = format!("{letters} messages");
                    self.failed(
                        &self.subject,
                        &what,
                        "more messages of this namespace wait than are kept",
                    )
                    .await;
                }
            }
        }
    }

    async fn tell(&self, number: u64, tried: u32, letter: &Letter) {
        let lanes = &self.shared.deliveries.lanes;
        let turn = self.turns.acquire().await;
        let turn = turn.expect("the semaphore is never closed");
        let attempted = attempt(&self.shared, letter).await;
        drop(turn);
        let pause = match attempted {
            Ok(()) => None,
            Err(missed) => {
                let pause = missed.pause(&letter.event, tried);
                let why = chain(&*missed.error);
                if pause.is_some() {
                    let application = &letter.subject.application;
                    tracing::debug!(%application, error = %why, ?pause, "a notification is tried again");
                } else {
                    let what = format!("`{}`", letter.event.message);
                    self.failed(&letter.subject, &what, &why).await;
                }
                pause
            }
        };
        match pause {
            Some(pause) => lanes.again(&self.name, number, Instant::now() + pause),
            None => lanes.done(&self.name, number),
        }
    }

    /// Reports that the notifier could not be reached.
    async fn failed(&self, subject: &Subject, what: &str, why: &str) {
        let note = format!("notifier {} was not told {what}: {why}", self.plugin);
        tracing::warn!(application = %subject.application, note);
        self.shared
            .events
            .emit_about(
                &subject.about,
                "Application",
                Weight::Warning,
                reasons::NOTIFICATION_FAILED,
                "Notify",
                &note,
            )
            .await;
    }
}

/// Tries to reach a notifier once. Each attempt looks everything up again: what prevented one attempt may be gone at the next.
async fn attempt(shared: &Shared, letter: &Letter) -> Result<(), Missed> {
    let Letter {
        subject,
        of_use,
        event,
    } = letter;
    let catalog = shared.catalog.within(&subject.application.namespace);
    let ready = catalog.find(&of_use.plugin).await?;
    let notifier = ready.plugin.notifier().map_err(CatalogError::from)?;
    let settings = ready.settings(&of_use.settings);
    check_settings(&ready.plugin, &settings).await?;
    let values = Arc::new(secret_values(shared, subject, of_use).await?);
    notifier.notify(&settings, event, values).await?;
    Ok(())
}

async fn secret_values(
    shared: &Shared,
    subject: &Subject,
    of_use: &NotifierUse,
) -> Result<Secrets, Missed> {
    let mut values = Secrets::default();
    if of_use.secrets.is_empty() {
        return Ok(values);
    }
    let application = &subject.application;
    let named = subject.service_account.as_ref();
    let named = named.map_err(|error| Missed::lasting(error.clone()))?;
    let account = shared
        .accounts
        .of(application, named.as_deref())
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
    /// Creates the result for an error that has to be fixed before anybody can be reached.
    fn lasting(error: impl Into<anyhow::Error>) -> Self {
        Self {
            error: error.into(),
            again: None,
        }
    }

    /// Returns the pause before the next attempt, after `tried` attempts, or `None` if there is no next one.
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
            // A run would start again once the plugin is loaded, but a message would be lost.
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
