//! Hooks on a real control plane: what runs when, what is left, and how a failure is reported.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use pintle_cluster::{
    Applied, ApplyError, Applying, ClusterError, InventoryStore as _, Kept, Planned, Progress, Step,
};
use pintle_core::{
    digest::Digest,
    duration::Span,
    hook::{Hook, HookDeletion, HookEvent, HookOutcome},
    inventory::Inventory,
    object::Object,
    plan::{Action, Change, Depth},
    rendered::{Rendered, RenderedObject},
    seed::Seed,
};
use pintle_harness::Fault;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    definitions::{definition, widget},
    faults::behind_proxy,
    world::{Impatient, Starved, World, annotated, approve, config_map, deployment},
};

/// Records what happened, in order.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Progress for Diary {
    fn step(&self, step: Step<'_>) {
        let line = match step {
            Step::Written { id, action, .. } => format!("{action:?} {} {}", id.kind, id.name),
            Step::Deleted { id } => format!("gone {} {}", id.kind, id.name),
            Step::HookEnded {
                id, event, failure, ..
            } => {
                let outcome = if failure.is_some() { "failed" } else { "done" };
                format!("{event} {} {} {outcome}", id.kind, id.name)
            }
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

pub(crate) struct Rendering(pub(crate) Vec<RenderedObject>);

impl Rendering {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn object(mut self, value: Value) -> Self {
        self.0.push(RenderedObject {
            object: Object::new(value).unwrap(),
            source: None,
            hook: None,
            keep: false,
        });
        self
    }

    pub(crate) fn hook(
        mut self,
        value: Value,
        events: &[HookEvent],
        of: impl FnOnce(Hook) -> Hook,
    ) -> Self {
        let hook = Hook {
            events: events.iter().copied().collect(),
            ..Hook::default()
        };
        self = self.object(value);
        self.0.last_mut().unwrap().hook = Some(of(hook));
        self
    }

    fn kept(mut self, value: Value) -> Self {
        self = self.object(value);
        self.0.last_mut().unwrap().keep = true;
        self
    }

    pub(crate) fn finish(self) -> Rendered {
        Rendered::new(self.0, None, Vec::new(), &Seed::from_text("test")).unwrap()
    }
}

/// Converges and completes, and returns what happened.
async fn release(
    world: &World,
    rendered: &Rendered,
) -> (Vec<String>, Result<Applied, ClusterError<ApplyError>>) {
    let mut store = world.store().await;
    let prepared = world
        .cluster
        .prepare(rendered, &world.release)
        .await
        .unwrap();
    let planned = world
        .cluster
        .plan(&world.release, &prepared, store.inventory(), Depth::Local)
        .await
        .unwrap();
    let (diary, cancel) = (Diary::default(), CancellationToken::new());
    let applying = Applying {
        release: &world.release,
        prepared: &prepared,
        progress: &diary,
        cancel: &cancel,
    };
    let approved = approve(&planned);
    let mut result = world
        .cluster
        .apply(&applying, &approved, planned.inventory, &mut store)
        .await;
    if let Ok(applied) = result {
        result = world
            .cluster
            .complete(&applying, applied.inventory, &mut store)
            .await;
    }
    (diary.0.into_inner().unwrap(), result)
}

pub(crate) async fn happened(world: &World, rendered: &Rendered) -> Vec<String> {
    let (diary, result) = release(world, rendered).await;
    result.unwrap();
    diary
}

async fn failure(world: &World, rendered: &Rendered) -> String {
    let (_, result) = release(world, rendered).await;
    let Err(ClusterError::Failed(error)) = result else {
        panic!("it succeeded")
    };
    error.to_string()
}

/// The result of an attempt to remove everything that the application has.
pub(crate) struct Removal {
    pub(crate) diary: Vec<String>,
    pub(crate) kept: Vec<Kept>,
    pub(crate) result: Result<Applied, ClusterError<ApplyError>>,
}

pub(crate) async fn remove(world: &mut World) -> Removal {
    let diary = Diary::default();
    let (kept, result) = remove_telling(world, &diary).await;
    Removal {
        diary: diary.0.into_inner().unwrap(),
        kept,
        result,
    }
}

pub(crate) async fn remove_telling(
    world: &mut World,
    progress: &dyn Progress,
) -> (Vec<Kept>, Result<Applied, ClusterError<ApplyError>>) {
    world.release = world.release.clone().for_removal();
    let inventory = world.store().await.inventory().clone();
    let hooks = world
        .cluster
        .removal_hooks(&world.release, &inventory)
        .await
        .unwrap()
        .unwrap();
    assert!(!hooks.are_unseen);
    let rendered = Rendered::new(hooks.objects, None, Vec::new(), &world.release.seed).unwrap();
    let mut store = world.store().await;
    let prepared = world
        .cluster
        .prepare(&rendered, &world.release)
        .await
        .unwrap();
    let planned = world
        .cluster
        .plan(&world.release, &prepared, &inventory, Depth::Local)
        .await
        .unwrap();
    let cancel = CancellationToken::new();
    let result = world
        .apply(&prepared, &planned, &mut store, progress, &cancel)
        .await;
    (planned.kept, result)
}

/// Removes everything that the application has.
async fn removed(world: &mut World) -> Vec<String> {
    let Removal { diary, result, .. } = remove(world).await;
    world
        .cluster
        .forget_removal_hooks(&world.release, &result.unwrap().inventory)
        .await
        .unwrap();
    diary
}

/// Returns a Job whose pods behave as a label says.
pub(crate) fn job(name: &str, pod: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {
            "metadata": {"labels": {"testing.pintle.dev/pod": pod}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "main:1"}]},
        }},
    })
}

