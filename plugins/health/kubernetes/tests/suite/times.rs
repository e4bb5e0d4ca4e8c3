//! A verdict that time alone changes says when to judge again.

use std::collections::BTreeSet;

use pintle_health_kubernetes::{Kubernetes, Settings};
use pintle_sdk::{Assessment, Health, Status};
use serde_json::Value;

use crate::{fixtures, variations};

/// More changes than any object has deadlines.
const MOST_CHANGES: usize = 8;

/// When a verdict that does not ask to be judged again is checked for changes: after a second, a minute, a day and a century,
/// in milliseconds.
const LATER: [u64; 4] = [1000, 60_000, 86_400_000, 100 * 365 * 86_400_000];

#[test]
fn a_verdict_that_time_alone_changes_says_when() {
    let mut changing = BTreeSet::new();
    for case in fixtures::load() {
        follow(&case.settings, &case.object, case.now_ms);
        // All times in the objects are after 1970, so every deadline is passed on the way.
        for object in std::iter::once(case.object.clone()).chain(variations::of(&case.object)) {
            if follow(&case.settings, &object, 0) > 0 {
                changing.insert(object["kind"].as_str().unwrap().to_owned());
            }
        }
    }
    for kind in ["Deployment", "HorizontalPodAutoscaler", "Pod", "Widget"] {
        assert!(
            changing.contains(kind),
            "no recorded {kind} has a deadline, so that nothing was shown of it"
        );
    }
}

/// Judges an object again whenever a verdict asks for it, and returns how often. Checks that the verdict stays until then and
/// changes then, and that one that does not ask stays forever.
fn follow(settings: &Settings, object: &Value, start_ms: u64) -> usize {
    let judge = |now_ms| Kubernetes::assess(settings, object, now_ms).unwrap();
    let mut now_ms = start_ms;
    for changes in 0..MOST_CHANGES {
        let verdict = judge(now_ms);
        let stays = |until_ms| {
            let later = judge(until_ms);
            assert_eq!(
                said(&later),
                said(&verdict),
                "{now_ms} to {until_ms}: {object}"
            );
        };
        let Some(after_ms) = verdict.recheck_after_ms else {
            for later in LATER {
                stays(now_ms + later);
            }
            return changes;
        };
        assert!(after_ms > 0, "to be judged again at once: {object}");
        stays(now_ms + after_ms / 2);
        stays(now_ms + after_ms - 1);
        now_ms += after_ms;
        let next = judge(now_ms);
        assert_ne!(said(&next), said(&verdict), "at {now_ms}: {object}");
    }
    panic!("is judged again and again: {object}");
}

fn said(assessment: &Assessment) -> (Status, &str) {
    (assessment.status, assessment.message.as_str())
}
