//! Faults between a client and a real server.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use pintle_harness::{ControlPlane, Fault, Proxy, Servers, ServersOptions, to_stderr};
use serde_json::json;

/// Connects to the API server through a proxy as an account that may do everything with config maps.
async fn connect(cluster: &ControlPlane, proxy: &Proxy, namespace: &str) -> Api<ConfigMap> {
    let account = cluster
        .service_account_kubeconfig(namespace, "bot")
        .unwrap();
    cluster
        .kubectl(&[
            "create",
            "role",
            "r",
            "-n",
            namespace,
            "--verb=*",
            "--resource=configmaps",
        ])
        .unwrap();
    let subject = format!("--serviceaccount={namespace}:bot");
    cluster
        .kubectl(&[
            "create",
            "rolebinding",
            "r",
            "-n",
            namespace,
            "--role=r",
            &subject,
        ])
        .unwrap();
    let client = pintle_harness::connect(&proxy.kubeconfig(&account).unwrap())
        .await
        .unwrap();
    let api = Api::<ConfigMap>::namespaced(client, namespace);
    pintle_harness::until_async("the binding is seen", Duration::from_secs(30), async || {
        Ok(api
            .list(&ListParams::default())
            .await
            .map(drop)
            .map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
    proxy.forget();
    api
}

async fn write(api: &Api<ConfigMap>, value: &str) -> kube::Result<ConfigMap> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"v": value}});
    api.patch(
        "c",
        &PatchParams::apply("test").force(),
        &Patch::Apply(object),
    )
    .await
}

#[tokio::test]
async fn answers_can_be_replaced_lost_and_cut() {
    let cluster = ControlPlane::shared();
    let proxy = Proxy::before_api_server(cluster).unwrap();
    let namespace = cluster.namespace("proxy").unwrap();
    let api = connect(cluster, &proxy, &namespace).await;

    proxy.inject(Fault::on("PATCH", "/configmaps/c").times(1).status(
        409,
        "Conflict",
        "someone was faster",
    ));
    let error = write(&api, "one").await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"),
        "{error}"
    );
    assert!(
        api.get_opt("c").await.unwrap().is_none(),
        "the server never saw the write"
    );
    write(&api, "two").await.unwrap();

    proxy.inject(Fault::on("PATCH", "/configmaps/c").times(1).lose_answer());
    assert!(write(&api, "three").await.is_err());
    assert_eq!(
        api.get("c").await.unwrap().data.unwrap()["v"],
        "three",
        "the write was done all the same"
    );

    proxy.inject(Fault::on("*", "/configmaps/c").times(1).refuse());
    assert!(api.get("c").await.is_err());
    proxy.inject(Fault::on("GET", "/configmaps/c").times(1).cut_after(10));
    assert!(api.get("c").await.is_err());
    proxy.inject(Fault::on("GET", "/configmaps/c").status(500, "InternalError", "always"));
    assert!(api.get("c").await.is_err());
    assert!(api.get("c").await.is_err());
    proxy.heal();
    api.get("c").await.unwrap();

    let seen: Vec<_> = proxy
        .seen()
        .into_iter()
        .map(|seen| (seen.method, seen.status, seen.passed_on))
        .collect();
    let expect = |method: &str, status, passed_on| (method.to_owned(), status, passed_on);
    assert_eq!(
        seen,
        [
            expect("PATCH", 409, false),
            expect("GET", 404, true),
            expect("PATCH", 201, true),
            expect("PATCH", 0, true),
            expect("GET", 200, true),
            expect("GET", 0, false),
            expect("GET", 200, true),
            expect("GET", 500, false),
            expect("GET", 500, false),
            expect("GET", 200, true),
        ]
    );
}

