//! Indexes of chart repositories, wanted by many at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use pintle_registry::{
    CacheOptions, ChartError, Charts, Logins, Options, Registry, Shared, Wanted,
};
use tokio::sync::mpsc;

use crate::{
    charts::{basic, chart, fetch, index, place, strict},
    lies::{Answer, Asked, Liar, dripping, ok, status, with},
    support::said,
};

/// Requests for an index.
fn requests(liar: &Liar) -> usize {
    let asked = liar.asked();
    let is_index = |asked: &&Asked| asked.line.ends_with("index.yaml");
    asked.iter().filter(is_index).count()
}

/// Asks so many times at once for the index.
async fn ask(charts: &Charts, liar: &Liar, times: usize) -> Vec<Result<(), ChartError>> {
    let place = place(&format!("http://{}", liar.address()));
    let (any, logins) = (Wanted::version("*"), basic());
    let asks = (0..times).map(|_| charts.resolve(&place, &any, &logins));
    let answers = futures::future::join_all(asks).await;
    answers.into_iter().map(|answer| answer.map(drop)).collect()
}

#[tokio::test]
async fn those_who_wait_share_a_failure() {
    let tells: [fn() -> Answer; 2] = [|| status(503), dripping];
    let mut all = Vec::new();
    for tell in tells {
        let liar = Liar::start(move |_: &Asked| tell()).await;
        let answers = ask(&strict(), &liar, 8).await;
        assert_eq!(requests(&liar), 1);
        let texts = answers
            .iter()
            .map(|answer| said(answer.as_ref().unwrap_err(), &liar.address()));
        all.extend(texts);
    }
    all.dedup();
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the index of the chart repository http://REGISTRY/: REGISTRY answered with status 503
    cannot read the index of the chart repository http://REGISTRY/: REGISTRY took longer than 500ms in all
    ");
}

#[tokio::test]
async fn who_asks_after_a_failure_may_find_it_mended() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_mended);
    let liar = Liar::start(move |_: &Asked| {
        if told.load(Ordering::Relaxed) {
            ok(index("1.2.0", "web.tgz", ""))
        } else {
            status(503)
        }
    })
    .await;
    let charts = strict();
    let answers = ask(&charts, &liar, 4).await;
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    is_mended.store(true, Ordering::Relaxed);
    let answers = ask(&charts, &liar, 4).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn clients_share_a_request_and_nobody_else_its_answer() {
    let liar = Liar::start(|asked: &Asked| {
        if asked.authorization.is_some() {
            ok(index("1.2.0", "web.tgz", ""))
        } else {
            status(401)
        }
    })
    .await;
    let shared = Arc::<Shared>::default();
    let charts = |options| Charts::new(Registry::sharing(options, Arc::clone(&shared)).unwrap());
    let (place, any) = (
        place(&format!("http://{}", liar.address())),
        Wanted::version("*"),
    );
    let clients = [(); 8].map(|()| charts(Options::default()));
    let logins = basic();
    let asks = clients
        .iter()
        .map(|charts| charts.resolve(&place, &any, &logins));
    for answer in futures::future::join_all(asks).await {
        answer.unwrap();
    }
    // Who asks while a request is under way takes part in the next one.
    assert!(requests(&liar) <= 2, "{}", requests(&liar));

    // What was fetched for some is at hand, and still who has no credentials, or trusts others, has to ask himself.
    let before = requests(&liar);
    let anonymous = Logins::default();
    let open = clients[0].resolve(&place, &any, &anonymous);
    let error = open.await.unwrap_err();
    insta::assert_snapshot!(said(&error, &liar.address()), @"cannot read the index of the chart repository http://REGISTRY/: REGISTRY asks for credentials, and there are none for it; log in with `docker login`, or give a pull secret that has an entry for it");
    let trusting = charts(Options {
        plain_http: vec!["registry.example.com".to_owned()],
        ..Options::default()
    });
    let others = [&clients[0], &trusting].map(|charts| charts.resolve(&place, &any, &logins));
    for answer in futures::future::join_all(others).await {
        answer.unwrap();
    }
    assert_eq!(requests(&liar), before + 3);
}

