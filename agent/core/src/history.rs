//! The history of an application's revisions: who, what, when, and how each ended. It is kept in the status, and bounded.

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, plan::Summary};

/// The number of entries kept. An entry takes some 600 bytes, so a history takes about 12 KiB of the 1.5 MiB that a status may
/// have.
pub const HISTORY_LIMIT: usize = 20;
/// The maximum number of bytes of a text that others write: a commit's first line, a reason, a message.
const TEXT_BYTES: usize = 200;

/// Why a revision was rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Trigger {
    /// It is a new commit, or the first one.
    Revision,
    /// The Application, or a plugin that it uses, has changed.
    Settings,
    /// A person requested it.
    Request,
    /// It was rolled back to.
    Rollback,
    /// Something in the cluster that it depends on has changed, or it was retried.
    Other,
}

/// How a revision ended, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// It is being rolled out.
    Underway,
    /// It is in the cluster, and healthy.
    Healthy,
    /// It is in the cluster, but not healthy.
    Unhealthy,
    /// It could not be rendered, was refused, or could not be applied in full.
    Failed,
    /// Another revision came before it had ended.
    Superseded,
}

impl Ending {
    /// Returns the name used in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Underway => "underway",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

/// A revision that was rolled out, or should have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The number of the entry, counted from 1. People use it to name the revision to roll back to.
    pub number: u64,
    /// The commit, or the digest of an artifact.
    pub revision: String,
    /// The branch, tag or version that led to it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Who wrote the commit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// The first line of its message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Why the revision was rolled out.
    pub trigger: Trigger,
    /// Who requested the rollout; absent if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// The reason that this person gave; for a rollback by the agent, what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Digest that identifies the source of the revision; absent if the source is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Digest>,
    /// Digest of the rendered objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered_digest: Option<Digest>,
    /// Digest of the plan that brought the revision into the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<Digest>,
    /// The number of objects per action in that plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Summary>,
    /// When the rollout started, in RFC 3339 format.
    pub started: String,
    /// When `ending` last changed, in RFC 3339 format.
    pub ended: String,
    /// How it ended.
    pub ending: Ending,
    /// When the revision first became healthy, in RFC 3339 format. A rollback that names no revision goes back to one that has
    /// been healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_since: Option<String>,
    /// What is wrong with the revision; while it is being retried, what was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a run knows about the revision that it works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The commit, or the digest of an artifact.
    pub revision: String,
    /// The branch, tag or version that led to it.
    pub reference: String,
    /// Who wrote the commit.
    pub author: String,
    /// The first line of its message.
    pub summary: String,
    /// The reason for the run.
    pub trigger: Trigger,
    /// The person who requested it.
    pub requested_by: Option<String>,
    /// The reason that the person gave.
    pub reason: Option<String>,
    /// The digest that names the source it came from.
    pub origin: Option<Digest>,
    /// The digest of the rendered objects, if the run got that far.
    pub rendered: Option<Digest>,
    /// The plan, if it does anything.
    pub plan: Option<(Digest, Summary)>,
    /// How it ended.
    pub ending: Ending,
    /// What is wrong.
    pub message: Option<String>,
}

/// Records an attempt in a history, newest first.
///
/// A run of the same revision with the same objects gets no new entry: a repair, a retry or a check updates the existing one. A
/// later commit that renders the same as an entry that is not healthy yet gets none either: it continues what the earlier commit
/// began. Beyond the limit the oldest entries are dropped, but never the last healthy one, because it can be rolled back to.
pub fn record(history: &mut Vec<HistoryEntry>, attempt: Attempt, now: &str) {
    let continues = history
        .first()
        .is_some_and(|newest| is_same(newest, &attempt));
    if !continues {
        if let Some(newest) = history.first_mut()
            && newest.ending == Ending::Underway
        {
            newest.ending = Ending::Superseded;
            now.clone_into(&mut newest.ended);
        }
        let number = history.first().map_or(1, |newest| newest.number + 1);
        history.insert(0, begin(number, &attempt, now));
    }
    if let Some(newest) = history.first_mut() {
        update(newest, attempt, now);
    }
    trim(history);
}

