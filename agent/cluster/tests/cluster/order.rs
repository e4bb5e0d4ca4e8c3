//! What waits for what when objects are written and deleted.

use async_trait::async_trait;
use pintle_cluster::{
    ClusterError, ConfigMapStore, Connection, InventoryStore, StoreError, Urgency, WriteError,
};
use pintle_core::{
    duration::Span,
    inventory::{Entry, Inventory},
    machine::Retry,
    names::ApplicationName,
};
use pintle_harness::{ControlPlane, until_async};
use serde_json::{Value, json};

use crate::world::{LIMIT, World, annotated, config_map, deployment};

const WAVE: &str = "pintle.dev/wave";

/// Returns a deployment that never becomes available.
fn stuck(name: &str) -> Value {
    let mut object = deployment(name, 1);
    object["spec"]["template"]["metadata"]["labels"]["testing.pintle.dev/pod"] =
        json!("never-ready");
    object
}

#[tokio::test]
async fn a_wave_that_does_not_become_healthy_ends_the_run_and_the_next_is_not_written() {
    let mut world = World::new("unhealthy").await;
    world.release.hook_timeout = Span::seconds(3);
    world.track();
    let objects = [
        stuck("web"),
        annotated(config_map("later", "1"), WAVE, "1"),
        config_map("beside", "1"),
    ];
    let ClusterError::Failed(error) = world.converge(&objects).await.unwrap_err() else {
        panic!("the connection failed")
    };
    assert!(
        matches!(&error.failures[0].error, WriteError::NotHealthy { .. }),
        "{error}"
    );
    assert_eq!((error.failures.len(), error.retry()), (1, Retry::Backoff));
    let text = error.to_string();
    assert!(
        text.contains("and it is not after 3s: 0 of 1 replicas are available"),
        "{text}"
    );
    assert!(world.live("configmap", "later").is_none());
    assert!(world.live("configmap", "beside").is_some());
    let listed: Vec<String> = error
        .inventory
        .entries()
        .map(|entry| entry.name.clone())
        .collect();
    assert_eq!(
        listed,
        ["beside", "web"],
        "what was not written is not listed"
    );
}

/// An inventory that another writer changes while the deployment `web` is awaited, which then becomes healthy.
struct Overtaken {
    store: ConfigMapStore,
    plane: &'static ControlPlane,
    connection: Connection,
    application: ApplicationName,
}

impl Overtaken {
    async fn overtake(&self) -> Result<(), StoreError> {
        let mut other = ConfigMapStore::open(&self.connection, &self.application).await?;
        other.keep(&Inventory::default(), Urgency::Now).await?;
        let (namespace, change) = (&self.application.namespace, r#"{"spec":{"replicas":0}}"#);
        let web = ["-n", namespace, "patch", "deployment", "web"];
        let args = [&web[..], &["--type=merge", "-p", change]].concat();
        self.plane.kubectl(&args).unwrap();
        Ok(())
    }
}

#[async_trait]
impl InventoryStore for Overtaken {
    fn inventory(&self) -> &Inventory {
        self.store.inventory()
    }

    fn place(&self) -> String {
        self.store.place()
    }

    fn room(&self) -> usize {
        self.store.room()
    }

    async fn keep(&mut self, inventory: &Inventory, urgency: Urgency) -> Result<(), StoreError> {
        let is_written = |entry: &Entry| entry.name == "web" && entry.uid.is_some();
        if inventory.entries().any(is_written) {
            self.overtake().await?;
        }
        self.store.keep(inventory, urgency).await
    }
}

#[tokio::test]
async fn nothing_more_is_written_by_a_run_that_was_overtaken_while_it_waited() {
    let mut world = World::new("overtaken").await;
    world.track();
    let mut store = Overtaken {
        store: world.store().await,
        plane: world.plane,
        connection: world.connection.clone(),
        application: world.release.application.clone(),
    };
    let later = annotated(config_map("later", "1"), WAVE, "1");
    let objects = [stuck("web"), later];
    let error = world.converge_in(&objects, &mut store).await.unwrap_err();
    let ClusterError::Failed(error) = error else {
        panic!("the connection failed")
    };
    assert!(
        matches!(error.store.as_deref(), Some(StoreError::Superseded { .. })),
        "{error}"
    );
    assert!(world.live("configmap", "later").is_none());
}

#[tokio::test]
async fn nothing_is_awaited_that_nothing_to_be_written_comes_after() {
    let mut world = World::new("settled").await;
    world.release.hook_timeout = Span::seconds(60);
    world.track();
    let later = |value: &str| annotated(config_map("later", value), WAVE, "1");
    world
        .converge(&[deployment("web", 1), later("1")])
        .await
        .unwrap();
    // The first wave changes and never settles; the second is as it should be.
    world.converge(&[stuck("web"), later("1")]).await.unwrap();
}

#[tokio::test]
async fn what_comes_after_is_gone_before_what_it_depends_on_is_deleted() {
    let world = World::new("backwards").await;
    let objects = [
        config_map("first", "1"),
        annotated(
            config_map("second", "1"),
            "pintle.dev/depends-on",
            "ConfigMap/first",
        ),
        config_map("other", "1"),
    ];
    world.converge(&objects).await.unwrap();
    world.hold("configmap", "second");
    let all = world.converge(&[]);
    let let_go = async {
        until_async("the second is on its way out", LIMIT, || async {
            let second = world.live("configmap", "second").unwrap();
            let is_going = !second["metadata"]["deletionTimestamp"].is_null();
            Ok(if is_going {
                Ok(())
            } else {
                Err("not yet".to_owned())
            })
        })
        .await
        .unwrap();
        until_async("what waits for nothing is gone", LIMIT, || async {
            let other = world.live("configmap", "other");
            Ok(if other.is_none() {
                Ok(())
            } else {
                Err("it is there".to_owned())
            })
        })
        .await
        .unwrap();
        assert!(
            world.live("configmap", "first").is_some(),
            "the second holds it"
        );
        world.let_go("configmap", "second");
    };
    let (applied, ()) = tokio::join!(all, let_go);
    assert_eq!(applied.unwrap().summary.delete, 3);
    assert!(world.live("configmap", "first").is_none());
}
