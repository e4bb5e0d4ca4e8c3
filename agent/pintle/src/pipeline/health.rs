//! The health of objects: which plugin judges which kind.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pintle_core::{
    application::PluginUse,
    causes::chain,
    health::{Assessment, GroupKind, Status},
    object::ObjectId,
    plugin::{Fault, Limit, PluginId},
    seed::Seed,
};
use pintle_host::{Health, HealthRequest, Limits, Settings};
use serde_json::Value;

use super::{
    catalog::{Catalog, CatalogError},
    render::{RenderError, check_settings},
};

/// The plugin that judges what no other plugin judges.
const BUILT_IN: &str = "kubernetes";

/// The pause before a check that could not be asked is asked again. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause, whatever the check asks for: a longer one would spare nobody else.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a check may run out of time, without an answer in between, before it counts as one that always does.
const SLOW: u32 = 6;

struct Member {
    health: Health,
    settings: Settings,
    kinds: Vec<GroupKind>,
}

impl Member {
    /// Returns everything that its verdict depends on, apart from the object. The limits belong to that: a call that is cut short
    /// is a verdict, too.
    fn basis(&self) -> (&PluginId, &Limits, &Settings) {
        let plugin = self.health.plugin();
        (plugin.id(), plugin.limits(), &self.settings)
    }
}

/// How often in a row the checks of objects have failed. An object is listed from a failure until its check answers.
#[derive(Default)]
struct Failures(Mutex<BTreeMap<ObjectId, Row>>);

/// The number of failures in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    all: u32,
    /// The failures in which the check ran out of time. No other failure means that it is too slow.
    slow: u32,
}

impl Failures {
    /// Counts a failure, and returns the pause before the check is asked again, or `None` if another try is of no use.
    fn add(&self, id: &ObjectId, fault: &Fault) -> Option<Duration> {
        let mut failures = self.lock();
        let row = failures.entry(id.clone()).or_default();
        row.all = row.all.saturating_add(1);
        if matches!(fault, Fault::Limit(Limit::Time(_))) {
            row.slow = row.slow.saturating_add(1);
        }
        pause(fault, *row)
    }

