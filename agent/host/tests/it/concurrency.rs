//! Many calls at once, good and bad ones together.

use std::sync::Arc;

use pintle_core::{
    application::{Grants, Limits},
    duration::Span,
    event::{Event, Reason},
    tree::memory::MemoryTree,
};
use pintle_host::{Host, LoadRequest, Options, Settings};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    components,
    support::{self, limits, mode, request, works},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_places_wait_and_bad_ones_harm_no_good_ones() {
    let host = Host::new(Options {
        calls: 4,
        cache: Some(support::cache_folder()),
        ..Options::default()
    })
    .unwrap();
    let load = async |limits: Limits| {
        let request = LoadRequest {
            limits,
            grants: Grants::default(),
            ..LoadRequest::new("hostile", components::renderer())
        };
        host.load(request).await.unwrap().renderer().unwrap()
    };
    let good = load(limits()).await;
    let hasty = load(Limits {
        time: Some(Span::seconds(1)),
        ..limits()
    })
    .await;
    let mut calls = tokio::task::JoinSet::new();
    for index in 0..40 {
        let (good, hasty) = (good.clone(), hasty.clone());
        calls.spawn(async move {
            match index % 8 {
                0 => drop(
                    hasty
                        .render(request(mode("loop"), MemoryTree::default()))
                        .await
                        .unwrap_err(),
                ),
                1 => drop(
                    good.render(request(mode("panic"), MemoryTree::default()))
                        .await
                        .unwrap_err(),
                ),
                2 => drop(
                    good.render(request(mode("memory"), MemoryTree::default()))
                        .await
                        .unwrap_err(),
                ),
                _ => works(&good).await,
            }
        });
    }
    while let Some(outcome) = calls.join_next().await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_frees_its_place() {
    let host = Host::new(Options {
        calls: 1,
        cache: Some(support::cache_folder()),
        ..Options::default()
    })
    .unwrap();
    let request = LoadRequest::new("hostile", components::renderer());
    let renderer = host.load(request).await.unwrap().renderer().unwrap();
    for _ in 0..3 {
        let endless = renderer.render(support::request(mode("loop"), MemoryTree::default()));
        tokio::select! {
            biased;
            outcome = endless => panic!("it never ends: {outcome:?}"),
            () = tokio::task::yield_now() => {}
        }
        works(&renderer).await;
    }
}

#[tokio::test]
async fn notifiers_that_hang_leave_room_for_others() {
    let host = Host::new(Options {
        calls: 2,
        // Without a cache nothing is known about a component that is loaded, so it is asked to describe itself while others hang.
        cache: None,
        ..Options::default()
    })
    .unwrap();
    let request = LoadRequest::new("hostile", components::renderer());
    let renderer = host.load(request).await.unwrap().renderer().unwrap();
    // It never accepts, so every client waits.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let mut hanging = tokio::task::JoinSet::new();
    for name in ["one", "two", "three"] {
        let request = LoadRequest {
            grants: Grants {
                http_hosts: ["*".to_owned()].into(),
                private_networks: true,
                ..Grants::default()
            },
            ..LoadRequest::new(name, components::notifier())
        };
        let notifier = host.load(request).await.unwrap().notifier().unwrap();
        let settings = Settings::new(json!({"mode": "send", "url": url}));
        hanging.spawn(async move {
            let event = Event::new(Reason::Converged, "", 0, json!({}));
            notifier.notify(&settings, &event, Arc::default()).await
        });
    }
    // From here on, the first of them holds its permit.
    let _connection = silent.accept().await.unwrap();
    works(&renderer).await;
    if let Some(ended) = hanging.try_join_next() {
        panic!("one of them hangs no more: {ended:?}");
    }
}
