//! What can go wrong while something is pushed.

use std::{future, time::Duration};

use axum::{extract::Request, http::Method};
use pintle_core::digest::Digest;
use pintle_registry::{Cause, Metadata, Options, Registry};
use tokio::net::TcpListener;

use crate::{
    hostile::ANONYMOUS,
    lies::{Answer, Asked, Liar, ok, status, with},
    support::{component, large_component, reference, registry, said},
};

#[tokio::test]
async fn uploads_that_go_wrong() {
    let mut all = Vec::new();
    let answers: [fn(&Asked) -> Answer; 5] = [
        |_| status(500),
        |asked| match asked.line.split(' ').next() {
            Some("POST") => status(202),
            _ => status(404),
        },
        |asked| match asked.line.split(' ').next() {
            Some("POST") => with(status(202), "location", "http://other.example.com/upload"),
            _ => status(404),
        },
        |asked| match asked.line.split(' ').next() {
            Some("POST") => with(status(202), "location", "/upload"),
            Some("PUT") => status(413),
            _ => status(404),
        },
        |asked| match asked.line.split(' ').next() {
            Some("POST") => with(status(202), "location", "/upload"),
            Some("PUT") => with(
                status(201),
                "docker-content-digest",
                &Digest::of("other").to_string(),
            ),
            _ => status(404),
        },
    ];
    for answer in answers {
        let liar = Liar::start(answer).await;
        let tag = reference(&liar.address(), "x:1");
        let error = registry()
            .push(&tag, component(), &Metadata::default(), &ANONYMOUS)
            .await
            .unwrap_err();
        all.push(said(&error, &liar.address()));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot upload the component of `REGISTRY/x:1`: REGISTRY answered with status 500
    cannot upload the component of `REGISTRY/x:1`: REGISTRY does not follow the OCI distribution specification: it answers with status 202 and without `Location`
    cannot upload the component of `REGISTRY/x:1`: REGISTRY sends us to http://other.example.com/upload, which is not followed: it is not https
    cannot upload the component of `REGISTRY/x:1`: REGISTRY refuses the request with status 413
    cannot upload the manifest of `REGISTRY/x:1`: REGISTRY does not follow the OCI distribution specification: it stored the manifest sha256:09f4b2e92588ec25193a64cab287bea81053982d61b55307c04094956ea607d4 as sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa
    ");
}

/// A registry that takes an upload and never reads it.
async fn unread() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = axum::Router::new().fallback(async |request: Request| match *request.method() {
        Method::GET => ok("{}"),
        Method::HEAD => status(404),
        Method::POST => with(status(202), "location", "/upload"),
        _ => future::pending().await,
    });
    // It ends with the runtime of the test.
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn an_upload_that_nobody_reads_ends() {
    let address = unread().await;
    let impatient = Registry::new(Options {
        read_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_millis(300),
        ..Options::default()
    })
    .unwrap();
    let error = impatient
        .push(
            &reference(&address, "x:1"),
            large_component(20 << 20),
            &Metadata::default(),
            &ANONYMOUS,
        )
        .await
        .unwrap_err();
    assert!(
        matches!(error.cause, Cause::Timeout { total: false, .. }),
        "{error:?}"
    );
}
