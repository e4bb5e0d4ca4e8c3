//! What one run of an application works on, and what it gives back.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use pintle_cluster::{Application, ServiceAccount};
use pintle_core::{
    application::NotifierUse,
    canonical,
    dependencies::Obstacle,
    digest::{Digest, Digester},
    drift::DriftSettings,
    inventory::Inventory,
    machine::{Cause, Outcome, RunId},
    names::ApplicationName,
    readset::ReadSet,
    rendered::Packed,
    revision::Revision,
    rollback::Rollback,
};
use serde_json::json;

use super::{
    awaited::Awaited,
    drift::{Disputed, DriftReport},
    fetching::Fetching,
    lookups::Asked,
    refused::Refused,
    shared::Shared,
    sources::FetchFailure,
    told::Told,
};
use crate::pipeline::snapshot::Snapshot;

/// What a run works on.
pub(crate) struct Job {
    pub(crate) run: RunId,
    pub(crate) application: Application,
    /// Whether its status in the cluster may be another one: a write of it has no answer.
    pub(crate) is_unsure: bool,
    pub(crate) work: Work,
    /// Whether the application is suspended by now.
    pub(crate) is_suspended: Arc<AtomicBool>,
    /// Names the source that the revision came from.
    pub(crate) origin: Option<Digest>,
    /// What the last successful render gave.
    pub(crate) memory: Option<Arc<Memory>>,
    /// What is fetched for renders of the application.
    pub(crate) fetching: Arc<Fetching>,
    /// The value of the annotation that asked for a reconciliation.
    pub(crate) requested: Option<String>,
    /// The request for which all that has drifted is put right; nothing if the spec says what is done about it.
    pub(crate) repairs_for: Option<String>,
    /// What is known of drift that is not put right at once.
    pub(crate) disputed: Disputed,
    /// What has to be Ready before anything new is rolled out, or is in a circle with it.
    pub(crate) waits_for: Vec<Obstacle>,
    /// The earlier revision that is to run instead of the one that the source gives.
    pub(crate) rollback: Option<Rollback>,
    /// Digest of what was gone back from, if this revision supersedes the rollback unless it comes to the same.
    pub(crate) left: Option<Digest>,
    /// What came of the newest request for a rollback that has an answer.
    pub(crate) rollback_answer: Option<RollbackAnswer>,
    /// Why the source does not answer, or why what is to be gone back to cannot be had.
    pub(crate) failure: Option<FetchFailure>,
    /// What the last rollout came to, if the cluster has refused it.
    pub(crate) refused: Option<Refused>,
    /// What the last rollout waited for; nothing if there was none.
    pub(crate) awaited: Option<Awaited>,
    /// By which rules drift is looked for.
    pub(crate) rules: Rules,
    /// What the log was told last.
    pub(crate) told: Told,
}

/// By which rules drift is looked for. Between two that leave out other fields an object is another one, although nobody has changed
/// it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Those by which the objects are watched; nothing if they are not yet.
    pub(crate) watched: Option<DriftSettings>,
    /// Those by which they were recorded last; nothing if that was another agent's.
    pub(crate) recorded: Option<DriftSettings>,
}

impl Rules {
    /// Returns the rules by which the objects were recorded, if they are watched by others: a plan looks by those of its revision,
    /// and may come to nothing.
    pub(crate) fn recorded_otherwise(&self) -> Option<&DriftSettings> {
        let (watched, recorded) = (self.watched.as_ref()?, self.recorded.as_ref()?);
        (watched.ignore != recorded.ignore).then_some(recorded)
    }
}

/// What came of a person's request for a rollback: whoever asked waits for it in the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RollbackAnswer {
    /// The id of the request.
    pub(crate) request: String,
    /// Why it was refused; nothing if it was not.
    pub(crate) refusal: Option<String>,
}

