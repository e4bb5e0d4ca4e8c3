//! Generated expressions: a part of what the example `expressions` compares, so that it takes seconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pintle_helm_tests::expressions;
use pintle_helm_tests::oracle::Oracle;
use pintle_helm_tests::ours::on_large_stack;

/// One case of so many is taken.
const PART: usize = 12;

#[test]
fn give_what_helm_gives() {
    let (different, all) = on_large_stack(|| {
        let mut oracle = Oracle::start().unwrap();
        let cases = expressions::all(&mut oracle, 4000, 4000).unwrap();
        let cases: Vec<_> = cases.into_iter().step_by(PART).collect();
        let all = cases.len();
        let mut different = String::new();
        let mut counts = BTreeMap::new();
        for one in expressions::compare(&mut oracle, cases).unwrap() {
            *counts.entry(one.verdict).or_insert(0) += 1;
            if one.verdict.differs() {
                let _ = writeln!(
                    different,
                    "{}: {}\n  helm {:?}\n  ours {:?}",
                    one.case.about,
                    one.case.text,
                    one.helm
                        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
                    one.ours
                        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
                );
            }
        }
        (different, all)
    });
    assert!(all > 5000, "only {all} cases");
    assert!(different.is_empty(), "{different}");
}
