//! Generated expressions: a part of those that the example `expressions` compares, so that the test takes seconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pintle_helm_tests::compare::Verdict;
use pintle_helm_tests::expressions;
use pintle_helm_tests::known::KNOWN;
use pintle_helm_tests::oracle::Oracle;
use pintle_helm_tests::ours::on_large_stack;

/// One of this many cases is tested.
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

#[test]
fn what_is_known_to_differ_does() {
    let wrong = on_large_stack(|| {
        let mut oracle = Oracle::start().unwrap();
        let cases = expressions::all(&mut oracle, 0, 0).unwrap();
        let mut wrong = String::new();
        for known in KNOWN {
            let covered = cases.iter().filter(|case| known.covers(case));
            let covered: Vec<_> = covered.cloned().collect();
            let compared = expressions::compare(&mut oracle, covered).unwrap();
            if compared.is_empty() {
                let _ = writeln!(wrong, "{known:?} covers no case");
            }
            for one in compared {
                if one.verdict != Verdict::Known {
                    let _ = writeln!(wrong, "{known:?} is {:?}: {}", one.verdict, one.case.text);
                }
            }
        }
        wrong
    });
    assert!(wrong.is_empty(), "{wrong}");
}
