//! Indexes of chart repositories, wanted by many at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use pintle_registry::{ChartError, Charts, Wanted};

use crate::{
    charts::{basic, index, place, strict},
    lies::{Answer, Asked, Liar, dripping, ok, status},
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
