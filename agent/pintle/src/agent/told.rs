//! What the log says about an application, so that it says everything once.

use pintle_cluster::Kept;
use pintle_core::{
    check::{Finding, Severity},
    digest::{Digest, Digester},
    names::ApplicationName,
};

/// How many lines of one list are logged. An application may have thousands of objects, and a finding about each.
const LINES: usize = 50;

/// What was last logged about an application. It is kept in memory: a restarted agent logs it once more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// What policies let pass in a plan of the wanted revision, or of a removal.
    pub(crate) rollout: Last,
    /// What they let pass in a plan that repairs an earlier one.
    pub(crate) repairs: Last,
    /// What they let pass in a plan of tests.
    pub(crate) tests: Last,
    /// Why objects stay that left the source.
    pub(crate) kept: Last,
    /// Why objects stay after a removal.
    pub(crate) left: Last,
}

/// The list that was last logged, or `None` before the first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Last(Option<Digest>);

impl Last {
    /// Logs what policies found and let pass.
    pub(crate) fn findings(&mut self, application: &ApplicationName, findings: &[Finding]) {
        let (lines, rest) = self.news(findings, LINES, ToString::to_string);
        let is_info = |finding: &Finding| finding.severity == Severity::Info;
        for finding in lines {
            let (plugin, rule) = (&finding.policy, &finding.rule);
            let object = finding.object.as_ref().map(tracing::field::display);
            let problem = &finding.problem;
            if is_info(finding) {
                tracing::info!(%application, plugin, rule, object, "{problem}");
            } else {
                tracing::warn!(%application, plugin, rule, object, "{problem}");
            }
        }
        let more = rest.len();
        // Warnings come first.
        match rest.first() {
            None => {}
            Some(first) if is_info(first) => {
                tracing::info!(%application, "policies found {more} more");
            }
            Some(_) => {
                tracing::warn!(%application, "policies found {more} more");
            }
        }
    }

    /// Logs why objects stay that are no longer managed: the status only has their number.
    pub(crate) fn kept(&mut self, application: &ApplicationName, kept: &[Kept]) {
        let more = self.kept_up_to(LINES, application, kept);
        if more > 0 {
            tracing::info!(%application, "{more} more stay: `pintle status` lists all that left");
        }
    }

    /// Logs why objects stay after a removal. All of them are listed, because nothing else reports them afterwards.
    pub(crate) fn left(&mut self, application: &ApplicationName, kept: &[Kept]) {
        self.kept_up_to(usize::MAX, application, kept);
    }

    /// Logs up to `most` of them, and returns the number of those that were not logged.
    fn kept_up_to(&mut self, most: usize, application: &ApplicationName, kept: &[Kept]) -> usize {
        let text = |Kept { id, reason }: &Kept| format!("{id}: {reason}");
        let (lines, rest) = self.news(kept, most, text);
        for Kept { id, reason } in lines {
            tracing::info!(%application, object = %id, reason, "it stays, and is not looked after");
        }
        rest.len()
    }

    /// Returns the part of a list that is logged, and the part that is only counted. Both are empty if the same list was the last
    /// one to be logged, in whatever order.
    fn news<'a, T>(
        &mut self,
        all: &'a [T],
        most: usize,
        text: impl Fn(&T) -> String,
    ) -> (&'a [T], &'a [T]) {
        let mut texts: Vec<String> = all.iter().map(text).collect();
        texts.sort_unstable();
        let mut digest = Digester::new("told");
        for text in texts {
            digest.add(text);
        }
        let now = Some(digest.finish());
        if std::mem::replace(&mut self.0, now) == now {
            return (&[], &[]);
        }
        all.split_at(all.len().min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_logged_once_in_whatever_order() {
        let mut last = Last::default();
        let mut logged = |all: &[&str]| last.news(all, LINES, ToString::to_string).0.len();
        assert_eq!(logged(&["a", "b"]), 2);
        assert_eq!(logged(&["a", "b"]), 0);
        assert_eq!(logged(&["b", "a"]), 0);
        assert_eq!(logged(&["ab"]), 1);
        assert_eq!(logged(&[]), 0);
        assert_eq!(logged(&["ab"]), 1, "it has come back");
    }

    #[test]
    fn a_long_list_is_logged_in_part_and_counted() {
        let all: Vec<usize> = (0..LINES + 7).collect();
        let mut last = Last::default();
        let (lines, rest) = last.news(&all, LINES, ToString::to_string);
        assert_eq!((lines.len(), rest.len()), (LINES, 7));
        let (lines, rest) = last.news(&all, LINES, ToString::to_string);
        assert_eq!((lines.len(), rest.len()), (0, 0));
    }
}