#[test]
fn what_a_client_asked_that_is_gone_is_done_and_recorded() {
    let servers = Servers::start(&ServersOptions::default(), &to_stderr).unwrap();
    let proxy = Proxy::start(servers.http(), None).unwrap();
    // The delay is longer than the proxy takes to see that the connection is closed.
    proxy.inject(Fault::on("POST", "/sink/gone").delay(Duration::from_secs(1)));
    let mut client = TcpStream::connect(proxy.host()).unwrap();
    write!(
        client,
        "POST /sink/gone HTTP/1.1\r\nHost: {}\r\nContent-Length: 4\r\n\r\nbody",
        proxy.host()
    )
    .unwrap();
    // A client that is gone before the proxy has begun with its request has asked nothing.
    pintle_harness::until("it has begun", Duration::from_secs(30), || {
        let under_way = proxy.under_way();
        Ok((under_way == 1)
            .then_some(())
            .ok_or_else(|| format!("{under_way} under way")))
    })
    .unwrap();
    drop(client);
    let seen = pintle_harness::until("it is answered", Duration::from_secs(30), || {
        let seen = proxy.seen();
        Ok((!seen.is_empty())
            .then_some(seen)
            .ok_or_else(|| format!("{} under way", proxy.under_way())))
    })
    .unwrap();
    assert_eq!(seen[0].body, "body");
    assert!(
        seen[0]
            .answered
            .is_some_and(|said| (200..300).contains(&said.status)),
        "{seen:?}"
    );
    assert_eq!(servers.deliveries("gone").unwrap()[0].body, b"body");
}

#[tokio::test]
async fn a_watch_streams_until_it_is_cut() {
    let cluster = ControlPlane::shared();
    let proxy = Proxy::before_api_server(cluster).unwrap();
    let namespace = cluster.namespace("watch").unwrap();
    let api = connect(cluster, &proxy, &namespace).await;

    let params = WatchParams::default()
        .disable_bookmarks()
        .fields("metadata.name=c");
    let mut events = std::pin::pin!(api.watch(&params, "0").await.unwrap());
    for value in ["one", "two"] {
        write(&api, value).await.unwrap();
        let event = events.try_next().await.unwrap().unwrap();
        let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
            panic!("{event:?}")
        };
        assert_eq!(object.data.unwrap()["v"], value);
    }
    proxy.cut_answers();
    let end = events.try_next().await;
    assert!(matches!(end, Err(_) | Ok(None)), "{end:?}");
    assert_eq!(
        proxy
            .seen()
            .iter()
            .filter(|seen| seen.uri.contains("watch=true"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_watch_expires_and_one_that_is_rewound_is_told_everything_again() {
    let cluster = ControlPlane::shared();
    let proxy = Proxy::before_api_server(cluster).unwrap();
    let namespace = cluster.namespace("expiry").unwrap();
    let api = connect(cluster, &proxy, &namespace).await;
    let params = WatchParams::default()
        .disable_bookmarks()
        .fields("metadata.name=c");
    let first = write(&api, "one").await.unwrap();
    let second = write(&api, "two").await.unwrap();
    let version = |object: &ConfigMap| object.metadata.resource_version.clone().unwrap();
    let back = version(&second).parse::<u64>().unwrap() - version(&first).parse::<u64>().unwrap();

    proxy.inject(Fault::on("GET", "watch=true").times(1).expire_after(1));
    proxy.inject(Fault::on("GET", "watch=true").times(1).rewind(back + 1));
    let mut events = std::pin::pin!(api.watch(&params, "0").await.unwrap());
    let event = events.try_next().await.unwrap().unwrap();
    assert!(matches!(event, WatchEvent::Added(_)), "{event:?}");
    write(&api, "three").await.unwrap();
    let event = events.try_next().await.unwrap().unwrap();
    assert!(
        matches!(&event, WatchEvent::Error(status) if status.code == 410),
        "{event:?}"
    );

    let mut events = std::pin::pin!(api.watch(&params, &version(&second)).await.unwrap());
    for value in ["one", "two", "three"] {
        let event = events.try_next().await.unwrap().unwrap();
        let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
            panic!("{event:?}")
        };
        assert_eq!(object.data.unwrap()["v"], value);
    }
    proxy.expire_watches();
    let event = events.try_next().await.unwrap().unwrap();
    assert!(matches!(event, WatchEvent::Error(_)), "{event:?}");
}

#[tokio::test]
async fn any_server_can_be_made_to_lie() {
    let servers = Servers::start(&ServersOptions::default(), &to_stderr).unwrap();
    let proxy = Proxy::start(servers.https(), Some(servers.ca())).unwrap();
    proxy.inject(Fault::on("GET", "/blobs/").after(1).body(
        200,
        "application/octet-stream",
        "other bytes",
    ));
    let blob = format!("{}/v2/a/b/blobs/sha256:{:064}", proxy.url(), 0);
    let get = async || {
        let answer = reqwest::get(&blob).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, _) = get().await;
    assert_eq!(status, 404, "the registry itself knows no such blob");
    assert_eq!(get().await, (200, "other bytes".to_owned()));
}
