//! What one run of an application works on, and what it returns.

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

/// The input of a run.
pub(crate) struct Job {
    pub(crate) run: RunId,
    pub(crate) application: Application,
    /// Whether the status in the cluster may differ from this one: a write of it got no answer.
    pub(crate) is_unsure: bool,
    pub(crate) work: Work,
    /// Whether the application has been suspended since.
    pub(crate) is_suspended: Arc<AtomicBool>,
    /// Identifies the source that the revision came from.
    pub(crate) origin: Option<Digest>,
    /// The result of the last successful render.
    pub(crate) memory: Option<Arc<Memory>>,
    /// The fetches for renders of the application.
    pub(crate) fetching: Arc<Fetching>,
    /// The value of the annotation that requested a reconciliation.
    pub(crate) requested: Option<String>,
    /// The request for which all drift is repaired, or `None` if the spec decides what is done about drift.
    pub(crate) repairs_for: Option<String>,
    /// The state of drift that is not repaired at once.
    pub(crate) disputed: Disputed,
    /// The applications that have to be Ready before anything new is rolled out, or that form a cycle with this one.
    pub(crate) waits_for: Vec<Obstacle>,
    /// The earlier revision that is to run instead of the one that the source gives.
    pub(crate) rollback: Option<Rollback>,
    /// The digest of what was rolled back from. Set if this revision supersedes the rollback unless it has the same result.
    pub(crate) left: Option<Digest>,
    /// The answer to the newest rollback request that has one.
    pub(crate) rollback_answer: Option<RollbackAnswer>,
    /// Why the source does not answer, or why the revision to roll back to is not available.
    pub(crate) failure: Option<FetchFailure>,
    /// The render of the last rollout, if the cluster has refused it.
    pub(crate) refused: Option<Refused>,
    /// What the last rollout waited for, or `None` if there was no rollout.
    pub(crate) awaited: Option<Awaited>,
    /// The rules for detecting drift.
    pub(crate) rules: Rules,
    /// What was logged last.
    pub(crate) told: Told,
}

/// The rules for detecting drift. Under rules that ignore other fields, an object looks different although nobody has changed it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// The rules by which the objects are watched, or `None` if they are not watched yet.
    pub(crate) watched: Option<DriftSettings>,
    /// The rules by which the objects were last recorded, or `None` if another agent recorded them.
    pub(crate) recorded: Option<DriftSettings>,
}

impl Rules {
    /// Returns the rules by which the objects were recorded, if they are watched by different ones. A plan uses the rules of its
    /// own revision, and may not be carried out.
    pub(crate) fn recorded_otherwise(&self) -> Option<&DriftSettings> {
        let (watched, recorded) = (self.watched.as_ref()?, self.recorded.as_ref()?);
        (watched.ignore != recorded.ignore).then_some(recorded)
    }
}

/// The answer to a person's request for a rollback. The person who asked waits for it in the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RollbackAnswer {
    /// The id of the request.
    pub(crate) request: String,
    /// Why it was refused, or `None` if it was not.
    pub(crate) refusal: Option<String>,
}

/// The kind of work that a run does.
pub(crate) enum Work {
    /// Make the cluster match the source.
    Converge { snapshot: Snapshot, cause: Cause },
    /// Repair drift from what was last applied, while something newer waits for a change or is being retried.
    Guard {
        /// Whether a repair may be tried. If not, the drift is only reported.
        repairs: bool,
        /// Whether the newer revision is being retried. If not, it waits for a change.
        is_tried_again: bool,
        /// What was applied, or `None` if that is no longer known.
        applied: Option<Arc<Applied>>,
    },
    /// Report that the source does not answer.
    Tell,
    /// Report that the work that was to continue is suspended.
    Rest,
    /// Deal with the objects, and remove the finalizer from the Application.
    Remove,
}

/// What is remembered between runs. It is a cache: without it, a run costs more and has the same result.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The generation of the spec that it was rendered for.
    pub(crate) generation: i64,
    pub(crate) rendered: Packed,
    pub(crate) reads: ReadSet,
    /// The service account that was used to read the cluster.
    pub(crate) account: Option<ServiceAccount>,
    /// When the renderer's inputs from other hosts were fetched.
    pub(crate) fetched: Instant,
    /// The names of the plugins in use. A change to one of them invalidates all of this.
    pub(crate) plugins: BTreeSet<String>,
    pub(crate) notifiers: Vec<NotifierUse>,
    /// The spec after the folder's `pintle.yaml` was applied to it.
    pub(crate) spec: pintle_core::application::ApplicationSpec,
}

