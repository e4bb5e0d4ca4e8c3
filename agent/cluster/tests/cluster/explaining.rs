//! Why objects are not ready, when it cannot be asked at first.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pintle_cluster::{Explainer, Patience, Unsettled, Waited};
use pintle_core::{inventory::Entry, object::ObjectId};
use pintle_harness::Fault;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    faults::behind_proxy,
    world::{LIMIT, deployment, with},
};

/// How often one request is sent at most.
const ATTEMPTS: usize = 6;

#[tokio::test]
async fn what_could_not_be_read_at_first_is_read_later() {
    let (mut world, proxy) = behind_proxy("unread").await;
    let tracker = world.track();
    let pod = "/spec/template/metadata/labels/testing.pintle.dev~1pod";
    let crashing = with(deployment("web", 1), pod, json!("crash-loop"));
    let inventory = world.converge(&[crashing]).await.unwrap().inventory;
    let ids: Vec<ObjectId> = inventory.entries().map(Entry::id).collect();
    let away = Fault::on("GET", "/deployments/web").times(ATTEMPTS);
    proxy.inject(away.status(503, "ServiceUnavailable", "apiserver is shutting down"));

    let mut explainer = Explainer::new(&world.cluster, None).unwrap();
    let patience = Patience {
        limit: LIMIT,
        moment: Duration::ZERO,
    };
    let (cancel, unread) = (CancellationToken::new(), Mutex::new(Vec::new()));
    let report = |unsettled: &Arc<[Unsettled]>| {
        for explanation in unsettled.iter().filter_map(|one| one.explanation.as_ref()) {
            if explanation.cause.is_some() {
                cancel.cancel();
            }
            let mut unread = unread.lock().unwrap_or_else(PoisonError::into_inner);
            unread.extend(explanation.unknown.clone());
        }
    };
    let name = &world.release.application;
    let waited = explainer
        .wait(&tracker, name, &ids, patience, &cancel, &report)
        .await;
    assert_eq!(waited, Waited::Cancelled, "its cause is found");
    let unread = unread.into_inner().unwrap();
    let first = unread.first().map(String::as_str).unwrap_or_default();
    assert!(
        first.starts_with("it cannot be read: ") && first.contains("503"),
        "{unread:?}"
    );
}
