//! What a hostile or broken registry can do: at worst, be reported.

use std::time::Duration;

use bytes::Bytes;
use pintle_core::digest::Digest;
use pintle_registry::{Credentials, Options, Registry, RegistryError};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    lies::{
        Answer, Artifact, Asked, Liar, dripping, endless, ok, redirect, stalling, status, with,
    },
    support::{component, failed_pull, reference, said},
};

pub(crate) const ANONYMOUS: Credentials = Credentials::Anonymous;

/// Content with little.
pub(crate) fn strict() -> Registry {
    Registry::new(Options {
        max_component: 10_000,
        max_manifest: 5_000,
        ..Options::default()
    })
    .unwrap()
}

/// Answers as an honest registry does, but for requests whose line begins with `lie`.
async fn liar(artifact: Artifact, lie: &'static str, tell: fn() -> Answer) -> Liar {
    Liar::start(move |asked: &Asked| {
        if asked.line.starts_with(lie) {
            tell()
        } else {
            artifact.answer(asked)
        }
    })
    .await
}

async fn pull(liar: &Liar) -> Result<Bytes, RegistryError> {
    let tag = reference(&liar.address(), "x:1");
    strict()
        .pull(&tag, &ANONYMOUS)
        .await
        .map(|pulled| pulled.bytes)
}

async fn pull_error(liar: &Liar) -> String {
    said(&pull(liar).await.unwrap_err(), &liar.address())
}

#[tokio::test]
async fn the_honest_artifact_is_pulled() {
    let liar = liar(Artifact::new(component()), "nothing", || status(500)).await;
    assert_eq!(pull(&liar).await.unwrap(), component());
}

#[tokio::test]
async fn a_manifest_with_another_digest() {
    let artifact = Artifact::new(component());
    let tell = || {
        with(
            ok("{}"),
            "docker-content-digest",
            &Digest::of("other").to_string(),
        )
    };
    let liar = liar(artifact, "GET /v2/x/manifests/", tell).await;
    insta::assert_snapshot!(pull_error(&liar).await, @"cannot read the manifest of `REGISTRY/x:1`: the manifest is not what its digest says: expected sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, got sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a; the registry, or something between, has changed it");
    let pinned = reference(&liar.address(), "x:1").at(Digest::of("wanted"));
    insta::assert_snapshot!(failed_pull(&strict(), &pinned, &ANONYMOUS).await, @"cannot read the manifest of `REGISTRY/x:1@sha256:ca9066873bf335f3c1d9f0f6986266ee50689a816763851d82791d3dbc31cbf5`: the manifest is not what its digest says: expected sha256:ca9066873bf335f3c1d9f0f6986266ee50689a816763851d82791d3dbc31cbf5, got sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a; the registry, or something between, has changed it");
}

#[tokio::test]
async fn manifests_that_are_none() {
    let mut all = Vec::new();
    let index = || {
        ok(json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).to_string())
    };
    let tells: [fn() -> Answer; 6] = [
        || ok("<html>please log in</html>"),
        || ok(""),
        || ok("[[[[".repeat(1000)),
        || ok(vec![b' '; 6_000]),
        endless,
        index,
    ];
    for tell in tells {
        let liar = liar(Artifact::new(component()), "GET /v2/x/manifests/", tell).await;
        all.push(pull_error(&liar).await);
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the manifest of `REGISTRY/x:1`: the manifest cannot be understood: it is not a JSON manifest: expected value at line 1 column 1
    cannot read the manifest of `REGISTRY/x:1`: the manifest cannot be understood: it is not a JSON manifest: EOF while parsing a value at line 1 column 0
    cannot read the manifest of `REGISTRY/x:1`: the manifest cannot be understood: it is not a JSON manifest: invalid type: sequence, expected a map at line 1 column 0
    cannot read the manifest of `REGISTRY/x:1`: the manifest is larger than the limit of 5000 bytes (it has 6000)
    cannot read the manifest of `REGISTRY/x:1`: the manifest is larger than the limit of 5000 bytes
    cannot read the manifest of `REGISTRY/x:1`: it is an index of artifacts for several platforms; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
    ");
}

