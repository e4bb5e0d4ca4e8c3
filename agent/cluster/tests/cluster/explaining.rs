//! Why objects are not ready, if the reason cannot be read at first, or there are too many pods.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use pintle_cluster::{Explainer, Patience, Tracker, Unsettled, Waited};
use pintle_core::{explanation::Explanation, inventory::Entry, object::ObjectId};
use pintle_harness::{Fault, until};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    faults::behind_proxy,
    world::{LIMIT, World, deployment, with},
};

/// The maximum number of times one request is sent.
const ATTEMPTS: usize = 6;

/// Applies a Deployment whose one pod keeps ending.
async fn apply_crashing(world: &World) -> Vec<ObjectId> {
    let pod = "/spec/template/metadata/labels/testing.pintle.dev~1pod";
    let crashing = with(deployment("web", 1), pod, json!("crash-loop"));
    let inventory = world.converge(&[crashing]).await.unwrap().inventory;
    inventory.entries().map(Entry::id).collect()
}

/// Waits until what is reported is enough, and returns everything that was reported until then.
async fn told_until(
    world: &World,
    tracker: &Tracker,
    ids: &[ObjectId],
    is_enough: impl Fn(&Explanation) -> bool + Send + Sync,
) -> Vec<Explanation> {
    let mut explainer = Explainer::new(&world.cluster, None).unwrap();
    let patience = Patience {
        limit: LIMIT,
        moment: Duration::ZERO,
    };
    let (cancel, told) = (CancellationToken::new(), Mutex::new(Vec::new()));
    let report = |unsettled: &Arc<[Unsettled]>| {
        for explanation in unsettled.iter().filter_map(|one| one.explanation.as_ref()) {
            if is_enough(explanation) {
                cancel.cancel();
            }
            told.lock().unwrap().push(Explanation::clone(explanation));
        }
    };
    let name = &world.release.application;
    let waited = explainer
        .wait(tracker, name, ids, patience, &cancel, &report)
        .await;
    assert_eq!(waited, Waited::Cancelled, "{told:?}");
    told.into_inner().unwrap()
}

/// Waits until a pod keeps ending, and returns all pods.
fn crashing_pods(world: &World) -> Value {
    let pods = until("its pod crashes", LIMIT, || {
        let pods = world.kubectl(&["get", "pods", "-o", "json"]);
        Ok(if pods.contains("CrashLoopBackOff") {
            Ok(pods)
        } else {
            Err(pods)
        })
    });
    items(&pods.unwrap())
}

fn items(list: &str) -> Value {
    serde_json::from_str::<Value>(list).unwrap()["items"].take()
}

/// Answers with a page that is followed by another one.
fn page(requests: Fault, items: &Value) -> Fault {
    let page = json!({"kind": "List", "apiVersion": "v1", "metadata": {"continue": "more"}, "items": items});
    requests.body(200, "application/json", page.to_string())
}

#[tokio::test]
async fn what_could_not_be_read_at_first_is_read_later() {
    let (mut world, proxy) = behind_proxy("unread").await;
    let tracker = world.track();
    let ids = apply_crashing(&world).await;
    let away = Fault::on("GET", "/deployments/web").times(ATTEMPTS);
    proxy.inject(away.status(503, "ServiceUnavailable", "apiserver is shutting down"));

    let told = told_until(&world, &tracker, &ids, |one| one.cause.is_some()).await;
    let mut unread = told.iter().flat_map(|one| &one.unknown);
    let first = unread.next().map(String::as_str).unwrap_or_default();
    assert!(
        first.starts_with("it cannot be read: ") && first.contains("503"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_pod_in_trouble_is_found_on_any_page_that_is_read() {
    let (mut world, proxy) = behind_proxy("pages").await;
    let tracker = world.track();
    let ids = apply_crashing(&world).await;
    let pods = crashing_pods(&world);
    let healthy = page(Fault::on("GET", "/pods?labelSelector"), &json!([]));

    // Every page is followed by another one.
    proxy.inject(healthy.clone());
    let told = told_until(&world, &tracker, &ids, |one| !one.unknown.is_empty()).await;
    let unknown = &told.last().unwrap().unknown;
    assert_eq!(
        *unknown,
        ["only the first 1000 of its pods were looked at"],
        "{told:?}"
    );
    proxy.heal();
    proxy.forget();

    // The pod in trouble is on the second page.
    proxy.inject(page(Fault::on("GET", "continue=more"), &pods));
    proxy.inject(healthy);
    let told = told_until(&world, &tracker, &ids, |one| one.cause.is_some()).await;
    let unknown = &told.last().unwrap().unknown;
    assert!(
        !unknown.iter().any(|one| one.starts_with("only the first")),
        "{told:?}"
    );
    let seen = proxy.seen();
    let mut lists = seen.iter().map(|request| &request.uri);
    // The previous rollouts have just as many pods, and none of them says why this one does not progress.
    assert!(
        lists.any(|uri| uri.contains("/pods?labelSelector")
            && uri.contains("pod-template-hash%3D")
            && uri.contains("continue=more")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_newest_replica_set_is_found_on_any_page_that_is_read() {
    let (mut world, proxy) = behind_proxy("sets").await;
    let tracker = world.track();
    let ids = apply_crashing(&world).await;
    crashing_pods(&world);
    let sets = items(&world.kubectl(&["get", "replicasets", "-o", "json"]));
    proxy.inject(page(Fault::on("GET", "continue=more"), &sets));
    proxy.inject(page(
        Fault::on("GET", "/replicasets?labelSelector"),
        &json!([]),
    ));

    let told = told_until(&world, &tracker, &ids, |one| one.cause.is_some()).await;
    let unknown = &told.last().unwrap().unknown;
    let left_out = "only the first 1000 of its ReplicaSets were looked at";
    assert!(unknown.iter().any(|one| one == left_out), "{told:?}");
}
