//! Which events a notifier delivers.

use pintle_sdk::Event;
use pintle_sdk::glob::Glob;
use pintle_sdk::notifier::Severity;

/// Returns whether an event should be delivered: it is severe enough, and its reason matches one of the patterns or there
/// are no patterns.
pub fn wants(event: &Event, reasons: &[Glob], min_severity: Severity) -> bool {
    let named = reasons.is_empty() || reasons.iter().any(|pattern| pattern.matches(&event.reason));
    named && event.severity >= min_severity
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &str, severity: Severity) -> Event {
        Event {
            id: "1".into(),
            reason: reason.into(),
            severity,
            message: "x".into(),
            time_ms: 0,
            details: pintle_sdk::Json::Null,
        }
    }

    #[test]
    fn an_event_passes_both_filters() {
        let reasons = ["*-failed", "degraded"].map(|pattern| Glob::parse(pattern).unwrap());
        assert!(wants(
            &event("degraded", Severity::Error),
            &reasons,
            Severity::Warn
        ));
        assert!(wants(
            &event("render-failed", Severity::Warn),
            &reasons,
            Severity::Warn
        ));
        assert!(!wants(
            &event("degraded", Severity::Info),
            &reasons,
            Severity::Warn
        ));
        assert!(!wants(
            &event("converged", Severity::Error),
            &reasons,
            Severity::Warn
        ));
        assert!(wants(
            &event("converged", Severity::Info),
            &[],
            Severity::Info
        ));
    }
}
