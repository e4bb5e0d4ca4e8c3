//! Compares all generated expressions, and reports how many are equal for each function.
//!
//! `cargo run -p pintle-helm-tests --example expressions [-- FILTER [SHOWN]]`: `FILTER` is a function's name, or the beginning of
//! one followed by `*`. `SHOWN` limits how many differences are shown for each.
#![expect(clippy::print_stdout, reason = "a report for people")]

use std::collections::BTreeMap;

use pintle_helm_tests::compare::{Outcome, Verdict};
use pintle_helm_tests::expressions;
use pintle_helm_tests::oracle::Oracle;
use pintle_helm_tests::ours::on_large_stack;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let filter = arguments.next().unwrap_or_default();
    let shown: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(3);
    on_large_stack(|| {
        let mut oracle = Oracle::start()?;
        let mut cases = expressions::all(&mut oracle, 4000, 4000)?;
        cases.retain(|case| {
            filter.is_empty()
                || filter == case.about
                || filter
                    .strip_suffix('*')
                    .is_some_and(|start| case.about.starts_with(start))
        });
        let mut counts = BTreeMap::<String, BTreeMap<Verdict, usize>>::new();
        let mut total = BTreeMap::<Verdict, usize>::new();
        for one in expressions::compare(&mut oracle, cases)? {
            *total.entry(one.verdict).or_default() += 1;
            let about = counts.entry(one.case.about.clone()).or_default();
            let count = about.entry(one.verdict).or_default();
            *count += 1;
            if *count <= shown && one.verdict > Verdict::Known {
                println!(
                    "{} {:?}\n  {}\n  helm {}\n  ours {}",
                    one.case.about,
                    one.verdict,
                    one.case.text,
                    text(&one.helm),
                    text(&one.ours)
                );
            }
        }
        for (about, counts) in &counts {
            if counts.keys().any(|verdict| *verdict > Verdict::Known) {
                println!("{about}: {counts:?}");
            }
        }
        println!("{total:?}");
        Ok(())
    })
}

fn text(outcome: &Outcome) -> String {
    match outcome {
        Ok(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Err(error) => format!("refuses: {error:?}"),
    }
}
