//! The results of tests.

use std::sync::{Mutex, PoisonError};

use pintle_cluster::{Progress, Step};
use pintle_core::application::TestResult;

/// Collects the results of a run's tests, and passes each step on.
pub(crate) struct TestResults<'a> {
    told: &'a dyn Progress,
    all: Mutex<Vec<TestResult>>,
}

impl<'a> TestResults<'a> {
    /// Starts without results. Each step is also passed to `told`.
    pub(crate) fn telling(told: &'a dyn Progress) -> Self {
        Self {
            told,
            all: Mutex::default(),
        }
    }

    /// Returns the results of the tests that have ended, in that order.
    pub(crate) fn into_all(self) -> Vec<TestResult> {
        self.all
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for TestResults<'_> {
    fn step(&self, step: Step<'_>) {
        if let Step::HookEnded { id, failure, .. } = step {
            let result = TestResult {
                object: id.to_string(),
                passed: failure.is_none(),
                message: failure.map(ToOwned::to_owned),
            };
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(result);
        }
        self.told.step(step);
    }

    fn wants_logs(&self) -> bool {
        self.told.wants_logs()
    }
}

#[cfg(test)]
mod tests {
    use pintle_cluster::Silent;
    use pintle_core::{hook::HookEvent, object::ObjectId};

    use super::*;

    #[test]
    fn each_test_that_has_ended_is_remembered_with_why_it_failed() {
        let results = TestResults::telling(&Silent);
        let id = |name: &str| ObjectId {
            group: String::new(),
            kind: "Pod".into(),
            namespace: Some("shop".into()),
            name: name.into(),
        };
        for (name, failure) in [("good", None), ("smoke", Some("exit code 1"))] {
            results.step(Step::HookEnded {
                id: &id(name),
                event: HookEvent::Test,
                failure,
            });
        }
        let found = results.into_all();
        let found = found
            .iter()
            .map(|one| (one.object.as_str(), one.passed, one.message.as_deref()));
        let expected = [
            ("Pod shop/good", true, None),
            ("Pod shop/smoke", false, Some("exit code 1")),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
