//! Exports notifiers.

use crate::notifier::Severity;
use crate::{Event, Notifier};

use super::http::HostHttp;
use super::wit::types;
use super::{Adapter, document};

wit_bindgen::generate!({
    path: ["../wit/types", "../wit/notifier"],
    inline: "
        package pintle:sdk-notifier;
        world notifies { export pintle:notifier/notifier@1.0.0; }
    ",
    with: { "pintle:types/types@1.0.0": crate::glue::wit::types },
    pub_export_macro: true,
});

use exports::pintle::notifier::notifier;

impl<T: Notifier> notifier::Guest for Adapter<T> {
    fn notify(settings: String, event: notifier::Event) -> Result<(), types::Failure> {
        let settings = super::settings::<T>(&settings)?;
        Ok(T::notify(&settings, &event.into(), &HostHttp)?)
    }
}

impl From<notifier::Event> for Event {
    fn from(event: notifier::Event) -> Self {
        let severity = match event.severity {
            notifier::Severity::Info => Severity::Info,
            notifier::Severity::Warn => Severity::Warn,
            notifier::Severity::Error => Severity::Error,
        };
        Self {
            id: event.id,
            reason: event.reason,
            severity,
            message: event.message,
            time_ms: event.time_ms,
            details: document(&event.details),
        }
    }
}
