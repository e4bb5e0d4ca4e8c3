//! What others change, and which changes an application ignores.

use pintle_cluster::Leave;
use pintle_core::{drift::DriftSettings, plan::Depth};
use pintle_harness::until_async;
use serde_json::{Value, json};

use crate::world::{LIMIT, World, config_map, deployment, with};

fn ignoring(rule: Value) -> DriftSettings {
    serde_json::from_value(json!({"ignore": [rule]})).unwrap()
}

#[tokio::test]
async fn an_ignored_field_is_left_to_whoever_has_taken_it() {
    let mut world = World::new("ignored").await;
    world.release.drift = ignoring(json!({"kind": "Deployment", "pointers": ["/spec/replicas"]}));
    let tracker = world.track();
    let first = world.converge(&[deployment("web", 2)]).await.unwrap();
    world.edit_as(
        "scaler",
        "deployment",
        "web",
        &json!({"spec": {"replicas": 5}}),
    );
    let name = world.release.application.clone();
    until_async("the change is seen", LIMIT, || async {
        let live = world.live("deployment", "web").unwrap();
        let seen = tracker.snapshot(&name);
        let is_seen = seen
            .values()
            .any(|one| live["metadata"]["resourceVersion"] == *one.resource_version);
        Ok(if is_seen {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        })
    })
    .await
    .unwrap();
    assert!(tracker.drift(&name, &first.inventory).is_empty());
    let other = with(
        deployment("web", 3),
        "/spec/template/metadata/labels/more",
        json!("1"),
    );
    let applied = world.converge(std::slice::from_ref(&other)).await.unwrap();
    assert_eq!(applied.summary.update, 1);
    let live = world.live("deployment", "web").unwrap();
    assert_eq!(live["spec"]["replicas"], 5);
    assert_eq!(live["spec"]["template"]["metadata"]["labels"]["more"], "1");
    assert!(tracker.drift(&name, &applied.inventory).is_empty());

    // The application no longer owns it, and it need not be applied again.
    let mark = world.plane.requests_mark().unwrap();
    world.converge(&[other]).await.unwrap();
    let lines = world.request_lines(mark);
    assert!(
        !lines.iter().any(|line| line.contains("deployments")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn an_ignored_field_that_leaves_the_source_keeps_its_value() {
    let mut world = World::new("handover").await;
    world.converge(&[deployment("web", 4)]).await.unwrap();
    world.release.drift = ignoring(json!({"group": "apps", "pointers": ["/spec/replicas"]}));
    let mut without = with(
        deployment("web", 0),
        "/spec/template/metadata/labels/more",
        json!("1"),
    );
    without["spec"].as_object_mut().unwrap().remove("replicas");
    world.converge(&[without]).await.unwrap();
    let live = world.live("deployment", "web").unwrap();
    assert_eq!(live["spec"]["replicas"], 4, "not the default, which is 1");
}

#[tokio::test]
async fn what_an_ignored_manager_takes_is_recorded_and_nothing_else() {
    let mut world = World::new("managers").await;
    world.release.drift = ignoring(json!({"managers": ["robot-*"]}));
    let objects = [config_map("a", "1"), config_map("b", "1")];
    let before = world.converge(&objects).await.unwrap().inventory;
    let two = json!({"data": {"key": "2"}});
    world.edit_as("robot-7", "configmap", "a", &two);
    let applied = world.converge(&objects).await.unwrap();
    assert_eq!((applied.summary.update, applied.summary.unchanged), (0, 2));
    assert_ne!(applied.inventory, before, "a is recorded as it is now");
    world.edit_as("eve", "configmap", "b", &two);
    let applied = world.converge(&objects).await.unwrap();
    assert_eq!(applied.summary.update, 1, "eve is no robot");
    let key = |name: &str| world.live("configmap", name).unwrap()["data"]["key"].clone();
    assert_eq!((key("a"), key("b")), (json!("2"), json!("1")));
}

#[tokio::test]
async fn drift_that_is_left_is_told_with_who_and_what_and_put_right_when_asked() {
    let mut world = World::new("left").await;
    let objects = [config_map("a", "1"), config_map("b", "1")];
    world.converge(&objects).await.unwrap();
    world.edit_as("eve", "configmap", "a", &json!({"data": {"key": "2"}}));
    world.kubectl(&["delete", "configmap", "b"]);
    world.release.leaves = Leave::Everything;
    let planned = world.plan(&objects, Depth::Local).await.unwrap();
    let [edited, deleted] = &planned.drifted[..] else {
        panic!("{:?}", planned.drifted)
    };
    assert_eq!(edited.managers(), ["eve"]);
    assert_eq!(edited.fields[0].pointer.to_string(), "/data/key");
    assert!(edited.time().is_some() && edited.is_left);
    assert!(deleted.is_gone && deleted.is_left);
    assert!(planned.plan.is_empty());
    let mark = world.plane.requests_mark().unwrap();
    world.converge(&objects).await.unwrap();
    let lines = world.request_lines(mark);
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with("patch configmaps/a")),
        "{lines:?}"
    );

    // A change in the source writes the object, and everything in it.
    let changed = with(config_map("a", "1"), "/data/more", json!("x"));
    let applied = world
        .converge(&[changed.clone(), config_map("b", "1")])
        .await
        .unwrap();
    assert_eq!((applied.summary.update, applied.summary.create), (1, 0));
    assert_eq!(world.live("configmap", "a").unwrap()["data"]["key"], "1");

    world.release.leaves = Leave::Nothing;
    let applied = world
        .converge(&[changed, config_map("b", "1")])
        .await
        .unwrap();
    assert_eq!(applied.summary.create, 1);
}

#[tokio::test]
async fn what_left_the_source_and_stays_is_let_be_and_forgotten_when_it_is_gone() {
    let mut world = World::new("leavers").await;
    world.release.prune.enabled = false;
    let tracker = world.track();
    let name = world.release.application.clone();
    let objects = ["gone", "rest", "stays"].map(|name| config_map(name, "1"));
    world.converge(&objects).await.unwrap();
    let rest = &objects[1..2];
    let kept = world.converge(rest).await.unwrap().inventory;
    assert_eq!((kept.managed().count(), kept.left().count()), (1, 2));

    let two = json!({"data": {"key": "2"}});
    world.edit_as("eve", "configmap", "stays", &two);
    // One watch reports both, in this order.
    world.kubectl(&["delete", "configmap", "gone"]);
    until_async("it is seen to be gone", LIMIT, || async {
        let gone = tracker.out_of_sight(&name, kept.left());
        Ok(if gone.len() == 1 {
            Ok(())
        } else {
            Err(format!("{gone:?}"))
        })
    })
    .await
    .unwrap();
    assert_eq!(tracker.drift(&name, &kept), []);
    let mark = world.plane.requests_mark().unwrap();
    let applied = world.converge(rest).await.unwrap();
    let expected = [
        "get configmaps/gone",
        "get configmaps/pintle-inventory.web",
        "update configmaps/pintle-inventory.web",
    ];
    assert_eq!(world.request_lines(mark), expected);
    let left: Vec<String> = applied.inventory.left().map(|id| id.name.clone()).collect();
    assert_eq!(left, ["stays"]);

    // When it returns to the source it is applied, whatever its state: that is not drift.
    world.release.leaves = Leave::Everything;
    let applied = world.converge(&objects[1..]).await.unwrap();
    assert_eq!(applied.summary.update, 1);
    assert_eq!(applied.inventory.left().count(), 0);
    let live = world.live("configmap", "stays").unwrap();
    assert_eq!(live["data"]["key"], "1");
}
