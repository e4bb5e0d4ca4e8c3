//! Runs for objects that are in another cluster than their Application.

use pintle_cluster::{Application, ServiceAccount};
use pintle_core::{
    application::{ApplicationSpec, ApplicationStatus},
    event::Reason,
    machine::Retry,
};

use super::Stopped;
use crate::agent::{accounts::is_name, reasons, shared::Shared};

/// Returns the account that requests for objects are made as. In the agent's own cluster that is `home`. In another cluster, it
/// is the account that the spec names for it, or the user of the kubeconfig.
pub(super) fn account(
    shared: &Shared,
    application: &Application,
    spec: &ApplicationSpec,
    home: ServiceAccount,
) -> Result<Option<ServiceAccount>, Stopped> {
    check_move(application, spec)?;
    let Some(cluster) = &spec.cluster else {
        return Ok(Some(home));
    };
    if let Some(problem) = &shared.problem {
        let message = format!("the cluster of {cluster} cannot be used: {problem}");
        return Err(Stopped::failed(
            Reason::ApplyFailed,
            Retry::Backoff,
            message,
        ));
    }
    match &cluster.service_account_name {
        Some(name) if !is_name(name) => {
            let message =
                format!("`cluster.serviceAccountName`: `{name}` is no name of a service account");
            Err(Stopped::blocked(reasons::NO_SERVICE_ACCOUNT, message))
        }
        Some(name) => {
            let namespace = application.application_name().namespace;
            Ok(Some(ServiceAccount::new(namespace, name)))
        }
        None => Ok(None),
    }
}

/// Rejects looking in one cluster for objects that are in another: they would be taken for lost, and created anew.
fn check_move(application: &Application, spec: &ApplicationSpec) -> Result<(), Stopped> {
    let Ok(status) = &application.status else {
        return Ok(());
    };
    let has_objects = status
        .inventory
        .as_ref()
        .is_some_and(|inventory| !inventory.entries.is_empty());
    let now = spec.cluster.as_ref().map(ToString::to_string);
    if !has_objects || status.cluster == now {
        return Ok(());
    }
    let place = |cluster: &Option<String>| match cluster {
        Some(cluster) => format!("the cluster of {cluster}"),
        None => "the cluster of the Application".to_owned(),
    };
    let message = format!(
        "its objects are in {}, and `cluster` now names {}: set it back, or make another Application for the other cluster and \
         delete this one",
        place(&status.cluster),
        place(&now)
    );
    Err(Stopped::blocked(reasons::CLUSTER_CHANGED, message))
}

/// Records the cluster of the objects.
pub(super) fn record(status: &mut ApplicationStatus, spec: &ApplicationSpec) {
    status.cluster = spec.cluster.as_ref().map(ToString::to_string);
}
