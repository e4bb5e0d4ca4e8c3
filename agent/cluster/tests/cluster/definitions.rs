//! Custom resources and their definitions.

use std::sync::Arc;

use async_trait::async_trait;
use pintle_cluster::{
    InventoryStore as _, Judge, KindHint, Tracker, TrackerOptions, Urgency, Waited,
};
use pintle_core::{
    health::{Assessment, Status},
    inventory::Entry,
    machine::Millis,
    names::ApplicationName,
    object::ObjectId,
    plan::Depth,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    faults::behind_proxy,
    world::{LIMIT, SimpleJudge, World, annotated, config_map, with},
};

/// Returns the definition of a kind of this test's own, because definitions belong to the whole cluster.
pub(crate) fn definition(world: &World) -> Value {
    let group = group(world);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}
            }}}],
        },
    })
}

/// Returns the definition of the same kind at several versions, each served or not. The first is the stored one.
pub(crate) fn definition_at(world: &World, versions: &[(&str, bool)]) -> Value {
    let mut definition = definition(world);
    let schema = definition["spec"]["versions"][0]["schema"].clone();
    let stored = versions[0].0;
    let version = |(name, served): &(&str, bool)| {
        let is_stored = *name == stored;
        json!({"name": name, "served": served, "storage": is_stored, "schema": schema})
    };
    definition["spec"]["versions"] = versions.iter().map(version).collect();
    definition
}

pub(crate) fn group(world: &World) -> String {
    format!("{}.example.com", world.namespace)
}

