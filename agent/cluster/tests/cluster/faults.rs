//! An API server and a network that have a bad day.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pintle_cluster::{
    Application, Connection, Events, InventoryStore as _, Options, Tracker, TrackerOptions, Weight,
};
use pintle_core::{inventory::Inventory, plan::Depth};
use pintle_harness::{ControlPlane, Fault, Proxy};
use serde_json::{Value, json};

use crate::world::{LIMIT, SimpleJudge, World, application, config_map, with};

/// Creates a world behind a proxy of its own.
pub(crate) async fn behind_proxy(prefix: &str) -> (World, Proxy) {
    behind_proxy_with(prefix, Options::default()).await
}

async fn behind_proxy_with(prefix: &str, options: Options) -> (World, Proxy) {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace(prefix).unwrap();
    let account = plane
        .service_account_kubeconfig(&namespace, "admin")
        .unwrap();
    let subject = format!("--serviceaccount={namespace}:admin");
    plane
        .kubectl(&[
            "create",
            "clusterrolebinding",
            &namespace,
            "--clusterrole=cluster-admin",
            &subject,
        ])
        .unwrap();
    let proxy = Proxy::before_api_server(plane).unwrap();
    let options = Options {
        kubeconfig: Some(proxy.kubeconfig(&account).unwrap()),
        ..options
    };
    let connection = Connection::connect(options).await.unwrap();
    let world = World::with(plane, namespace, connection);
    pintle_harness::until_async("the rights take effect", LIMIT, || async {
        Ok(world
            .cluster
            .discovery()
            .kinds()
            .await
            .map(drop)
            .map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
    proxy.forget();
    (world, proxy)
}

#[tokio::test]
async fn a_busy_server_is_obeyed_and_nothing_is_lost() {
    let (world, proxy) = behind_proxy("busy").await;
    let busy =
        Fault::on("PATCH", "/deployments/")
            .times(1)
            .status(429, "TooManyRequests", "slow down");
    proxy.inject(busy.header("Retry-After", "1"));
    let started = Instant::now();
    world.converge(&application()).await.unwrap();
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "what the server asks for is a lower bound"
    );
    let tries = proxy
        .seen()
        .iter()
        .filter(|seen| seen.uri.contains("/deployments/"))
        .count();
    assert_eq!(tries, 2);
}

#[tokio::test]
async fn errors_of_the_server_are_passing_and_answers_that_are_lost_do_no_harm() {
    let (world, proxy) = behind_proxy("errors").await;
    proxy.inject(Fault::on("PATCH", "/services/").times(2).status(
        500,
        "InternalError",
        "etcdserver: leader changed",
    ));
    proxy.inject(
        Fault::on("PATCH", "/serviceaccounts/")
            .times(1)
            .lose_answer(),
    );
    proxy.inject(Fault::on("PATCH", "/ingresses/").times(1).refuse());
    proxy.inject(Fault::on("POST", "/configmaps").times(1).lose_answer());
    proxy.inject(Fault::on("PUT", "/configmaps/").times(1).lose_answer());
    let applied = world.converge(&application()).await.unwrap();
    assert_eq!(applied.inventory.len(), 4);
    assert_eq!(*world.store().await.inventory(), applied.inventory);
}

#[tokio::test]
async fn a_server_that_stays_broken_is_named_with_what_was_asked() {
    let (world, proxy) = behind_proxy("broken").await;
    proxy.inject(Fault::on("PATCH", "/configmaps/a").status(
        503,
        "ServiceUnavailable",
        "apiserver is shutting down",
    ));
    let error = world
        .converge(&[config_map("a", "1"), config_map("b", "1")])
        .await
        .unwrap_err();
    let pintle_cluster::ClusterError::Failed(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.retry(), pintle_core::machine::Retry::Backoff);
    let expected = format!(
        "all.yaml:1:1: ConfigMap {0}/a: the API server answered PATCH /api/v1/namespaces/{0}/configmaps/a with 503 \
         ServiceUnavailable: apiserver is shutting down",
        world.namespace
    );
    assert_eq!(error.to_string(), expected);
    let inventory = world.store().await.inventory().clone();
    let known: Vec<(String, bool)> = inventory
        .entries()
        .map(|e| (e.name.clone(), e.uid.is_some()))
        .collect();
    assert_eq!(
        known,
        [("a".into(), false), ("b".into(), true)],
        "what may have been made stays intended"
    );
    proxy.heal();
    world
        .converge(&[config_map("a", "1"), config_map("b", "1")])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_conflict_on_the_inventory_is_looked_into() {
    let (world, proxy) = behind_proxy("status-conflict").await;
    world.converge(&[config_map("a", "1")]).await.unwrap();
    proxy.inject(
        Fault::on("PUT", "/configmaps/pintle-inventory")
            .times(1)
            .status(409, "Conflict", "the object has been modified"),
    );
    world
        .converge(&[config_map("a", "1"), config_map("b", "1")])
        .await
        .unwrap();
    assert_eq!(world.store().await.inventory().len(), 2);
}

#[tokio::test]
async fn of_what_comes_and_goes_while_it_is_planned_that_is_said() {
    let (world, proxy) = behind_proxy("came-and-went").await;
    proxy.inject(Fault::on("PATCH", "/configmaps/a").times(1).status(
        409,
        "Conflict",
        "it exists already",
    ));
    let planned = world.plan(&[config_map("a", "1")], Depth::Server).await;
    let error = planned.unwrap_err().to_string();
    assert!(
        error.contains("it came and went while it was planned"),
        "{error}"
    );
}

#[tokio::test]
async fn a_namespace_that_is_being_deleted_is_waited_for() {
    let world = World::new("terminating").await;
    let name = format!("{}-going", world.namespace);
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        with(config_map("a", "1"), "/metadata/namespace", json!(name)),
    ];
    world
        .plane
        .kubectl(&["create", "namespace", &name])
        .unwrap();
    world
        .plane
        .kubectl(&["create", "configmap", "held", "-n", &name])
        .unwrap();
    world
        .plane
        .kubectl(&[
            "patch",
            "configmap",
            "held",
            "-n",
            &name,
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":["example.com/held"]}}"#,
        ])
        .unwrap();
    world
        .plane
        .kubectl(&["delete", "namespace", &name, "--wait=false"])
        .unwrap();
    let error = world.converge(&objects).await.unwrap_err();
    let pintle_cluster::ClusterError::Failed(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.retry(), pintle_core::machine::Retry::Backoff);
    assert_eq!(
        error.to_string(),
        format!(
            "all.yaml:1:1: Namespace {name}: the namespace {name} is being deleted: waiting until it is gone"
        )
    );
    let error = world.converge(&objects[1..]).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "all.yaml:1:1: ConfigMap {name}/a: the namespace {name} is being deleted: waiting until it is gone"
        )
    );
    // It goes away, and the next run creates it again.
    world
        .plane
        .kubectl(&[
            "patch",
            "configmap",
            "held",
            "-n",
            &name,
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .unwrap();
    pintle_harness::until_async("the namespace is made anew", LIMIT, || async {
        Ok(world
            .converge(&objects)
            .await
            .map(drop)
            .map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
}

/// Waits until exactly the objects of these kinds are seen to have drifted.
async fn until_drifted(world: &World, tracker: &Tracker, inventory: &Inventory, kinds: &[&str]) {
    pintle_harness::until_async("the drift is seen", LIMIT, || async {
        let mut drift: Vec<String> = tracker
            .drift(&world.release.application, inventory)
            .iter()
            .map(|d| d.id.kind.clone())
            .collect();
        drift.sort();
        Ok(if drift == kinds {
            Ok(())
        } else {
            Err(format!("{drift:?}"))
        })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn watches_that_break_are_resumed_without_applying_anything() {
    let (mut world, proxy) = behind_proxy("drop").await;
    let options = TrackerOptions {
        application: Some(world.release.application.clone()),
        namespaces: None,
    };
    let tracker = Tracker::new(&world.connection, Arc::new(SimpleJudge), options);
    world.cluster = world.cluster.clone().with_tracker(tracker.clone());
    let inventory = world.converge(&application()).await.unwrap().inventory;
    // A period without any watch, in which someone edits and deletes.
    proxy.inject(Fault::on("GET", "watch=true").refuse());
    proxy.cut_answers();
    world.edit(
        "service",
        "web",
        &json!({"spec":{"selector":{"app":"edited"}}}),
    );
    world.kubectl(&["delete", "ingress", "web"]);
    proxy.forget();
    proxy.heal();
    until_drifted(&world, &tracker, &inventory, &["Ingress", "Service"]).await;
    assert!(
        proxy.seen().iter().all(|seen| seen.method == "GET"),
        "{:?}",
        proxy.seen()
    );
    assert_eq!(
        world.converge(&application()).await.unwrap().summary.update,
        1
    );
    assert!(
        tracker
            .drift(&world.release.application, world.store().await.inventory())
            .is_empty()
    );
}

#[tokio::test]
async fn a_kind_that_cannot_be_listed_hides_the_drift_of_no_other() {
    let (mut world, proxy) = behind_proxy("unlisted").await;
    let tracker = world.track();
    let objects = [config_map("a", "1"), application()[1].clone()];
    let inventory = world.converge(&objects).await.unwrap().inventory;
    let name = &world.release.application;
    // Services may no longer be listed or watched.
    let refused = Fault::on("GET", "/services?").status(403, "Forbidden", "no services");
    proxy.inject(refused);
    proxy.cut_answers();
    proxy.forget();
    tracker.reassess(name);
    world.kubectl(&["delete", "service", "web"]);
    world.edit("configmap", "a", &json!({"data":{"key":"edited"}}));
    until_drifted(&world, &tracker, &inventory, &["ConfigMap"]).await;
    // The query of a watch begins differently.
    let is_list = |uri: &str| uri.contains("/services?labelSelector=");
    pintle_harness::until_async("a list is refused", LIMIT, || async {
        let seen = proxy.seen();
        let is_refused = seen
            .iter()
            .any(|seen| is_list(&seen.uri) && seen.status == 403);
        Ok(if is_refused {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        })
    })
    .await
    .unwrap();
    proxy.heal();
    until_drifted(&world, &tracker, &inventory, &["ConfigMap", "Service"]).await;
    tracker.synced(name, LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_watch_whose_place_is_forgotten_begins_anew() {
    let (world, proxy) = behind_proxy("expired").await;
    let options = TrackerOptions {
        application: Some(world.release.application.clone()),
        namespaces: None,
    };
    let tracker = Tracker::new(&world.connection, Arc::new(SimpleJudge), options);
    let expired = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}});
    proxy.inject(Fault::on("GET", "watch=true").times(1).body(
        200,
        "application/json",
        format!("{expired}\n"),
    ));
    proxy.inject(
        Fault::on("GET", "watch=true")
            .times(1)
            .status(410, "Expired", "too old"),
    );
    proxy.inject(Fault::on("GET", "watch=true").times(1).status(
        422,
        "Invalid",
        "sendInitialEvents is forbidden",
    ));
    let prepared = world.prepare(&application()).await;
    let kinds = world
        .cluster
        .kinds_in_use(&prepared, world.store().await.inventory());
    tracker.observe(&world.release, &kinds);
    tracker
        .synced(&world.release.application, LIMIT)
        .await
        .unwrap();
    assert_eq!(tracker.open_watches(), 4);
}

#[tokio::test]
async fn what_a_server_fails_to_stream_is_listed() {
    let (mut world, proxy) = behind_proxy("unstreamed").await;
    let unable = json!({"type": "ERROR", "object": {"kind": "Status", "code": 500, "reason": "InternalError",
        "message": "etcd does not tell of progress"}});
    let granted = Fault::on("GET", "sendInitialEvents=true");
    proxy.inject(granted.body(200, "application/json", format!("{unable}\n")));
    let tracker = world.track();
    let inventory = world.converge(&application()).await.unwrap().inventory;
    let name = &world.release.application;
    tracker.synced(name, LIMIT).await.unwrap();
    assert!(tracker.drift(name, &inventory).is_empty());
    world.kubectl(&["delete", "service", "web"]);
    until_drifted(&world, &tracker, &inventory, &["Service"]).await;
}

#[tokio::test]
async fn a_rest_that_the_server_asks_for_is_kept_by_all_requests_of_one_name() {
    let (world, proxy) = behind_proxy("resting").await;
    let full = Fault::on("PATCH", "/configmaps/").times(1).status(
        429,
        "TooManyRequests",
        "too many requests, please try again later",
    );
    proxy.inject(full.header("Retry-After", "3600"));
    let objects: Vec<_> = (0..20)
        .map(|n| config_map(&format!("c{n:02}"), "1"))
        .collect();
    let error = world.converge(&objects).await.unwrap_err().to_string();
    assert!(error.contains("has asked for a rest"), "{error}");
    let sent = || {
        proxy
            .seen()
            .iter()
            .filter(|seen| seen.method == "PATCH")
            .count()
    };
    let before = sent();
    assert!(
        before < 20,
        "those that were not under way were not sent: {before}"
    );
    let error = world.connection.version().await.unwrap_err().to_string();
    assert!(error.contains("was not sent"), "{error}");
    assert_eq!(sent(), before, "the next run obeys as well");
}

async fn until_all_rest(world: &World) {
    pintle_harness::until_async("all requests rest", LIMIT, || async {
        Ok(match world.connection.version().await {
            Err(error) if error.to_string().contains("was not sent") => Ok(()),
            result => Err(format!("{result:?}")),
        })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_rest_that_the_server_asks_a_watch_for_is_kept_by_all_requests_and_by_the_watch() {
    let (world, proxy) = behind_proxy("watch-resting").await;
    let options = TrackerOptions {
        application: Some(world.release.application.clone()),
        namespaces: None,
    };
    let tracker = Tracker::new(&world.connection, Arc::new(SimpleJudge), options);
    let prepared = world.prepare(&[config_map("a", "1")]).await;
    let inventory = world.store().await.inventory().clone();
    let kinds = world.cluster.kinds_in_use(&prepared, &inventory);
    let full = Fault::on("GET", "watch=true").status(429, "TooManyRequests", "come again later");
    proxy.inject(full.header("Retry-After", "3600"));
    tracker.observe(&world.release, &kinds);
    until_all_rest(&world).await;
    let name = &world.release.application;
    pintle_harness::until_async("the watch says so itself", LIMIT, || async {
        let unsynced = tracker.synced(name, Duration::from_millis(10)).await;
        let text = format!("{unsynced:?}");
        Ok(if text.contains("was not sent") {
            Ok(())
        } else {
            Err(text)
        })
    })
    .await
    .unwrap();
    let watches = proxy.seen();
    let watches = watches.iter().filter(|seen| seen.uri.contains("watch="));
    assert_eq!(watches.count(), 1);
}

#[tokio::test]
async fn a_rest_that_is_asked_for_where_kinds_are_followed_is_kept_by_all_requests() {
    let (world, proxy) = behind_proxy("kinds-resting").await;
    let full = Fault::on("GET", "/customresourcedefinitions");
    let full = full.status(429, "TooManyRequests", "come again later");
    proxy.inject(full.header("Retry-After", "3600"));
    let _changes = world.cluster.follow_kinds();
    until_all_rest(&world).await;
}

/// Creates a world that does not wait long for a response, and a delay that outlasts every test.
async fn impatient(prefix: &str) -> (World, Proxy, Duration) {
    let options = Options {
        request_timeout: Duration::from_secs(2),
        ..Options::default()
    };
    let (world, proxy) = behind_proxy_with(prefix, options).await;
    (world, proxy, Duration::from_hours(1))
}

#[tokio::test]
async fn a_watch_that_is_not_answered_is_asked_for_again() {
    let (world, proxy, never) = impatient("unanswered-watch").await;
    let options = TrackerOptions {
        application: Some(world.release.application.clone()),
        namespaces: None,
    };
    let tracker = Tracker::new(&world.connection, Arc::new(SimpleJudge), options);
    let prepared = world.prepare(&[config_map("a", "1")]).await;
    let inventory = world.store().await.inventory().clone();
    let kinds = world.cluster.kinds_in_use(&prepared, &inventory);
    proxy.inject(Fault::on("GET", "watch=true").times(1).delay(never));
    tracker.observe(&world.release, &kinds);
    tracker
        .synced(&world.release.application, LIMIT)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_event_that_is_not_answered_holds_nobody_up() {
    let (world, proxy, never) = impatient("unanswered-event").await;
    let about = Application::read(json!({
        "metadata": {"namespace": world.namespace, "name": "web", "uid": "1", "resourceVersion": "1"},
    }));
    proxy.inject(Fault::on("POST", "/events").times(1).delay(never));
    proxy.inject(Fault::on("POST", "/events").times(1).lose_answer());
    let events = Events::new(&world.connection, "test");
    let emitting = events.emit(
        &about,
        "Application",
        Weight::Warning,
        "ApplyFailed",
        "Converge",
        "a note",
    );
    tokio::time::timeout(LIMIT, emitting).await.unwrap();
    let written = world.kubectl(&["get", "events.events.k8s.io", "-o", "json"]);
    assert_eq!(written.matches("a note").count(), 1, "{written}");
}

/// Makes the server list only these groups, besides the core group.
fn list_only(proxy: &Proxy, groups: Value) {
    let list = json!({"kind": "APIGroupDiscoveryList", "items": groups}).to_string();
    let answer = Fault::on("GET", "/apis");
    let answer = answer.body(200, "application/json", list);
    proxy.decide_by(move |_, uri| (uri == "/apis").then(|| answer.clone()));
}

/// Asks the server again, and returns whether Deployments and Things are served.
async fn are_served(world: &World) -> [bool; 2] {
    let discovery = world.cluster.discovery();
    discovery.ask_anew().await.unwrap();
    let kinds = discovery.kinds().await.unwrap();
    let is_served = |group, kind| kinds.find(group, "v1", kind).is_ok();
    [
        is_served("apps", "Deployment"),
        is_served("away.example.com", "Thing"),
    ]
}

#[tokio::test]
async fn what_a_list_does_not_have_is_gone_only_if_the_server_does_not_serve_it() {
    let (world, proxy) = behind_proxy("list-behind").await;
    let group =
        |version: Value| json!([{"metadata": {"name": "away.example.com"}, "versions": [version]}]);
    let thing = json!({
        "resource": "things", "scope": "Namespaced", "responseKind": {"kind": "Thing"}, "verbs": ["patch"],
    });
    let current = json!({"version": "v1", "freshness": "Current", "resources": [thing]});
    list_only(&proxy, group(current));
    assert_eq!(are_served(&world).await, [true, true]);
    let stale = json!({"version": "v1", "freshness": "Stale"});
    list_only(&proxy, group(stale));
    assert_eq!(are_served(&world).await, [true, true]);
    list_only(&proxy, json!([]));
    assert_eq!(are_served(&world).await, [true, false]);
}
