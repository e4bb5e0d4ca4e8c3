//! Removals of an application that has hooks for them.

use pintle_cluster::InventoryStore as _;
use pintle_core::hook::HookEvent::{PreDelete, PreInstall};

use crate::{
    hooks::{Rendering, as_it_is, happened, remove},
    world::{World, annotated, config_map},
};

#[tokio::test]
async fn what_hooks_of_a_removal_have_made_stays_where_it_asks_for_that() {
    let mut world = World::new("removal-keeps").await;
    let asking = |name: &str| annotated(config_map(name, "1"), "helm.sh/resource-policy", "keep");
    let mut rendering = Rendering::new()
        .object(config_map("web", "1"))
        .hook(asking("backup"), &[PreDelete], as_it_is)
        .hook(asking("earlier"), &[PreInstall, PreDelete], as_it_is)
        .hook(config_map("scratch", "1"), &[PreDelete], as_it_is)
        .hook(config_map("to-stay", "1"), &[PreDelete], as_it_is);
    rendering.0.last_mut().unwrap().keep = true;
    happened(&world, &rendering.finish()).await;

    let removal = remove(&mut world).await;
    let inventory = removal.result.unwrap().inventory;
    let kept = ["backup", "earlier", "to-stay"];
    let mut told: Vec<String> = removal.kept.into_iter().map(|kept| kept.id.name).collect();
    told.sort();
    assert_eq!(told, kept);
    let listed: Vec<String> = inventory
        .entries()
        .map(|entry| entry.name.clone())
        .collect();
    assert_eq!(listed, kept);
    for name in kept {
        assert!(world.live("configmap", name).is_some(), "{name}");
    }
    assert_eq!(world.live("configmap", "scratch"), None);
    assert_eq!(world.live("configmap", "web"), None);
    assert_eq!(world.store().await.inventory().len(), kept.len());
}
