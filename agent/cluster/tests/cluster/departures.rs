//! Objects whose deletion is awaited, or does not take place.

use pintle_cluster::{ClusterError, Silent, WriteError};
use pintle_core::plan::Depth;
use pintle_harness::{Fault, Proxied, until_async};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    definitions::{
        apply_when_served, definition, definition_at, group, until_refused, widget, widget_at,
        widgets,
    },
    faults::behind_proxy,
    world::{LIMIT, World, annotated, config_map},
};

/// Makes an object come after a `ConfigMap`, which is deleted once the object is gone.
fn second(object: Value) -> Value {
    annotated(object, "pintle.dev/depends-on", "ConfigMap/first")
}

/// Returns whether a request checked if an object is gone, and was answered.
fn is_look(one: &Proxied) -> bool {
    one.uri.contains("fieldSelector=metadata.name") && one.status == 200
}

/// Waits until `is_so` holds, and checks that the first object stays in the meantime, because the second one still exists.
async fn while_held(world: &World, what: &str, is_so: impl Fn() -> bool) {
    until_async(what, LIMIT, || async {
        let first = world.live("configmap", "first");
        assert!(first.is_some(), "the second is there, and holds it");
        Ok(if is_so() {
            Ok(())
        } else {
            Err("not yet".to_owned())
        })
    })
    .await
    .unwrap();
    assert!(world.live("configmap", "first").is_some());
}

#[tokio::test]
async fn an_object_is_not_gone_because_its_path_is_not_found() {
    let (world, proxy) = behind_proxy("not-found").await;
    let definition = definition(&world);
    let first = config_map("first", "1");
    let all = [definition.clone(), first, second(widget(&world, "second"))];
    world.converge(&all).await.unwrap();
    world.hold(&widgets(&world), "second");
    // A proxy before the server answers the watch, and the list that is then requested.
    let not_found = Fault::on("GET", "fieldSelector=metadata.name").times(2);
    proxy.inject(not_found.body(404, "text/plain", "404 page not found\n"));
    proxy.forget();
    let let_go = async {
        let is_seen = || proxy.seen().iter().any(is_look);
        while_held(&world, "it is looked for again", is_seen).await;
        world.let_go(&widgets(&world), "second");
    };
    let (applied, ()) = tokio::join!(world.converge(&all[..1]), let_go);
    assert_eq!(applied.unwrap().summary.delete, 2);
    assert!(world.live("configmap", "first").is_none());
}

#[tokio::test]
async fn an_object_is_not_gone_because_its_version_is() {
    let (world, proxy) = behind_proxy("version-gone").await;
    let definition = |is_old_served: bool| {
        definition_at(&world, &[("v1", true), ("v1beta1", is_old_served)]).to_string()
    };
    world.plane.apply(&definition(true)).unwrap();
    let rest = config_map("rest", "1");
    let old = second(widget_at(&world, "v1beta1", "second"));
    apply_when_served(&world, &[config_map("first", "1"), old, rest.clone()]).await;
    world.hold(&widgets(&world), "second");
    proxy.forget();
    let group = group(&world);
    let at = |version: &str| {
        format!(
            "/apis/{group}/{version}/namespaces/{}/widgets",
            world.namespace
        )
    };
    let is_watched_at = |version: &str| {
        let path = at(version);
        let is_watch = |one: &Proxied| one.uri.contains(&path) && one.uri.contains("watch=");
        proxy.seen().iter().any(|one| is_look(one) && is_watch(one))
    };
    let let_go = async {
        while_held(&world, "it is awaited", || is_watched_at("v1beta1")).await;
        world.plane.apply(&definition(false)).unwrap();
        until_refused(&world, &at("v1beta1"), "NotFound");
        // The server may leave a watch open at a version that it no longer serves.
        proxy.cut_answers();
        while_held(&world, "it is awaited elsewhere", || is_watched_at("v1")).await;
        world.let_go(&widgets(&world), "second");
    };
    let only = std::slice::from_ref(&rest);
    let (applied, ()) = tokio::join!(world.converge(only), let_go);
    assert_eq!(applied.unwrap().summary.delete, 2);
    assert!(world.live("configmap", "first").is_none());
}

#[tokio::test]
async fn that_the_objects_of_a_definition_cannot_be_listed_is_not_told_as_that_there_are_some() {
    let (world, proxy) = behind_proxy("unlisted").await;
    let rest = [config_map("rest", "1")];
    let both = [definition(&world), rest[0].clone()];
    world.converge(&both).await.unwrap();
    let list = format!("/apis/{}/v1/widgets", group(&world));
    let planned = world.plan(&rest, Depth::Local).await.unwrap();
    assert_eq!((planned.plan.summary().delete, planned.kept.len()), (1, 0));

    proxy.inject(Fault::on("GET", &list).status(403, "Forbidden", "not today"));
    let unseen = world.plan(&rest, Depth::Local).await.unwrap();
    let reason = &unseen.kept[0].reason;
    assert!(
        reason.starts_with("whether it has objects cannot be seen: "),
        "{reason}"
    );
    assert!(reason.ends_with("not today"), "{reason}");

    let (prepared, mut store) = (world.prepare(&rest).await, world.store().await);
    let cancel = CancellationToken::new();
    let applied = world
        .apply(&prepared, &planned, &mut store, &Silent, &cancel)
        .await;
    let error = applied.unwrap_err().to_string();
    assert!(error.ends_with("not today"), "{error}");
    proxy.heal();
    assert!(world.live("crd", &widgets(&world)).is_some());
}

#[tokio::test]
async fn a_definition_stays_whose_objects_may_not_be_listed_any_more() {
    let (world, proxy) = behind_proxy("unlisted").await;
    let rest = config_map("rest", "1");
    world
        .converge(&[definition(&world), rest.clone()])
        .await
        .unwrap();
    let message = "widgets is forbidden: User \"u\" cannot list resource \"widgets\"";
    // The first list is that of the plan.
    let refused = Fault::on("GET", "/widgets?").after(1);
    proxy.inject(refused.status(403, "Forbidden", message));
    let Err(ClusterError::Failed(error)) = world.converge(&[rest]).await else {
        panic!("the definition may have objects, and goes")
    };
    let [failure] = &error.failures[..] else {
        panic!("{error}")
    };
    assert_eq!(failure.id.kind, "CustomResourceDefinition");
    let is_forbidden = matches!(failure.error, WriteError::Forbidden { .. });
    assert!(is_forbidden, "{error}");
    let name = widgets(&world);
    assert!(world.live("customresourcedefinition", &name).is_some());
}
