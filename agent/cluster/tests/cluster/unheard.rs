//! Writes whose outcome a run never learns.

use pintle_cluster::{ClusterError, InventoryStore as _, Leave};
use pintle_core::plan::Depth;
use pintle_harness::Fault;
use serde_json::json;

use crate::{
    faults::behind_proxy,
    world::{annotated, config_map, deployment, with},
};

#[tokio::test]
async fn what_was_made_although_its_answer_was_lost_is_listed_whatever_is_answered_next() {
    let (world, proxy) = behind_proxy("made").await;
    let refuse = |part, times| {
        Fault::on("PATCH", part)
            .times(times)
            .status(403, "Forbidden", "not today")
    };
    // One that can be read afterwards, one that cannot, and one that was never created.
    for part in ["/configmaps/seen", "/configmaps/unseen"] {
        proxy.inject(Fault::on("PATCH", part).times(1).lose_answer());
        proxy.inject(refuse(part, 1));
    }
    proxy.inject(Fault::on("GET", "/configmaps/unseen").times(1).status(
        403,
        "Forbidden",
        "not today",
    ));
    proxy.inject(Fault::on("PATCH", "/configmaps/never").times(1).refuse());
    proxy.inject(refuse("/configmaps/never", 1));
    let objects = ["never", "seen", "unseen"].map(|name| config_map(name, "1"));
    let error = world.converge(&objects).await.unwrap_err();
    let ClusterError::Failed(error) = error else {
        panic!("{error}")
    };
    let failed: Vec<&str> = error.failures.iter().map(|f| f.id.name.as_str()).collect();
    assert_eq!(failed, ["never", "unseen"]);
    let inventory = world.store().await.inventory().clone();
    let known: Vec<(String, bool)> = inventory
        .entries()
        .map(|e| (e.name.clone(), e.uid.is_some()))
        .collect();
    assert_eq!(known, [("seen".into(), true), ("unseen".into(), false)]);
    proxy.heal();
    assert_eq!(world.converge(&objects).await.unwrap().inventory.len(), 3);
}

#[tokio::test]
async fn what_a_run_has_left_undone_itself_is_nobodys_drift() {
    let (mut world, proxy) = behind_proxy("undone").await;
    // A rollback restores the previous state, even if drift is only reported.
    world.release.leaves = Leave::Everything;
    let before = [deployment("web", 0), config_map("a", "1")];
    world.converge(&before).await.unwrap();

    // One is deleted and then not created again.
    let mut web = before[0].clone();
    for label in [
        "/spec/selector/matchLabels/app",
        "/spec/template/metadata/labels/app",
    ] {
        web = with(web, label, json!("other"));
    }
    let web = annotated(web, "pintle.dev/replace", "allowed");
    // The first request is the dry run, which finds that a field cannot be changed.
    proxy.inject(
        Fault::on("PATCH", "/deployments/web")
            .after(1)
            .times(1)
            .status(403, "Forbidden", "not today"),
    );
    let after = [web, before[1].clone()];
    world.converge(&after).await.unwrap_err();
    assert!(world.live("deployment", "web").is_none());
    let planned = world.plan(&before, Depth::Local).await.unwrap();
    assert_eq!(planned.drifted, []);
    world.converge(&before).await.unwrap();
    assert!(world.live("deployment", "web").is_some());

    // The other is written, and the response is lost.
    proxy.inject(Fault::on("PATCH", "/configmaps/a").times(1).lose_answer());
    proxy.inject(Fault::on("PATCH", "/configmaps/a").status(503, "ServiceUnavailable", "later"));
    let after = [before[0].clone(), config_map("a", "2")];
    world.converge(&after).await.unwrap_err();
    assert_eq!(world.live("configmap", "a").unwrap()["data"]["key"], "2");
    proxy.heal();
    let planned = world.plan(&before, Depth::Local).await.unwrap();
    assert_eq!(planned.drifted, []);
    world.converge(&before).await.unwrap();
    assert_eq!(world.live("configmap", "a").unwrap()["data"]["key"], "1");
}