fn is_same(entry: &HistoryEntry, attempt: &Attempt) -> bool {
    let rendered = [entry.rendered_digest, attempt.rendered];
    let same_objects = match rendered {
        [Some(before), Some(now)] => before == now,
        // Before the revision is rendered, or if it cannot be, there are no objects to differ.
        _ => entry.ending != Ending::Healthy || attempt.rendered.is_some(),
    };
    let is_rollback = |trigger: Trigger| trigger == Trigger::Rollback;
    if is_rollback(entry.trigger) || is_rollback(attempt.trigger) {
        return entry.revision == attempt.revision
            && same_objects
            && entry.trigger == attempt.trigger;
    }
    entry.revision == attempt.revision && same_objects || goes_on(entry, attempt)
}

/// Returns whether an attempt of another revision renders what is in the cluster, or on its way there, and not healthy. An
/// attempt from another source gets an entry of its own: the revision of this entry is not available there.
fn goes_on(entry: &HistoryEntry, attempt: &Attempt) -> bool {
    entry.ending != Ending::Healthy
        && entry.rendered_digest.is_some()
        && entry.rendered_digest == attempt.rendered
        && entry.origin == attempt.origin
}

fn begin(number: u64, attempt: &Attempt, now: &str) -> HistoryEntry {
    HistoryEntry {
        number,
        revision: attempt.revision.clone(),
        reference: cut(&attempt.reference),
        author: cut(&attempt.author),
        summary: cut(&attempt.summary),
        trigger: attempt.trigger,
        requested_by: attempt.requested_by.as_deref().map(cut),
        reason: attempt.reason.as_deref().map(cut),
        origin: None,
        rendered_digest: None,
        plan_digest: None,
        plan: None,
        started: now.to_owned(),
        ended: now.to_owned(),
        ending: Ending::Underway,
        healthy_since: None,
        message: None,
    }
}

fn update(entry: &mut HistoryEntry, attempt: Attempt, now: &str) {
    // A repository that has moved has the same commits.
    entry.origin = attempt.origin.or(entry.origin);
    entry.rendered_digest = attempt.rendered.or(entry.rendered_digest);
    // The plan of a later run only repairs what the first run did.
    if let (None, Some((digest, summary))) = (entry.plan_digest, attempt.plan) {
        (entry.plan_digest, entry.plan) = (Some(digest), Some(summary));
    }
    if entry.ending != attempt.ending {
        now.clone_into(&mut entry.ended);
    }
    entry.ending = attempt.ending;
    // An attempt that has not ended again does not know whether the previous problem is over, so the message stays.
    if !matches!(entry.ending, Ending::Underway | Ending::Superseded) {
        entry.message = attempt.message.as_deref().map(cut);
    }
    if entry.ending == Ending::Healthy && entry.healthy_since.is_none() {
        entry.healthy_since = Some(now.to_owned());
    }
}

fn trim(history: &mut Vec<HistoryEntry>) {
    if history.len() <= HISTORY_LIMIT {
        return;
    }
    let healthy = history
        .iter()
        .position(|entry| entry.healthy_since.is_some());
    let mut at = 0;
    history.retain(|_| {
        let stays = at < HISTORY_LIMIT - 1
            || healthy.map_or(at == HISTORY_LIMIT - 1, |healthy| {
                at == healthy.max(HISTORY_LIMIT - 1)
            });
        at += 1;
        stays
    });
}

/// Returns the newest revision that was healthy and can come from the source with this digest. Another source does not have it.
/// An entry that is not known to come from another source counts as coming from this one.
pub fn last_healthy(history: &[HistoryEntry], origin: Option<Digest>) -> Option<&HistoryEntry> {
    healthy(history, origin).next()
}

fn healthy(
    history: &[HistoryEntry],
    origin: Option<Digest>,
) -> impl Iterator<Item = &HistoryEntry> {
    let is_elsewhere = move |entry: &HistoryEntry| match (entry.origin, origin) {
        (Some(theirs), Some(ours)) => theirs != ours,
        _ => false,
    };
    history
        .iter()
        .filter(move |entry| entry.healthy_since.is_some() && !is_elsewhere(entry))
}

/// Returns whether a revision was healthy, or another one that rendered the same. A commit that changes nothing is healthy
/// without an entry of its own.
pub fn was_healthy(history: &[HistoryEntry], revision: &str, rendered: Digest) -> bool {
    history.iter().any(|entry| {
        let is_same = entry.revision == revision || entry.rendered_digest == Some(rendered);
        is_same && entry.healthy_since.is_some()
    })
}

