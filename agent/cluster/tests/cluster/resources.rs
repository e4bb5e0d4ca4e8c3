//! Pintle's own resources, and the files that install it.

use std::path::Path;

use futures::StreamExt as _;
use pintle_cluster::{
    Application, Applications, Events, InventoryStore as _, Plugins, ResourceEvent, Resources,
    SeedError, Seeds, StatusError, StatusStore, Weight, crd,
};
use pintle_core::{application::ApplicationStatus, names::ApplicationName, seed::Seed};
use pintle_harness::until_async;
use serde_json::json;

use crate::world::{LIMIT, World, config_map, connect};

/// Applies the generated definitions and waits until they are served.
async fn install(world: &World) -> Applications {
    for definition in crd::definitions() {
        world.plane.apply(&definition.to_string()).unwrap();
    }
    let applications = Resources::applications(&world.connection);
    until_async("the definitions are served", LIMIT, || async {
        let applications = applications.list(None).await.map(drop);
        let plugins = Plugins::plugins(&world.connection)
            .list(None)
            .await
            .map(drop);
        Ok(applications.and(plugins).map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
    applications
}

fn manifest(world: &World, name: &str, git: serde_json::Value) -> String {
    json!({
        "apiVersion": "pintle.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"source": {"git": git}},
    })
    .to_string()
}

async fn application(world: &World, applications: &Applications) -> Application {
    world
        .plane
        .apply(&manifest(
            world,
            "web",
            json!({"url": "https://example.com/a.git"}),
        ))
        .unwrap();
    applications
        .get(Some(&world.namespace), "web")
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn the_server_checks_and_completes_what_an_operator_writes() {
    let world = World::new("schema").await;
    let applications = install(&world).await;
    let found = application(&world, &applications).await;
    let spec = found.spec.unwrap();
    assert_eq!(
        (spec.interval.to_string().as_str(), spec.prune.max_percent),
        ("5m", 50)
    );
    let refused = |git| {
        world
            .plane
            .apply(&manifest(&world, "bad", git))
            .unwrap_err()
            .to_string()
    };
    let error = refused(json!({"url": "https://example.com/a.git", "tag": "v1", "branch": "main"}));
    assert!(
        error.contains("at most one of branch, tag, semver and commit may be given"),
        "{error}"
    );
    assert!(refused(json!({"url": ""})).contains("spec.source.git.url"));
    assert!(
        refused(json!({"url": "a", "brunch": "main"}))
            .contains("unknown field \"spec.source.git.brunch\"")
            || refused(json!({"url": "a", "brunch": "main"}))
                .contains("brunch: field not declared in schema")
    );
    let listed = world.kubectl(&["get", "applications"]);
    assert!(
        listed.starts_with("NAME   READY   STATUS   HEALTH   OBJECTS   REVISION   AGE"),
        "{listed}"
    );
}

#[tokio::test]
async fn an_inventory_is_kept_in_the_status_and_a_run_costs_two_writes() {
    let world = World::new("status").await;
    let applications = install(&world).await;
    let known = application(&world, &applications).await;
    let mark = world.plane.requests_mark().unwrap();
    let mut store = StatusStore::new(
        applications.clone(),
        known.clone(),
        ApplicationStatus::default(),
    )
    .unwrap();
    let wordy = Application {
        annotations: [("note".to_owned(), "x".repeat(1 << 18))].into(),
        ..known.clone()
    };
    let beside = StatusStore::new(applications.clone(), wordy, ApplicationStatus::default());
    assert!(
        beside.unwrap().room() <= store.room() - (1 << 18),
        "annotations are in the same resource"
    );
    let applied = world
        .converge_in(&[config_map("a", "1"), config_map("b", "1")], &mut store)
        .await
        .unwrap();
    let end = ApplicationStatus {
        revision: Some("abc".into()),
        ..ApplicationStatus::default()
    };
    let now = store.finish(end).await.unwrap();
    let writes: Vec<_> = world
        .requests(mark)
        .into_iter()
        .filter(|r| r.resource == "applications")
        .map(|r| r.verb)
        .collect();
    assert_eq!(writes, ["patch", "patch"]);
    let store = StatusStore::new(
        applications.clone(),
        now.clone(),
        ApplicationStatus::default(),
    )
    .unwrap();
    assert_eq!(*store.inventory(), applied.inventory);
    assert_eq!(
        (now.status.unwrap().objects, now.generation),
        (2, known.generation)
    );
    // Writing the same status again makes no request.
    let again = applications
        .get(Some(&world.namespace), "web")
        .await
        .unwrap()
        .unwrap();
    let mark = world.plane.requests_mark().unwrap();
    applications
        .write_status(&again, again.status.as_ref().unwrap())
        .await
        .unwrap();
    assert_eq!(world.request_lines(mark), [""; 0]);
}

#[tokio::test]
async fn nobody_elses_status_is_overwritten_but_a_changed_spec_is_no_obstacle() {
    let world = World::new("superseded").await;
    let applications = install(&world).await;
    let known = application(&world, &applications).await;
    let status = |revision: &str| ApplicationStatus {
        revision: Some(revision.into()),
        ..ApplicationStatus::default()
    };
    world.kubectl(&[
        "annotate",
        "application",
        "web",
        "pintle.dev/reconcile-requested-at=now",
    ]);
    let one = applications
        .write_status(&known, &status("one"))
        .await
        .unwrap();
    assert_eq!(one.annotations["pintle.dev/reconcile-requested-at"], "now");
    let error = applications
        .write_status(&known, &status("two"))
        .await
        .unwrap_err();
    assert!(matches!(error, StatusError::Superseded { .. }), "{error}");
    // The response was lost: the status is already as it should be.
    assert!(
        applications
            .write_status(&known, &status("one"))
            .await
            .is_ok()
    );
    world.kubectl(&["delete", "application", "web"]);
    let error = applications
        .write_status(&one, &status("three"))
        .await
        .unwrap_err();
    assert!(matches!(error, StatusError::Gone { .. }), "{error}");
}

#[tokio::test]
async fn a_finalizer_holds_a_resource_until_it_is_removed() {
    let world = World::new("finalizer").await;
    let applications = install(&world).await;
    let known = application(&world, &applications).await;
    let held = applications.add_finalizer(&known).await.unwrap();
    assert!(held.has_finalizer());
    world.kubectl(&["delete", "application", "web", "--wait=false"]);
    let found = applications
        .get(Some(&world.namespace), "web")
        .await
        .unwrap()
        .unwrap();
    assert!(found.deleting);
    // This is an older state: the resource has changed since.
    applications.remove_finalizer(&held).await.unwrap();
    assert_eq!(
        applications
            .get(Some(&world.namespace), "web")
            .await
            .unwrap(),
        None
    );
    applications.remove_finalizer(&held).await.unwrap();
}

#[tokio::test]
async fn resources_are_seen_as_they_come_change_and_go() {
    let world = World::new("watched").await;
    let applications = install(&world).await;
    application(&world, &applications).await;
    let mut events = Box::pin(applications.watch(Some(&world.namespace)));
    let mut next = async || loop {
        match tokio::time::timeout(LIMIT, events.next())
            .await
            .unwrap()
            .unwrap()
        {
            ResourceEvent::Seen(resource) => {
                return format!(
                    "seen {} {:?}",
                    resource.name,
                    resource.spec.map(|spec| spec.suspend)
                );
            }
            ResourceEvent::Gone { name, .. } => return format!("gone {name}"),
            ResourceEvent::Complete => return "complete".to_owned(),
            ResourceEvent::Failed { .. } | ResourceEvent::Resumed => {}
        }
    };
    assert_eq!(next().await, "seen web Ok(false)");
    assert_eq!(next().await, "complete");
    world.edit("application", "web", &json!({"spec":{"suspend":true}}));
    assert_eq!(next().await, "seen web Ok(true)");
    world.kubectl(&["delete", "application", "web"]);
    assert_eq!(next().await, "gone web");
}

#[tokio::test]
async fn events_are_shown_beside_the_resource_each_with_its_own_note() {
    let world = World::new("events").await;
    let applications = install(&world).await;
    let known = application(&world, &applications).await;
    let events = Events::new(&world.connection, "test");
    for note in ["one", "two"] {
        events
            .emit(
                &known,
                "Application",
                Weight::Warning,
                "PolicyDenied",
                "Check",
                note,
            )
            .await;
    }
    let text = world.kubectl(&["get", "events.events.k8s.io", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ours = list["items"].as_array().unwrap().iter();
    let mut notes: Vec<_> = ours
        .filter(|event| event["reason"] == "PolicyDenied" && event["regarding"]["uid"] == known.uid)
        .map(|event| event["note"].as_str().unwrap())
        .collect();
    notes.sort_unstable();
    assert_eq!(notes, ["one", "two"]);
}

#[tokio::test]
async fn a_seed_is_made_once_whoever_comes_first() {
    let world = World::new("seeds").await;
    let opening = (0..4).map(|_| Seeds::of_agent(&world.connection, &world.namespace));
    let seeds = futures::future::try_join_all(opening).await.unwrap();
    let name = ApplicationName::new("shop", "web");
    assert!(
        seeds
            .iter()
            .all(|other| other.of(&name) == seeds[0].of(&name))
    );
}

#[tokio::test]
async fn a_seed_of_the_command_line_is_kept_once() {
    let world = World::new("seed").await;
    let (connection, application) = (&world.connection, &world.release.application);
    let known = || async { Seeds::known(connection, application).await.unwrap() };
    assert_eq!(known().await, None);
    let own = Seed::from_text("own");
    Seeds::keep(connection, application, &own).await.unwrap();
    assert_eq!(known().await, Some(own.clone()));
    // The response was lost, and the request is repeated.
    Seeds::keep(connection, application, &own).await.unwrap();
    let error = Seeds::keep(connection, application, &Seed::from_text("other")).await;
    assert!(matches!(error, Err(SeedError::Superseded { .. })));
    Seeds::remove(connection, application).await.unwrap();
    Seeds::remove(connection, application).await.unwrap();
    assert_eq!(known().await, None);
}

/// The agent's account has the rights that it needs, and none to write anything else.
#[tokio::test]
async fn the_generated_files_install_an_agent_that_can_do_its_work() {
    let world = World::new("installed").await;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    for file in ["install.yaml", "applier-cluster-admin.yaml"] {
        world
            .plane
            .apply(&std::fs::read_to_string(deploy.join(file)).unwrap())
            .unwrap();
    }
    let kubeconfig = world
        .plane
        .service_account_kubeconfig("pintle-system", "pintle-agent")
        .unwrap();
    let agent = World::with(
        world.plane,
        world.namespace.clone(),
        connect(&kubeconfig).await,
    );
    let applications = Resources::applications(&agent.connection);
    until_async("the rights take effect", LIMIT, || async {
        Ok(applications
            .list(None)
            .await
            .map(drop)
            .map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
    let known = application(&agent, &applications).await;
    let known = applications.add_finalizer(&known).await.unwrap();
    Seeds::of_agent(&agent.connection, "pintle-system")
        .await
        .unwrap();
    Events::new(&agent.connection, "test")
        .emit(
            &known,
            "Application",
            Weight::Normal,
            "Converged",
            "Converge",
            "x",
        )
        .await;
    assert!(
        world
            .kubectl(&["get", "events.events.k8s.io"])
            .contains("Converged")
    );
    let mut store =
        StatusStore::new(applications.clone(), known, ApplicationStatus::default()).unwrap();
    let error = agent
        .converge_in(&[config_map("a", "1")], &mut store)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the account in use may not do this"),
        "{error}"
    );
    let mut tenant = World::with(
        agent.plane,
        agent.namespace.clone(),
        agent.connection.clone(),
    );
    tenant.release.account = Some(pintle_cluster::ServiceAccount::new(
        "pintle-system",
        "pintle-applier",
    ));
    tenant.track();
    tenant
        .converge_in(&[config_map("a", "1")], &mut store)
        .await
        .unwrap();
    let now = store.finish(ApplicationStatus::default()).await.unwrap();
    applications.remove_finalizer(&now).await.unwrap();
    assert!(world.live("configmap", "a").is_some());
}
