//! Every problem of every file.

use pintle_sdk::{Failure, Position, Problem};
use pintle_yaml::{Mark, Stream};

/// The most problems, and the most warnings, that are reported: enough to work with, not enough to drown in.
const MOST: usize = 100;

/// The problems and warnings so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Report {
    /// Records a problem, which makes the folder unacceptable.
    pub(crate) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Records warnings, which do not make the folder unacceptable.
    pub(crate) fn warnings(&mut self, warnings: impl IntoIterator<Item = Problem>) {
        self.warnings.extend(warnings);
    }

    /// Records what reading a file found.
    pub(crate) fn stream(&mut self, file: &str, stream: &Stream) {
        self.problems.extend(stream.errors.iter().map(|error| {
            let problem = located(
                Problem::new(error.to_string()),
                &error.pointer,
                file,
                error.mark,
            );
            match error.hint() {
                Some(hint) => problem.hint(hint),
                None => problem,
            }
        }));
        self.warnings.extend(stream.warnings.iter().map(|warning| {
            located(
                Problem::new(warning.to_string()),
                &warning.pointer,
                file,
                warning.mark,
            )
            .hint(warning.hint())
        }));
    }

    /// Returns whether nothing is wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Returns the warnings, or a refusal with all problems at once.
    pub(crate) fn finish(self) -> Result<Vec<Problem>, Failure> {
        if self.problems.is_empty() {
            Ok(shorten(self.warnings, "warnings"))
        } else {
            Err(shorten(self.problems, "problems").into())
        }
    }
}

fn located(problem: Problem, pointer: &str, file: &str, mark: Mark) -> Problem {
    let problem = problem.position(position(file, mark));
    if pointer.is_empty() {
        problem
    } else {
        problem.pointer(pointer)
    }
}

/// Returns a position in the form of the SDK.
pub(crate) fn position(file: &str, mark: Mark) -> Position {
    Position::new(file, mark.line, mark.column)
}

/// Sorts problems by position, those without one last, and cuts off the rest.
fn shorten(mut problems: Vec<Problem>, what: &str) -> Vec<Problem> {
    problems.sort_by(|one, other| {
        let place = |problem: &Problem| (problem.position.is_none(), problem.position.clone());
        place(one).cmp(&place(other))
    });
    let more = problems.len().saturating_sub(MOST);
    if more > 0 {
        problems.truncate(MOST);
        problems.push(Problem::new(format!("there are {more} more {what}")));
    }
    problems
}