/// Returns the newest revision that was healthy before the running one was first tried, and that can come from the source with
/// this digest.
///
/// A revision that was rolled back is newer than the one it was rolled back to. Rolling back again therefore goes further back,
/// and never returns to it. A revision that is not in the history is newer than all of it. `objects` is the digest of what runs:
/// going back to a revision that rendered the same would change nothing.
pub fn healthy_before<'a>(
    history: &'a [HistoryEntry],
    runs: &str,
    objects: Option<Digest>,
    origin: Option<Digest>,
) -> Option<&'a HistoryEntry> {
    let first_tried = history.iter().rposition(|one| one.revision == runs);
    let older = first_tried.map_or(0, |at| at + 1);
    let is_no_other = |entry: &HistoryEntry| objects.is_some() && entry.rendered_digest == objects;
    healthy(&history[older..], origin).find(|entry| !is_no_other(entry))
}

/// Returns the entry of the revision that was last written, even if only in part, found by the digest of its objects. Returns the
/// newest entry if that is not known. Whatever was tried after it was rejected before anything was written.
pub fn written(history: &[HistoryEntry], begun: Option<Digest>) -> Option<&HistoryEntry> {
    let is_written = |entry: &&HistoryEntry| begun.is_some() && entry.rendered_digest == begun;
    history.iter().find(is_written).or(history.first())
}

/// The reason why a text names no revision of a history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No revision has that number or prefix.
    #[error("{wanted} is no revision of its history: expected a number, or the beginning of one of {}", listed(.known))]
    Unknown {
        /// The text that was given.
        wanted: String,
        /// The revisions in the history.
        known: Vec<String>,
    },
    /// Several revisions have that prefix.
    #[error("{wanted} is the beginning of several revisions: {}", listed(.found))]
    Ambiguous {
        /// The text that was given.
        wanted: String,
        /// The revisions that have that prefix.
        found: Vec<String>,
    },
}

fn listed(revisions: &[String]) -> String {
    if revisions.is_empty() {
        return "none, for it is empty".to_owned();
    }
    revisions.join(", ")
}

/// The shortest prefix that names a revision, as in git. Anything shorter is a number that does not exist.
const ABBREVIATION: usize = 4;

/// Finds the entry that a person names by its number, its commit, or a prefix of the commit.
pub fn find<'a>(history: &'a [HistoryEntry], wanted: &str) -> Result<&'a HistoryEntry, FindError> {
    let number = wanted.strip_prefix('#').unwrap_or(wanted).parse::<u64>();
    let by_number = |entry: &&HistoryEntry| number.as_ref() == Ok(&entry.number);
    if let Some(found) = history.iter().find(by_number) {
        return Ok(found);
    }
    let begins = |entry: &&HistoryEntry| {
        let hex = entry.revision.strip_prefix("sha256:");
        let texts = [Some(entry.revision.as_str()), hex];
        wanted.len() >= ABBREVIATION
            && texts
                .into_iter()
                .flatten()
                .any(|text| text.starts_with(wanted))
    };
    let all = |entries: Vec<&HistoryEntry>| {
        let mut revisions: Vec<String> = entries.iter().map(|one| one.revision.clone()).collect();
        revisions.sort();
        revisions.dedup();
        revisions
    };
    let found: Vec<&HistoryEntry> = history.iter().filter(begins).collect();
    let revisions = all(found.clone());
    match (found.first(), revisions.len()) {
        (Some(newest), 1) => Ok(newest),
        (Some(_), _) => Err(FindError::Ambiguous {
            wanted: wanted.to_owned(),
            found: revisions,
        }),
        (None, _) => Err(FindError::Unknown {
            wanted: wanted.to_owned(),
            known: all(history.iter().collect()),
        }),
    }
}

