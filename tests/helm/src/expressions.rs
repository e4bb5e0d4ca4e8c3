//! Generated templates through Helm and through the renderer.

use anyhow::Result;

use crate::compare::{Outcome, Verdict};
use crate::generate::{self, Case, Compared};
use crate::known;
use crate::oracle::{Expression, Oracle, Request};
use crate::ours::{engine_of, expression};

/// How often Helm is asked again if the outputs differ: it iterates over Go maps in any order.
const AGAIN: usize = 4;

/// The results of a case on both sides.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The case.
    pub case: Case,
    /// Helm's result.
    pub helm: Outcome,
    /// Our result.
    pub ours: Outcome,
    /// How they compare.
    pub verdict: Verdict,
}

/// Returns all cases: for every function of Helm, for the language, grown at random and damaged at random.
pub fn all(oracle: &mut Oracle, grown: usize, damaged: usize) -> Result<Vec<Case>> {
    let functions = oracle.functions()?;
    let mut cases: Vec<Case> = functions
        .iter()
        .flat_map(generate::functions::cases)
        .collect();
    cases.extend(generate::language::listed());
    cases.extend(generate::language::grown(grown));
    cases.extend(generate::language::damaged(damaged));
    Ok(cases)
}

/// Compares the cases.
///
/// If the outputs differ, the case is rendered with another seed and at another time, and Helm is asked again: what changes then
/// cannot be compared.
pub fn compare(oracle: &mut Oracle, cases: Vec<Case>) -> Result<Vec<Compare>> {
    let request = |case: &Case| Request::Expr(Expression::of(case));
    let requests: Vec<Request> = cases.iter().map(request).collect();
    let answers = oracle.ask(&requests)?;
    let (engine, other) = (engine_of(1_700_000_000, 0), engine_of(1_234_567_890, 77));
    let mut compared = Vec::with_capacity(cases.len());
    for (case, answer) in cases.into_iter().zip(answers) {
        let asked = Expression::of(&case);
        let (helm, ours) = (answer.result(), expression(&engine, &asked));
        let mut verdict = Verdict::of(&ours, &helm);
        if verdict == Verdict::OtherOutput
            && (case.compared == Compared::Success
                || expression(&other, &asked) != ours
                || answers_again(oracle, &case, &ours)?)
        {
            verdict = Verdict::Equal;
        }
        if verdict.differs() && is_known(oracle, &case, &helm, verdict)? {
            verdict = Verdict::Known;
        }
        compared.push(Compare {
            case,
            helm,
            ours,
            verdict,
        });
    }
    Ok(compared)
}

/// Returns whether a difference is known.
fn is_known(oracle: &mut Oracle, case: &Case, helm: &Outcome, verdict: Verdict) -> Result<bool> {
    let prints_address = verdict == Verdict::OtherOutput
        && (known::has_address(helm) || known::hides_address(oracle, case)?);
    Ok(prints_address || known::is_listed(case))
}

/// Returns whether Helm also produces our output when it is asked again.
fn answers_again(oracle: &mut Oracle, case: &Case, ours: &Outcome) -> Result<bool> {
    let requests = vec![Request::Expr(Expression::of(case)); AGAIN];
    let answers = oracle.ask(&requests)?;
    Ok(answers.iter().any(|answer| answer.result() == *ours))
}
