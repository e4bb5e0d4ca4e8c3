//! How severe a violation is.

use pintle_sdk::{Change, Finding, Problem, glob::Glob, policy::Severity};

use crate::{
    rules::Rule,
    settings::{Exception, Existing, Settings, matches_kind},
    violation::Violation,
};

/// Decides by severity, exceptions, and what already exists.
pub(crate) struct Verdict<'a> {
    settings: &'a Settings,
}

impl<'a> Verdict<'a> {
    /// Returns a verdict by these settings.
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self { settings }
    }

    /// Returns the finding about a violation; `None` if the rule is off. `exists` means that the cluster already has the
    /// violation.
    pub(crate) fn finding(
        &self,
        change: &Change,
        violation: Violation,
        exists: bool,
    ) -> Option<Finding> {
        let mut severity = self.settings.level(violation.rule).severity()?;
        let mut message = violation.message.clone();
        if let Some(exception) = self.exception(change, &violation) {
            severity = Severity::Info;
            message = format!("{message}; excepted: {}", exception.reason.trim());
        } else if exists && self.settings.existing == Existing::Warn && severity == Severity::Deny {
            severity = Severity::Warn;
            message += "; the cluster already has it";
        }
        let mut problem = Problem::new(message)
            .pointer(violation.pointer)
            .hint(violation.hint);
        problem.position.clone_from(&change.source);
        Some(Finding {
            rule: violation.rule.to_string(),
            severity,
            object: Some(change.id.clone()),
            problem,
        })
    }

    /// Returns the finding about the number of deletions; `None` if the rule is off.
    pub(crate) fn of_plan(&self, problem: Problem) -> Option<Finding> {
        let rule = Rule::TooManyDeletions;
        let severity = self.settings.level(rule).severity()?;
        Some(Finding {
            rule: rule.to_string(),
            severity,
            object: None,
            problem,
        })
    }

    fn exception(&self, change: &Change, violation: &Violation) -> Option<&'a Exception> {
        self.settings.exceptions.iter().find(|exception| {
            let any = |patterns: &[Glob], subject: Option<&str>| {
                patterns.is_empty()
                    || subject.is_some_and(|subject| {
                        patterns.iter().any(|pattern| pattern.matches(subject))
                    })
            };
            exception.rules.contains(&violation.rule)
                && (exception.kinds.is_empty() || matches_kind(&exception.kinds, &change.id))
                && any(&exception.namespaces, change.id.namespace.as_deref())
                && any(&exception.names, Some(&change.id.name))
                && any(&exception.containers, violation.container.as_deref())
        })
    }
}