#[tokio::test]
async fn an_archive_whose_digest_cannot_be_read_is_not_asked_for() {
    let mut all = Vec::new();
    for digest in ["sha512:0a0a", "sha256:0a0a"] {
        let liar = Liar::start(move |asked: &Asked| {
            if asked.line.ends_with("index.yaml") {
                ok(index("1.2.0", "web.tgz", digest))
            } else {
                ok(chart("web", "1.2.0"))
            }
        })
        .await;
        let place = place(&format!("http://{}", liar.address()));
        let fetched = fetch(&strict(), &place, "^1", &basic()).await;
        all.push(said(&fetched.unwrap_err(), &liar.address()));
        assert_eq!((requests(&liar), liar.asked().len()), (1, 1));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the index of the chart repository http://REGISTRY/: the index cannot be understood: the `digest` of web 1.2.0 is `sha512:0a0a`, which is not one of SHA-256: expected 64 hexadecimal digits, with or without `sha256:` before them; have the index written anew, or name another version
    cannot read the index of the chart repository http://REGISTRY/: the index cannot be understood: the `digest` of web 1.2.0 is `sha256:0a0a`, which is not one of SHA-256: expected 64 hexadecimal digits, with or without `sha256:` before them; have the index written anew, or name another version
    ");
}

/// An index of more than a megabyte.
fn large() -> String {
    let listed = (0..30_000)
        .map(|patch| format!(r#"{{"version":"1.0.{patch}","urls":["web-1.0.{patch}.tgz"]}}"#));
    let listed: Vec<_> = listed.collect();
    let text = format!(
        r#"{{"apiVersion":"v1","entries":{{"web":[{}]}}}}"#,
        listed.join(",")
    );
    assert!(text.len() > 1 << 20);
    text
}

/// A body that begins with many megabytes, tells when all of them are taken, and does not go on.
fn trickling(taken: mpsc::UnboundedSender<()>) -> Answer {
    let megabyte = Bytes::from(vec![b' '; 1 << 20]);
    let start = stream::iter(std::iter::repeat_n(megabyte, 48)).map(Ok::<_, std::io::Error>);
    let end = stream::once(async move {
        let _ = taken.send(());
        std::future::pending().await
    });
    ok(Body::from_stream(start.chain(end)))
}

#[tokio::test]
async fn an_index_that_trickles_holds_up_nobody_else() {
    let (taken, mut is_taken) = mpsc::unbounded_channel();
    let slow = Liar::start(move |_: &Asked| trickling(taken.clone())).await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        cache: Some(CacheOptions::new(folder.path())),
        ..Options::default()
    };
    let charts = Charts::new(Registry::new(options).unwrap());
    let ask = |address: String| {
        let charts = charts.clone();
        tokio::spawn(async move {
            let place = place(&format!("http://{address}"));
            let exact = Wanted::version("1.0.7");
            charts.resolve(&place, &exact, &basic()).await.map(drop)
        })
    };
    let tasks = ["a", "b"].map(|name| ask(format!("{}/{name}", slow.address())));
    for _ in &tasks {
        is_taken.recv().await.unwrap();
    }
    let text = large();
    let quick = Liar::start(move |_: &Asked| ok(text.clone())).await;
    ask(quick.address()).await.unwrap().unwrap();
    for task in tasks {
        assert!(
            !task.is_finished(),
            "it was read only after the others were given up"
        );
        task.abort();
    }
}

#[tokio::test]
async fn a_large_index_is_read_where_there_can_be_no_cache() {
    let text = large();
    let liar = Liar::start(move |_: &Asked| ok(text.clone())).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let options = Options {
        cache: Some(CacheOptions::new(file.join("cache"))),
        ..Options::default()
    };
    let charts = Charts::new(Registry::new(options).unwrap());
    let place = place(&format!("http://{}", liar.address()));
    let exact = Wanted::version("1.0.7");
    let found = charts.resolve(&place, &exact, &basic()).await.unwrap();
    assert_eq!(found.version, "1.0.7");
}

#[tokio::test]
async fn large_indexes_are_read_one_after_another() {
    let text = large();
    let liar = Liar::start(move |asked: &Asked| {
        if asked.known.is_some() {
            status(304)
        } else {
            with(ok(text.clone()), "etag", "\"one\"")
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let exact = Wanted::version("1.0.7");
    let logins = basic();
    // The second one finds on disk what the first one was given.
    for _ in 0..2 {
        let options = Options {
            cache: Some(CacheOptions::new(folder.path())),
            ..Options::default()
        };
        let charts = Charts::new(Registry::new(options).unwrap());
        let places =
            ["a", "b", "c", "d"].map(|name| place(&format!("http://{}/{name}", liar.address())));
        let asks = places
            .iter()
            .map(|place| charts.resolve(place, &exact, &logins));
        for answer in futures::future::join_all(asks).await {
            assert_eq!(answer.unwrap().version, "1.0.7");
        }
    }
    let known = liar
        .asked()
        .iter()
        .filter(|asked| asked.known.is_some())
        .count();
    assert_eq!((requests(&liar), known), (8, 4));
}
