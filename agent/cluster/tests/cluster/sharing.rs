//! Many followers of changes share a few watches.

use std::collections::BTreeSet;

use pintle_harness::ApiRequest;

use crate::world::{LIMIT, World};

#[tokio::test]
async fn two_hundred_names_of_one_kind_are_followed_by_nine_watches() {
    let world = World::new("sharing").await;
    let mark = world.plane.requests_mark().unwrap();
    let mut followed = Vec::new();
    for number in 0..200 {
        let (namespace, name) = (Some(world.namespace.as_str()), format!("x{number}"));
        let changes = world
            .cluster
            .changes("v1", "ConfigMap", namespace, Some(&name));
        followed.push(changes.await.unwrap().unwrap());
    }
    for changes in &mut followed {
        // Its watch is open.
        tokio::time::timeout(LIMIT, changes.next()).await.unwrap();
    }
    for number in [3, 150] {
        world.kubectl(&["create", "configmap", &format!("x{number}")]);
        let told = followed[number].next();
        tokio::time::timeout(LIMIT, told).await.unwrap();
    }
    let requests = world.plane.requests_since(mark).unwrap();
    let is_watch = |request: &&ApiRequest| {
        let is_of_kind = request.verb == "watch" && request.resource == "configmaps";
        is_of_kind && request.namespace == world.namespace
    };
    let selected = |request: &ApiRequest| {
        let mut parameters = request.uri.split(['?', '&']);
        parameters
            .find(|one| one.starts_with("fieldSelector="))
            .map(ToOwned::to_owned)
    };
    let watched: BTreeSet<Option<String>> =
        requests.iter().filter(is_watch).map(selected).collect();
    assert_eq!(watched.len(), 9, "{watched:?}");
    assert!(watched.contains(&None), "one is of the whole namespace");
}
