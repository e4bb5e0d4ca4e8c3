//! Drift and health, as watches report them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pintle_cluster::{
    InventoryStore as _, Judge, TrackEvent, Tracker, TrackerOptions, Unsettled, Waited,
};
use pintle_core::{
    health::{Assessment, Status},
    machine::Millis,
    names::ApplicationName,
    object::ObjectId,
    plan::Depth,
};
use pintle_harness::until_async;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{LIMIT, SimpleJudge, Starved, World, annotated, config_map, deployment};

fn ids(inventory: &pintle_core::inventory::Inventory) -> Vec<ObjectId> {
    inventory
        .entries()
        .map(pintle_core::inventory::Entry::id)
        .collect()
}

#[tokio::test]
async fn an_edit_is_seen_with_its_author_and_a_deletion_too() {
    let mut world = World::new("drift").await;
    let tracker = world.track();
    let inventory = world
        .converge(&[config_map("a", "1"), config_map("b", "1")])
        .await
        .unwrap()
        .inventory;
    let name = world.release.application.clone();
    // The verdicts of the checks of the applied objects are events, too.
    let cancel = CancellationToken::new();
    let waited = tracker
        .wait(&name, &ids(&inventory), LIMIT, &cancel, &|_| {})
        .await;
    assert_eq!(waited, Waited::Healthy);
    let mut events = tracker.subscribe();
    world.kubectl(&["annotate", "configmap", "a", "unrelated=1"]);
    world.edit_as("eve", "configmap", "a", &json!({"data":{"key":"edited"}}));
    world.kubectl(&["delete", "configmap", "b"]);
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let event = tokio::time::timeout(LIMIT, events.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(*event.application(), name);
        if let TrackEvent::Object { id, .. } = event {
            seen.insert(id.name);
        }
    }
    let drift = tracker.drift(&name, &inventory);
    // Both changed it within one second, which is the precision of the server's times.
    assert!(drift[0].managers.contains(&"eve".to_owned()) && !drift[0].is_gone);
    assert_eq!((drift[1].id.name.as_str(), drift[1].is_gone), ("b", true));
    let applied = world
        .converge(&[config_map("a", "1"), config_map("b", "1")])
        .await
        .unwrap();
    assert_eq!((applied.summary.update, applied.summary.create), (1, 1));
    assert!(
        tracker.drift(&name, &applied.inventory).is_empty(),
        "the answers of the applies are known at once"
    );
}

/// Reports that an object is in progress until a time, and then that it is late. Nothing happens to the object in the meantime.
struct Deadline(std::time::Instant);

#[async_trait::async_trait]
impl Judge for Deadline {
    async fn assess(&self, _: &ApplicationName, _: &ObjectId, _: &Value, _: Millis) -> Assessment {
        let left = self.0.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Assessment::new(Status::Degraded, "late");
        }
        let mut assessment = Assessment::new(Status::Progressing, "on its way");
        assessment.recheck_after = Some(left);
        assessment
    }
}

