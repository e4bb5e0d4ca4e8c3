//! The time that a stopped run has waited counts for the next run.

use std::time::{Duration, Instant};

use pintle_cluster::{Applied, ApplyError, ClusterError, Step, Waits};
use pintle_core::{duration::Span, hook::HookEvent, object::ObjectId, rendered::Rendered};
use serde_json::json;

use crate::{
    hooks::{Rendering, as_it_is, job},
    world::{World, annotated, config_map, deployment, rendered, with},
};

/// Longer than any test may take.
const HOUR: Duration = Duration::from_hours(1);

fn is_wait(step: &Step<'_>) -> bool {
    matches!(step, Step::Settling { .. } | Step::Waiting { .. })
}

fn failed(result: Result<Applied, ClusterError<ApplyError>>) -> ApplyError {
    let Err(ClusterError::Failed(error)) = result else {
        panic!("it was applied, or could not be tried")
    };
    error
}

/// Stops a run while it waits for an object, and returns how the next one ends if that was an hour ago.
async fn next_ends(prefix: &str, group: &str, kind: &str, all: &Rendered) -> String {
    let mut world = World::new(prefix).await;
    world.track();
    world.release.hook_timeout = Span::seconds(HOUR.as_secs());
    let stopped = world.converge_until(all, is_wait).await;
    assert!(failed(stopped).cancelled);

    let id = ObjectId {
        group: group.into(),
        kind: kind.into(),
        namespace: Some(world.namespace.clone()),
        name: "web".into(),
    };
    world.release.waits = Waits::default();
    let begun = Instant::now().checked_sub(HOUR).unwrap();
    world.release.waits.left_for(&id, HOUR, begun);
    let uid = |world: &World| world.live(kind, "web").unwrap()["metadata"]["uid"].clone();
    let before = uid(&world);
    let error = failed(world.converge_until(all, |_| false).await);
    assert_eq!(uid(&world), before, "it is the same that was waited for");
    // It is retried, and the retry has its own time.
    let next = world.release.waits.left_for(&id, HOUR, Instant::now());
    assert_eq!(next, HOUR);
    error.to_string()
}

#[tokio::test]
async fn an_object_that_others_come_after_has_what_is_left_of_its_time() {
    let stuck = with(
        deployment("web", 1),
        "/spec/template/metadata/labels/testing.pintle.dev~1pod",
        json!("never-ready"),
    );
    let later = annotated(config_map("later", "1"), "pintle.dev/wave", "1");
    let all = rendered(&[stuck, later]);
    let said = next_ends("waits-wave", "apps", "Deployment", &all).await;
    assert!(said.contains("and it is not after 1h"), "{said}");
}

#[tokio::test]
async fn a_hook_has_what_is_left_of_its_time() {
    let job = job("web", "image-pull-backoff");
    let all = Rendering::new().hook(job, &[HookEvent::PreInstall], as_it_is);
    let said = next_ends("waits-hook", "batch", "Job", &all.finish()).await;
    assert!(said.contains("it has not ended after 1h"), "{said}");
}

#[tokio::test]
async fn what_was_deleted_is_waited_for_by_the_next_run_too_before_what_it_depends_on_goes() {
    let mut world = World::new("waits-gone").await;
    let first = config_map("first", "1");
    let second = config_map("second", "1");
    let second = annotated(second, "pintle.dev/depends-on", "ConfigMap/first");
    world.converge(&[first, second]).await.unwrap();
    world.hold("configmap", "second");
    world.release.hook_timeout = Span::seconds(HOUR.as_secs());
    let stopped = failed(world.converge_until(&rendered(&[]), is_wait).await);
    assert!(stopped.cancelled && stopped.failures.is_empty());
    let names = |error: &ApplyError| {
        let entries = error.inventory.entries();
        entries.map(|entry| entry.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&stopped), ["first", "second"]);

    world.release.hook_timeout = Span::seconds(1);
    let late = failed(world.converge(&[]).await);
    assert!(
        late.to_string().contains("and did not go in time"),
        "{late}"
    );
    assert_eq!(names(&late), ["first", "second"]);
    assert!(world.live("configmap", "first").is_some());

    world.let_go("configmap", "second");
    let applied = world.converge(&[]).await.unwrap();
    assert!(applied.inventory.is_empty());
    assert!(world.live("configmap", "first").is_none());
}
