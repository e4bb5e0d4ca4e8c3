//! Messages to notifiers: delivered in the background, tried again while what they need does not answer.

use std::{sync::Arc, time::Duration};

use pintle_cluster::{Application, Weight};
use pintle_core::{application::NotifierUse, event::Event, plugin::Fault};
use pintle_host::Secrets;

use super::{secrets, shared::Shared};
use crate::{
    cli::output,
    pipeline::{catalog::CatalogError, render::check_settings},
};

/// How often one message is tried. With pauses from 2 seconds to 5 minutes that is about a quarter of an hour.
const ATTEMPTS: u32 = 10;

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
        tokio::spawn(async move {
            if let Err(error) = to_one(&shared, &application, &of_use, &event).await {
                let note = format!(
                    "notifier {} was not told `{}`: {}",
                    of_use.plugin,
                    event.message,
                    output::chain(&error)
                );
                tracing::warn!(application = %application.application_name(), note);
                shared
                    .events
                    .emit(
                        &application,
                        "Application",
                        Weight::Warning,
                        "NotificationFailed",
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
    let application = &resource.application_name();
    let catalog = shared.catalog.within(&application.namespace);
    let ready = catalog.find(&of_use.plugin).await?;
    let notifier = ready.plugin.notifier().map_err(CatalogError::from)?;
    let settings = ready.settings(&of_use.settings);
    check_settings(&ready.plugin, &settings).await?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let values = Arc::new(secret_values(shared, resource, of_use).await?);
        let Err(error) = notifier.notify(&settings, event, values).await else {
            return Ok(());
        };
        let Fault::Unavailable { retry_after, .. } = &error.fault else {
            return Err(error.into());
        };
        if attempt == ATTEMPTS {
            return Err(error.into());
        }
        let pause = pintle_core::machine::pause(&event.id, attempt);
        let pause = pause
            .max(retry_after.unwrap_or_default())
            .min(Duration::from_mins(10));
        tracing::debug!(%application, error = %output::chain(&error.into()), ?pause, "a notification is tried again");
        tokio::time::sleep(pause).await;
    }
}

async fn secret_values(
    shared: &Shared,
    resource: &Application,
    of_use: &NotifierUse,
) -> anyhow::Result<Secrets> {
    let mut values = Vec::new();
    if of_use.secrets.is_empty() {
        return Ok(Secrets::new(values));
    }
    let application = resource.application_name();
    let spec = resource.spec.as_ref().map_err(Clone::clone)?;
    let account = shared
        .accounts
        .of(&application, spec.service_account_name.as_deref())?;
    for (name, key) in &of_use.secrets {
        let value = secrets::read_key(
            &shared.home,
            &account,
            &application.namespace,
            &key.name,
            &key.key,
        )
        .await?;
        values.push((name.clone(), value));
    }
    Ok(Secrets::new(values))
}
