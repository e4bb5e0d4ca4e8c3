//! How long manual edits last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::arena::Arena;
use super::course::LOOK;
use super::observer::Observer;
use crate::bench::applications::{CONTAINER, Names};
use crate::bench::measure::Subject;
use crate::terminal;

/// The number of edits, each in another application.
const EDITS: usize = 100;
/// The time between two edits, so that they are single edits and not one big change.
const PACE: Duration = Duration::from_millis(100);
/// The time limit for all repairs after the last edit. Flux gets to each application once in a round over all of them.
const LIMIT: Duration = Duration::from_mins(20);
/// The time limit for the watch to show the Deployments.
const SIGHT: Duration = Duration::from_secs(30);
/// The image that a manual edit sets.
const EDITED: &str = "registry.k8s.io/pause:edited";

/// The results for all edits.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Drift {
    pub(super) edits: usize,
    /// The number of edits that were undone before the measurement was given up.
    pub(super) repaired: usize,
    /// The latencies by rank. Absent if the edit of that rank was not repaired.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) longest_ms: Option<f64>,
}

impl Drift {
    /// Ranks latencies. Edits without one count as lasting forever.
    fn of(edits: usize, mut latencies: Vec<Duration>) -> Self {
        latencies.sort();
        let rank = |percent: usize| {
            let index = (edits * percent).div_ceil(100).saturating_sub(1);
            let latency = latencies.get(index)?;
            Some((latency.as_secs_f64() * 10_000.0).round() / 10.0)
        };
        Self {
            edits,
            repaired: latencies.len(),
            p50_ms: rank(50),
            p99_ms: rank(99),
            longest_ms: rank(100),
        }
    }
}

/// Edits the image of Deployments, one after the other, and watches until each is as it was.
///
/// A latency is the time between two events of the same watch. It includes no delay of the edit itself, and it includes the
/// repair up to the moment when everybody can see it.
pub(super) fn measure(
    arena: &Arena,
    subject: Subject<'_>,
    names: Names,
    image: &str,
) -> Result<Drift> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
    let chosen: Vec<String> = names.all().take(EDITS).collect();
    let observer = arena.observe(&resource, image_of);
    await_sight(&observer, subject, &chosen, image)?;
    let api = arena.api(&resource);
    let hands = chosen.clone();
    let edits = arena.runtime().spawn(async move {
        // The patch is what `kubectl edit` sends.
        let containers = json!([{"name": CONTAINER, "image": EDITED}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let patch = Patch::Strategic(patch);
        let params = PatchParams::default();
        for name in hands {
            api.patch(&name, &params, &patch)
                .await
                .with_context(|| format!("edit the Deployment {name}"))?;
            tokio::time::sleep(PACE).await;
        }
        anyhow::Ok(())
    });

    let mut edited = BTreeMap::new();
    let mut latencies = BTreeMap::new();
    let end = Instant::now() + PACE * u32::try_from(EDITS)? + LIMIT;
    while latencies.len() < chosen.len() && Instant::now() < end {
        let Some(sight) = observer.next(LOOK)? else {
            subject.check_running()?;
            if edits.is_finished() && edited.len() < chosen.len() {
                // Either all edits were made and their events will come soon, or one of them failed.
                break;
            }
            continue;
        };
        match sight.state.as_deref() {
            Some(EDITED) => {
                edited.entry(sight.name).or_insert(sight.at);
            }
            Some(other) if other == image => {
                if let Some(since) = edited.get(&sight.name) {
                    let latency = sight.at.saturating_duration_since(*since);
                    latencies.entry(sight.name).or_insert(latency);
                }
            }
            _ => {}
        }
    }
    arena
        .runtime()
        .block_on(edits)
        .context("the edits were made")??;
    let drift = Drift::of(chosen.len(), latencies.into_values().collect());
    if drift.repaired < drift.edits {
        terminal::line(&format!(
            "note: {} of {} edits were not repaired after {LIMIT:?}",
            drift.edits - drift.repaired,
            drift.edits
        ));
    }
    Ok(drift)
}

/// Waits until the watch has shown each Deployment as it is in git: an earlier edit could be undone unseen.
fn await_sight(
    observer: &Observer<Option<String>>,
    subject: Subject<'_>,
    chosen: &[String],
    image: &str,
) -> Result<()> {
    let mut unseen: BTreeSet<&str> = chosen.iter().map(String::as_str).collect();
    let end = Instant::now() + SIGHT;
    while !unseen.is_empty() {
        ensure!(
            Instant::now() < end,
            "{} Deployments were not seen with the image {image} after {SIGHT:?}",
            unseen.len()
        );
        match observer.next(LOOK)? {
            Some(sight) if sight.state.as_deref() == Some(image) => {
                unseen.remove(sight.name.as_str());
            }
            Some(_) => {}
            None => subject.check_running()?,
        }
    }
    Ok(())
}

fn image_of(object: &DynamicObject) -> Option<String> {
    let image = object
        .data
        .pointer("/spec/template/spec/containers/0/image");
    image?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(all: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        all.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_percentile_is_one_of_the_latencies() {
        let drift = Drift::of(100, milliseconds((1..=100).rev()));
        let ranks = (drift.p50_ms, drift.p99_ms, drift.longest_ms);
        assert_eq!(ranks, (Some(50.0), Some(99.0), Some(100.0)));
    }

    #[test]
    fn an_edit_that_stays_is_the_slowest() {
        let drift = Drift::of(4, milliseconds([3, 1]));
        assert_eq!((drift.edits, drift.repaired), (4, 2));
        let ranks = (drift.p50_ms, drift.p99_ms, drift.longest_ms);
        assert_eq!(ranks, (Some(3.0), None, None));
    }
}