#[tokio::test]
async fn a_deadline_that_passes_changes_the_verdict_without_an_event() {
    let mut world = World::new("deadline").await;
    let tracker = Tracker::new(
        &world.connection,
        Arc::new(Deadline(std::time::Instant::now() + Duration::from_secs(3))),
        TrackerOptions {
            application: Some(world.release.application.clone()),
            namespaces: None,
        },
    );
    world.cluster = world.cluster.clone().with_tracker(tracker.clone());
    world.converge(&[config_map("a", "1")]).await.unwrap();
    let name = world.release.application.clone();
    until_async("it is late", LIMIT, || async {
        let seen = tracker.snapshot(&name);
        let late = seen.values().any(|one| one.assessment.message == "late");
        Ok(if late {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_check_that_could_not_be_asked_is_asked_again_without_an_event() {
    let mut world = World::new("starved").await;
    let options = TrackerOptions {
        application: Some(world.release.application.clone()),
        namespaces: None,
    };
    let tracker = Tracker::new(&world.connection, Arc::new(Starved::default()), options);
    world.cluster = world.cluster.clone().with_tracker(tracker.clone());
    let applied = world.converge(&[config_map("a", "1")]).await.unwrap();
    let (name, cancel) = (&world.release.application, CancellationToken::new());
    let waited = tracker
        .wait(name, &ids(&applied.inventory), LIMIT, &cancel, &|_| {})
        .await;
    assert_eq!(waited, Waited::Healthy);
}

#[tokio::test]
async fn a_removed_label_counts_as_drift_and_is_put_back_with_nothing_else() {
    let mut world = World::new("label").await;
    let tracker = world.track();
    world.converge(&[deployment("web", 4)]).await.unwrap();
    // The count is taken out of git and left as it is: it has no other owner yet.
    let rule = json!({"ignore": [{"kind": "Deployment", "pointers": ["/spec/replicas"]}]});
    world.release.drift = serde_json::from_value(rule).unwrap();
    let mut web = deployment("web", 0);
    web["spec"].as_object_mut().unwrap().remove("replicas");
    let objects = [web];
    let inventory = world.converge(&objects).await.unwrap().inventory;
    world.kubectl(&["label", "deployment", "web", "pintle.dev/application-"]);
    until_async("the label's loss is seen", LIMIT, || async {
        let drift = tracker.drift(&world.release.application, &inventory);
        Ok(if drift.len() == 1 {
            Ok(())
        } else {
            Err(format!("{drift:?}"))
        })
    })
    .await
    .unwrap();
    let planned = world.plan(&objects, Depth::Local).await.unwrap();
    let [drifted] = &planned.drifted[..] else {
        panic!("{:?}", planned.drifted)
    };
    let fields: Vec<String> = drifted
        .fields
        .iter()
        .map(|field| field.pointer.to_string())
        .collect();
    assert!(!drifted.is_gone);
    assert_eq!(fields, ["/metadata/labels/pintle.dev~1application"]);
    let applied = world.converge(&objects).await.unwrap();
    assert_eq!((applied.summary.update, applied.summary.create), (1, 0));
    let live = world.live("deployment", "web").unwrap();
    assert_eq!(
        live["metadata"]["labels"]["pintle.dev/application"],
        world.release.application.label_value()
    );
    assert_eq!(live["spec"]["replicas"], 4, "not the default, which is 1");
}

#[tokio::test]
async fn waiting_ends_with_health_or_with_what_is_missing() {
    let mut world = World::new("health").await;
    let tracker = world.track();
    let cancel = CancellationToken::new();
    let name = world.release.application.clone();
    let applied = world.converge(&[deployment("web", 1)]).await.unwrap();
    let waited = tracker
        .wait(&name, &ids(&applied.inventory), LIMIT, &cancel, &|_| {})
        .await;
    assert_eq!(waited, Waited::Healthy);
    // No node has so many processors.
    let stuck = crate::world::with(
        deployment("web", 2),
        "/spec/template/spec/containers/0/resources/limits/cpu",
        serde_json::json!("100000"),
    );
    let applied = world.converge(&[stuck]).await.unwrap();
    let waited = tracker
        .wait(
            &name,
            &ids(&applied.inventory),
            Duration::from_millis(200),
            &cancel,
            &|_| {},
        )
        .await;
    let Waited::TimedOut(unsettled) = waited else {
        panic!("{waited:?}")
    };
    assert_eq!(
        (
            unsettled[0].id.name.as_str(),
            unsettled[0].assessment.status
        ),
        ("web", Status::Progressing)
    );
    cancel.cancel();
    let waited = tracker
        .wait(&name, &ids(&applied.inventory), LIMIT, &cancel, &|_| {})
        .await;
    assert_eq!(waited, Waited::Cancelled);
}

/// Reports that an object is degraded until it is repaired. Nothing happens to the object in the meantime.
#[derive(Default)]
struct Broken {
    is_mended: AtomicBool,
}

#[async_trait::async_trait]
impl Judge for Broken {
    async fn assess(&self, _: &ApplicationName, _: &ObjectId, _: &Value, _: Millis) -> Assessment {
        if self.is_mended.load(Ordering::Relaxed) {
            return Assessment::new(Status::Healthy, "");
        }
        let mut assessment = Assessment::new(Status::Degraded, "it is down");
        assessment.recheck_after = Some(Duration::from_millis(100));
        assessment
    }
}

#[tokio::test]
async fn waiting_ends_with_what_stays_degraded_and_not_with_what_was_so_at_first() {
    let mut world = World::new("broken").await;
    let judge = Arc::new(Broken::default());
    let options = TrackerOptions {
        application: Some(world.release.application.clone()),
        namespaces: None,
    };
    let tracker = Tracker::new(&world.connection, judge.clone(), options);
    world.cluster = world.cluster.clone().with_tracker(tracker.clone());
    let applied = world.converge(&[config_map("a", "1")]).await.unwrap();
    let (name, ids) = (&world.release.application, ids(&applied.inventory));
    let cancel = CancellationToken::new();

    // Long before the timeout.
    let waiting = tracker.wait(name, &ids, LIMIT * 10, &cancel, &|_| {});
    let waited = tokio::time::timeout(LIMIT, waiting).await.unwrap();
    let Waited::Failed(unsettled) = waited else {
        panic!("{waited:?}")
    };
    assert_eq!(unsettled[0].assessment.message, "it is down");

    let mend = |unsettled: &Arc<[Unsettled]>| {
        let mut said = unsettled.iter().map(|one| one.assessment.status);
        if said.any(|status| status == Status::Degraded) {
            judge.is_mended.store(true, Ordering::Relaxed);
        }
    };
    let waited = tracker.wait(name, &ids, LIMIT, &cancel, &mend).await;
    assert_eq!(waited, Waited::Healthy);
}

#[tokio::test]
async fn one_watch_serves_all_applications_and_those_that_come_late_miss_nothing() {
    let world = World::new("late").await;
    let mut other = World::with(
        world.plane,
        world.namespace.clone(),
        world.connection.clone(),
    );
    other.release.application.name = "late".into();
    world.converge(&[config_map("a", "1")]).await.unwrap();
    let inventory = other
        .converge(&[config_map("b", "1")])
        .await
        .unwrap()
        .inventory;
    let tracker = Tracker::new(
        &world.connection,
        Arc::new(SimpleJudge),
        TrackerOptions::default(),
    );
    let prepared = world.prepare(&[config_map("a", "1")]).await;
    let kinds = world.cluster.kinds_in_use(&prepared, &inventory);
    tracker.observe(&world.release, &kinds);
    tracker
        .synced(&world.release.application, LIMIT)
        .await
        .unwrap();
    let mark = world.plane.requests_mark().unwrap();
    tracker.observe(&other.release, &kinds);
    tracker
        .synced(&other.release.application, LIMIT)
        .await
        .unwrap();
    assert_eq!(tracker.open_watches(), 1);
    assert!(
        tracker
            .drift(&other.release.application, &inventory)
            .is_empty()
    );
    assert_eq!(tracker.snapshot(&other.release.application).len(), 1);
    assert_eq!(world.request_lines(mark), [""; 0]);
    // Once it was forgotten, the existing objects have to be requested.
    tracker.forget(&other.release.application);
    tracker.observe(&other.release, &kinds);
    tracker
        .synced(&other.release.application, LIMIT)
        .await
        .unwrap();
    assert_eq!(tracker.snapshot(&other.release.application).len(), 1);
    tracker.reassess(&other.release.application);
    tracker
        .synced(&other.release.application, LIMIT)
        .await
        .unwrap();
    assert_eq!(tracker.snapshot(&other.release.application).len(), 1);
}

#[tokio::test]
async fn who_may_see_only_one_namespace_watches_only_that() {
    let mut world = World::new("narrow").await;
    let options = TrackerOptions {
        application: Some(world.release.application.clone()),
        namespaces: Some([world.namespace.clone()].into()),
    };
    let kubeconfig = world
        .plane
        .service_account_kubeconfig(&world.namespace, "narrow")
        .unwrap();
    world.kubectl(&[
        "create",
        "rolebinding",
        "narrow",
        "--clusterrole=admin",
        &format!("--serviceaccount={}:narrow", world.namespace),
    ]);
    let connection = crate::world::connect(&kubeconfig).await;
    until_async("the rights take effect", LIMIT, || async {
        let store =
            pintle_cluster::ConfigMapStore::open(&connection, &world.release.application).await;
        Ok(store.map(drop).map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
    let tracker = Tracker::new(&connection, Arc::new(SimpleJudge), options);
    world = World::with(world.plane, world.namespace.clone(), connection);
    world.cluster = world.cluster.clone().with_tracker(tracker.clone());
    let applied = world.converge(&[config_map("a", "1")]).await.unwrap();
    assert_eq!(tracker.snapshot(&world.release.application).len(), 1);
    assert!(
        tracker
            .drift(&world.release.application, &applied.inventory)
            .is_empty()
    );
    assert_eq!(world.store().await.inventory().len(), 1);
}

#[tokio::test]
async fn an_object_that_is_given_to_another_application_is_lost_to_the_first() {
    let world = World::new("given").await;
    let applied = world.converge(&[config_map("a", "1")]).await.unwrap();
    let tracker = Tracker::new(
        &world.connection,
        Arc::new(SimpleJudge),
        TrackerOptions::default(),
    );
    let prepared = world.prepare(&[config_map("a", "1")]).await;
    let kinds = world.cluster.kinds_in_use(&prepared, &applied.inventory);
    tracker.observe(&world.release, &kinds);
    tracker
        .synced(&world.release.application, LIMIT)
        .await
        .unwrap();
    assert_eq!(tracker.snapshot(&world.release.application).len(), 1);
    world.kubectl(&[
        "label",
        "configmap",
        "a",
        "--overwrite",
        "pintle.dev/application=other.app",
    ]);
    until_async("the loss is seen", LIMIT, || async {
        let drift = tracker.drift(&world.release.application, &applied.inventory);
        Ok(if drift.len() == 1 && drift[0].is_gone {
            Ok(())
        } else {
            Err(format!("{drift:?}"))
        })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_object_that_another_application_takes_over_is_lost_to_the_first() {
    let world = World::new("taken").await;
    let objects = [config_map("a", "1")];
    let applied = world.converge(&objects).await.unwrap();
    let tracker = Tracker::new(
        &world.connection,
        Arc::new(SimpleJudge),
        TrackerOptions::default(),
    );
    let prepared = world.prepare(&objects).await;
    let kinds = world.cluster.kinds_in_use(&prepared, &applied.inventory);
    let name = &world.release.application;
    tracker.observe(&world.release, &kinds);
    tracker.synced(name, LIMIT).await.unwrap();
    let mut other = World::with(
        world.plane,
        world.namespace.clone(),
        world.connection.clone(),
    );
    other.release.application.name = "other".into();
    // Its fields go first, and then its label: in the end nothing on it names the first application.
    let moving = annotated(config_map("a", "2"), "pintle.dev/adopt", "allowed");
    other.converge(&[moving]).await.unwrap();
    until_async("the loss is seen", LIMIT, || async {
        let lost = tracker.out_of_sight(name, applied.inventory.managed());
        Ok(if lost.len() == 1 {
            Ok(())
        } else {
            Err(format!("{:?}", tracker.snapshot(name)))
        })
    })
    .await
    .unwrap();
}
