//! Objects that are created, changed, left alone, deleted or kept.

use pintle_cluster::{Silent, Step};
use pintle_core::{
    names::APPLICATION_LABEL,
    plan::{Action, Depth},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{World, annotated, application, config_map, deployment, rendered, with};

fn actions(planned: &pintle_cluster::Planned) -> Vec<(Action, String)> {
    planned
        .plan
        .changes()
        .iter()
        .map(|change| (change.action, change.id.name.clone()))
        .collect()
}

#[tokio::test]
async fn a_first_convergence_costs_one_apply_for_each_object_and_two_writes_of_the_inventory() {
    let mut world = World::new("first").await;
    world.track();
    let mark = world.plane.requests_mark().unwrap();
    let applied = world.converge(&application()).await.unwrap();
    assert_eq!(applied.summary.create, 4);
    assert!(
        applied
            .inventory
            .entries()
            .all(|e| e.uid.is_some() && e.desired.is_some() && e.stored.is_some())
    );
    let expected = [
        "create configmaps/pintle-inventory.web",
        "get configmaps/pintle-inventory.web",
        "patch deployments/web",
        "patch ingresses/web",
        "patch serviceaccounts/web",
        "patch services/web",
        "update configmaps/pintle-inventory.web",
    ];
    assert_eq!(world.request_lines(mark), expected);
    let service = world.live("service", "web").unwrap();
    assert_eq!(
        service["metadata"]["labels"][APPLICATION_LABEL],
        world.release.application.label_value()
    );
}

#[tokio::test]
async fn what_is_as_it_was_applied_costs_no_request() {
    let mut world = World::new("same").await;
    let tracker = world.track();
    world.converge(&application()).await.unwrap();
    let mut store = world.store().await;
    let mark = world.plane.requests_mark().unwrap();
    let applied = world.converge_in(&application(), &mut store).await.unwrap();
    assert_eq!(applied.summary.unchanged, 4);
    assert_eq!(world.request_lines(mark), [""; 0]);
    assert_eq!(
        tracker.drift(&world.release.application, &applied.inventory),
        []
    );
}

#[tokio::test]
async fn without_watches_each_object_is_read_and_none_written() {
    let world = World::new("unwatched").await;
    world.converge(&application()).await.unwrap();
    for depth in [Depth::Local, Depth::Server] {
        let mark = world.plane.requests_mark().unwrap();
        assert!(
            world
                .plan(&application(), depth)
                .await
                .unwrap()
                .plan
                .is_empty()
        );
        let requests = world.requests(mark);
        assert!(
            requests.iter().all(|request| request.verb == "get") && requests.len() == 5,
            "{requests:?}"
        );
    }
}

#[tokio::test]
async fn a_change_shows_the_field_and_costs_one_read_and_one_apply() {
    let mut world = World::new("change").await;
    world.track();
    world.converge(&application()).await.unwrap();
    let mut changed = application();
    changed[2] = with(
        deployment("web", 0),
        "/spec/template/spec/containers/0/image",
        json!("main:2"),
    );
    for depth in [Depth::Local, Depth::Server] {
        let planned = world.plan(&changed, depth).await.unwrap();
        let update = planned
            .plan
            .changes()
            .iter()
            .find(|change| change.action == Action::Update)
            .unwrap();
        let differences = update.differences(&world.release.seed);
        let pointers: Vec<&str> = differences
            .iter()
            .map(|difference| difference.pointer.as_str())
            .collect();
        let expected: &[&str] = match depth {
            // Only the server knows how it normalises a value.
            Depth::Local => &[
                "/spec/template/spec/containers/0/image",
                "/spec/template/spec/containers/0/resources/limits/cpu",
            ],
            Depth::Server => &["/spec/template/spec/containers/0/image"],
        };
        assert_eq!(pointers, expected);
        assert_eq!(
            (&differences[0].before, &differences[0].after),
            (&Some(json!("main:1")), &Some(json!("main:2")))
        );
    }
    let mut store = world.store().await;
    let mark = world.plane.requests_mark().unwrap();
    world.converge_in(&changed, &mut store).await.unwrap();
    let expected = [
        "get deployments/web",
        "patch deployments/web",
        "update configmaps/pintle-inventory.web",
    ];
    assert_eq!(world.request_lines(mark), expected);
}

#[tokio::test]
async fn a_server_plan_writes_nothing_and_sees_what_the_server_would_say() {
    let world = World::new("dry").await;
    let mark = world.plane.requests_mark().unwrap();
    let planned = world.plan(&application(), Depth::Server).await.unwrap();
    assert_eq!(planned.plan.summary().create, 4);
    assert!(
        world
            .requests(mark)
            .iter()
            .all(|r| !r.is_write() || r.uri.contains("dryRun=All"))
    );
    assert_eq!(world.live("deployment", "web"), None);
    let wrong = with(deployment("web", 0), "/spec/replicaz", json!(1));
    let error = world
        .plan(&[wrong], Depth::Server)
        .await
        .unwrap_err()
        .to_string();
    let expected = format!(
        "all.yaml:1:1: Deployment.apps {}/web: it is not valid: spec.replicaz: field not declared in schema",
        world.namespace
    );
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_plan_within_a_namespace_that_it_brings_needs_no_server() {
    let world = World::new("brought").await;
    let name = format!("{}-new", world.namespace);
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        with(config_map("a", "1"), "/metadata/namespace", json!(name)),
    ];
    assert_eq!(
        world
            .plan(&objects, Depth::Server)
            .await
            .unwrap()
            .plan
            .summary()
            .create,
        2
    );
    world.converge(&objects).await.unwrap();
    assert!(
        world
            .plane
            .kubectl(&["get", "configmap", "a", "-n", &name])
            .is_ok()
    );
}

#[tokio::test]
async fn a_missing_namespace_is_named() {
    let world = World::new("missing").await;
    let objects = [with(
        config_map("a", "1"),
        "/metadata/namespace",
        json!("does-not-exist"),
    )];
    let error = world.converge(&objects).await.unwrap_err().to_string();
    insta::assert_snapshot!(error, @"all.yaml:1:1: ConfigMap does-not-exist/a: the namespace does-not-exist does not exist: add a Namespace to the source, or create it");
    assert!(
        world.store().await.inventory().is_empty(),
        "nothing was made, so nothing is recorded"
    );
}

use pintle_cluster::InventoryStore as _;

#[tokio::test]
async fn what_leaves_the_source_is_deleted_unless_it_asks_to_stay() {
    let world = World::new("prune").await;
    let objects = [
        config_map("goes", "1"),
        annotated(config_map("stays", "1"), "pintle.dev/prune", "disabled"),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        config_map("rest", "1"),
    ];
    world.converge(&objects).await.unwrap();
    let planned = world.plan(&objects[3..], Depth::Local).await.unwrap();
    assert_eq!(
        actions(&planned),
        [
            (Action::Delete, "goes".into()),
            (Action::Unchanged, "rest".into())
        ]
    );
    let kept: Vec<&str> = planned
        .kept
        .iter()
        .map(|kept| kept.id.name.as_str())
        .collect();
    assert_eq!(kept, ["stays", "data"]);
    let applied = world.converge(&objects[3..]).await.unwrap();
    assert_eq!(world.live("configmap", "goes"), None);
    assert!(world.live("configmap", "stays").is_some() && world.live("pvc", "data").is_some());
    assert_eq!(applied.inventory.len(), 3, "what stays is still known");
}

#[tokio::test]
async fn an_object_that_another_application_took_over_is_not_deleted() {
    let world = World::new("handed").await;
    world
        .converge(&[config_map("moved", "1"), config_map("rest", "1")])
        .await
        .unwrap();
    world.kubectl(&[
        "label",
        "configmap",
        "moved",
        "--overwrite",
        &format!("{APPLICATION_LABEL}=other.app"),
    ]);
    let applied = world.converge(&[config_map("rest", "1")]).await.unwrap();
    assert!(world.live("configmap", "moved").is_some());
    assert_eq!(applied.inventory.len(), 1);
}

#[tokio::test]
async fn an_object_that_somebody_made_again_is_not_deleted() {
    let world = World::new("again").await;
    world
        .converge(&[config_map("made", "1"), config_map("rest", "1")])
        .await
        .unwrap();
    world.kubectl(&["delete", "configmap", "made"]);
    world.kubectl(&["create", "configmap", "made", "--from-literal=theirs=1"]);
    world.converge(&[config_map("rest", "1")]).await.unwrap();
    assert_eq!(
        world.live("configmap", "made").unwrap()["data"],
        json!({"theirs": "1"})
    );
}

#[tokio::test]
async fn losing_most_objects_waits_for_a_confirmation_of_just_that() {
    let mut world = World::new("many").await;
    let objects: Vec<Value> = (0..10).map(|n| config_map(&format!("c{n}"), "1")).collect();
    world.converge(&objects).await.unwrap();
    let error = world.plan(&objects[..4], Depth::Local).await.unwrap_err();
    let pintle_cluster::ClusterError::Failed(pintle_cluster::PlanError::TooManyDeletions(refused)) =
        error
    else {
        panic!("{error}");
    };
    assert_eq!((refused.deletions.len(), refused.total), (6, 10));
    world.release.confirmed_deletions = Some(refused.confirmation);
    assert_eq!(
        world.converge(&objects[..4]).await.unwrap().inventory.len(),
        4
    );
}

#[tokio::test]
async fn what_is_left_of_confirmed_deletions_when_a_run_is_stopped_is_not_asked_about_again() {
    let mut world = World::new("interrupted").await;
    let objects: Vec<Value> = (0..40).map(|n| config_map(&format!("c{n}"), "1")).collect();
    world.converge(&objects).await.unwrap();
    let few = &objects[..4];
    let refused = world.plan(few, Depth::Local).await.unwrap_err();
    let pintle_cluster::ClusterError::Failed(pintle_cluster::PlanError::TooManyDeletions(refused)) =
        refused
    else {
        panic!("{refused}");
    };
    world.release.confirmed_deletions = Some(refused.confirmation);
    let is_end = |step: &Step<'_>| matches!(step, Step::Deleted { .. });
    let stopped = world.converge_until(&rendered(few), is_end).await;
    assert!(stopped.is_err());
    let left = world.store().await.inventory().len();
    assert!((10..40).contains(&left), "{left}");
    assert_eq!(world.converge(few).await.unwrap().inventory.len(), 4);
}

#[tokio::test]
async fn an_application_is_removed_as_a_whole() {
    let mut world = World::new("removed").await;
    let objects: Vec<Value> = (0..10).map(|n| config_map(&format!("c{n}"), "1")).collect();
    world.converge(&objects).await.unwrap();
    world.release = world.release.clone().for_removal();
    let applied = world.converge(&[]).await.unwrap();
    assert!(applied.inventory.is_empty());
    world.store().await.remove().await.unwrap();
    let left = world.kubectl(&["get", "configmaps", "-o", "name"]);
    assert_eq!(left.trim(), "configmap/kube-root-ca.crt");
}

#[tokio::test]
async fn one_invalid_object_does_not_stop_the_others_of_its_wave_and_what_is_there_is_recorded() {
    let world = World::new("partial").await;
    let bad = with(deployment("bad", 1), "/spec/replicas", json!(-1));
    let error = world
        .converge(&[config_map("early", "1"), bad, deployment("good", 0)])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("/bad: it is not valid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"), "{error}");
    assert!(world.live("deployment", "good").is_some());
    let names: Vec<String> = world
        .store()
        .await
        .inventory()
        .entries()
        .map(|entry| entry.name.clone())
        .collect();
    assert_eq!(names, ["early", "good"]);
}

