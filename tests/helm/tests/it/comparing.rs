//! Renders charts through Helm and through the renderer, and reports what differs.

use std::fmt::Write as _;

use pintle_helm_tests::judge::judge;
use pintle_helm_tests::oracle::{Answer, Oracle, Request, Templating};
use pintle_helm_tests::ours::on_large_stack;

/// Renders through both, and fails with all differences, each under its name. Returns Helm's answers.
pub(crate) fn none_differs(names: &[String], asked: &[Templating]) -> Vec<Answer> {
    assert_eq!(names.len(), asked.len());
    let requests: Vec<Request> = asked
        .iter()
        .map(|one| Request::Template(Box::new(one.clone())))
        .collect();
    let answers = Oracle::start()
        .expect("the oracle starts")
        .ask(&requests)
        .expect("the oracle answers");
    let different = on_large_stack(|| {
        let mut different = String::new();
        for ((name, asked), answer) in names.iter().zip(asked).zip(&answers) {
            let judgement = judge(asked, answer);
            if judgement.differs() {
                let _ = writeln!(different, "{name}: {judgement}");
            }
        }
        different
    });
    assert!(different.is_empty(), "{different}");
    answers
}
