//! Making a plan, checking it, and applying it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use pintle_cluster::{Applying, ClusterError, InventoryStore as _, Release, StatusStore};
use pintle_core::{
    application::{PluginUse, Standing},
    check::{Approved, Denied},
    drift::DriftedObject,
    event::Reason,
    inventory::Inventory,
    machine::{Outcome, Retry},
    object::ObjectId,
    plan::{Depth, Plan},
    rendered::Rendered,
};
use pintle_host::Context;
use serde_json::json;

use super::{
    Stopped,
    converge::{Ready, Run},
    failures::{
        contested, contested_apply, forbidden, is_refused_plan, plan_failed, plugin_failed,
        too_large,
    },
    guard::repairs_only,
    slot::{Slot, resting},
};
use crate::{
    agent::{
        drift::left_unseen,
        report::{Verdict, finding_document},
        shared::Shared,
    },
    pipeline::{
        check::{self, CheckError, Subject},
        cluster::PluginReader,
    },
};

/// How long watches may take to sync before planning asks the server instead.
pub(super) const SYNC: Duration = Duration::from_secs(20);

/// The result of an apply. It holds no more than is needed while its objects become healthy, which thousands of applications may
/// wait for at once.
pub(super) struct Done {
    pub(super) inventory: Inventory,
    pub(super) drifted: Vec<DriftedObject>,
    /// The objects that are left as they are and have no health.
    unseen: BTreeSet<ObjectId>,
    /// How many objects left the source and stay.
    pub(super) kept: usize,
}

impl Done {
    /// Returns the objects that have to be healthy: all but those that were deleted or have lost their label, and are left so.
    pub(super) fn awaited(&self) -> Vec<ObjectId> {
        let managed = self.inventory.managed();
        let awaited = managed.filter(|id| !self.unseen.contains(*id));
        awaited.cloned().collect()
    }
}

impl Run {
    pub(super) async fn apply(
        &mut self,
        ready: &Ready,
        rendered: Rendered,
        store: &mut StatusStore,
        slot: &Slot,
    ) -> Result<Done, Stopped> {
        let (shared, release) = (Arc::clone(&self.shared), &ready.release);
        let name = &release.application;
        let inventory = store.inventory().clone();
        let kinds = shared.cluster.kinds_served(&ready.prepared, &inventory);
        shared.tracker.observe_also(release, &kinds);
        shared.tracker.reserve(name, inventory.ids());
        self.job.rules.watched = Some(release.drift.clone());
        if let Err(unsynced) = shared.tracker.synced(name, SYNC).await {
            tracing::warn!(application = %name, ?unsynced, "watches are not in sync: the server is asked instead");
        }
        let drift = shared.tracker.drift(name, &inventory);
        // Taken before the plan looks: an object that goes out of sight after that may still have been there.
        let out_of_sight = shared.tracker.out_of_sight(name, inventory.ids());
        let takeover = self.takeover(ready, &rendered, &inventory).await?;
        drop(rendered);
        let (release, inventory, depth) = match &takeover {
            Some(takeover) => (&takeover.release, takeover.inventory.clone(), Depth::Server),
            None => (release, inventory, Depth::Local),
        };
        let planning = shared
            .cluster
            .plan(release, &ready.prepared, &inventory, depth);
        let planned = match &self.claims {
            Some(claims) => resting(planning, claims, slot, &self.cancel).await?,
            None => planning.await,
        };
        let planned = planned.map_err(|error| {
            self.contested.extend(contested(&error).cloned());
            self.is_refused |= is_refused_plan(&error);
            plan_failed(error)
        })?;
        store
            .check_room(&planned.inventory, planned.plan.changes())
            .map_err(too_large)?;
        if let Some(takeover) = &takeover {
            takeover.check(&planned.plan)?;
        }
        if !self.is_rollout() {
            repairs_only(&planned)?;
        }
        self.learn_drift(&drift, out_of_sight, &planned);
        if !planned.plan.is_empty() {
            self.learned.plan = Some((planned.plan.digest(), planned.plan.summary()));
        }
        let approved = self.check(ready, planned.plan).await?;
        self.tell_passed(&approved);
        if self.cancel.is_cancelled() {
            return Err(Stopped::cancelled());
        }
        if !approved.plan().is_empty() {
            Box::pin(self.record_course(ready, store)).await?;
        }
        self.begin(release);
        let applying = Applying {
            release,
            ..ready.applying(slot, &self.cancel)
        };
        let cluster = &shared.cluster;
        let applied = cluster.apply(&applying, &approved, planned.inventory, store);
        let applied = match Box::pin(applied).await {
            Ok(applied) => {
                // What was refused belongs to the newest render.
                if self.is_rollout() {
                    shared.claims.unbar(name);
                }
                applied
            }
            Err(error) => {
                shared.claims.forbid(name, forbidden(&error));
                self.contested.extend(contested_apply(&error).cloned());
                self.explain(ready, &error).await;
                return Err(self.not_written(ready, error));
            }
        };
        self.learned.adopted = takeover.as_ref().map(|takeover| takeover.of.clone());
        let kinds = shared
            .cluster
            .kinds_in_use(&ready.prepared, &applied.inventory);
        shared.tracker.observe(release, &kinds);
        if self.is_rollout() {
            self.job.told.kept.kept(name, &planned.kept);
        }
        Ok(Done {
            unseen: left_unseen(&planned.drifted, &shared.tracker, name),
            inventory: applied.inventory,
            drifted: planned.drifted,
            kept: planned.kept.len(),
        })
    }