#[tokio::test]
async fn blobs_that_are_not_what_was_announced() {
    let mut all = Vec::new();
    let tells: [fn() -> Answer; 5] = [
        || ok(vec![0; component().len()]),
        || ok(vec![0; component().len() + 1]),
        || ok(vec![0; component().len() - 1]),
        endless,
        || {
            ok(axum::body::Body::from_stream(futures::stream::iter([
                Ok::<_, std::io::Error>(Bytes::from_static(b"short")),
            ])))
        },
    ];
    for tell in tells {
        let artifact = Artifact::new(component());
        // The component is the second of the two blobs.
        let lie: &'static str = format!("GET /v2/x/blobs/{}", Digest::of(component())).leak();
        let liar = liar(artifact, lie, tell).await;
        all.push(pull_error(&liar).await);
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the component of `REGISTRY/x:1`: the component is not what its digest says: expected sha256:00f7b305d02db388d24990b11ffb5411072ced758f3fb8cb625a503f77815d41, got sha256:16c2ccb55f996c1fae5acda50d2de691d8c11b84f764a884fa080d78ba1ca959; the registry, or something between, has changed it
    cannot read the component of `REGISTRY/x:1`: the component should have 158 bytes according to the manifest, but has more
    cannot read the component of `REGISTRY/x:1`: the component should have 158 bytes according to the manifest, but ends after 157
    cannot read the component of `REGISTRY/x:1`: the component should have 158 bytes according to the manifest, but has more
    cannot read the component of `REGISTRY/x:1`: the component should have 158 bytes according to the manifest, but ends after 5
    ");
}

#[tokio::test]
async fn sizes_beyond_the_limit_are_not_even_asked_for() {
    let mut artifact = Artifact::new(component());
    artifact.manifest["layers"][0]["size"] = json!(10_001);
    let liar = liar(artifact, "nothing", || status(500)).await;
    insta::assert_snapshot!(pull_error(&liar).await, @"cannot read the manifest of `REGISTRY/x:1`: the component is larger than the limit of 10000 bytes (it has 10001); build it without debug information, or split it");
    assert!(
        !liar
            .asked()
            .iter()
            .any(|asked| asked.line.contains("/blobs/"))
    );
}

#[tokio::test]
async fn a_config_that_is_none_or_is_of_another_component() {
    let mut all = Vec::new();
    let other =
        json!({"architecture": "wasm", "os": "wasip2", "layerDigests": [Digest::of("other")]});
    for config in [other.to_string(), "[]".into(), "garbage".into()] {
        let mut artifact = Artifact::new(component());
        artifact.config = config.into();
        artifact.manifest["config"]["digest"] = json!(Digest::of(&artifact.config));
        artifact.manifest["config"]["size"] = json!(artifact.config.len());
        let liar = liar(artifact, "nothing", || status(500)).await;
        all.push(pull_error(&liar).await);
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the config of `REGISTRY/x:1`: the config cannot be understood: its `layerDigests` are not those of the manifest's layers
    cannot read the config of `REGISTRY/x:1`: the config cannot be understood: it is not a JSON config: invalid type: sequence, expected a map at line 1 column 0
    cannot read the config of `REGISTRY/x:1`: the config cannot be understood: it is not a JSON config: expected value at line 1 column 1
    ");
}

#[tokio::test]
async fn silence() {
    let impatient = Registry::new(Options {
        read_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_millis(300),
        ..Options::default()
    })
    .unwrap();
    let mut all = Vec::new();
    let stalled = liar(Artifact::new(component()), "GET /v2/x/manifests/", || {
        stalling(b"{")
    })
    .await;
    let tag = reference(&stalled.address(), "x:1");
    let error = impatient.pull(&tag, &ANONYMOUS).await.unwrap_err();
    assert!(error.is_retryable());
    all.push(said(&error, &stalled.address()));

    // Accepts connections, or leaves that to the kernel, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tag = reference(&silent.local_addr().unwrap().to_string(), "x:1");
    all.push(failed_pull(&impatient, &tag, &ANONYMOUS).await);

    let slow = liar(Artifact::new(component()), "GET /v2/x/manifests/", dripping).await;
    let hurried = Registry::new(Options {
        total_timeout: Duration::from_millis(500),
        ..Options::default()
    })
    .unwrap();
    all.push(failed_pull(&hurried, &reference(&slow.address(), "x:1"), &ANONYMOUS).await);
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY did not answer within 300ms
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY did not answer within 300ms
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY took longer than 500ms in all
    ");
}

#[tokio::test]
async fn a_connection_that_ends_early() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut start = [0; 3];
            let _ = stream.read_exact(&mut start).await;
            // A TLS handshake starts with 0x16; plain requests with their method.
            let answer: &[u8] = if start[0] == 0x16 {
                b"HTTP/1.1 400 Bad Request\r\n\r\n"
            } else {
                b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"
            };
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    let error = strict()
        .pull(&reference(&address, "x:1"), &ANONYMOUS)
        .await
        .unwrap_err();
    task.abort();
    assert!(error.is_retryable());
    insta::assert_snapshot!(said(&error, &address), @"cannot read the manifest of `REGISTRY/x:1`: the connection to REGISTRY broke: end of file before message length reached");
}

#[tokio::test]
async fn statuses_are_told_apart() {
    let mut all = Vec::new();
    let denied = || {
        let mut answer =
            ok(r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#);
        *answer.status_mut() = axum::http::StatusCode::FORBIDDEN;
        answer
    };
    let tells: [fn() -> Answer; 7] = [
        || status(401),
        denied,
        || with(status(429), "retry-after", "7"),
        || with(status(503), "retry-after", "soon"),
        || status(418),
        || redirect("http://registry.example.com/elsewhere"),
        || status(302),
    ];
    for tell in tells {
        let liar = liar(Artifact::new(component()), "GET /v2/x/manifests/", tell).await;
        let error = pull(&liar).await.unwrap_err();
        all.push(format!(
            "{} {}: {}",
            error.is_retryable(),
            error.retry_after().map_or(0, |after| after.as_secs()),
            said(&error, &liar.address())
        ));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    false 0: cannot read the manifest of `REGISTRY/x:1`: REGISTRY asks for credentials, and there are none for it; log in with `docker login`, or give a pull secret that has an entry for it
    false 0: cannot read the manifest of `REGISTRY/x:1`: REGISTRY denies it (DENIED: requested access is denied); the credentials may lack the right to do this, or the repository may not exist
    true 7: cannot read the manifest of `REGISTRY/x:1`: REGISTRY asks for fewer requests
    true 0: cannot read the manifest of `REGISTRY/x:1`: REGISTRY answered with status 503
    false 0: cannot read the manifest of `REGISTRY/x:1`: REGISTRY refuses the request with status 418
    false 0: cannot read the manifest of `REGISTRY/x:1`: REGISTRY sends us to http://registry.example.com/elsewhere, which is not followed: it is not https
    false 0: cannot read the manifest of `REGISTRY/x:1`: REGISTRY does not follow the OCI distribution specification: it answers with status 302 and without `Location`
    ");
}

#[tokio::test]
async fn an_error_message_without_end() {
    let tell = || {
        let mut answer = endless();
        *answer.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        answer
    };
    let liar = liar(Artifact::new(component()), "GET /v2/x/manifests/", tell).await;
    insta::assert_snapshot!(pull_error(&liar).await, @"cannot read the manifest of `REGISTRY/x:1`: REGISTRY answered with status 500");
}

#[tokio::test]
async fn a_digest_that_a_registry_does_not_say_is_worked_out() {
    let liar = liar(Artifact::new(component()), "HEAD ", || status(200)).await;
    let tag = reference(&liar.address(), "x:1");
    let resolved = strict().resolve(&tag, &ANONYMOUS).await.unwrap();
    let manifest = Artifact::new(component()).manifest.to_string();
    assert_eq!(resolved.manifest_digest, Digest::of(manifest));
    let lines: Vec<_> = liar.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(
        lines,
        [
            "GET /v2/",
            "HEAD /v2/x/manifests/1",
            "GET /v2/x/manifests/1"
        ]
    );
    // A digest is its own answer.
    strict()
        .resolve(&tag.at(Digest::of("x")), &ANONYMOUS)
        .await
        .unwrap();
    assert_eq!(liar.asked().len(), 3);
}

#[tokio::test]
async fn plain_http_is_only_for_those_who_may() {
    let liar = liar(Artifact::new(component()), "nothing", || status(500)).await;
    // On Linux this address is this machine too, and it is none of the loopback addresses.
    let host = liar.address().replace("127.0.0.1", "0.0.0.0");
    let tag = reference(&host, "x:1");
    insta::assert_snapshot!(failed_pull(&strict(), &tag, &ANONYMOUS).await, @"cannot read the manifest of `REGISTRY/x:1`: no secure connection to REGISTRY: it speaks plain http; if that is meant, name the host with `--plain-http`");
    let allowed = Registry::new(Options {
        plain_http: vec![host],
        ..Options::default()
    })
    .unwrap();
    assert_eq!(
        allowed.pull(&tag, &ANONYMOUS).await.unwrap().bytes,
        component()
    );
}

#[tokio::test]
async fn redirects_have_an_end() {
    let liar = liar(Artifact::new(component()), "GET /v2/x/manifests/", || {
        redirect("/v2/x/manifests/2")
    })
    .await;
    insta::assert_snapshot!(pull_error(&liar).await, @"cannot read the manifest of `REGISTRY/x:1`: REGISTRY sends us to http://REGISTRY/v2/x/manifests/2, which is not followed: it is one redirect too many");
}