impl Memory {
    /// Returns what the render asked of the cluster.
    pub(crate) fn asked(&self) -> Asked {
        let rendered = Some(self.rendered.digest());
        Asked::of(&self.reads, self.account.as_ref(), rendered)
    }

    /// Returns the digest of the render together with everything else that a commit may change: a fix may also be one to how the
    /// objects are judged.
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

/// What was last applied as a whole: enough to repair drift without the source. It is a cache, too.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) memory: Arc<Memory>,
    pub(crate) revision: Revision,
}

/// The output of a run.
pub(crate) struct Report {
    pub(crate) name: ApplicationName,
    pub(crate) run: RunId,
    /// Whether the run was about the wanted revision. No other run says anything about what that revision asks for or is refused.
    pub(crate) is_rollout: bool,
    pub(crate) outcome: Outcome,
    /// The Application as it was last read or written.
    pub(crate) application: Application,
    /// Whether the status in the cluster may differ from this one: a write of it got no answer.
    pub(crate) is_unsure: bool,
    /// The request for which it has repaired drift, or `None` if it was not to do that, or has not finished.
    pub(crate) repaired_for: Option<String>,
    pub(crate) found: Found,
    /// What the run used. Its objects are registered with this tracker, whichever cluster the application is for by now.
    pub(crate) shared: Arc<Shared>,
    /// What the cluster has refused, or `None` if the run had another result.
    pub(crate) refused: Option<Refused>,
    /// What the run has waited for. If the run had no result, this is what the run before has waited for.
    pub(crate) awaited: Option<Awaited>,
    /// The rules for detecting drift from now on.
    pub(crate) rules: Rules,
    /// What was logged last.
    pub(crate) told: Told,
}

/// What a run finds out, for the controller, which decides what comes next.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is another thing that the controller has to know"
)]
pub(crate) struct Found {
    /// The objects that are in the cluster now, or `None` if the run did not find that out.
    pub(crate) inventory: Option<Inventory>,
    pub(crate) memory: Option<Arc<Memory>>,
    /// What the render asked of the cluster, whether it failed or an earlier render still held. `None` if there was no render.
    pub(crate) asked: Option<Asked>,
    /// What it has applied, or `None` if that has not changed.
    pub(crate) applied: Option<Arc<Applied>>,
    /// Whether all objects were healthy at the end, or `None` if that was not checked.
    pub(crate) healthy: Option<bool>,
    /// Whether it reported that objects are out of sight.
    pub(crate) is_unseen: bool,
    /// Whether objects have left the render.
    pub(crate) has_left: bool,
    /// Whether an object was refused because another application wants it.
    pub(crate) is_contested: bool,
    /// Whether others have to be Ready before it is tried again.
    pub(crate) is_held: bool,
    /// What was found out about drift, or `None` if the run did not make a plan.
    pub(crate) drift: Option<DriftReport>,
    /// The revision that was rendered, and the digest of its whole result, or `None` if there was no render.
    pub(crate) came_to: Option<(String, Digest)>,
    /// What was found out about the revision, if anything.
    pub(crate) trial: Option<Trial>,
    /// Whether the revision's result differs from what was rolled back from.
    pub(crate) has_superseded: bool,
    /// Whether another fetch may fix the cause of the failure.
    pub(crate) wants_fetch: bool,
}

impl Found {
    /// Starts from what is remembered.
    pub(crate) fn remembering(memory: Option<Arc<Memory>>) -> Self {
        Self {
            memory,
            ..Self::default()
        }
    }
}

/// What a run has found out about a revision, as input to the decision whether to roll back from it.
pub(crate) enum Trial {
    /// It changes nothing of what is in the cluster and healthy.
    Unchanged(String),
    /// Its result is the same as what was rolled back from.
    SameAsLeft(String),
    /// It was written to the cluster and does not work there.
    Failed {
        revision: String,
        /// The digest of its objects.
        rendered: Digest,
        reason: String,
    },
}

impl Report {
    /// Creates the report of a run that learned nothing apart from how it ended.
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
