//! Health checks that do not answer: what they hold up, and what they do not.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use pintle_cluster::{Judge, Observed, ResourceType, Tracker, TrackerOptions, Waited};
use pintle_core::{
    health::{Assessment, Status},
    inventory::{Entry, Inventory},
    machine::Millis,
    names::ApplicationName,
    object::ObjectId,
};
use pintle_harness::until_async;
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::world::{LIMIT, World, config_map};

/// Reports each object as healthy, with its value; for `a` of one application, only when it is released.
struct Gate {
    slow: ApplicationName,
    /// Receives the value of each `a` that is to be judged.
    asked: mpsc::UnboundedSender<String>,
    /// As many permits as checks may proceed.
    permits: Semaphore,
    /// How many checks are held.
    held: watch::Sender<usize>,
}

/// Counts a check for as long as it is held.
struct Holding<'a>(&'a watch::Sender<usize>);

impl<'a> Holding<'a> {
    fn new(held: &'a watch::Sender<usize>) -> Self {
        held.send_modify(|count| *count += 1);
        Self(held)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[async_trait]
impl Judge for Gate {
    async fn assess(
        &self,
        application: &ApplicationName,
        id: &ObjectId,
        object: &Value,
        _: Millis,
    ) -> Assessment {
        let value = object["data"]["key"].as_str().unwrap_or_default();
        if *application == self.slow && id.name == "a" {
            let _holding = Holding::new(&self.held);
            // The test may have seen enough, and dropped the receiver.
            let _ = self.asked.send(value.to_owned());
            self.permits.acquire().await.unwrap().forget();
        }
        Assessment::new(Status::Healthy, value)
    }
}

impl Gate {
    fn let_go(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// Waits until no check is held.
    async fn empty(&self) {
        let mut held = self.held.subscribe();
        let empty = held.wait_for(|count| *count == 0);
        drop(timeout(LIMIT, empty).await.unwrap().unwrap());
    }
}

/// Two applications with objects of one kind, which one watch covers. Checks of the first one's `a` are held.
struct Fixture {
    slow: World,
    other: World,
    /// The inventory of the first application, as applied.
    inventory: Inventory,
    kinds: BTreeSet<ResourceType>,
    gate: Arc<Gate>,
    asked: mpsc::UnboundedReceiver<String>,
    tracker: Tracker,
}

impl Fixture {
    async fn new(prefix: &str) -> Self {
        let slow = World::new(prefix).await;
        let mut other = World::with(slow.plane, slow.namespace.clone(), slow.connection.clone());
        other.release.application.name = "other".into();
        let objects = [config_map("a", "1"), config_map("c", "1")];
        let inventory = slow.converge(&objects).await.unwrap().inventory;
        other.converge(&[config_map("b", "1")]).await.unwrap();
        let prepared = slow.prepare(&objects).await;
        let kinds = slow.cluster.kinds_in_use(&prepared, &inventory);
        let (tell, asked) = mpsc::unbounded_channel();
        let gate = Arc::new(Gate {
            slow: slow.release.application.clone(),
            asked: tell,
            permits: Semaphore::new(0),
            held: watch::Sender::new(0),
        });
        let options = TrackerOptions {
            application: None,
            namespaces: Some([slow.namespace.clone()].into()),
        };
        let fixture = Self {
            tracker: Tracker::new(&slow.connection, gate.clone(), options),
            slow,
            other,
            inventory,
            kinds,
            gate,
            asked,
        };
        fixture.observe(&fixture.slow).await;
        fixture.observe(&fixture.other).await;
        assert_eq!(fixture.tracker.open_watches(), 1);
        fixture
    }

    async fn observe(&self, world: &World) {
        self.tracker.observe(&world.release, &self.kinds);
        let name = &world.release.application;
        self.tracker.synced(name, LIMIT).await.unwrap();
    }

    /// Returns the value of the next `a` that is to be judged.
    async fn asked(&mut self) -> String {
        timeout(LIMIT, self.asked.recv()).await.unwrap().unwrap()
    }

    fn observed(&self, world: &World, name: &str) -> Option<Observed> {
        let all = self.tracker.snapshot(&world.release.application);
        let found = all.into_iter().find(|(id, _)| id.name == name);
        found.map(|(_, observed)| observed)
    }

    /// Returns the last verdict on an object.
    fn said(&self, world: &World, name: &str) -> String {
        let observed = self.observed(world, name);
        observed.map_or_else(String::new, |one| one.assessment.message)
    }

    /// Waits until the current state of an object has been seen.
    async fn seen(&self, world: &World, name: &str) {
        let live = world.live("configmap", name).unwrap();
        let version = &live["metadata"]["resourceVersion"];
        until_async("it is seen as it is", LIMIT, || async {
            let seen = self.observed(world, name);
            Ok(match seen {
                Some(seen) if *version == *seen.resource_version => Ok(()),
                seen => Err(format!("{seen:?}")),
            })
        })
        .await
        .unwrap();
    }

    async fn drifted(&self, expected: &[(&str, bool)]) {
        let name = &self.slow.release.application;
        until_async("its drift is seen", LIMIT, || async {
            let drift = self.tracker.drift(name, &self.inventory);
            let found: Vec<_> = drift
                .iter()
                .map(|one| (one.id.name.as_str(), one.is_gone))
                .collect();
            Ok(if found == expected {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            })
        })
        .await
        .unwrap();
    }

    /// Waits until the first application's `a` is healthy.
    async fn wait(&self, limit: Duration) -> Waited {
        let all = self.inventory.entries().map(Entry::id);
        let ids: Vec<ObjectId> = all.filter(|id| id.name == "a").collect();
        let (name, cancel) = (&self.slow.release.application, CancellationToken::new());
        self.tracker.wait(name, &ids, limit, &cancel, &|_| {}).await
    }
}

fn edit(world: &World, name: &str, value: &str) {
    world.edit_as("eve", "configmap", name, &json!({"data": {"key": value}}));
}

#[tokio::test]
async fn a_check_that_does_not_answer_holds_up_only_what_is_said_of_its_own_application() {
    let mut fixture = Fixture::new("slow-health").await;
    assert_eq!(fixture.asked().await, "1");

    edit(&fixture.other, "b", "2");
    until_async("the other one's change is judged", LIMIT, || async {
        let said = fixture.said(&fixture.other, "b");
        Ok(if said == "2" { Ok(()) } else { Err(said) })
    })
    .await
    .unwrap();

    for value in ["2", "3"] {
        edit(&fixture.slow, "a", value);
        fixture.seen(&fixture.slow, "a").await;
    }
    fixture.slow.kubectl(&["delete", "configmap", "c"]);
    fixture.drifted(&[("a", false), ("c", true)]).await;
    assert!(fixture.asked.try_recv().is_err(), "one after another");

    fixture.gate.let_go(1);
    assert_eq!(fixture.asked().await, "3", "nobody needs to know of 2");
    assert_eq!(fixture.said(&fixture.slow, "a"), "1");
    let Waited::TimedOut(unsettled) = fixture.wait(Duration::ZERO).await else {
        panic!("what was said is of what it was")
    };
    assert_eq!(unsettled[0].assessment.status, Status::Progressing);
    fixture.gate.let_go(1);
    assert_eq!(fixture.wait(LIMIT).await, Waited::Healthy);
    assert_eq!(fixture.said(&fixture.slow, "a"), "3");
}

#[tokio::test]
async fn what_is_said_of_an_object_that_is_gone_is_not_said_of_the_next() {
    let mut fixture = Fixture::new("slow-gone").await;
    assert_eq!(fixture.asked().await, "1");
    fixture.slow.kubectl(&["delete", "configmap", "a"]);
    let objects = [config_map("a", "2"), config_map("c", "1")];
    fixture.slow.converge(&objects).await.unwrap();
    fixture.seen(&fixture.slow, "a").await;
    fixture.gate.let_go(1);
    assert_eq!(fixture.asked().await, "2");
    let said = fixture.said(&fixture.slow, "a");
    assert_eq!(said, "its health check has not answered yet");
    fixture.gate.let_go(1);
    assert_eq!(fixture.wait(LIMIT).await, Waited::Healthy);
    assert_eq!(fixture.said(&fixture.slow, "a"), "2");
}

#[tokio::test]
async fn checks_end_with_their_application_and_count_for_none_that_comes_back() {
    let mut fixture = Fixture::new("slow-forgotten").await;
    assert_eq!(fixture.asked().await, "1");
    fixture.tracker.forget(&fixture.slow.release.application);
    fixture.gate.empty().await;
    edit(&fixture.slow, "a", "2");
    fixture.observe(&fixture.slow).await;
    fixture.seen(&fixture.slow, "a").await;
    assert_eq!(fixture.asked().await, "2");
    let said = fixture.said(&fixture.slow, "a");
    assert_eq!(said, "its health check has not answered yet");
    // It may have been requested by the watch and by the list.
    fixture.gate.let_go(2);
    assert_eq!(fixture.wait(LIMIT).await, Waited::Healthy);
    assert_eq!(fixture.said(&fixture.slow, "a"), "2");
}

#[tokio::test]
async fn checks_end_with_their_tracker() {
    let mut fixture = Fixture::new("slow-dropped").await;
    assert_eq!(fixture.asked().await, "1");
    let Fixture { gate, tracker, .. } = fixture;
    drop(tracker);
    gate.empty().await;
}