pub(crate) fn as_it_is(hook: Hook) -> Hook {
    hook
}

fn succeeded(mut hook: Hook) -> Hook {
    hook.deletion = [HookDeletion::Succeeded].into();
    hook
}

#[tokio::test]
async fn a_release_goes_through_its_life() {
    use HookEvent::{
        PostDelete, PostInstall, PostUpgrade, PreDelete, PreInstall, PreRollback, PreUpgrade, Test,
    };
    let mut world = World::new("hooks-life").await;
    let version = |value: &str| {
        Rendering::new()
            .object(config_map("web", value))
            .hook(job("migrate", ""), &[PreInstall, PreUpgrade], as_it_is)
            .hook(job("welcome", ""), &[PostInstall], succeeded)
            .hook(job("undo", ""), &[PreRollback], as_it_is)
            .hook(job("tell", ""), &[PostUpgrade], succeeded)
            .hook(job("test", ""), &[Test], as_it_is)
            .hook(job("save", ""), &[PreDelete], as_it_is)
            .hook(job("bye", ""), &[PostDelete], succeeded)
            .finish()
    };
    insta::assert_snapshot!(happened(&world, &version("1")).await.join("\n"), @"
    pre-install Job migrate done
    Create ConfigMap web
    post-install Job welcome done
    gone Job welcome
    ");
    assert!(happened(&world, &version("1")).await.is_empty());
    insta::assert_snapshot!(happened(&world, &version("2")).await.join("\n"), @"
    gone Job migrate
    pre-upgrade Job migrate done
    Update ConfigMap web
    post-upgrade Job tell done
    gone Job tell
    ");
    insta::assert_snapshot!(happened(&world, &version("1")).await.join("\n"), @"
    pre-rollback Job undo done
    Update ConfigMap web
    ");
    insta::assert_snapshot!(happened(&world, &version("2")).await.join("\n"), @"
    gone Job migrate
    pre-upgrade Job migrate done
    Update ConfigMap web
    post-upgrade Job tell done
    gone Job tell
    ");
    let left: BTreeSet<String> = world
        .kubectl(&["get", "jobs", "-o", "name"])
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(
        left,
        ["job.batch/migrate".to_owned(), "job.batch/undo".to_owned()].into()
    );
    let mut diary = removed(&mut world).await;
    // Objects that are deleted together are gone in any order.
    diary[1..3].sort();
    insta::assert_snapshot!(diary.join("\n"), @"
    pre-delete Job save done
    gone Job migrate
    gone Job undo
    gone ConfigMap web
    post-delete Job bye done
    gone Job bye
    ");
    assert_eq!(world.kubectl(&["get", "jobs", "-o", "name"]), "");
    assert_eq!(world.live("secret", "pintle-hooks.web"), None);
}

#[tokio::test]
async fn the_removal_ends_with_its_hooks_where_a_kind_goes_with_its_definition() {
    let mut world = World::new("hooks-crd").await;
    let definition = annotated(definition(&world), "pintle.dev/prune", "allowed");
    let rendered = Rendering::new()
        .object(definition)
        .object(widget(&world, "w"))
        .hook(job("bye", ""), &[HookEvent::PostDelete], succeeded)
        .finish();
    happened(&world, &rendered).await;
    let diary = removed(&mut world).await;
    let last = ["post-delete Job bye done", "gone Job bye"];
    assert!(diary.ends_with(&last.map(str::to_owned)), "{diary:?}");
}

/// Returns what a plan does, in the order of identity, with the events of hooks.
fn does(planned: &Planned) -> Vec<String> {
    let line = |change: &Change| {
        let events: Vec<_> = change.hook.iter().map(|event| event.name()).collect();
        format!("{} {} {}", change.action, change.id.name, events.join(","))
    };
    let changes = planned.plan.changes().iter();
    changes
        .filter(|change| change.action != Action::Unchanged)
        .map(line)
        .collect()
}

async fn planned(world: &World, rendered: &Rendered, inventory: &Inventory) -> Planned {
    let prepared = world
        .cluster
        .prepare(rendered, &world.release)
        .await
        .unwrap();
    world
        .cluster
        .plan(&world.release, &prepared, inventory, Depth::Server)
        .await
        .unwrap()
}

#[tokio::test]
async fn hooks_for_the_removal_are_in_the_plan_that_keeps_them_and_in_no_other() {
    use HookEvent::{PostDelete, PreDelete, PreInstall, PreUpgrade};
    let world = World::new("hooks-kept").await;
    let version = |pod: &str| {
        Rendering::new()
            .object(config_map("web", "1"))
            .hook(job("save", pod), &[PreDelete, PreInstall], as_it_is)
            .hook(job("bye", ""), &[PostDelete], as_it_is)
            .finish()
    };
    let none = Inventory::default();
    let first = planned(&world, &version(""), &none).await;
    let expected = [
        "create web ",
        "keep bye post-delete",
        "create save pre-install,pre-delete",
    ];
    assert_eq!(does(&first), expected);
    let summary = first.plan.summary();
    assert_eq!(
        (summary.create, summary.hooks, summary.kept_hooks),
        (1, 1, 1)
    );
    happened(&world, &version("")).await;
    let kept = world.live("secret", "pintle-hooks.web").unwrap();
    assert_eq!(world.live("job", "bye"), None);

    // Hooks that are already kept are not kept again, whatever else changes.
    let inventory = world.store().await.inventory().clone();
    assert!(
        planned(&world, &version(""), &inventory)
            .await
            .plan
            .is_empty()
    );
    let more = Rendering(version("").objects().to_vec())
        .hook(job("save", ""), &[PreDelete, PreInstall], as_it_is)
        .hook(job("bye", ""), &[PostDelete], as_it_is)
        .hook(job("migrate", ""), &[PreUpgrade], as_it_is)
        .finish();
    let upgrade = planned(&world, &more, &inventory).await;
    assert_eq!(does(&upgrade), ["create migrate pre-upgrade"]);
    assert!(happened(&world, &version("")).await.is_empty());
    assert_eq!(
        world.live("secret", "pintle-hooks.web").unwrap()["metadata"]["resourceVersion"],
        kept["metadata"]["resourceVersion"]
    );

    // A change to one of them brings all of them into the plan, and so does an earlier version that asked no policy.
    let both = ["keep bye post-delete", "keep save pre-delete"];
    let changed = planned(&world, &version("failed"), &inventory).await;
    assert_eq!(does(&changed), both);
    assert_eq!(
        changed.plan.summary().to_string(),
        "0 to create, 0 to update, 0 to delete, 1 unchanged, 2 hooks to keep for the removal"
    );
    let mut earlier = inventory.clone();
    earlier.release.as_mut().unwrap().removal_hooks = Some(Digest::of("kept by another version"));
    assert_eq!(does(&planned(&world, &version(""), &earlier).await), both);

    // Nothing is left of hooks that no longer exist.
    let without = Rendering::new().object(config_map("web", "1")).finish();
    happened(&world, &without).await;
    assert_eq!(world.live("secret", "pintle-hooks.web"), None);
}

#[tokio::test]
async fn what_is_said_of_hooks_that_cannot_be_kept_quotes_none_of_them() {
    let (world, proxy) = behind_proxy("hooks-denied").await;
    let denial = "admission webhook \"w\" denied the request: no\nfound hunter2";
    proxy.inject(Fault::on("POST", "/secrets").status(403, "Forbidden", denial));
    let saving = Rendering::new()
        .hook(job("save", ""), &[HookEvent::PreDelete], as_it_is)
        .finish();
    let expected = format!(
        "Secret {}/pintle-hooks.web: admission refuses it: admission webhook \"w\" denied the request: no",
        world.namespace
    );
    assert_eq!(failure(&world, &saving).await, expected);
}

#[tokio::test]
async fn hooks_run_by_weight_and_clean_up_after_all_have_succeeded() {
    let world = World::new("hooks-weight").await;
    let events = [HookEvent::PreInstall];
    let weighing = |weight: i32| {
        move |hook: Hook| Hook {
            weight,
            ..succeeded(hook)
        }
    };
    let rendered = Rendering::new()
        .object(config_map("web", "1"))
        .hook(job("b", ""), &events, weighing(0))
        .hook(config_map("for-them", "1"), &events, weighing(-5))
        .hook(job("a", ""), &events, weighing(10))
        .finish();
    insta::assert_snapshot!(happened(&world, &rendered).await.join("\n"), @"
    pre-install ConfigMap for-them done
    pre-install Job b done
    pre-install Job a done
    gone Job a
    gone Job b
    gone ConfigMap for-them
    Create ConfigMap web
    ");
}

#[tokio::test]
async fn a_hook_that_fails_is_explained_and_stops_what_comes_after() {
    let world = World::new("hooks-fail").await;
    let broken = |pod: &str, deletion: &[HookDeletion]| {
        let deletion: BTreeSet<HookDeletion> = deletion.iter().copied().collect();
        Rendering::new()
            .object(config_map("web", "1"))
            .hook(job("migrate", pod), &[HookEvent::PreInstall], |hook| Hook {
                deletion,
                logs: [HookOutcome::Failed].into(),
                ..hook
            })
            .finish()
    };
    let error = failure(&world, &broken("failed", &[])).await;
    let pod = world.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
    insta::assert_snapshot!(error.replace(&pod, "POD").replace(&world.namespace, "NS"), @"Job.batch NS/migrate: its pre-install hook failed: BackoffLimitExceeded: Job has reached the specified backoff limit; Pod POD: main ended with exit code 1");
    assert_eq!(world.live("configmap", "web"), None);
    let first = world.live("job", "migrate").unwrap();
    // The next attempt runs it again.
    failure(&world, &broken("failed", &[])).await;
    let second = world.live("job", "migrate").unwrap();
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    // Once repaired, it is still an installation.
    let diary = happened(&world, &broken("", &[HookDeletion::Failed])).await;
    insta::assert_snapshot!(diary.join("\n"), @"
    gone Job migrate
    pre-install Job migrate done
    Create ConfigMap web
    ");
    let world = World::new("hooks-clear").await;
    failure(&world, &broken("failed", &[HookDeletion::Failed])).await;
    assert_eq!(world.live("job", "migrate"), None, "deleted as it asks");
}

#[tokio::test]
async fn a_hook_that_does_not_end_is_explained() {
    let mut world = World::new("hooks-stuck").await;
    world.release.hook_timeout = Span::seconds(8);
    let rendered = Rendering::new()
        .object(config_map("web", "1"))
        .hook(
            job("migrate", "image-pull-backoff"),
            &[HookEvent::PreInstall],
            as_it_is,
        )
        .finish();
    let error = failure(&world, &rendered).await;
    let pod = world.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
    insta::assert_snapshot!(error.replace(&pod, "POD").replace(&world.namespace, "NS"), @r#"Job.batch NS/migrate: its pre-install hook failed: it has not ended after 8s: of its pods, 1 are active and 0 have failed; Pod POD: main waits: ImagePullBackOff: Back-off pulling image "main:1""#);
}

#[tokio::test]
async fn a_hook_whose_check_could_not_be_asked_is_not_taken_for_usable() {
    let (mut world, proxy) = behind_proxy("hooks-starved").await;
    let judge = Arc::new(Starved::default());
    world.cluster = world.cluster.clone().with_judge(judge.clone());
    let rendered = Rendering::new()
        .object(config_map("web", "1"))
        .hook(deployment("cache", 0), &[HookEvent::PreInstall], as_it_is)
        .finish();
    insta::assert_snapshot!(happened(&world, &rendered).await.join("\n"), @"
    pre-install Deployment cache done
    Create ConfigMap web
    ");
    assert!(judge.asked() > Starved::FAILURES, "asked until it answered");
    let seen = proxy.seen();
    let is_watch = |uri: &str| uri.contains("/deployments?") && uri.contains("watch=");
    let watches = seen.iter().filter(|one| is_watch(&one.uri)).count();
    assert!(watches < Starved::FAILURES, "not for each: {watches}");
}

#[tokio::test]
async fn a_check_that_wants_to_be_asked_again_at_once_is_not_asked_without_a_pause() {
    let mut world = World::new("hooks-impatient").await;
    world.release.hook_timeout = Span::seconds(1);
    let judge = Arc::new(Impatient::default());
    world.cluster = world.cluster.clone().with_judge(judge.clone());
    let rendered = Rendering::new()
        .object(config_map("web", "1"))
        .hook(deployment("cache", 0), &[HookEvent::PreInstall], as_it_is)
        .finish();
    let error = failure(&world, &rendered).await;
    assert!(error.contains("its pre-install hook failed"), "{error}");
    // Ten times per second, and once for each event about the object.
    let asked = judge.asked();
    assert!(asked < 10 + 2 * Starved::FAILURES, "{asked} times");
}

#[tokio::test]
async fn a_hook_takes_no_stranger_away() {
    let world = World::new("hooks-foreign").await;
    world.kubectl(&[
        "create",
        "configmap",
        "settings",
        "--from-literal=key=theirs",
    ]);
    let store = world.store().await;
    let rendered = Rendering::new()
        .hook(
            config_map("settings", "ours"),
            &[HookEvent::PreInstall],
            as_it_is,
        )
        .finish();
    let prepared = world
        .cluster
        .prepare(&rendered, &world.release)
        .await
        .unwrap();
    let planned = world
        .cluster
        .plan(&world.release, &prepared, store.inventory(), Depth::Local)
        .await;
    let ClusterError::Failed(error) = planned.unwrap_err() else {
        panic!("it connects")
    };
    insta::assert_snapshot!(error.to_string().replace(&world.namespace, "NS"), @"ConfigMap NS/settings: it exists already and was not made by this application, and its hook would replace it: rename the hook, delete the object, or hand it over with the annotation pintle.dev/adopt=allowed");
    assert_eq!(
        world.live("configmap", "settings").unwrap()["data"]["key"],
        "theirs"
    );
}

#[tokio::test]
async fn what_was_applied_to_stay_stays_when_it_leaves_and_at_the_removal() {
    let mut world = World::new("hooks-keep").await;
    let both = Rendering::new()
        .object(config_map("web", "1"))
        .kept(config_map("data", "1"))
        .kept(config_map("more", "1"))
        .finish();
    happened(&world, &both).await;
    let less = Rendering::new()
        .object(config_map("web", "1"))
        .kept(config_map("more", "1"))
        .finish();
    assert!(happened(&world, &less).await.is_empty());
    assert!(world.live("configmap", "data").is_some());
    assert_eq!(removed(&mut world).await, ["gone ConfigMap web"]);
    assert!(world.live("configmap", "more").is_some());
}