    fn end(&self, id: &ObjectId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Row>> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the pause before a check that has failed this often in a row is asked again. That does not depend on a change to the
/// object: there may never be one.
fn pause(fault: &Fault, row: Row) -> Option<Duration> {
    let least = match fault {
        Fault::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
        // The machine may have been overloaded. A check that is always too slow would only add to that.
        Fault::Limit(Limit::Time(_)) if row.slow < SLOW => Duration::ZERO,
        _ => return None,
    };
    let own = FIRST_PAUSE.saturating_mul(1 << row.all.saturating_sub(1).min(16));
    Some(own.max(least).min(LONGEST_PAUSE))
}

/// The health checks of one application, in order: first those that it names, then the built-in one.
pub(crate) struct Judges {
    members: Vec<Member>,
    failures: Failures,
    seed: Seed,
}

impl Judges {
    /// Finds the health checks, and asks each which kinds it judges. The seed is used to conceal the contents of Secrets from
    /// them.
    pub(crate) async fn find(
        catalog: &Catalog,
        uses: &[PluginUse],
        seed: &Seed,
    ) -> Result<Self, RenderError> {
        let built_in = PluginUse {
            plugin: BUILT_IN.to_owned(),
            settings: Value::Null,
        };
        let named = uses.iter().any(|of_use| of_use.plugin == BUILT_IN);
        let mut members = Vec::new();
        for of_use in uses.iter().chain((!named).then_some(&built_in)) {
            let ready = catalog.find(&of_use.plugin).await?;
            let health = ready.plugin.health().map_err(CatalogError::from)?;
            let settings = ready.settings(&of_use.settings);
            check_settings(&ready.plugin, &settings).await?;
            let kinds = health.judges().await?;
            members.push(Member {
                health,
                settings,
                kinds,
            });
        }
        Ok(Self {
            members,
            failures: Failures::default(),
            seed: seed.clone(),
        })
    }

    /// Returns whether other checks come to the same verdict about every object.
    pub(crate) fn agree_with(&self, others: &Self) -> bool {
        let bases = self.members.iter().map(Member::basis);
        bases.eq(others.members.iter().map(Member::basis))
    }

    /// Judges an object by the check that names its kind most exactly. Among equals, the first one counts.
    ///
    /// If a check fails, the object is `unknown`, with the reason: a failed check is no reason to assume that the object is well.
    /// If the check may succeed later, the result says when to ask it again.
    pub(crate) async fn assess(&self, id: &ObjectId, object: &Value, now_ms: u64) -> Assessment {
        let exactness = |member: &&Member| {
            member
                .kinds
                .iter()
                .filter_map(|kind| kind.specificity(id))
                .max()
        };
        let mut best: Option<(u8, &Member)> = None;
        for member in &self.members {
            if let Some(exact) = exactness(&member)
                && best.is_none_or(|(before, _)| exact > before)
            {
                best = Some((exact, member));
            }
        }
        let Some((_, member)) = best else {
            return Assessment::new(Status::Unknown, "no health check judges this kind");
        };
        let request = HealthRequest {
            settings: &member.settings,
            id,
            object,
            seed: &self.seed,
            now_ms,
        };
        match member.health.assess(request).await {
            Ok(assessment) => {
                self.failures.end(id);
                assessment
            }
            Err(error) => {
                let recheck_after = self.failures.add(id, &error.fault);
                Assessment {
                    recheck_after,
                    ..Assessment::new(Status::Unknown, chain(&error))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            group: "example.com".into(),
            kind: "Widget".into(),
            namespace: Some("shop".into()),
            name: name.into(),
        }
    }

    fn unavailable(seconds: Option<u64>) -> Fault {
        Fault::Unavailable {
            reason: "too many instances of plugins are running".to_owned(),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    /// Returns the seconds of the pauses after each of a number of failures in a row.
    fn pauses(fault: &Fault, count: usize) -> Vec<Option<u64>> {
        let failures = Failures::default();
        let pause = |_| Some(failures.add(&id("a"), fault)?.as_secs());
        (0..count).map(pause).collect()
    }

    #[test]
    fn a_check_that_could_not_be_asked_is_asked_again_with_growing_pauses() {
        let expected = [1, 2, 4, 8, 16, 30, 30].map(Some);
        assert_eq!(pauses(&unavailable(None), 7), expected);
        assert_eq!(pauses(&unavailable(Some(3)), 3), [3, 3, 4].map(Some));
        assert_eq!(pauses(&unavailable(Some(3600)), 1), [Some(30)]);
        let longest = Row {
            all: u32::MAX,
            slow: 0,
        };
        assert_eq!(pause(&unavailable(None), longest), Some(LONGEST_PAUSE));
    }

    #[test]
    fn a_check_that_is_always_too_slow_is_asked_again_only_so_often() {
        let slow = Fault::Limit(Limit::Time(Duration::from_secs(5)));
        let mut expected = [1, 2, 4, 8, 16].map(Some).to_vec();
        expected.extend([None, None]);
        assert_eq!(pauses(&slow, 7), expected);
    }

    #[test]
    fn a_check_that_could_not_be_asked_is_not_taken_for_a_slow_one() {
        let failures = Failures::default();
        let busy = unavailable(None);
        let slow = Fault::Limit(Limit::Time(Duration::from_secs(5)));
        let seconds = |fault| failures.add(&id("a"), fault).map(|pause| pause.as_secs());
        let before = [&busy; 5].map(seconds);
        assert_eq!(before, [1, 2, 4, 8, 16].map(Some));
        assert_eq!([&slow; 5].map(seconds), [Some(30); 5]);
        assert_eq!(seconds(&busy), Some(30));
        assert_eq!(seconds(&slow), None, "it was too slow six times");
    }

    #[test]
    fn a_check_that_is_broken_is_not_asked_again_without_a_change() {
        let crash = Fault::Trap("unreachable".to_owned());
        let large = Fault::Limit(Limit::Memory(1));
        assert_eq!(pauses(&crash, 1), [None]);
        assert_eq!(pauses(&large, 1), [None]);
    }

    #[test]
    fn an_answer_ends_the_row_and_each_object_has_its_own() {
        let failures = Failures::default();
        let fault = unavailable(None);
        let seconds = |name| failures.add(&id(name), &fault).map(|pause| pause.as_secs());
        assert_eq!((seconds("a"), seconds("a")), (Some(1), Some(2)));
        assert_eq!(seconds("b"), Some(1));
        failures.end(&id("a"));
        assert_eq!((seconds("a"), seconds("b")), (Some(1), Some(2)));
    }
}
