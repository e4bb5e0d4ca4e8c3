//! Whoever wants to be asked less often is heard, wherever he stands.

use std::time::Duration;

use pintle_registry::{ChartError, Charts, Logins, Place, Wanted};

use crate::{
    hostile::ANONYMOUS,
    lies::{Answer, Artifact, Asked, Liar, redirect, status, with},
    support::{component, reference, registry, said},
};

fn too_many() -> Answer {
    with(status(429), "retry-after", "7")
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
