//! Runs that end at any point: nothing is orphaned, and nothing is applied twice.

use async_trait::async_trait;
use pintle_cluster::{ConfigMapStore, InventoryStore, StoreError, Urgency};
use pintle_core::{inventory::Inventory, plan::Depth};
use serde_json::json;

use crate::world::{World, application, approve, config_map, with};

/// A store that keeps what must be safe at once and then loses what comes at the end, like a run that is killed.
struct Killed(ConfigMapStore);

#[async_trait]
impl InventoryStore for Killed {
    fn inventory(&self) -> &Inventory {
        self.0.inventory()
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn room(&self) -> usize {
        self.0.room()
    }

    async fn keep(&mut self, inventory: &Inventory, urgency: Urgency) -> Result<(), StoreError> {
        match urgency {
            Urgency::Now => self.0.keep(inventory, urgency).await,
            Urgency::WithResult => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_a_killed_run_had_applied_is_recognised_and_not_applied_again() {
    let world = World::new("killed").await;
    let mut store = Killed(world.store().await);
    world.converge_in(&application(), &mut store).await.unwrap();
    assert!(
        world
            .store()
            .await
            .inventory()
            .entries()
            .all(|entry| entry.uid.is_none()),
        "only intended"
    );
    let mark = world.plane.requests_mark().unwrap();
    let applied = world.converge(&application()).await.unwrap();
    assert_eq!(applied.summary.unchanged, 4);
    let writes: Vec<_> = world
        .requests(mark)
        .into_iter()
        .filter(pintle_harness::ApiRequest::is_write)
        .map(|r| r.resource)
        .collect();
    assert_eq!(writes, ["configmaps"], "only the inventory");
    assert!(
        world
            .store()
            .await
            .inventory()
            .entries()
            .all(|entry| entry.uid.is_some() && entry.stored.is_some())
    );
}

#[tokio::test]
async fn an_update_of_a_killed_run_is_recognised_too() {
    let world = World::new("killed-update").await;
    world.converge(&application()).await.unwrap();
    let mut changed = application();
    changed[2] = with(changed[2].clone(), "/spec/revisionHistoryLimit", json!(2));
    let mut store = Killed(world.store().await);
    world.converge_in(&changed, &mut store).await.unwrap();
    let planned = world.plan(&changed, Depth::Local).await.unwrap();
    assert!(planned.plan.is_empty());
    let changed_entry = |entry: &&pintle_core::inventory::Entry| entry.kind == "Deployment";
    let entry = planned.inventory.entries().find(changed_entry).unwrap();
    let before = world.store().await;
    assert_ne!(
        Some(entry),
        before.inventory().entries().find(changed_entry),
        "what was done is recorded"
    );
}

#[tokio::test]
async fn what_was_edited_after_the_crash_is_applied_again() {
    let world = World::new("killed-edit").await;
    let mut store = Killed(world.store().await);
    world
        .converge_in(&[config_map("a", "1")], &mut store)
        .await
        .unwrap();
    world.edit("configmap", "a", &json!({"data":{"key":"edited"}}));
    world.converge(&[config_map("a", "1")]).await.unwrap();
    assert_eq!(world.live("configmap", "a").unwrap()["data"]["key"], "1");
}

#[tokio::test]
async fn an_object_of_a_killed_run_that_is_no_longer_wanted_is_deleted() {
    let world = World::new("killed-gone").await;
    let mut store = Killed(world.store().await);
    world
        .converge_in(&[config_map("a", "1"), config_map("b", "1")], &mut store)
        .await
        .unwrap();
    let applied = world.converge(&[config_map("a", "1")]).await.unwrap();
    assert_eq!(world.live("configmap", "b"), None);
    assert_eq!(applied.inventory.len(), 1);
}

#[tokio::test]
async fn what_a_killed_run_had_made_is_not_deleted_unasked() {
    let world = World::new("killed-many").await;
    let mut store = Killed(world.store().await);
    let objects: Vec<_> = (0..6).map(|n| config_map(&format!("c{n}"), "1")).collect();
    world.converge_in(&objects, &mut store).await.unwrap();
    let refused = world.plan(&objects[..1], Depth::Local).await.unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.starts_with("this revision would delete 5 of "),
        "{refused}"
    );
}

#[tokio::test]
async fn an_intention_that_nothing_came_of_is_forgotten() {
    let world = World::new("killed-early").await;
    let mut store = world.store().await;
    let prepared = world
        .prepare(&[config_map("a", "1"), config_map("b", "1")])
        .await;
    let planned = world
        .cluster
        .plan(&world.release, &prepared, store.inventory(), Depth::Local)
        .await
        .unwrap();
    let mut inventory = planned.inventory.clone();
    inventory.intend(planned.plan.changes());
    store.keep(&inventory, Urgency::Now).await.unwrap();
    // The run is killed here. The next revision does not have `b`.
    let applied = world.converge(&[config_map("a", "1")]).await.unwrap();
    assert_eq!(applied.inventory.len(), 1);
    assert!(world.live("configmap", "a").is_some());
}

#[tokio::test]
async fn two_writers_of_one_inventory_do_not_overwrite_each_other() {
    let world = World::new("writers").await;
    let (mut one, mut two) = (world.store().await, world.store().await);
    world
        .converge_in(&[config_map("a", "1")], &mut one)
        .await
        .unwrap();
    let error = world
        .converge_in(&[config_map("b", "1")], &mut two)
        .await
        .unwrap_err()
        .to_string();
    let expected = format!(
        "ConfigMap {}/pintle-inventory.web was changed by another pintle meanwhile: nothing more is done here; if two of \
         them work on this application, stop one",
        world.namespace
    );
    assert_eq!(error, expected);
    assert_eq!(world.live("configmap", "b"), None, "nothing was written");
    assert_eq!(world.store().await.inventory().len(), 1);
}

#[tokio::test]
async fn a_label_on_the_inventory_is_no_other_writer() {
    let world = World::new("labelled").await;
    let mut store = world.store().await;
    world
        .converge_in(&[config_map("a", "1")], &mut store)
        .await
        .unwrap();
    world.kubectl(&["annotate", "configmap", "pintle-inventory.web", "note=1"]);
    world
        .converge_in(&[config_map("a", "1"), config_map("b", "1")], &mut store)
        .await
        .unwrap();
    assert_eq!(world.store().await.inventory().len(), 2);
}

#[tokio::test]
async fn a_plan_is_the_same_however_often_it_is_made() {
    let world = World::new("digest").await;
    let digest = |planned: pintle_cluster::Planned| planned.plan.digest();
    let one = digest(world.plan(&application(), Depth::Server).await.unwrap());
    assert_eq!(
        digest(world.plan(&application(), Depth::Server).await.unwrap()),
        one
    );
    let prepared = world.prepare(&application()).await;
    let planned = world.plan(&application(), Depth::Local).await.unwrap();
    assert_eq!(approve(&planned).plan().digest(), planned.plan.digest());
    assert_eq!(prepared.objects().len(), 4);
}
