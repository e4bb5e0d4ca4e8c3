//! Many who want something of one host at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::body::Body;
use futures::stream;
use pintle_registry::{Charts, Logins, Options, Registry, Shared};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    charts::{basic, fetch, place, repository},
    hostile::ANONYMOUS,
    lies::{Answer, Artifact, Asked, Liar, ok},
    support::{component, reference, registry},
};

/// Holds what is asked for until the test lets it go, and counts what it holds.
struct Gate {
    open: Semaphore,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    fn closed() -> Arc<Self> {
        Arc::new(Self {
            open: Semaphore::new(0),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    fn hold(self: &Arc<Self>, body: String) -> Answer {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let gate = Arc::clone(self);
        ok(Body::from_stream(stream::once(async move {
            gate.open.acquire().await.unwrap().forget();
            gate.now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(body)
        })))
    }
}

#[tokio::test]
async fn few_ask_one_host_at_once_and_nobody_elsewhere_waits_for_them() {
    let (come, mut has_come) = mpsc::unbounded_channel();
    let gate = Gate::closed();
    let artifact = Artifact::new(component());
    let slow = {
        let (gate, artifact) = (Arc::clone(&gate), artifact.clone());
        Liar::start(move |asked: &Asked| {
            if !asked.line.contains("/manifests/") {
                return artifact.answer(asked);
            }
            let held = gate.hold(artifact.manifest.to_string());
            let _ = come.send(());
            held
        })
        .await
    };
    let quick = Liar::start(move |asked: &Asked| artifact.answer(asked)).await;
    let registry = registry();
    let pull = |address: String, number: usize| {
        let registry = registry.clone();
        tokio::spawn(async move {
            let tag = reference(&address, &format!("x:{number}"));
            registry.pull(&tag, &ANONYMOUS).await.map(drop)
        })
    };
    let pulls: Vec<_> = (0..50).map(|number| pull(slow.address(), number)).collect();
    for _ in 0..5 {
        has_come.recv().await.unwrap();
    }
    pull(quick.address(), 0).await.unwrap().unwrap();
    assert!(pulls.iter().all(|pull| !pull.is_finished()));
    gate.open.add_permits(pulls.len());
    for pull in pulls {
        pull.await.unwrap().unwrap();
    }
    assert_eq!(gate.most.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn what_two_have_fetched_for_themselves_is_held_once() {
    let liar = repository("web-1.2.0.tgz").await;
    let place = place(&format!("http://{}/charts", liar.address()));
    let shared = Arc::<Shared>::default();
    let client = || {
        let registry = Registry::sharing(Options::default(), Arc::clone(&shared));
        Charts::new(registry.unwrap())
    };
    let one = fetch(&client(), &place, "^1", &basic()).await.unwrap();
    let nobody = Logins::default();
    let other = fetch(&client(), &place, "^1", &nobody).await.unwrap();
    let files = one.archive.files().unwrap();
    assert!(Arc::ptr_eq(&files, &other.archive.files().unwrap()));
    let asked = liar.asked();
    let archives = asked
        .iter()
        .filter(|asked| asked.line.contains("web-1.2.0.tgz"));
    assert_eq!(archives.count(), 2);
}