pub(crate) fn widget(world: &World, name: &str) -> Value {
    json!({"apiVersion": format!("{}/v1", group(world)), "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 1}})
}

pub(crate) fn widget_at(world: &World, version: &str, name: &str) -> Value {
    let mut widget = widget(world, name);
    widget["apiVersion"] = json!(format!("{}/{version}", group(world)));
    widget
}

pub(crate) fn widgets(world: &World) -> String {
    format!("widgets.{}", group(world))
}

/// Returns a world that works on the same release as another process would.
fn another(world: &World) -> World {
    World::with(
        world.plane,
        world.namespace.clone(),
        world.connection.clone(),
    )
}

/// Applies objects as soon as their definition is served.
pub(crate) async fn apply_when_served(world: &World, objects: &[Value]) {
    let applied = || async {
        let prepared = world
            .cluster
            .prepare(&crate::world::rendered(objects), &world.release)
            .await;
        if let Err(error) = prepared {
            return Ok(Err(error.to_string()));
        }
        let applied = world.converge(objects).await;
        Ok(applied.map(drop).map_err(|error| error.to_string()))
    };
    pintle_harness::until_async("the objects are applied", LIMIT, applied)
        .await
        .unwrap();
}

/// Waits until the API server refuses a path for a reason.
pub(crate) fn until_refused(world: &World, path: &str, reason: &str) {
    pintle_harness::until(&format!("{path} is refused as {reason}"), LIMIT, || {
        let said = match world.plane.kubectl(&["get", "--raw", path]) {
            Ok(_) => "it is served".to_owned(),
            Err(error) => error.to_string(),
        };
        Ok(if said.contains(reason) {
            Ok(())
        } else {
            Err(said)
        })
    })
    .unwrap();
}

#[tokio::test]
async fn a_definition_and_its_objects_are_applied_in_one_go() {
    let world = World::new("crd").await;
    let objects = [
        widget(&world, "w"),
        definition(&world),
        config_map("a", "1"),
    ];
    for depth in [Depth::Local, Depth::Server] {
        assert_eq!(
            world
                .plan(&objects, depth)
                .await
                .unwrap()
                .plan
                .summary()
                .create,
            3
        );
    }
    world.converge(&objects).await.unwrap();
    assert!(
        world
            .live(&format!("widgets.{}", group(&world)), "w")
            .is_some()
    );
    assert!(
        world
            .plan(&objects, Depth::Local)
            .await
            .unwrap()
            .plan
            .is_empty()
    );
    // Another process, which has not seen the definition being created.
    let other = World::with(
        world.plane,
        world.namespace.clone(),
        world.connection.clone(),
    );
    assert!(
        other
            .plan(&objects, Depth::Server)
            .await
            .unwrap()
            .plan
            .is_empty()
    );
}

/// Reports widgets as healthy at a size of 2, and everything else at once.
struct BySize;

#[async_trait]
impl Judge for BySize {
    async fn assess(
        &self,
        _: &ApplicationName,
        id: &ObjectId,
        object: &Value,
        _: Millis,
    ) -> Assessment {
        if id.kind == "Widget" && object["spec"]["size"] != 2 {
            return Assessment::new(Status::Progressing, "it grows");
        }
        Assessment::new(Status::Healthy, "")
    }
}

#[tokio::test]
async fn objects_are_watched_when_their_definition_has_come_and_not_before() {
    let (mut world, proxy) = behind_proxy("crd-watched").await;
    let options = TrackerOptions {
        application: Some(world.release.application.clone()),
        namespaces: None,
    };
    let tracker = Tracker::new(&world.connection, Arc::new(BySize), options);
    world.cluster = world.cluster.clone().with_tracker(tracker);
    let after = format!("{}/Widget/w", group(&world));
    let objects = [
        definition(&world),
        widget(&world, "w"),
        annotated(config_map("later", "1"), "pintle.dev/depends-on", &after),
    ];
    let widgets = widgets(&world);
    let growing = async {
        pintle_harness::until_async("the widget is there", LIMIT, || async {
            let args = ["get", &widgets, "w", "-n", &world.namespace];
            let found = world.plane.kubectl(&args);
            Ok(found.map(drop).map_err(|error| error.to_string()))
        })
        .await
        .unwrap();
        world.edit(&widgets, "w", &json!({"spec": {"size": 2}}));
    };
    // Watches that are opened for an unserved kind would not have reported everything before planning.
    let (applied, ()) = tokio::join!(world.converge(&objects), growing);
    assert_eq!(applied.unwrap().summary.create, 3);
    let seen = proxy.seen();
    let watch = format!("/apis/{}/v1/", group(&world));
    let is_watch = |uri: &str| uri.contains(&watch) && uri.contains("watch=");
    let made = seen
        .iter()
        .position(|one| one.method == "PATCH" && one.uri.contains("/customresourcedefinitions/"));
    let watched = seen.iter().position(|one| is_watch(&one.uri));
    assert!(made.is_some() && made < watched, "{made:?} {watched:?}");
}

#[tokio::test]
async fn a_definition_goes_with_its_objects_but_not_while_others_have_some() {
    let world = World::new("crd-gone").await;
    let objects = [
        widget(&world, "ours"),
        definition(&world),
        config_map("a", "1"),
    ];
    world.converge(&objects).await.unwrap();
    let theirs = serde_json::to_string(&crate::world::with(
        widget(&world, "theirs"),
        "/metadata/namespace",
        json!(world.namespace),
    ));
    world.plane.apply(&theirs.unwrap()).unwrap();
    let planned = world.plan(&objects[2..], Depth::Local).await.unwrap();
    assert_eq!(planned.plan.summary().delete, 1);
    assert_eq!(planned.kept.len(), 1);
    insta::assert_snapshot!(planned.kept[0].reason, @"deleting a CustomResourceDefinition destroys what depends on it: allow it with `prune.allowKinds: [CustomResourceDefinition]` or the annotation pintle.dev/prune=allowed");
    world.kubectl(&["delete", &format!("widgets.{}", group(&world)), "theirs"]);
    let planned = world.plan(&objects[2..], Depth::Local).await.unwrap();
    assert_eq!((planned.plan.summary().delete, planned.kept.len()), (2, 0));
    let applied = world.converge(&objects[2..]).await.unwrap();
    assert_eq!(applied.inventory.len(), 1);
}

#[tokio::test]
async fn a_definition_that_may_go_takes_its_objects_with_it() {
    let world = World::new("crd-allowed").await;
    let crd = annotated(definition(&world), "pintle.dev/prune", "allowed");
    world
        .converge(&[widget(&world, "ours"), crd, config_map("a", "1")])
        .await
        .unwrap();
    let applied = world.converge(&[config_map("a", "1")]).await.unwrap();
    assert_eq!(applied.inventory.len(), 1);
}

#[tokio::test]
async fn a_definition_stays_with_the_object_that_does() {
    let mut world = World::new("crd-held").await;
    let crd = annotated(definition(&world), "pintle.dev/prune", "allowed");
    let stays = annotated(widget(&world, "stays"), "pintle.dev/prune", "disabled");
    let rest = config_map("a", "1");
    let all = [crd, stays, widget(&world, "goes"), rest.clone()];
    world.converge(&all).await.unwrap();
    let only = std::slice::from_ref(&rest);
    let planned = world.plan(only, Depth::Local).await.unwrap();
    let held = planned.kept.last().unwrap();
    assert_eq!(held.id.kind, "CustomResourceDefinition");
    let expected = format!(
        "deleting it would take Widget.{} {}/stays with it, which stays",
        group(&world),
        world.namespace
    );
    assert_eq!(held.reason, expected);
    let applied = world.converge(only).await.unwrap();
    assert_eq!(applied.inventory.len(), 3);
    let is_there = |world: &World, name: &str| world.live(&widgets(world), name).is_some();
    assert!(is_there(&world, "stays") && !is_there(&world, "goes"));
    world.release = world.release.clone().for_removal();
    let applied = world.converge(&[]).await.unwrap();
    assert_eq!(applied.inventory.len(), 2);
    assert!(is_there(&world, "stays"));
}

#[tokio::test]
async fn an_unknown_kind_waits_for_its_definition() {
    let world = World::new("unknown").await;
    let objects = [widget(&world, "w")];
    let error = world
        .cluster
        .prepare(&crate::world::rendered(&objects), &world.release)
        .await
        .unwrap_err();
    assert!(error.is_retryable());
    let expected = format!(
        "all.yaml:1:1: Widget.{0} w: the API server has no kind Widget in {0}/v1: is its CRD installed?",
        group(&world)
    );
    assert!(
        error
            .to_string()
            .starts_with(expected.trim_end_matches('?')),
        "{error}"
    );
    world.plane.apply(&definition(&world).to_string()).unwrap();
    pintle_harness::until_async("the kind is found", crate::world::LIMIT, || async {
        let prepared = world
            .cluster
            .prepare(&crate::world::rendered(&objects), &world.release)
            .await;
        Ok(prepared.map(drop).map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
    pintle_harness::until_async("the object is applied", crate::world::LIMIT, || async {
        Ok(world
            .converge(&objects)
            .await
            .map(drop)
            .map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn objects_whose_definition_somebody_deleted_are_gone() {
    let world = World::new("crd-deleted").await;
    world
        .converge(&[
            widget(&world, "w"),
            definition(&world),
            config_map("a", "1"),
        ])
        .await
        .unwrap();
    world
        .plane
        .kubectl(&["delete", "crd", &format!("widgets.{}", group(&world))])
        .unwrap();
    let other = World::with(
        world.plane,
        world.namespace.clone(),
        world.connection.clone(),
    );
    pintle_harness::until_async(
        "the kind is not served any more",
        crate::world::LIMIT,
        || async {
            let api_versions = other.cluster.discovery().refresh().await?.api_versions();
            let served = api_versions
                .iter()
                .any(|version| version.starts_with(&group(&world)));
            Ok(if served {
                Err("still served".to_owned())
            } else {
                Ok(())
            })
        },
    )
    .await
    .unwrap();
    let applied = other.converge(&[config_map("a", "1")]).await.unwrap();
    assert_eq!(applied.inventory.len(), 1);
    assert_eq!(other.store().await.inventory().len(), 1);
}

#[tokio::test]
async fn two_versions_of_a_kind_are_watched_side_by_side() {
    let world = World::new("crd-versions").await;
    let mut crd = definition(&world);
    let mut beta = crd["spec"]["versions"][0].clone();
    (beta["name"], beta["storage"]) = (json!("v1beta1"), json!(false));
    crd["spec"]["versions"].as_array_mut().unwrap().push(beta);
    let objects = [crd, widget(&world, "new")];
    let inventory = world.converge(&objects).await.unwrap().inventory;
    let mut other = World::with(
        world.plane,
        world.namespace.clone(),
        world.connection.clone(),
    );
    other.release.application.name = "other".into();
    let version = json!(format!("{}/v1beta1", group(&world)));
    let older = [with(widget(&world, "old"), "/apiVersion", version)];
    let others = other.converge(&older).await.unwrap().inventory;
    let tracker = Tracker::new(
        &world.connection,
        Arc::new(SimpleJudge),
        TrackerOptions::default(),
    );
    let prepared = world.prepare(&objects).await;
    let kinds = world.cluster.kinds_in_use(&prepared, &inventory);
    tracker.observe(&world.release, &kinds);
    let name = &world.release.application;
    tracker.synced(name, LIMIT).await.unwrap();
    // The verdicts of the checks of its objects are events, too.
    let ids: Vec<ObjectId> = inventory.entries().map(Entry::id).collect();
    let waited = tracker
        .wait(name, &ids, LIMIT, &CancellationToken::new(), &|_| {})
        .await;
    assert_eq!(waited, Waited::Healthy);
    let mut events = tracker.subscribe();
    let prepared = other.prepare(&older).await;
    let kinds = other.cluster.kinds_in_use(&prepared, &others);
    tracker.observe(&other.release, &kinds);
    let other = &other.release.application;
    tracker.synced(other, LIMIT).await.unwrap();
    assert_eq!(tracker.open_watches(), 3);
    while let Ok(event) = events.try_recv() {
        assert_ne!(event.application(), name, "{event:?}");
    }
    assert_eq!(tracker.drift(name, &inventory), []);
    assert_eq!(tracker.drift(other, &others), []);
    assert_eq!(tracker.snapshot(other).len(), 1);
}

#[tokio::test]
async fn what_was_applied_at_a_version_that_is_not_served_any_more_is_deleted_at_another() {
    let world = World::new("crd-version").await;
    let definition = |is_old_served: bool| {
        definition_at(&world, &[("v1", true), ("v1beta1", is_old_served)]).to_string()
    };
    world.plane.apply(&definition(true)).unwrap();
    let rest = [config_map("a", "1")];
    let old = |name| widget_at(&world, "v1beta1", name);
    let all = [old("first"), old("second"), rest[0].clone()];
    apply_when_served(&world, &all).await;

    world.plane.apply(&definition(false)).unwrap();
    let path = format!(
        "/apis/{}/v1beta1/namespaces/{}/widgets",
        group(&world),
        world.namespace
    );
    until_refused(&world, &path, "NotFound");
    // This process believes what was true before; a process that starts now has never known the version.
    let planned = world.plan(&all[1..], Depth::Local).await;
    assert!(planned.is_err(), "what is still rendered is not served");
    let planned = world.plan(&rest, Depth::Local).await.unwrap();
    assert_eq!(planned.plan.summary().delete, 2);
    let applied = another(&world).converge(&rest).await.unwrap();
    assert_eq!(applied.inventory.len(), 1);
    for name in ["first", "second"] {
        assert!(world.live(&widgets(&world), name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn an_object_leaves_in_the_commit_in_which_its_version_does() {
    let world = World::new("crd-moves").await;
    let before = [
        definition_at(&world, &[("v1alpha1", true)]),
        widget_at(&world, "v1alpha1", "stays"),
        widget_at(&world, "v1alpha1", "leaves"),
    ];
    world.converge(&before).await.unwrap();
    let after = [
        definition_at(&world, &[("v1beta1", true), ("v1alpha1", false)]),
        widget_at(&world, "v1beta1", "stays"),
    ];
    let applied = world.converge(&after).await.unwrap();
    assert_eq!(applied.inventory.len(), 2);
    assert!(world.live(&widgets(&world), "stays").is_some());
    assert!(world.live(&widgets(&world), "leaves").is_none());
}

#[tokio::test]
async fn objects_of_a_kind_that_came_after_the_server_was_asked_are_deleted() {
    let world = World::new("crd-later").await;
    let early = another(&world);
    early.cluster.discovery().kinds().await.unwrap();
    world.plane.apply(&definition(&world).to_string()).unwrap();
    apply_when_served(&world, &[widget(&world, "w"), config_map("a", "1")]).await;
    let applied = early.converge(&[config_map("a", "1")]).await.unwrap();
    assert_eq!(applied.inventory.len(), 1);
    assert!(world.live(&widgets(&world), "w").is_none());
}

/// Registers an API server that does not exist, and returns the name of the `APIService` and the path of its version.
fn register_nobody(world: &World) -> (String, String) {
    let service = format!("v1.{}", group(world));
    let registration = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": service},
        "spec": {
            "group": group(world), "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"namespace": world.namespace, "name": "nobody"},
        },
    });
    world.plane.apply(&registration.to_string()).unwrap();
    let path = format!("/apis/{}/v1", group(world));
    until_refused(world, &path, "ServiceUnavailable");
    (service, path)
}

#[tokio::test]
async fn an_api_that_does_not_answer_from_the_start_holds_up_only_what_is_of_it() {
    let world = World::new("api-absent").await;
    let (service, _) = register_nobody(&world);
    let listed = || async {
        let fresh = another(&world);
        let kinds = fresh.cluster.discovery().kinds().await.unwrap();
        let unknown = kinds.find(&group(&world), "v1", "Widget").unwrap_err();
        Ok(match &unknown.hint {
            KindHint::Unanswered(named) if *named == service => Ok(()),
            _ => Err(unknown.to_string()),
        })
    };
    pintle_harness::until_async("it is listed as one that does not answer", LIMIT, listed)
        .await
        .unwrap();
    let both = [config_map("a", "1"), config_map("b", "1")];
    let applied = another(&world).converge(&both).await.unwrap();
    assert_eq!(applied.inventory.len(), 2);
    let applied = another(&world).converge(&both[..1]).await.unwrap();
    assert_eq!(applied.inventory.len(), 1);
    assert!(world.live("configmap", "b").is_none(), "it was deleted");
    world.kubectl(&["delete", "apiservice", &service]);
}

#[tokio::test]
async fn objects_of_an_api_that_does_not_answer_are_not_forgotten() {
    let world = World::new("api-away").await;
    let rest = [config_map("a", "1")];
    let mut inventory = world.converge(&rest).await.unwrap().inventory;
    let id = ObjectId {
        group: group(&world),
        kind: "Widget".into(),
        namespace: Some(world.namespace.clone()),
        name: "w".into(),
    };
    inventory.insert(Entry {
        uid: Some("1".into()),
        ..Entry::intended(&id, "v1")
    });
    let mut store = world.store().await;
    store.keep(&inventory, Urgency::Now).await.unwrap();

    let (service, path) = register_nobody(&world);
    let error = world.plan(&rest, Depth::Local).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("Widget.{}", group(&world))),
        "{error}"
    );
    world.kubectl(&["delete", "apiservice", &service]);
    until_refused(&world, &path, "NotFound");
    pintle_harness::until_async("the object is forgotten", LIMIT, || async {
        Ok(match world.plan(&rest, Depth::Local).await {
            Ok(planned) if planned.inventory.get(&id).is_none() => Ok(()),
            Ok(_) => Err("it is listed".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn where_the_server_is_followed_a_kind_is_known_that_nobody_has_asked_for() {
    let world = World::new("crd-followed").await;
    let mut changes = world.cluster.follow_kinds();
    for is_served in [false, true, false] {
        if is_served {
            world.plane.apply(&definition(&world).to_string()).unwrap();
        } else {
            world.kubectl(&["delete", "crd", &widgets(&world), "--ignore-not-found"]);
        }
        let known = async {
            loop {
                let kinds = world.cluster.discovery().kinds().await.unwrap();
                if kinds.preferred(&group(&world), "Widget").is_some() == is_served {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(LIMIT, known).await.unwrap();
    }
}
