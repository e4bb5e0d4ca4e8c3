//! Objects that have other owners, too.

use pintle_core::{
    duration::Span,
    plan::{Action, Depth},
};
use serde_json::json;

use crate::{
    hooks::job,
    world::{LIMIT, World, annotated, config_map, deployment, with},
};

#[tokio::test]
async fn a_field_of_another_manager_is_not_taken_and_both_are_named() {
    let world = World::new("conflict").await;
    world.kubectl(&["create", "configmap", "a", "--from-literal=key=theirs"]);
    let error = world
        .converge(&[config_map("a", "ours")])
        .await
        .unwrap_err()
        .to_string();
    let expected = format!(
        "all.yaml:1:1: ConfigMap {}/a: .data.key is owned by kubectl-create: leave the field out of the source, or take it \
         over with the annotation pintle.dev/adopt=allowed",
        world.namespace
    );
    assert_eq!(error, expected);
    assert_eq!(
        world.live("configmap", "a").unwrap()["data"]["key"],
        "theirs"
    );
    let planned = world
        .plan(&[config_map("a", "ours")], Depth::Server)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        planned, expected,
        "a plan says it before anything is written"
    );
    let adopting = annotated(config_map("a", "ours"), "pintle.dev/adopt", "allowed");
    let planned = world
        .plan(std::slice::from_ref(&adopting), Depth::Server)
        .await
        .unwrap();
    let change = &planned.plan.changes()[0];
    assert_eq!(
        (change.action, change.conflicts[0].manager.as_str()),
        (Action::Update, "kubectl-create")
    );
    world.converge(&[adopting]).await.unwrap();
    assert_eq!(world.live("configmap", "a").unwrap()["data"]["key"], "ours");
}

#[tokio::test]
async fn an_object_without_conflicts_is_taken_up_as_it_is() {
    let world = World::new("adopt").await;
    world.kubectl(&["create", "configmap", "a", "--from-literal=other=theirs"]);
    world.converge(&[config_map("a", "ours")]).await.unwrap();
    assert_eq!(
        world.live("configmap", "a").unwrap()["data"],
        json!({"key": "ours", "other": "theirs"})
    );
}

#[tokio::test]
async fn a_hand_edit_of_an_owned_field_is_repaired() {
    let world = World::new("edit").await;
    world.converge(&[config_map("a", "ours")]).await.unwrap();
    world.edit(
        "configmap",
        "a",
        &json!({"data":{"key":"edited","more":"theirs"}}),
    );
    for depth in [Depth::Local, Depth::Server] {
        let planned = world.plan(&[config_map("a", "ours")], depth).await.unwrap();
        let change = &planned.plan.changes()[0];
        assert_eq!(
            (change.action, change.conflicts[0].field.as_str()),
            (Action::Update, ".data.key")
        );
        let differences = change.differences(&world.release.seed);
        assert_eq!(differences.len(), 1);
        assert_eq!(
            (&differences[0].before, &differences[0].after),
            (&Some(json!("edited")), &Some(json!("ours")))
        );
    }
    world.converge(&[config_map("a", "ours")]).await.unwrap();
    assert_eq!(
        world.live("configmap", "a").unwrap()["data"],
        json!({"key": "ours", "more": "theirs"})
    );
}

#[tokio::test]
async fn two_applications_never_fight_over_an_object() {
    let world = World::new("two").await;
    world.converge(&[config_map("a", "first")]).await.unwrap();
    let mut other = World::with(
        world.plane,
        world.namespace.clone(),
        world.connection.clone(),
    );
    other.release.application.name = "other".into();
    let error = other
        .converge(&[config_map("a", "second")])
        .await
        .unwrap_err()
        .to_string();
    let expected = format!(
        "all.yaml:1:1: ConfigMap {0}/a: it belongs to the application {0}.web, and {0}.other renders it too: remove it \
         from one of them, or move it with the annotation pintle.dev/adopt=allowed",
        world.namespace
    );
    assert_eq!(error, expected);
    let moving = annotated(config_map("a", "second"), "pintle.dev/adopt", "allowed");
    other.converge(&[moving]).await.unwrap();
    // The first application does not delete what is no longer its own.
    world.converge(&[config_map("b", "first")]).await.unwrap();
    assert_eq!(
        world.live("configmap", "a").unwrap()["data"]["key"],
        "second"
    );
}

#[tokio::test]
async fn an_immutable_field_is_named_and_replaced_only_where_allowed() {
    let world = World::new("immutable").await;
    let before = deployment("web", 0);
    world.converge(std::slice::from_ref(&before)).await.unwrap();
    let uid = world.live("deployment", "web").unwrap()["metadata"]["uid"].clone();
    let mut after = with(before, "/spec/selector/matchLabels/app", json!("other"));
    after = with(after, "/spec/template/metadata/labels/app", json!("other"));
    for error in [
        world
            .plan(std::slice::from_ref(&after), Depth::Server)
            .await
            .unwrap_err()
            .to_string(),
        world
            .converge(std::slice::from_ref(&after))
            .await
            .unwrap_err()
            .to_string(),
    ] {
        assert!(error.contains("a field that cannot be changed once the object exists would change: spec.selector: "), "{error}");
        assert!(
            error.contains("with the annotation pintle.dev/replace=allowed"),
            "{error}"
        );
    }
    let allowed = annotated(after, "pintle.dev/replace", "allowed");
    for depth in [Depth::Local, Depth::Server] {
        let planned = world
            .plan(std::slice::from_ref(&allowed), depth)
            .await
            .unwrap();
        assert_eq!(planned.plan.changes()[0].action, Action::Replace);
    }
    world.converge(&[allowed]).await.unwrap();
    let now = world.live("deployment", "web").unwrap();
    assert_eq!(now["spec"]["selector"]["matchLabels"]["app"], "other");
    assert_ne!(now["metadata"]["uid"], uid);
}

