//! How long the agent waits until a time, or before it asks a git host, registry or chart repository again that has failed.

use std::time::Duration;

use pintle_registry::{ChartError, RegistryError};
use pintle_source::SourceError;
use tokio::time::Instant;

/// The longest pause that others may ask for: a date that is a year away is more likely a mistake than intended.
const LONGEST_WISH: Duration = Duration::from_hours(1);

/// Returns the pause: our own, or the requested one if that is longer.
pub(crate) fn with_wish(own: Duration, wish: Option<Duration>) -> Duration {
    own.max(wish.unwrap_or_default().min(LONGEST_WISH))
}

/// Returns the pause that the failed host asked for, if any.
pub(crate) fn wish(error: &anyhow::Error) -> Option<Duration> {
    error.chain().find_map(|cause| {
        let of_chart = || cause.downcast_ref::<ChartError>()?.retry_after();
        let of_registry = || cause.downcast_ref::<RegistryError>()?.retry_after();
        let of_git = || cause.downcast_ref::<SourceError>()?.retry_after();
        of_chart().or_else(of_registry).or_else(of_git)
    })
}

/// Waits until a time, or for ever if there is none.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use pintle_registry::{Cause, Stage};

    use super::*;

    #[test]
    fn a_wish_makes_a_pause_longer_within_reason() {
        let minutes = Duration::from_mins;
        assert_eq!(with_wish(minutes(5), None), minutes(5));
        assert_eq!(with_wish(minutes(5), Some(minutes(1))), minutes(5));
        assert_eq!(with_wish(minutes(5), Some(minutes(20))), minutes(20));
        assert_eq!(with_wish(minutes(5), Some(Duration::MAX)), LONGEST_WISH);
        assert_eq!(with_wish(minutes(90), Some(Duration::MAX)), minutes(90));
    }

    #[test]
    fn a_wish_is_found_among_the_causes() {
        let second = Duration::from_secs(1);
        let error = |retry_after| RegistryError {
            reference: "registry.example.com/x:1".parse().unwrap(),
            stage: Stage::Resolve,
            cause: Cause::RateLimited {
                host: "registry.example.com".to_owned(),
                retry_after,
                message: None,
            },
        };
        let plugin = anyhow::Error::new(error(Some(second)));
        assert_eq!(wish(&plugin), Some(second));
        let chart = Err::<(), _>(ChartError::from(error(Some(second))));
        let chart = chart.context("Secret a/b").unwrap_err();
        assert_eq!(wish(&chart), Some(second));
        let repository = Err::<(), _>(SourceError::Unavailable {
            url: "https://git.example.com/x".to_owned(),
            reason: "HTTP status 429 Too Many Requests".to_owned(),
            retry_after: Some(second),
        });
        let repository = repository.context("Secret a/b").unwrap_err();
        assert_eq!(wish(&repository), Some(second));
        assert_eq!(wish(&anyhow::Error::new(error(None))), None);
        assert_eq!(wish(&anyhow::anyhow!("no route")), None);
    }
}