fn cut(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.len() <= TEXT_BYTES {
        return line.to_owned();
    }
    format!("{}…", &line[..line.floor_char_boundary(TEXT_BYTES)])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn attempt(revision: &str, rendered: &str, ending: Ending) -> Attempt {
        Attempt {
            revision: revision.into(),
            reference: "main".into(),
            author: "Ada <ada@example.com>".into(),
            summary: "a change".into(),
            trigger: Trigger::Revision,
            requested_by: None,
            reason: None,
            origin: None,
            rendered: Some(Digest::of(rendered)),
            plan: None,
            ending,
            message: None,
        }
    }

    fn endings(history: &[HistoryEntry]) -> Vec<(u64, &str, Ending)> {
        let short = |one: &'_ HistoryEntry| (one.number, one.ending);
        history
            .iter()
            .map(|one| (short(one).0, one.revision.as_str(), short(one).1))
            .collect()
    }

    #[test]
    fn a_run_of_the_same_says_how_it_is_now_and_another_is_another_entry() {
        let mut history = Vec::new();
        for (now, ending) in [
            ("t1", Ending::Underway),
            ("t2", Ending::Healthy),
            ("t3", Ending::Healthy),
            ("t4", Ending::Unhealthy),
        ] {
            record(&mut history, attempt("a", "1", ending), now);
        }
        assert_eq!(endings(&history), [(1, "a", Ending::Unhealthy)]);
        let first = &history[0];
        let times = (first.started.as_str(), first.ended.as_str());
        assert_eq!(times, ("t1", "t4"));
        assert_eq!(first.healthy_since.as_deref(), Some("t2"));
        // The same commit with different settings.
        record(&mut history, attempt("a", "2", Ending::Underway), "t5");
        record(&mut history, attempt("b", "3", Ending::Underway), "t6");
        let back = Attempt {
            trigger: Trigger::Rollback,
            ..attempt("a", "2", Ending::Healthy)
        };
        record(&mut history, back, "t7");
        assert_eq!(
            endings(&history),
            [
                (4, "a", Ending::Healthy),
                (3, "b", Ending::Superseded),
                (2, "a", Ending::Superseded),
                (1, "a", Ending::Unhealthy)
            ]
        );
        assert_eq!(last_healthy(&history, None).map(|one| one.number), Some(4));
        let healthy =
            |revision: &str, rendered: &str| was_healthy(&history, revision, Digest::of(rendered));
        assert!(healthy("a", "9") && healthy("c", "2"));
        assert!(!healthy("b", "3"), "it was on its way only");
    }

    #[test]
    fn a_commit_that_changes_nothing_of_what_is_not_healthy_is_no_other_entry() {
        let mut history = Vec::new();
        record(&mut history, attempt("a", "1", Ending::Healthy), "t1");
        record(&mut history, attempt("b", "2", Ending::Superseded), "t2");
        for revision in ["c", "d", "e"] {
            record(&mut history, attempt(revision, "2", Ending::Underway), "t3");
            record(
                &mut history,
                attempt(revision, "2", Ending::Unhealthy),
                "t4",
            );
        }
        let known = [(2, "b", Ending::Unhealthy), (1, "a", Ending::Healthy)];
        assert_eq!(endings(&history), known);
        assert_eq!(history[0].started, "t2");

        let elsewhere = Attempt {
            origin: Some(Digest::of("elsewhere")),
            ..attempt("f", "2", Ending::Unhealthy)
        };
        let back = Attempt {
            trigger: Trigger::Rollback,
            ..attempt("f", "2", Ending::Unhealthy)
        };
        for other in [elsewhere, back, attempt("f", "3", Ending::Unhealthy)] {
            let mut history = history.clone();
            record(&mut history, other, "t5");
            assert_eq!(history.len(), 3);
        }
        record(&mut history, attempt("f", "2", Ending::Healthy), "t6");
        assert_eq!(endings(&history)[0], (2, "b", Ending::Healthy));
        record(&mut history, attempt("g", "2", Ending::Healthy), "t7");
        assert_eq!(endings(&history)[0], (3, "g", Ending::Healthy));
    }

    #[test]
    fn what_is_gone_back_to_was_healthy_before_what_runs() {
        let before = |history: &[HistoryEntry], runs: &str| {
            healthy_before(history, runs, None, None).map(|one| one.revision.clone())
        };
        let of = |runs: &[(&str, Ending)]| {
            let mut history = Vec::new();
            for (revision, ending) in runs {
                record(&mut history, attempt(revision, revision, *ending), "t");
            }
            history
        };
        let (healthy, failed) = (Ending::Healthy, Ending::Failed);

        // All were healthy. The last one was rolled back, so it is not what comes next.
        let mut all = of(&[("a", healthy), ("b", healthy), ("c", healthy)]);
        assert_eq!(before(&all, "c").as_deref(), Some("b"));
        let back = |revision: &str| Attempt {
            trigger: Trigger::Rollback,
            ..attempt(revision, revision, healthy)
        };
        record(&mut all, back("b"), "t");
        assert_eq!(before(&all, "b").as_deref(), Some("a"));
        record(&mut all, back("a"), "t");
        assert_eq!(before(&all, "a"), None, "there is nothing before it");

        // The last one was written only in part. What runs alongside it is what is wanted.
        let midway = of(&[("a", healthy), ("b", healthy), ("c", failed)]);
        assert_eq!(before(&midway, "c").as_deref(), Some("b"));

        // Revisions in between that were never healthy are skipped, and an unknown revision counts as the newest.
        let gap = of(&[("a", healthy), ("b", failed), ("c", healthy)]);
        assert_eq!(before(&gap, "c").as_deref(), Some("a"));
        assert_eq!(before(&gap, "d").as_deref(), Some("c"));
    }

    #[test]
    fn what_came_from_another_source_is_passed_over() {
        let origin = |name: &str| Some(Digest::of(name));
        let mut history = Vec::new();
        // The repository moved when the second revision was already there.
        for (revision, name) in [("a", "old"), ("b", "old"), ("b", "new")] {
            let from = Attempt {
                origin: origin(name),
                ..attempt(revision, revision, Ending::Healthy)
            };
            record(&mut history, from, "t");
        }
        let number = |entry: Option<&HistoryEntry>| entry.map(|one| one.number);
        assert_eq!(number(last_healthy(&history, origin("new"))), Some(2));
        assert_eq!(number(last_healthy(&history, origin("old"))), Some(1));
        assert_eq!(number(last_healthy(&history, origin("third"))), None);
        assert_eq!(
            number(healthy_before(&history, "b", None, origin("new"))),
            None
        );
        assert_eq!(number(healthy_before(&history, "b", None, None)), Some(1));
        // An earlier version did not record where a revision came from.
        record(&mut history, attempt("c", "c", Ending::Healthy), "t");
        assert_eq!(number(last_healthy(&history, origin("third"))), Some(3));
    }

    #[test]
    fn a_revision_is_found_by_its_number_or_its_beginning() {
        let mut history = Vec::new();
        for revision in ["abcd1", "abcd2", "7fff", "sha256:9999"] {
            record(
                &mut history,
                attempt(revision, revision, Ending::Healthy),
                "t",
            );
        }
        let found = |wanted: &str| find(&history, wanted).map(|one| one.revision.as_str());
        assert_eq!((found("1"), found("#2")), (Ok("abcd1"), Ok("abcd2")));
        assert_eq!(
            (found("abcd2"), found("9999")),
            (Ok("abcd2"), Ok("sha256:9999"))
        );
        insta::assert_snapshot!(found("abcd").unwrap_err(), @"abcd is the beginning of several revisions: abcd1, abcd2");
        insta::assert_snapshot!(found("7").unwrap_err(), @"7 is no revision of its history: expected a number, or the beginning of one of 7fff, abcd1, abcd2, sha256:9999");
        insta::assert_snapshot!(find(&[], "x").unwrap_err(), @"x is no revision of its history: expected a number, or the beginning of one of none, for it is empty");
    }

    proptest! {
        #[test]
        fn it_stays_small_and_never_forgets_what_was_healthy_last(
            runs in prop::collection::vec(("[a-f]", "[a-c]", 0..5usize), 0..120)
        ) {
            let all = [Ending::Underway, Ending::Healthy, Ending::Unhealthy, Ending::Failed, Ending::Superseded];
            let mut history = Vec::new();
            let mut healthy = None;
            for (revision, rendered, ending) in runs {
                let mut run = attempt(&revision, &rendered, all[ending]);
                run.summary = "ü".repeat(500);
                record(&mut history, run, "t");
                if all[ending] == Ending::Healthy { healthy = Some(revision); }
                prop_assert!(history.len() <= HISTORY_LIMIT);
                prop_assert!(history.is_sorted_by(|one, next| one.number > next.number));
                prop_assert!(history.iter().all(|one| one.summary.len() <= TEXT_BYTES + 3));
                let known = last_healthy(&history, None);
                prop_assert_eq!(known.is_some(), healthy.is_some());
            }
        }
    }
}