#[tokio::test]
async fn secrets_are_applied_and_nothing_of_them_is_shown() {
    let world = World::new("secret").await;
    let secret = |text: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": text}});
    world.converge(&[secret("hunter2")]).await.unwrap();
    assert_eq!(
        world.live("secret", "s").unwrap()["data"]["password"],
        "aHVudGVyMg=="
    );
    assert!(
        world
            .plan(&[secret("hunter2")], Depth::Server)
            .await
            .unwrap()
            .plan
            .is_empty()
    );
    let planned = world
        .plan(&[secret("hunter3")], Depth::Server)
        .await
        .unwrap();
    let shown =
        serde_json::to_string(&planned.plan.changes()[0].differences(&world.release.seed)).unwrap();
    assert!(
        shown.contains("/data/password") && !shown.contains("aHVudGVyM"),
        "{shown}"
    );
    let inventory = world
        .live("configmap", "pintle-inventory.web")
        .unwrap()
        .to_string();
    assert!(!inventory.contains("hunter") && !inventory.contains("aHVudGVyM"));
}

#[tokio::test]
async fn what_a_secret_must_not_hold_is_refused_and_not_shown() {
    let world = World::new("secret-odd").await;
    let secret = |field: &str, value: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, field: value});
    let number = rendered(&[secret("stringData", json!({"a": 1234}))]);
    let prepared = world.cluster.prepare(&number, &world.release).await;
    let error = prepared.unwrap_err().to_string();
    assert!(error.contains("stringData.a is a number"), "{error}");
    // What is not checked here is left to the server, which quotes it.
    for text in [
        secret("data", json!("hunter2")),
        secret("type", json!({"a": "hunter2"})),
    ] {
        let error = world.converge(&[text]).await.unwrap_err().to_string();
        assert!(error.contains("it is not valid: "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_begun_after_a_cancellation() {
    let world = World::new("cancel").await;
    let prepared = world.prepare(&application()).await;
    let mut store = world.store().await;
    let planned = world
        .cluster
        .plan(&world.release, &prepared, store.inventory(), Depth::Local)
        .await
        .unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = world
        .apply(&prepared, &planned, &mut store, &Silent, &cancel)
        .await
        .unwrap_err();
    let pintle_cluster::ClusterError::Failed(error) = error else {
        panic!("{error}")
    };
    assert!(error.cancelled && error.inventory.is_empty());
    assert_eq!(world.live("deployment", "web"), None);
}

/// The server writes the account's name into a second, deprecated field, which no one applied.
#[tokio::test]
async fn an_account_that_leaves_the_source_leaves_the_pods() {
    const NAME: &str = "/spec/template/spec/serviceAccountName";
    const DEPRECATED: &str = "/spec/template/spec/serviceAccount";
    let mut world = World::new("account").await;
    world.track();
    let account = |name: &str| with(deployment("web", 0), NAME, json!(name));
    let found = || {
        let live = world.live("deployment", "web").unwrap();
        [NAME, DEPRECATED].map(|field| live.pointer(field).cloned())
    };
    world.converge(&[account("shop")]).await.unwrap();
    assert_eq!(found(), [Some(json!("shop")), Some(json!("shop"))]);
    for depth in [Depth::Local, Depth::Server] {
        let planned = world.plan(&[deployment("web", 0)], depth).await.unwrap();
        assert_eq!(actions(&planned), [(Action::Update, "web".into())]);
    }
    world.converge(&[deployment("web", 0)]).await.unwrap();
    assert_eq!(found(), [None, None]);
    let again = world.converge(&[deployment("web", 0)]).await.unwrap();
    assert_eq!(again.summary.unchanged, 1);
    world.converge(&[account("other")]).await.unwrap();
    assert_eq!(found(), [Some(json!("other")), Some(json!("other"))]);
}