    pub(super) async fn check(&self, ready: &Ready, plan: Plan) -> Result<Approved, Stopped> {
        // A plan that does nothing changes nothing that a policy could prevent.
        let policies = if plan.is_empty() {
            &[][..]
        } else {
            &ready.spec.policies[..]
        };
        let judging = Judging {
            shared: &self.shared,
            release: &ready.release,
            subject: Subject {
                name: &ready.release.application,
                labels: &self.job.application.labels,
                source: ready.spec.source.as_ref(),
                revision: &ready.revision,
            },
            policies,
            context: &ready.context,
        };
        judging.of(plan).await
    }

    /// Reports what policies found and let pass. They were not asked about a plan that does nothing.
    fn tell_passed(&mut self, approved: &Approved) {
        if approved.plan().is_empty() {
            return;
        }
        let name = self.job.application.application_name();
        let is_rollout = self.is_rollout();
        let told = &mut self.job.told;
        let last = if is_rollout {
            &mut told.rollout
        } else {
            &mut told.repairs
        };
        last.findings(&name, approved.findings());
    }
}

/// The policies that judge a plan, and what they are given about the application.
pub(super) struct Judging<'a> {
    pub(super) shared: &'a Shared,
    pub(super) release: &'a Release,
    pub(super) subject: Subject<'a>,
    pub(super) policies: &'a [PluginUse],
    pub(super) context: &'a Context,
}

impl Judging<'_> {
    /// Asks all policies about a plan. They read the cluster as the application's service account, as its renderer does.
    pub(super) async fn of(&self, plan: Plan) -> Result<Approved, Stopped> {
        let reader = self
            .shared
            .cluster
            .reader_for(self.release.account.as_ref())
            .map_err(|error| plan_failed(ClusterError::Connect(error)))?;
        check::check(
            &self.shared.catalog.within(&self.subject.name.namespace),
            self.policies,
            plan,
            self.subject.document(),
            self.context,
            &self.release.seed,
            Arc::new(PluginReader(reader)),
        )
        .await
        .map_err(|error| match error {
            CheckError::Denied(denied) => {
                let mut verdict =
                    Verdict::failed(Standing::Stalled, Reason::PolicyDenied, denied.to_string());
                verdict.details = json!({ "findings": findings(&denied) });
                Stopped::with(Outcome::Failed(Retry::OnChange), Some(verdict))
            }
            CheckError::Policy(error) => plugin_failed(error),
        })
    }
}

/// Returns the findings of policies, for an event's details.
fn findings(denied: &Denied) -> Vec<serde_json::Value> {
    let version = |id: &ObjectId| {
        let change = denied.plan.changes().iter().find(|change| change.id == *id);
        change.map(|change| change.version.as_str())
    };
    denied
        .findings
        .iter()
        .map(|finding| finding_document(finding, finding.object.as_ref().and_then(version)))
        .collect()
}
