//! Whether a registry is spoken to with TLS, where it need not be: what was found out holds as long as nothing speaks against it.

use std::{fs, sync::Arc, time::Duration};

use pintle_harness::{Servers, ServersOptions, to_stderr};
use pintle_registry::{Metadata, Options, Registry};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinSet,
};

use crate::{
    hostile::ANONYMOUS,
    lies::{Answer, Artifact, Asked, Liar, redirect, status},
    support::{component, failed_pull, reference, registry, said},
};

/// An address behind which one server may take the place of another.
struct Place {
    address: String,
    line: Arc<Mutex<Line>>,
}

/// Where connections lead, and those that are open.
struct Line {
    target: String,
    open: JoinSet<()>,
}

impl Place {
    async fn of(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let line = Arc::new(Mutex::new(Line {
            target: target.to_owned(),
            open: JoinSet::new(),
        }));
        let shared = line.clone();
        // It ends with the runtime of the test.
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut line = shared.lock().await;
                let target = line.target.clone();
                line.open.spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, line }
    }

    /// Puts another server there, and ends the connections with the one before.
    async fn give_to(&self, target: &str) {
        let mut line = self.line.lock().await;
        target.clone_into(&mut line.target);
        line.open.shutdown().await;
    }
}

#[tokio::test]
async fn a_registry_may_take_up_tls_and_give_it_up_again() {
    let servers = Servers::start(&ServersOptions::default(), &to_stderr).unwrap();
    let place = Place::of(servers.registry()).await;
    let registry = Registry::new(Options {
        certificate_authorities: vec![fs::read(servers.ca()).unwrap()],
        ..Options::default()
    })
    .unwrap();
    let tag = reference(&place.address, "x:1");
    registry
        .push(&tag, component(), &Metadata::default(), &ANONYMOUS)
        .await
        .unwrap();
    for target in [servers.registry_tls(), servers.registry()] {
        place.give_to(target).await;
        // What was known fails once.
        registry.pull(&tag, &ANONYMOUS).await.unwrap_err();
        let pulled = registry.pull(&tag, &ANONYMOUS).await.unwrap();
        assert_eq!(pulled.bytes, component());
    }
}

/// A server that completes no TLS handshake, and answers plain http as servers with TLS do.
async fn slow_with_tls() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // It ends with the runtime of the test.
    tokio::spawn(async move {
        let mut handshakes = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut start = [0; 4096];
            let _ = stream.read(&mut start).await;
            // A TLS handshake starts with 0x16; plain requests with their method.
            if start[0] == 0x16 {
                handshakes.push(stream);
                continue;
            }
            let answer = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn a_silent_server_with_tls_is_not_taken_for_one_without() {
    let tag = reference(&slow_with_tls().await, "x:1");
    let impatient = Registry::new(Options {
        read_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_millis(300),
        ..Options::default()
    })
    .unwrap();
    let mut all = Vec::new();
    for _ in 0..2 {
        let error = impatient.pull(&tag, &ANONYMOUS).await.unwrap_err();
        assert!(error.is_retryable());
        all.push(said(&error, tag.registry()));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY did not answer within 300ms
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY did not answer within 300ms
    ");
}

/// Answers as an honest registry does, but for the question whether it is one.
async fn registry_that_says(answer: fn() -> Answer) -> Liar {
    let artifact = Artifact::new(component());
    Liar::start(move |asked: &Asked| match asked.line.as_str() {
        "GET /v2/" => answer(),
        _ => artifact.answer(asked),
    })
    .await
}

#[tokio::test]
async fn what_is_spoken_to_in_the_clear_must_be_a_registry() {
    let answers: [fn() -> Answer; 3] = [
        || status(400),
        || status(418),
        || redirect("https://registry.example.com/v2/"),
    ];
    let mut all = Vec::new();
    for answer in answers {
        let liar = registry_that_says(answer).await;
        let tag = reference(&liar.address(), "x:1");
        all.push(failed_pull(&registry(), &tag, &ANONYMOUS).await);
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY does not follow the OCI distribution specification: without TLS, which it does not speak, it answers `GET /v2/` with status 400
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY does not follow the OCI distribution specification: without TLS, which it does not speak, it answers `GET /v2/` with status 418
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY does not follow the OCI distribution specification: without TLS, which it does not speak, it answers `GET /v2/` with status 307
    ");
}

#[tokio::test]
async fn what_an_overloaded_server_answers_is_not_kept() {
    let answers: [(fn() -> Answer, usize); 4] = [
        (|| status(503), 2),
        (|| status(429), 2),
        (|| status(401), 1),
        (|| status(404), 1),
    ];
    for (answer, times) in answers {
        let liar = registry_that_says(answer).await;
        let (registry, tag) = (registry(), reference(&liar.address(), "x:1"));
        for _ in 0..2 {
            let pulled = registry.pull(&tag, &ANONYMOUS).await.unwrap();
            assert_eq!(pulled.bytes, component());
        }
        let asked = liar.asked();
        let probes = asked.iter().filter(|asked| asked.line == "GET /v2/");
        assert_eq!(probes.count(), times, "{asked:?}");
    }
}
