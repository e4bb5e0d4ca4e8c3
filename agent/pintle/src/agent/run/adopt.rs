//! An Application that takes over a Helm release.

use pintle_cluster::{HelmError, HelmRelease, Release};
use pintle_core::{
    inventory::Inventory,
    names::{ADOPT_HELM_ANNOTATION, ADOPT_RESTARTS_ANNOTATION, ALLOWED},
    plan::Plan,
    rendered::Rendered,
};

use super::{
    Stopped,
    converge::{Ready, Run},
    failures::again,
};
use crate::{
    agent::reasons,
    pipeline::adopt::{lines, restarts},
};

/// A takeover that is to be done.
pub(super) struct Takeover {
    /// The name of the Helm release.
    pub(super) of: String,
    /// The application's release, which is allowed to take over.
    pub(super) release: Release,
    /// The inventory, with Helm's release recorded as the last one.
    pub(super) inventory: Inventory,
    chart: String,
    may_replace_pods: bool,
}

impl Run {
    /// Returns the takeover that the Application asks for, unless it was done already.
    pub(super) async fn takeover(
        &self,
        ready: &Ready,
        rendered: &Rendered,
        inventory: &Inventory,
    ) -> Result<Option<Takeover>, Stopped> {
        let annotations = &self.job.application.annotations;
        let Some(of) = annotations.get(ADOPT_HELM_ANNOTATION) else {
            return Ok(None);
        };
        if self.before.adopted_helm_release.as_ref() == Some(of) || !self.is_rollout() {
            return Ok(None);
        }
        let release = &ready.release;
        let own = self.shared.cluster.connection();
        let connection = match &release.account {
            Some(account) => own.acting_as(account),
            None => Ok(own.clone()),
        };
        let connection = connection.map_err(|error| again(error.into()))?;
        let (namespace, seed) = (&release.namespace, &release.seed);
        let compared = HelmRelease::compared(&connection, namespace, of, rendered, seed).await;
        let (helm, takeover) = compared.map_err(refused)?;
        tracing::info!(
            application = %release.application, release = %of, revision = helm.revision, same = takeover.is_same,
            "taking over what Helm has installed"
        );
        let mut inventory = inventory.clone();
        // An interrupted takeover is continued.
        inventory.release.get_or_insert(takeover.record);
        Ok(Some(Takeover {
            of: of.clone(),
            release: release.clone().taking_over_from_helm(takeover.applied),
            inventory,
            chart: helm.chart,
            may_replace_pods: annotations
                .get(ADOPT_RESTARTS_ANNOTATION)
                .is_some_and(|value| value == ALLOWED),
        }))
    }
}

impl Takeover {
    /// Rejects a plan that would replace pods.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), Stopped> {
        let replaced = restarts(plan, &self.release.seed);
        if replaced.is_empty() || self.may_replace_pods {
            return Ok(());
        }
        let message = format!(
            "taking over the release {} of Helm would replace pods of these:\n{}\nrender what Helm has applied (chart {}, and its \
             values), or allow it with the annotation {ADOPT_RESTARTS_ANNOTATION}=allowed",
            self.of,
            lines(replaced),
            self.chart
        );
        Err(Stopped::blocked(reasons::ADOPTION_REPLACES_PODS, message))
    }
}

fn refused(error: HelmError) -> Stopped {
    match error {
        HelmError::Underway { .. } => again(error.into()),
        HelmError::Request(error) if error.is_retryable() => again(error.into()),
        error => {
            let message = format!(
                "{error}; without the annotation {ADOPT_HELM_ANNOTATION} the application is installed anew"
            );
            Stopped::blocked(reasons::ADOPTION_FAILED, message)
        }
    }
}
