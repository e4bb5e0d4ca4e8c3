//! What is being converged, for whom and by which rules.

use std::{collections::BTreeSet, sync::Arc};

use pintle_core::{
    digest::Digest, drift::DriftSettings, duration::Span, names::ApplicationName, object::ObjectId,
    prune::PruneSettings, seed::Seed,
};

use crate::{claims::Claims, connection::ServiceAccount, helm::HelmManifest, waits::Waits};

/// What is done with an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It comes to be as it is rendered.
    Converge,
    /// It is removed: what is rendered are its hooks for that, and everything else goes.
    Remove,
    /// Only its tests are run.
    Test,
}

/// Of which objects drift is left as it is: seen and told, and not put right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Leave {
    /// Of none.
    #[default]
    Nothing,
    /// Of these, for the time being.
    Objects(BTreeSet<ObjectId>),
    /// Of all.
    Everything,
}

impl Leave {
    pub(crate) fn leaves(&self, id: &ObjectId) -> bool {
        match self {
            Self::Nothing => false,
            Self::Objects(ids) => ids.contains(id),
            Self::Everything => true,
        }
    }
}

/// One application as the cluster sees it: who it is, in whose name it writes, and what it may delete.
#[derive(Debug, Clone)]
pub struct Release {
    /// Whose objects these are. Gives the field manager and the label.
    pub application: ApplicationName,
    /// Namespace of objects that name none.
    pub namespace: String,
    /// In whose name requests are made; nothing for one's own.
    pub account: Option<ServiceAccount>,
    /// Conceals Secrets in digests.
    pub seed: Seed,
    /// What may be deleted when it leaves the source.
    pub prune: PruneSettings,
    /// Which changes by others are no drift.
    pub drift: DriftSettings,
    /// Of which objects drift is left as it is. What the source changes is written all the same.
    pub leaves: Leave,
    /// What other applications want, if somebody knows.
    pub claims: Option<Arc<dyn Claims>>,
    /// Many deletions at once that a person has confirmed.
    pub confirmed_deletions: Option<Digest>,
    /// Whether objects that exist already may be taken over although other managers own some of the fields.
    /// An object can say so itself, with the annotation `pintle.dev/adopt: allowed`.
    pub adopt: bool,
    /// What Helm has applied, if it is taken over: what Helm owns in such objects becomes the application's own, so that
    /// nothing is left behind of what leaves the source later.
    pub from_helm: Option<Arc<HelmManifest>>,
    /// How long to wait for what the next objects need: definitions to be established, replaced objects to be gone.
    pub timeout: Span,
    /// How long each hook may take, an object that others come after to be healthy, and what is deleted to be gone where something
    /// waits for that.
    pub hook_timeout: Span,
    /// Since when its hooks and objects are waited for, by earlier runs too.
    pub waits: Waits,
    /// What is done with it.
    pub purpose: Purpose,
    /// Where hooks for the removal are kept: in this namespace, under the whole name of the application; without it in the
    /// application's own.
    pub hooks_namespace: Option<String>,
    /// The namespace that is being deleted with the application in it. What is in it goes without anybody's doing, and what the
    /// account may not look at any more stays: the rights may have gone already, and the namespace waits for the application.
    pub ending: Option<String>,
}

impl Release {
    /// Makes a release in the application's own namespace, with default rules.
    pub fn new(application: ApplicationName, seed: Seed) -> Self {
        Self {
            namespace: application.namespace.clone(),
            application,
            account: None,
            seed,
            prune: PruneSettings::default(),
            drift: DriftSettings::default(),
            leaves: Leave::Nothing,
            claims: None,
            confirmed_deletions: None,
            adopt: false,
            from_helm: None,
            timeout: Span::seconds(60),
            hook_timeout: Span::seconds(300),
            waits: Waits::default(),
            purpose: Purpose::Converge,
            hooks_namespace: None,
            ending: None,
        }
    }

    /// Returns the release for the removal of the application: everything goes that pruning may take, without a limit.
    #[must_use]
    pub fn for_removal(mut self) -> Self {
        self.prune.max_percent = 100;
        self.purpose = Purpose::Remove;
        self
    }

    /// Says whether it is the removal of the application.
    pub(crate) fn is_removal(&self) -> bool {
        self.purpose == Purpose::Remove
    }

    /// Returns the release that takes over what Helm has installed.
    #[must_use]
    pub fn taking_over_from_helm(mut self, applied: Arc<HelmManifest>) -> Self {
        self.adopt = true;
        self.from_helm = Some(applied);
        self
    }

    /// Returns the field manager.
    pub fn manager(&self) -> String {
        self.application.field_manager()
    }
}
