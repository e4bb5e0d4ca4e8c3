//! What is being converged, for which application and by which rules.

use std::{collections::BTreeSet, sync::Arc};

use pintle_core::{
    digest::Digest, drift::DriftSettings, duration::Span, names::ApplicationName, object::ObjectId,
    prune::PruneSettings, seed::Seed,
};

use crate::{claims::Claims, connection::ServiceAccount, helm::HelmManifest, waits::Waits};

/// What is being done with an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The cluster is brought to the state that was rendered.
    Converge,
    /// The application is removed: only its removal hooks are rendered, and everything else is deleted.
    Remove,
    /// Only its tests are run.
    Test,
}

/// The objects whose drift is left alone: seen and reported, but not repaired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Leave {
    /// None.
    #[default]
    Nothing,
    /// These, for the time being.
    Objects(BTreeSet<ObjectId>),
    /// All.
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

/// One application as the cluster sees it: its identity, the account it writes as, and what it may delete.
#[derive(Debug, Clone)]
pub struct Release {
    /// The application that owns the objects. Determines the field manager and the label.
    pub application: ApplicationName,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// The service account that requests are made as; `None` for the connection's own identity.
    pub account: Option<ServiceAccount>,
    /// The seed that conceals Secrets in digests.
    pub seed: Seed,
    /// What may be deleted when it leaves the source.
    pub prune: PruneSettings,
    /// Which changes by others are not drift.
    pub drift: DriftSettings,
    /// The objects whose drift is left alone. Changes in the source are still written.
    pub leaves: Leave,
    /// What other applications want, if that is known.
    pub claims: Option<Arc<dyn Claims>>,
    /// The digest of a large deletion that a person has confirmed.
    pub confirmed_deletions: Option<Digest>,
    /// Whether existing objects may be taken over although other managers own some of their fields. An object can ask for this
    /// itself with the annotation `pintle.dev/adopt: allowed`.
    pub adopt: bool,
    /// What Helm has applied, if Helm's release is being taken over. The fields that Helm owns in those objects become the
    /// application's own, so that nothing is left behind when something leaves the source later.
    pub from_helm: Option<Arc<HelmManifest>>,
    /// How long to wait for what the next objects need: definitions to be established, replaced objects to be gone.
    pub timeout: Span,
    /// How long each hook may take, how long an object that others come after may take to become healthy, and how long a deleted
    /// object may take to be gone where something waits for that.
    pub hook_timeout: Span,
    /// Since when its hooks and objects have been waited for, including earlier runs.
    pub waits: Waits,
    /// What is being done with the application.
    pub purpose: Purpose,
    /// The namespace in which removal hooks are kept, under the application's full name. Without it, they are kept in the
    /// application's own namespace.
    pub hooks_namespace: Option<String>,
    /// The namespace that is being deleted together with the application in it. Its contents go away without further action.
    /// Objects that the account may no longer look at are left alone: the rights may already be gone, and the namespace waits for
    /// the application.
    pub ending: Option<String>,
}

impl Release {
    /// Creates a release in the application's own namespace, with default rules.
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

    /// Returns the release for removing the application: everything that pruning may delete is deleted, without a limit.
    #[must_use]
    pub fn for_removal(mut self) -> Self {
        self.prune.max_percent = 100;
        self.purpose = Purpose::Remove;
        self
    }

    /// Returns whether this release removes the application.
    pub(crate) fn is_removal(&self) -> bool {
        self.purpose == Purpose::Remove
    }

    /// Returns a release that takes over what Helm has installed.
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
