//! What stays known when the server returns a new list.

use super::{Kinds, ResourceType};

impl Kinds {
    /// Returns whether any version of a group has an API server that does not answer.
    pub(super) fn is_stale(&self, group: &str) -> bool {
        self.stale.iter().any(|(known, _)| known == group)
    }

    /// Returns the name of a version's `APIService` if its API server does not answer.
    pub(super) fn unanswered(&self, group: &str, version: &str) -> Option<String> {
        let key = (group.to_owned(), version.to_owned());
        let is_stale = self.stale.contains(&key);
        is_stale.then(|| format!("{version}.{group}"))
    }

    /// Returns whether the server has listed everything that is known, and every version of it in full.
    pub(super) fn is_whole(&self) -> bool {
        self.stale.is_empty() && !self.is_doubtful
    }

    /// Keeps a kind that the server does not list but that may be served all the same.
    pub(super) fn keep(&mut self, found: &ResourceType) {
        self.is_doubtful = true;
        self.add(found.clone());
    }

    /// Keeps what was learned from definitions while the server was being asked: it may have made its list before.
    pub(super) fn keep_learned(&mut self, before: &Self, known: &Self) {
        for learned in before.lost(known) {
            self.add(learned.clone());
        }
    }

    /// Keeps what was known about versions whose API server does not answer.
    ///
    /// The server lists what such an API server last served, or nothing if it has not reached it since its own start. What is
    /// registered is meant to be served: a group that is gone for good is not listed as one that does not answer.
    /// <https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/3352-aggregated-discovery>
    pub(super) fn keep_unanswered(&mut self, before: &Self) {
        for found in self.lost(before) {
            if self.stale.contains(&version_of(found)) {
                self.add(found.clone());
            }
        }
    }

    /// Returns what was known before and no longer is.
    pub(super) fn lost<'a>(&self, before: &'a Self) -> Vec<&'a ResourceType> {
        let all = before.kinds().flatten();
        all.filter(|found| !self.has(found)).collect()
    }

    fn has(&self, found: &ResourceType) -> bool {
        let versions = self.versions(&found.group, &found.kind);
        versions.iter().any(|known| known.version == found.version)
    }
}

/// Returns the group and version of a kind.
pub(super) fn version_of(found: &ResourceType) -> (String, String) {
    (found.group.clone(), found.version.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::discovery::tests::definition;
    use serde_json::{Value, json};

    const GROUP: &str = "routes.example.com";

    /// Returns the kinds of one group, given the freshness and the kinds of its versions.
    fn kinds(versions: &[(&str, &str, &[&str])]) -> Kinds {
        let resource = |kind: &&str| json!({"resource": kind.to_lowercase(), "scope": "Namespaced", "responseKind": {"kind": kind}, "verbs": ["patch"]});
        let version = |(version, freshness, kinds): &(&str, &str, &[&str])| {
            let resources: Vec<Value> = kinds.iter().map(resource).collect();
            json!({"version": version, "freshness": freshness, "resources": resources})
        };
        let versions: Vec<Value> = versions.iter().map(version).collect();
        let mut kinds = Kinds::default();
        kinds.read(&json!({"items": [{"metadata": {"name": GROUP}, "versions": versions}]}));
        kinds
    }

    fn after(before: &Kinds, versions: &[(&str, &str, &[&str])]) -> Arc<[String]> {
        let mut now = kinds(versions);
        now.keep_unanswered(before);
        now.api_versions()
    }

    #[test]
    fn what_does_not_answer_has_what_it_had() {
        let before = kinds(&[("v1", "Current", &["Route", "Gate"])]);
        assert_eq!(
            after(&before, &[("v1", "Stale", &[])]),
            before.api_versions()
        );
        let last = after(&before, &[("v1", "Stale", &["Route", "Path"])]);
        assert_eq!(
            last.len(),
            4,
            "what was listed last is listed, too: {last:?}"
        );
        let mut away = kinds(&[("v1", "Stale", &[])]);
        assert!(away.api_versions().is_empty(), "nothing was known");
        away.keep_unanswered(&before);
        assert!(away.is_stale(GROUP) && !away.is_whole());
        let still = after(&away, &[("v1", "Stale", &[])]);
        assert_eq!(still, before.api_versions(), "however often it is asked");
    }

    #[test]
    fn what_answers_or_is_not_registered_has_nothing_more_than_it_says() {
        let before = kinds(&[
            ("v1", "Current", &["Route", "Gate"]),
            ("v1beta1", "Current", &["Route"]),
        ]);
        let now = after(
            &before,
            &[("v1", "Current", &["Route"]), ("v1beta1", "Stale", &[])],
        );
        let expected = ["v1", "v1/Route", "v1beta1", "v1beta1/Route"];
        assert_eq!(*now, expected.map(|version| format!("{GROUP}/{version}")));
        assert!(after(&before, &[]).is_empty());
    }

    #[test]
    fn what_may_be_served_all_the_same_is_kept_with_doubt() {
        let before = kinds(&[("v1", "Current", &["Gate", "Route"])]);
        let mut now = kinds(&[("v1", "Current", &["Gate"])]);
        assert!(now.is_whole());
        let lost = now.lost(&before);
        assert_eq!(lost.len(), 1);
        now.keep(lost[0]);
        assert!(!now.is_whole());
        assert_eq!(now.api_versions(), before.api_versions());
    }

    #[test]
    fn what_was_learned_meanwhile_stays_and_what_was_known_before_may_go() {
        let before = kinds(&[("v1", "Current", &["Gate"])]);
        let mut known = before.clone();
        known.learn(&definition());
        let mut now = Kinds::default();
        now.keep_learned(&before, &known);
        assert!(now.find("example.com", "v1", "Widget").is_ok());
        assert!(now.find(GROUP, "v1", "Gate").is_err());
    }
}
