//! Resources whose definition changes in the same commit.

use pintle_cluster::ClusterError;
use pintle_core::{machine::Retry, plan::Depth};
use pintle_harness::Fault;
use serde_json::{Value, json};

use crate::{
    definitions::{definition, definition_at, widget, widget_at, widgets},
    faults::behind_proxy,
    world::{World, annotated, with},
};

/// Returns the same kind with one more property, which has one of two values.
fn coloured_definition(world: &World) -> Value {
    let colour = json!({"type": "string", "enum": ["red", "blue"]});
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/colour";
    with(definition(world), properties, colour)
}

fn coloured(world: &World, name: &str) -> Value {
    with(widget(world, name), "/spec/colour", json!("red"))
}

#[tokio::test]
async fn a_resource_is_written_although_the_server_judges_it_by_the_schema_before() {
    let (world, proxy) = behind_proxy("crd-schema").await;
    world
        .converge(&[definition(&world), widget(&world, "w")])
        .await
        .unwrap();
    let misfit = "failed to create typed patch object (shop/w; example.com/v1, Kind=Widget): .spec.colour: field not declared in schema";
    let on_widgets = || Fault::on("PATCH", "/widgets/").times(1);
    proxy.inject(on_widgets().status(500, "", misfit));
    proxy.inject(on_widgets().status(422, "Invalid", "spec.colour: Unsupported value"));
    let changed = [coloured_definition(&world), coloured(&world, "w")];
    world.converge(&changed).await.unwrap();
    assert_eq!(
        world.live(&widgets(&world), "w").unwrap()["spec"]["colour"],
        "red"
    );
}

#[tokio::test]
async fn a_plan_that_changes_a_definition_may_use_what_it_adds() {
    let world = World::new("crd-grows").await;
    world
        .converge(&[definition(&world), widget(&world, "w")])
        .await
        .unwrap();
    let used = [coloured(&world, "w"), coloured(&world, "new")];
    let grown = [&[coloured_definition(&world)], &used[..]].concat();
    let planned = world.plan(&grown, Depth::Server).await.unwrap();
    let summary = planned.plan.summary();
    assert_eq!((summary.update, summary.create), (2, 1));
    // The server is asked only whether it has to be made again.
    let allowed = annotated(used[0].clone(), "pintle.dev/replace", "allowed");
    let replaced = [coloured_definition(&world), allowed];
    let planned = world.plan(&replaced, Depth::Local).await.unwrap();
    assert_eq!(planned.plan.summary().update, 2);

    let kept = [&[definition(&world)], &used[..]].concat();
    let refused = world.plan(&kept, Depth::Server).await.unwrap_err();
    let refused = refused.to_string();
    assert_eq!(refused.lines().count(), 2, "{refused}");
    assert!(
        refused.contains("it is not valid: spec.colour: field not declared in schema"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_exists_is_known_although_its_definition_gains_a_version() {
    let world = World::new("crd-gains").await;
    world
        .converge(&[definition(&world), widget(&world, "w")])
        .await
        .unwrap();
    let gained = [
        definition_at(&world, &[("v1", true), ("v1beta1", true)]),
        with(widget(&world, "w"), "/spec/size", json!(2)),
        widget_at(&world, "v1beta1", "new"),
    ];
    for depth in [Depth::Local, Depth::Server] {
        let planned = world.plan(&gained, depth).await.unwrap();
        let summary = planned.plan.summary();
        assert_eq!((summary.update, summary.create), (2, 1), "{depth:?}");
    }
}

#[tokio::test]
async fn what_uses_a_new_schema_takes_nothing_over_that_is_not_ones_own() {
    let world = World::new("crd-theirs").await;
    world
        .converge(&[definition(&world), widget(&world, "again")])
        .await
        .unwrap();
    world.kubectl(&["delete", &widgets(&world), "again"]);
    // The inventory lists one of them; the other has never been seen.
    for name in ["again", "new"] {
        let theirs = with(widget(&world, name), "/spec/size", json!(2));
        let theirs = with(theirs, "/metadata/namespace", json!(world.namespace));
        world.plane.apply(&theirs.to_string()).unwrap();
    }
    let changed = [
        coloured_definition(&world),
        coloured(&world, "again"),
        coloured(&world, "new"),
    ];
    let refused = world.plan(&changed, Depth::Server).await.unwrap_err();
    let refused = refused.to_string();
    let owned = ".spec.size is owned by kubectl";
    assert_eq!(refused.matches(owned).count(), 2, "{refused}");
    let adopting = changed.map(|object| annotated(object, "pintle.dev/adopt", "allowed"));
    let planned = world.plan(&adopting, Depth::Server).await.unwrap();
    assert_eq!(planned.plan.summary().update, 3);
}

#[tokio::test]
async fn what_only_the_new_schema_tells_is_planned_again() {
    let world = World::new("crd-fixes").await;
    world
        .converge(&[definition(&world), widget(&world, "w")])
        .await
        .unwrap();
    let uid = world.live(&widgets(&world), "w").unwrap()["metadata"]["uid"].clone();
    let size = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size";
    let rule = json!([{"rule": "self == oldSelf", "message": "it is immutable"}]);
    let fixing = with(
        coloured_definition(&world),
        &format!("{size}/x-kubernetes-validations"),
        rule,
    );
    let other = with(coloured(&world, "w"), "/spec/size", json!(2));
    let other = annotated(other, "pintle.dev/replace", "allowed");
    let changed = [fixing, other];
    // The previous schema does not know the colour, and so cannot say that the size must stay.
    let Err(ClusterError::Failed(error)) = world.converge(&changed).await else {
        panic!("it could not be changed and was")
    };
    assert_eq!(error.retry(), Retry::Backoff, "{error}");
    world.converge(&changed).await.unwrap();
    let now = world.live(&widgets(&world), "w").unwrap();
    assert_eq!(now["spec"], json!({"size": 2, "colour": "red"}));
    assert_ne!(now["metadata"]["uid"], uid);
}