/// What is to be done.
pub(crate) enum Work {
    /// Make the cluster what the source says.
    Converge { snapshot: Snapshot, cause: Cause },
    /// Put right what has drifted from what was applied last, while something newer waits for a change or is tried again.
    Guard {
        /// Whether that may be tried. If not, it is only told.
        repairs: bool,
        /// Whether what is newer is tried again. If not, it waits for a change.
        is_tried_again: bool,
        /// What was applied; nothing if it is not known any more.
        applied: Option<Arc<Applied>>,
    },
    /// Say that the source does not answer.
    Tell,
    /// Say that what was to go on rests.
    Rest,
    /// Deal with the objects, and let the Application go.
    Remove,
}

/// What is remembered between runs. It is a cache: without it a run costs more, and comes to the same.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The generation of the spec that it was rendered for.
    pub(crate) generation: i64,
    pub(crate) rendered: Packed,
    pub(crate) reads: ReadSet,
    /// In whose name the cluster was read.
    pub(crate) account: Option<ServiceAccount>,
    /// When what the renderer asked for from elsewhere was fetched.
    pub(crate) fetched: Instant,
    /// Names of the plugins in use: a change of one makes all this void.
    pub(crate) plugins: BTreeSet<String>,
    pub(crate) notifiers: Vec<NotifierUse>,
    /// What the folder's `pintle.yaml` made of the spec.
    pub(crate) spec: pintle_core::application::ApplicationSpec,
}

impl Memory {
    /// Returns what the render asked of the cluster.
    pub(crate) fn asked(&self) -> Asked {
        let rendered = Some(self.rendered.digest());
        Asked::of(&self.reads, self.account.as_ref(), rendered)
    }

    /// Returns the digest of what the render gave, with all else that a commit may change: a fix may be one of how the objects are
    /// judged.
    pub(crate) fn whole(&self) -> Digest {
        let (objects, spec) = (self.rendered.digest(), &self.spec);
        let said = json!([
            spec.namespace,
            spec.policies,
            spec.health,
            spec.drift.ignore
        ]);
        Digester::new("left/v1")
            .part(objects.as_bytes())
            .part(canonical::to_string(&said))
            .finish()
    }
}

/// What was applied last as a whole: enough to put it right again without its source. It is a cache, too.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) memory: Arc<Memory>,
    pub(crate) revision: Revision,
}

/// What a run gives back.
pub(crate) struct Report {
    pub(crate) name: ApplicationName,
    pub(crate) run: RunId,
    /// Whether it was about the revision that is wanted: no other says anything about what that asks for, or is refused.
    pub(crate) is_rollout: bool,
    pub(crate) outcome: Outcome,
    /// The Application as it was last read or written.
    pub(crate) application: Application,
    /// Whether its status in the cluster may be another one: a write of it has no answer.
    pub(crate) is_unsure: bool,
    /// The request for which it has put right what had drifted; nothing if it was not to, or has not come to its end.
    pub(crate) repaired_for: Option<String>,
    pub(crate) found: Found,
    /// What it used: it made its objects known to that tracker, whatever its application is for by now.
    pub(crate) shared: Arc<Shared>,
    /// What the cluster has refused; nothing if it came to something else.
    pub(crate) refused: Option<Refused>,
    /// What it has waited for; what the one before has, if it came to nothing.
    pub(crate) awaited: Option<Awaited>,
    /// By which rules drift is looked for from now on.
    pub(crate) rules: Rules,
    /// What the log was told last.
    pub(crate) told: Told,
}

/// What a run finds out, for whoever decides what comes next.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is another thing that the controller has to know"
)]
pub(crate) struct Found {
    /// What is in the cluster now; nothing if the run did not come to know.
    pub(crate) inventory: Option<Inventory>,
    pub(crate) memory: Option<Arc<Memory>>,
    /// What its render asked of the cluster, whether it failed or still stood; nothing if it came to none.
    pub(crate) asked: Option<Asked>,
    /// What it has applied; nothing if that is as it was before.
    pub(crate) applied: Option<Arc<Applied>>,
    /// Whether all objects were healthy at the end; nothing if that was not looked at.
    pub(crate) healthy: Option<bool>,
    /// Whether it told that objects are out of sight.
    pub(crate) is_unseen: bool,
    /// Whether objects have left its render.
    pub(crate) has_left: bool,
    /// Whether an object was refused because another application wants it.
    pub(crate) is_contested: bool,
    /// Whether others have to be Ready before it is tried again.
    pub(crate) is_held: bool,
    /// What was found out about drift; nothing if the run did not come to a plan.
    pub(crate) drift: Option<DriftReport>,
    /// The revision that was rendered, and the digest of all that it comes to; nothing if it came to none.
    pub(crate) came_to: Option<(String, Digest)>,
    /// What was found out about the revision, if anything.
    pub(crate) trial: Option<Trial>,
    /// Whether the revision comes to something else than what was gone back from.
    pub(crate) has_superseded: bool,
    /// Whether another fetch may mend why it failed.
    pub(crate) wants_fetch: bool,
}

