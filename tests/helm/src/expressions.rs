//! Generated templates through Helm and through the renderer.

use anyhow::Result;

use crate::compare::{Outcome, Verdict};
use crate::generate::{self, Case, Compared};
use crate::oracle::{Expression, Oracle, Request};
use crate::ours::{engine_of, expression};

/// How often Helm is asked again where the outputs differ: what it takes from a Go map comes in any order.
const AGAIN: usize = 4;

/// What a case gave on both sides.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The case.
    pub case: Case,
    /// What Helm makes of it.
    pub helm: Outcome,
    /// What we make of it.
    pub ours: Outcome,
    /// How they compare.
    pub verdict: Verdict,
}

/// All cases: for every function of Helm, for the language, grown at random and damaged at random.
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
/// Where the outputs differ, the case is rendered with another seed and at another time, and asked of Helm again: what
/// changes then cannot be compared.
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
                || has_address(&helm)
                || expression(&other, &asked) != ours
                || answers_again(oracle, &case, &ours)?)
        {
            verdict = Verdict::Equal;
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

/// Whether a pointer was printed: Go prints where in the memory of the process it leads.
fn has_address(outcome: &Outcome) -> bool {
    const PREFIX: &[u8] = b"0x";
    const DIGITS: usize = 9;
    let Ok(text) = outcome else {
        return false;
    };
    text.windows(PREFIX.len() + DIGITS).any(|part| {
        let (prefix, digits) = part.split_at(PREFIX.len());
        prefix.eq_ignore_ascii_case(PREFIX) && digits.iter().all(u8::is_ascii_hexdigit)
    })
}

/// Whether Helm gives our output too when it is asked again.
fn answers_again(oracle: &mut Oracle, case: &Case, ours: &Outcome) -> Result<bool> {
    let requests = vec![Request::Expr(Expression::of(case)); AGAIN];
    let answers = oracle.ask(&requests)?;
    Ok(answers.iter().any(|answer| answer.result() == *ours))
}
