//! Hooks as declared by annotations of an object: Pintle's annotations, and those of Helm's charts.

use std::collections::BTreeSet;

use super::{Hook, HookDeletion, HookEvent, HookOutcome};

/// A family of annotations for hooks.
struct Family {
    events: &'static str,
    weight: &'static str,
    deletion: &'static str,
    logs: &'static str,
    deletions: [(&'static str, HookDeletion); 3],
    outcomes: [(&'static str, HookOutcome); 2],
    /// Names that the family accepts for events besides the events' own names.
    aliases: &'static [(&'static str, HookEvent)],
}

const OURS: Family = Family {
    events: "pintle.dev/hook",
    weight: "pintle.dev/hook-weight",
    deletion: "pintle.dev/hook-deletion",
    logs: "pintle.dev/hook-logs",
    deletions: [
        ("before-creation", HookDeletion::BeforeCreation),
        ("succeeded", HookDeletion::Succeeded),
        ("failed", HookDeletion::Failed),
    ],
    outcomes: [
        ("succeeded", HookOutcome::Succeeded),
        ("failed", HookOutcome::Failed),
    ],
    aliases: &[],
};

/// <https://helm.sh/docs/topics/charts_hooks/>
const HELM: Family = Family {
    events: "helm.sh/hook",
    weight: "helm.sh/hook-weight",
    deletion: "helm.sh/hook-delete-policy",
    logs: "helm.sh/hook-output-log-policy",
    deletions: [
        ("before-hook-creation", HookDeletion::BeforeCreation),
        ("hook-succeeded", HookDeletion::Succeeded),
        ("hook-failed", HookDeletion::Failed),
    ],
    outcomes: [
        ("hook-succeeded", HookOutcome::Succeeded),
        ("hook-failed", HookOutcome::Failed),
    ],
    // A name from Helm 2.
    aliases: &[("test-success", HookEvent::Test)],
};

/// An annotation that makes an object a hook, with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAnnotation {
    /// The name of the annotation.
    pub annotation: &'static str,
    /// What is wrong, as a fragment.
    pub message: String,
    /// What is expected, as a fragment.
    pub hint: String,
}

impl Hook {
    /// Reads a hook from the annotations of an object: `pintle.dev/hook`, or `helm.sh/hook` if that is absent.
    ///
    /// Returns `None` for an object that has neither annotation.
    ///
    /// # Errors
    ///
    /// Returns an error for an event, a deletion rule or an outcome that does not exist, and for a weight that is not a
    /// whole number.
    ///
    /// ```
    /// use pintle_sdk::{Hook, HookEvent};
    ///
    /// let annotation = |name: &str| (name == "helm.sh/hook").then_some("pre-install, pre-upgrade");
    /// let hook = Hook::of_annotations(annotation)?.expect("it is one");
    /// assert!(hook.events.contains(&HookEvent::PreUpgrade));
    /// # Ok::<(), pintle_sdk::hook::InvalidAnnotation>(())
    /// ```
    pub fn of_annotations<'a>(
        annotation: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<Self>, InvalidAnnotation> {
        for family in [&OURS, &HELM] {
            if let Some(events) = annotation(family.events) {
                return family.read(events, &annotation).map(Some);
            }
        }
        Ok(None)
    }
}

impl Family {
    fn read<'a>(
        &self,
        events: &str,
        annotation: &impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Hook, InvalidAnnotation> {
        let own = HookEvent::ALL.map(|event| (event.name(), event));
        let known: Vec<_> = own.iter().chain(self.aliases).copied().collect();
        let weight = annotation(self.weight).map_or(Ok(0), |text| {
            text.trim().parse().map_err(|_| InvalidAnnotation {
                annotation: self.weight,
                message: format!("`{text}` is no weight of a hook"),
                hint: "give a whole number, in quotes".to_owned(),
            })
        })?;
        // A missing annotation means the same as an empty list.
        let deletion = annotation(self.deletion).filter(|text| !text.trim().is_empty());
        let logs = annotation(self.logs).filter(|text| !text.trim().is_empty());
        Ok(Hook {
            events: members(self.events, events, "event of a hook", &known)?,
            weight,
            deletion: deletion.map_or(Ok(BTreeSet::new()), |text| {
                members(
                    self.deletion,
                    text,
                    "rule for a hook's deletion",
                    &self.deletions,
                )
            })?,
            logs: logs.map_or(Ok(BTreeSet::new()), |text| {
                members(self.logs, text, "outcome of a hook", &self.outcomes)
            })?,
        })
    }
}

/// Reads a comma-separated list whose members must all be known.
fn members<T: Copy + Ord>(
    annotation: &'static str,
    text: &str,
    what: &str,
    known: &[(&str, T)],
) -> Result<BTreeSet<T>, InvalidAnnotation> {
    let member = |word: &str| {
        let word = word.trim();
        let found = known
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name));
        found.map(|(_, member)| *member).ok_or_else(|| {
            let names: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
            InvalidAnnotation {
                annotation,
                message: format!("`{word}` is no {what}"),
                hint: format!("use {}", names.join(", ")),
            }
        })
    };
    text.split(',').map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn read(annotations: &[(&str, &'static str)]) -> Result<Option<Hook>, InvalidAnnotation> {
        Hook::of_annotations(|name| {
            let found = annotations
                .iter()
                .find(|(annotation, _)| *annotation == name);
            found.map(|(_, value)| *value)
        })
    }

    #[test]
    fn both_families_say_the_same() {
        let expected = Hook::new([HookEvent::PreInstall, HookEvent::Test])
            .weight(-5)
            .deletion([HookDeletion::BeforeCreation, HookDeletion::Failed])
            .logs([HookOutcome::Failed]);
        let ours = [
            ("pintle.dev/hook", "pre-install,test"),
            ("pintle.dev/hook-weight", "-5"),
            ("pintle.dev/hook-deletion", "before-creation, failed"),
            ("pintle.dev/hook-logs", "failed"),
        ];
        assert_eq!(read(&ours), Ok(Some(expected.clone())));
        let helm = [
            ("helm.sh/hook", "Pre-Install , test-success"),
            ("helm.sh/hook-weight", "-5"),
            (
                "helm.sh/hook-delete-policy",
                "before-hook-creation,hook-failed",
            ),
            ("helm.sh/hook-output-log-policy", "hook-failed"),
        ];
        assert_eq!(read(&helm), Ok(Some(expected)));
        assert_eq!(read(&[("app.kubernetes.io/name", "web")]), Ok(None));
    }

    #[test]
    fn ours_is_asked_first() {
        let both = [
            ("helm.sh/hook", "pre-install"),
            ("pintle.dev/hook", "post-upgrade"),
        ];
        assert_eq!(read(&both), Ok(Some(Hook::new([HookEvent::PostUpgrade]))));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let refused = |annotations: &[(&str, &'static str)]| {
            let error = read(annotations).unwrap_err();
            format!("{}: {}: {}", error.annotation, error.message, error.hint)
        };
        assert_snapshot!(refused(&[("helm.sh/hook", "pre-instal")]), @"helm.sh/hook: `pre-instal` is no event of a hook: use `pre-install`, `post-install`, `pre-upgrade`, `post-upgrade`, `pre-rollback`, `post-rollback`, `pre-delete`, `post-delete`, `test`, `test-success`");
        assert_snapshot!(refused(&[("pintle.dev/hook", "")]), @"pintle.dev/hook: `` is no event of a hook: use `pre-install`, `post-install`, `pre-upgrade`, `post-upgrade`, `pre-rollback`, `post-rollback`, `pre-delete`, `post-delete`, `test`");
        assert_snapshot!(refused(&[("helm.sh/hook", "test"), ("helm.sh/hook-weight", "heavy")]), @"helm.sh/hook-weight: `heavy` is no weight of a hook: give a whole number, in quotes");
        assert_snapshot!(refused(&[("helm.sh/hook", "test"), ("helm.sh/hook-delete-policy", "succeeded")]), @"helm.sh/hook-delete-policy: `succeeded` is no rule for a hook's deletion: use `before-hook-creation`, `hook-succeeded`, `hook-failed`");
        let empty = [
            ("helm.sh/hook", "test"),
            ("helm.sh/hook-delete-policy", " "),
        ];
        assert_eq!(read(&empty), Ok(Some(Hook::new([HookEvent::Test]))));
    }
}