#[tokio::test]
async fn nothing_is_deleted_to_be_replaced_by_what_the_server_would_refuse() {
    let world = World::new("unmakeable").await;
    let before = deployment("web", 0);
    world.converge(std::slice::from_ref(&before)).await.unwrap();
    let uid = world.live("deployment", "web").unwrap()["metadata"]["uid"].clone();
    // The labels of the template are left unchanged by mistake.
    let after = with(before, "/spec/selector/matchLabels/app", json!("other"));
    let after = [annotated(after, "pintle.dev/replace", "allowed")];
    for depth in [Depth::Local, Depth::Server] {
        let error = world.plan(&after, depth).await.unwrap_err().to_string();
        assert!(error.contains("it is not valid: "), "{error}");
        for part in ["`selector` does not match template `labels`", "immutable"] {
            assert!(error.contains(part), "{error}");
        }
    }
    let now = world.live("deployment", "web").unwrap();
    assert_eq!(now["metadata"]["uid"], uid);
}

#[tokio::test]
async fn what_is_replaced_is_gone_with_its_pods_before_its_successor_is_made() {
    let mut world = World::new("replaced-pods").await;
    let before = job("migrate", "");
    world.converge(std::slice::from_ref(&before)).await.unwrap();
    let complete = ["--for=condition=complete", "job/migrate", "--timeout=60s"];
    world.kubectl(&[&["wait"], &complete[..]].concat());
    let uid = world.live("job", "migrate").unwrap()["metadata"]["uid"].clone();
    let pod = world.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
    world.hold("pod", &pod);

    let image = "/spec/template/spec/containers/0/image";
    let after = with(before, image, json!("main:2"));
    let after = [annotated(after, "pintle.dev/replace", "allowed")];
    let limit = std::mem::replace(&mut world.release.timeout, Span::seconds(1));
    let error = world.converge(&after).await.unwrap_err().to_string();
    let expected = "it was deleted to be made again and did not go in time";
    assert!(error.contains(expected), "{error}");
    assert_eq!(
        world.live("job", "migrate").unwrap()["metadata"]["uid"],
        uid
    );

    world.let_go("pod", &pod);
    pintle_harness::until_async("it is gone", LIMIT, || async {
        Ok(match world.live("job", "migrate") {
            None => Ok(()),
            Some(_) => Err("it is there".to_owned()),
        })
    })
    .await
    .unwrap();
    world.release.timeout = limit;
    world.converge(&after).await.unwrap();
    assert_ne!(
        world.live("job", "migrate").unwrap()["metadata"]["uid"],
        uid
    );
}

#[tokio::test]
async fn an_account_can_do_what_it_may_and_the_error_names_it() {
    let mut world = World::new("tenant").await;
    world.kubectl(&["create", "serviceaccount", "deployer"]);
    world.release.account = Some(pintle_cluster::ServiceAccount::new(
        &world.namespace,
        "deployer",
    ));
    let error = world
        .converge(&[config_map("a", "1")])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!(
            "the service account {}/deployer may not do this: configmaps \"a\" is forbidden",
            world.namespace
        )),
        "{error}"
    );
    world.kubectl(&[
        "create",
        "role",
        "maps",
        "--verb=get,create,patch,delete",
        "--resource=configmaps",
    ]);
    let account = format!("--serviceaccount={}:deployer", world.namespace);
    world.kubectl(&["create", "rolebinding", "maps", "--role=maps", &account]);
    let mark = world.plane.requests_mark().unwrap();
    pintle_harness::until_async("the rights take effect", crate::world::LIMIT, || async {
        Ok(world
            .converge(&[config_map("a", "1")])
            .await
            .map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
    let user = format!("system:serviceaccount:{}:deployer", world.namespace);
    let writes: Vec<_> = world
        .requests(mark)
        .into_iter()
        .filter(|request| request.name == "a")
        .collect();
    assert!(
        !writes.is_empty()
            && writes
                .iter()
                .all(|request| request.impersonated.as_ref() == Some(&user))
    );
}

/// An account without the right to bind any role may bind a role whose rights it has: the server looks the role up to check that.
#[tokio::test]
async fn a_role_and_who_binds_it_are_planned_together() {
    let mut world = World::new("bound").await;
    let account = format!("--serviceaccount={}:deployer", world.namespace);
    world.kubectl(&["create", "serviceaccount", "deployer"]);
    world.kubectl(&[
        "create",
        "role",
        "deployer",
        "--verb=get,create,patch",
        "--resource=configmaps,roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io",
    ]);
    world.kubectl(&[
        "create",
        "rolebinding",
        "deployer",
        "--role=deployer",
        &account,
    ]);
    world.release.account = Some(pintle_cluster::ServiceAccount::new(
        &world.namespace,
        "deployer",
    ));
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "default"}],
    });
    let (role, binding) = ([role], [binding]);
    pintle_harness::until_async("the rights take effect", crate::world::LIMIT, || async {
        Ok(world
            .plan(&role, Depth::Server)
            .await
            .map(drop)
            .map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
    let both = [&role[..], &binding[..]].concat();
    let planned = world.plan(&both, Depth::Server).await.unwrap();
    assert_eq!(planned.plan.summary().create, 2);
    let alone = world.plan(&binding, Depth::Server).await.unwrap_err();
    assert!(
        alone.to_string().contains("\"reader\" not found"),
        "{alone}"
    );
    world.converge(&both).await.unwrap();
}
