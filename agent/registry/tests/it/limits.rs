//! Whoever wants to be asked less often is heard, wherever he stands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pintle_core::digest::Digest;
use pintle_registry::{ChartError, Charts, Credentials, Logins, Place, Registry, Wanted};

use crate::{
    charts::{basic, index, place},
    hostile::ANONYMOUS,
    lies::{Answer, Artifact, Asked, Liar, ok, redirect, status, with},
    support::{component, reference, registry, said},
};

fn too_many() -> Answer {
    with(status(429), "retry-after", "7")
}

/// Asks for a pause that no test outlasts.
fn much_too_many() -> Answer {
    with(status(429), "retry-after", "3600")
}

#[tokio::test]
async fn a_limit_counts_where_a_registry_sends_us() {
    let elsewhere = Liar::start(|_: &Asked| too_many()).await;
    let target = format!("http://{}/blob", elsewhere.address());
    let artifact = Artifact::new(component());
    let liar = Liar::start(move |asked: &Asked| {
        if asked.line.contains("/blobs/") {
            redirect(&target)
        } else {
            artifact.answer(asked)
        }
    })
    .await;
    let tag = reference(&liar.address(), "x:1");
    let error = registry().pull(&tag, &ANONYMOUS).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    let text = said(&error, &liar.address()).replace(&elsewhere.address(), "ELSEWHERE");
    insta::assert_snapshot!(text, @"cannot read the config of `REGISTRY/x:1`: ELSEWHERE asks for fewer requests");
    assert_eq!(
        ChartError::from(error).retry_after(),
        Some(Duration::from_secs(7))
    );
}

#[tokio::test]
async fn a_limit_counts_at_a_token_service() {
    let services = Liar::start(|_: &Asked| too_many()).await;
    let challenge = format!("Bearer realm=\"http://{}/token\"", services.address());
    let liar =
        Liar::start(move |_: &Asked| with(status(401), "www-authenticate", &challenge)).await;
    let tag = reference(&liar.address(), "x:1");
    let error = registry().resolve(&tag, &ANONYMOUS).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_limit_counts_at_a_chart_repository_and_behind_it() {
    let elsewhere = Liar::start(|_: &Asked| {
        let until = with(status(429), "retry-after", "Sun, 06 Nov 1994 08:51:07 GMT");
        with(until, "date", "Sun, 06 Nov 1994 08:49:37 GMT")
    })
    .await;
    let target = format!("http://{}/index.yaml", elsewhere.address());
    let behind = Liar::start(move |_: &Asked| redirect(&target)).await;
    let itself = Liar::start(|_: &Asked| too_many()).await;
    for (liar, seconds) in [(&itself, 7), (&behind, 90)] {
        let place = Place::Chart {
            repository: format!("http://{}", liar.address()),
            name: "web".to_owned(),
        };
        let error = Charts::new(registry())
            .resolve(&place, &Wanted::version("1"), &Logins::default())
            .await
            .unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds)));
    }
}

#[tokio::test]
async fn a_pause_that_a_registry_asks_for_is_kept_by_all_with_the_same_credentials() {
    let is_busy = Arc::new(AtomicBool::new(true));
    let refuses = Arc::clone(&is_busy);
    let digest = Digest::of("x").to_string();
    let liar = Liar::start(move |_: &Asked| {
        if refuses.load(Ordering::Relaxed) {
            much_too_many()
        } else {
            with(ok("{}"), "docker-content-digest", &digest)
        }
    })
    .await;
    let resolve = async |registry: &Registry, tag: &str, credentials: &Credentials| {
        let tag = reference(&liar.address(), tag);
        registry.resolve(&tag, credentials).await.map(drop)
    };
    let registry = registry();
    let first = resolve(&registry, "x:1", &ANONYMOUS).await.unwrap_err();
    let asked = liar.asked().len();
    let second = resolve(&registry, "y:1", &ANONYMOUS).await.unwrap_err();
    assert_eq!(liar.asked().len(), asked);
    let left = second.retry_after().unwrap();
    assert!(!left.is_zero() && left <= first.retry_after().unwrap());
    insta::assert_snapshot!(said(&second, &liar.address()), @"cannot find the digest of `REGISTRY/y:1`: REGISTRY asks for fewer requests");

    // Accounts have limits of their own.
    let account = Credentials::basic("user", "secret");
    resolve(&registry, "x:1", &account).await.unwrap_err();
    assert!(liar.asked().len() > asked);

    is_busy.store(false, Ordering::Relaxed);
    resolve(&registry, "x:1", &ANONYMOUS).await.unwrap_err();
    // Somebody wants to know now. It answers, so the others need not wait any more.
    let urgent = registry.urgent();
    resolve(&urgent, "x:1", &ANONYMOUS).await.unwrap();
    resolve(&registry, "y:1", &ANONYMOUS).await.unwrap();
}

#[tokio::test]
async fn a_pause_that_a_chart_repository_asks_for_is_for_no_other_on_its_host() {
    let text = index("1.2.0", "web.tgz", &Digest::of("web").hex());
    let liar = Liar::start(move |asked: &Asked| {
        if asked.line.contains("/busy/") {
            much_too_many()
        } else {
            ok(text.clone())
        }
    })
    .await;
    let place = |path: &str| place(&format!("http://{}/{path}", liar.address()));
    let resolve = async |charts: &Charts, place: &Place, logins: &Logins| {
        let any = Wanted::version("*");
        charts.resolve(place, &any, logins).await.map(drop)
    };
    let charts = Charts::new(registry());
    let anonymous = Logins::default();
    let (busy, other) = (place("busy"), place("other"));
    for _ in 0..2 {
        let error = resolve(&charts, &busy, &anonymous).await.unwrap_err();
        assert!(error.retry_after().is_some());
        assert_eq!(liar.asked().len(), 1);
    }
    resolve(&charts, &other, &anonymous).await.unwrap();
    resolve(&charts, &busy, &basic()).await.unwrap_err();
    assert_eq!(liar.asked().len(), 3);
    let urgent = charts.urgent();
    resolve(&urgent, &busy, &anonymous).await.unwrap_err();
    assert_eq!(liar.asked().len(), 4);
}
