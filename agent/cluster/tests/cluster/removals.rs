//! Removals of an application that has hooks for them.

use std::sync::Mutex;

use pintle_cluster::{InventoryStore as _, Progress, Step};
use pintle_core::{
    duration::Span,
    hook::HookEvent::{PostDelete, PreDelete, PreInstall},
};
use serde_json::{Value, json};

use crate::{
    hooks::{Rendering, as_it_is, happened, job, remove, remove_telling},
    world::{World, annotated, config_map},
};

/// Records which deletions were awaited, in order.
#[derive(Default)]
struct Awaited(Mutex<Vec<String>>);

impl Progress for Awaited {
    fn step(&self, step: Step<'_>) {
        if let Step::Waiting { id, what } = step
            && what == "to be gone"
        {
            self.0.lock().unwrap().push(id.name.clone());
        }
    }
}

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

#[tokio::test]
async fn of_what_hooks_of_a_removal_have_made_protected_kinds_stay_until_they_may_go() {
    let mut world = World::new("removal-kinds").await;
    let claim = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        })
    };
    let room = format!("{}-room", world.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": room}});
    let allowed = |object: Value| annotated(object, "pintle.dev/prune", "allowed");
    let rendering = Rendering::new()
        .object(config_map("web", "1"))
        .hook(claim("backup"), &[PreDelete], as_it_is)
        .hook(allowed(claim("scratch")), &[PreDelete], as_it_is)
        .hook(allowed(namespace), &[PreDelete], as_it_is);
    happened(&world, &rendering.finish()).await;

    let removal = remove(&mut world).await;
    let told: Vec<(String, String)> = removal
        .kept
        .into_iter()
        .map(|kept| (kept.id.name, kept.reason))
        .collect();
    let [(first, why), (second, _)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!([first.as_str(), second.as_str()], [room.as_str(), "backup"]);
    assert_eq!(why, "a Namespace is never deleted as a hook");
    let inventory = removal.result.unwrap().inventory;
    let listed: Vec<&str> = inventory.entries().map(|one| one.name.as_str()).collect();
    assert_eq!(listed, [room.as_str(), "backup"]);
    let goes = |kind: &str, name: &str| {
        let live = world.live(kind, name);
        live.is_none_or(|live| !live["metadata"]["deletionTimestamp"].is_null())
    };
    assert!(goes("persistentvolumeclaim", "scratch"));
    assert!(!goes("persistentvolumeclaim", "backup"));
    assert!(!goes("namespace", &room));
}

#[tokio::test]
async fn what_hooks_need_is_there_until_all_is_gone_and_they_have_run() {
    let mut world = World::new("removal-again").await;
    let rendering = Rendering::new()
        .object(config_map("web", "1"))
        .hook(config_map("cleanup", "1"), &[PreDelete], as_it_is)
        .hook(job("bye", ""), &[PostDelete], as_it_is);
    happened(&world, &rendering.finish()).await;
    world.hold("configmap", "web");
    let limit = std::mem::replace(&mut world.release.hook_timeout, Span::seconds(1));
    for attempt in 1..=2 {
        let removal = remove(&mut world).await;
        let error = removal.result.unwrap_err().to_string();
        assert!(
            error.contains("and did not go in time"),
            "{attempt}: {error}"
        );
        let inventory = world.store().await.inventory().clone();
        let web = inventory.entries().find(|entry| entry.name == "web");
        let is_going = web.is_some_and(|web| web.going && !web.is_managed());
        assert!(is_going, "{attempt}: {web:?}");
        assert!(world.live("configmap", "cleanup").is_some(), "{attempt}");
        assert_eq!(world.live("job", "bye"), None, "{attempt}");
    }
    world.release.hook_timeout = limit;
    world.let_go("configmap", "web");
    let removal = remove(&mut world).await;
    assert!(removal.result.unwrap().inventory.is_empty());
    assert_eq!(removal.diary, ["post-delete Job bye done"]);
    assert_eq!(world.live("configmap", "cleanup"), None);
    assert_eq!(world.live("job", "bye"), None);
}

#[tokio::test]
async fn what_was_seen_to_go_is_not_awaited_again_before_the_last_hooks() {
    let mut world = World::new("removal-awaits").await;
    let second = config_map("second", "1");
    let second = annotated(second, "pintle.dev/depends-on", "ConfigMap/first");
    let rendering = Rendering::new()
        .object(config_map("first", "1"))
        .object(second)
        .hook(job("bye", ""), &[PostDelete], as_it_is);
    happened(&world, &rendering.finish()).await;
    let awaited = Awaited::default();
    let (_, result) = remove_telling(&mut world, &awaited).await;
    assert!(result.unwrap().inventory.is_empty());
    assert_eq!(awaited.0.into_inner().unwrap(), ["second", "first"]);
}