impl Found {
    /// Begins with what is remembered.
    pub(crate) fn remembering(memory: Option<Arc<Memory>>) -> Self {
        Self {
            memory,
            ..Self::default()
        }
    }
}

/// What a run has found out about a revision, for whoever decides whether it is gone back from.
pub(crate) enum Trial {
    /// It changes nothing of what is in the cluster and healthy.
    Unchanged(String),
    /// It comes to what was gone back from.
    SameAsLeft(String),
    /// It was written to the cluster, and does not work there.
    Failed {
        revision: String,
        /// Digest of its objects.
        rendered: Digest,
        reason: String,
    },
}

impl Report {
    /// Makes the report of a run that learned nothing beside how it ended.
    pub(crate) fn bare(shared: Arc<Shared>, job: Job, outcome: Outcome) -> Self {
        Self {
            name: job.application.application_name(),
            run: job.run,
            is_rollout: false,
            outcome,
            application: job.application,
            is_unsure: job.is_unsure,
            repaired_for: None,
            found: Found::remembering(job.memory),
            shared,
            refused: None,
            awaited: job.awaited,
            rules: job.rules,
            told: job.told,
        }
    }
}

#[cfg(test)]
mod tests {
    use pintle_core::{
        application::ApplicationSpec,
        drift::{DriftMode, IgnoreRule},
        rendered::Rendered,
        seed::Seed,
    };

    use super::*;

    #[test]
    fn what_a_commit_comes_to_is_more_than_its_objects_and_less_than_the_spec() {
        let whole = |spec: ApplicationSpec| {
            let rendered = Rendered::new(Vec::new(), None, Vec::new(), &Seed::from_text("s"));
            let memory = Memory {
                generation: 1,
                rendered: rendered.unwrap().pack(),
                reads: ReadSet::default(),
                account: None,
                fetched: Instant::now(),
                plugins: BTreeSet::new(),
                notifiers: Vec::new(),
                spec,
            };
            memory.whole()
        };
        let plain = whole(ApplicationSpec::default());
        let suspended = whole(ApplicationSpec {
            suspend: true,
            ..ApplicationSpec::default()
        });
        assert_eq!(suspended, plain);
        let ignoring = whole(ApplicationSpec {
            drift: DriftSettings {
                ignore: vec![IgnoreRule::default()],
                ..DriftSettings::default()
            },
            ..ApplicationSpec::default()
        });
        assert_ne!(ignoring, plain);
    }

    #[test]
    fn rules_are_others_by_what_they_leave_out() {
        let plain = DriftSettings::default();
        let reporting = DriftSettings {
            mode: DriftMode::Report,
            ..DriftSettings::default()
        };
        let ignoring = DriftSettings {
            ignore: vec![IgnoreRule::default()],
            ..DriftSettings::default()
        };
        let of = |watched: Option<&DriftSettings>, recorded: Option<&DriftSettings>| {
            let rules = Rules {
                watched: watched.cloned(),
                recorded: recorded.cloned(),
            };
            rules.recorded_otherwise().cloned()
        };
        assert_eq!(of(Some(&ignoring), Some(&plain)), Some(plain.clone()));
        assert_eq!(of(Some(&plain), Some(&ignoring)), Some(ignoring.clone()));
        assert_eq!(of(Some(&reporting), Some(&plain)), None);
        assert_eq!(of(Some(&ignoring), None), None);
        assert_eq!(of(None, Some(&plain)), None);
    }
}
