//! Problems as users see them: where they are, and how to fix them.

use pintle_helm_chart::{ComposeError, LoadError, SchemaError, Warnings, manifest::ManifestError};
use pintle_sdk::{Failure, Position, Problem};

use crate::{engine::RenderError, release::ReleaseError};

/// Returns a file's path within the rendered folder. Helm puts the chart's name before it.
pub(crate) fn file(path: &str) -> &str {
    path.split_once('/').map_or(path, |(_, file)| file)
}

pub(crate) fn position(path: &str, line: usize, column: usize) -> Position {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position::new(file(path), number(line), number(column))
}

/// Describes why a chart cannot be loaded.
pub(crate) fn of_load(error: &LoadError) -> Problem {
    let problem = Problem::new(error.to_string()).position(Position::new(&error.path, 1, 1));
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// Describes why a chart cannot be rendered to a release.
pub(crate) fn of_release(error: &ReleaseError) -> Failure {
    let problem = Problem::new(error.to_string());
    match error {
        ReleaseError::Name(_) => problem
            .pointer("/releaseName")
            .hint("the setting `releaseName` gives the release another name than the application's")
            .into(),
        ReleaseError::NotInstallable(_) => problem
            .hint("a library chart is for other charts to depend on")
            .into(),
        ReleaseError::Missing(_) => problem
            .hint("`helm dependency update` writes Chart.lock, from which they are fetched; or commit them in charts/")
            .into(),
        ReleaseError::KubeVersion { .. } => problem
            .hint("the setting `kubeVersion` renders for another version")
            .into(),
        ReleaseError::Dependencies(_) | ReleaseError::Values(ComposeError::Coalesce(_)) => {
            problem.into()
        }
        ReleaseError::Values(ComposeError::Schema(errors)) => {
            errors.iter().map(of_schema).collect::<Vec<_>>().into()
        }
        ReleaseError::Template(error) => of_template(error, problem).into(),
        ReleaseError::Manifest { error, line } => of_manifest(error, *line, problem).into(),
    }
}

fn of_schema(error: &SchemaError) -> Problem {
    Problem::new(format!(
        "values don't meet the specifications of the schema: {error}"
    ))
}

fn of_template(error: &RenderError, problem: Problem) -> Problem {
    match error {
        RenderError::Parse { file, line, .. } => problem.position(position(file, *line, 1)),
        RenderError::Refused {
            file, line, column, ..
        }
        | RenderError::Failed {
            file, line, column, ..
        } => problem.position(position(file, *line, column + 1)),
        RenderError::Values { file } => problem.position(position(file, 1, 1)),
    }
}

/// The number of characters of a line to show.
const MAX_SHOWN: usize = 120;

fn of_manifest(error: &ManifestError, line: usize, problem: Problem) -> Problem {
    // The position is the line at which the document begins. Line numbers within the document are not the template's, so the text
    // is shown instead.
    let problem = problem.position(position(&error.path, line, 1));
    let text = error.text.to_str_lossy();
    let shown = error
        .place()
        .and_then(|line| text.lines().nth(line.saturating_sub(1)))
        .or_else(|| text.lines().find(|line| !line.trim().is_empty()));
    match shown {
        Some(line) => {
            let line: String = line.chars().take(MAX_SHOWN).collect();
            problem.hint(format!("the template's output there is `{line}`"))
        }
        None => problem,
    }
}

/// Returns as problems what Helm would only log.
pub(crate) fn of_warnings(warnings: Warnings) -> Vec<Problem> {
    let messages = warnings.into_messages().into_iter();
    messages.map(Problem::new).collect()
}
