//! Selection of the files to read.

use std::collections::BTreeSet;

use pintle_sdk::{Failure, Problem, ReadError, Tree, glob::Glob};

use crate::settings::{Settings, idle};

const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// The names of an application's settings: of this application, or of one in a folder below.
const OWN: [&str; 2] = ["pintle.yaml", "pintle.yml"];

/// Files of other tools, which make the folder something other than its manifests.
const FOREIGN: [&str; 4] = [
    "Chart.yaml",
    "kustomization.yaml",
    "kustomization.yml",
    "Kustomization",
];

/// The files of a folder.
#[derive(Debug)]
pub(crate) struct Selected {
    /// Files to read, sorted.
    pub(crate) files: Vec<String>,
    /// Files that match but belong to another tool, sorted.
    pub(crate) ignored: Vec<String>,
    /// Files below the folder that match but have the name of settings, sorted.
    pub(crate) nested: Vec<String>,
    /// Warnings about patterns in `exclude` that exclude nothing.
    pub(crate) idle: Vec<Problem>,
}

/// The patterns of files to exclude, and the indices of those that have matched something.
struct Exclusion<'a> {
    patterns: &'a [Glob],
    used: BTreeSet<usize>,
}

impl Exclusion<'_> {
    fn excludes(&mut self, path: &str) -> bool {
        let mut is_excluded = false;
        for (index, pattern) in self.patterns.iter().enumerate() {
            // A pattern that was used before, for a path that is already excluded, has nothing to add.
            let is_needed = !is_excluded || !self.used.contains(&index);
            if is_needed && pattern.matches(path) {
                is_excluded = true;
                self.used.insert(index);
            }
        }
        is_excluded
    }

    fn idle(&self) -> Vec<Problem> {
        let all = self.patterns.iter().enumerate();
        all.filter(|(index, _)| !self.used.contains(index))
            .map(|(index, pattern)| {
                let message =
                    format!("`{pattern}` excludes none of the files that `include` matches");
                idle(format!("/exclude/{index}"), message)
            })
            .collect()
    }
}

/// Why there are no files to read.
#[derive(Debug)]
pub(crate) enum Unselected {
    /// The folder cannot be searched.
    Unsearched(Problem),
    /// There are no files that would be read.
    Nothing(Problem),
}

impl From<Unselected> for Failure {
    fn from(why: Unselected) -> Self {
        let (Unselected::Unsearched(problem) | Unselected::Nothing(problem)) = why;
        problem.into()
    }
}

/// Returns whether the folder has manifests and does not belong to another renderer.
///
/// A folder that cannot be searched counts as one with manifests: this function cannot report what is wrong with it, but
/// rendering can.
pub(crate) fn detect(folder: &dyn Tree) -> bool {
    let is_foreign = FOREIGN.iter().any(|name| folder.stat(name).is_some());
    !is_foreign
        && !matches!(
            select(&Settings::default(), folder),
            Err(Unselected::Nothing(_))
        )
}

/// Finds the files to read, and refuses if there are none.
pub(crate) fn select(settings: &Settings, folder: &dyn Tree) -> Result<Selected, Unselected> {
    let mut files = BTreeSet::new();
    let mut ignored = BTreeSet::new();
    let mut nested = BTreeSet::new();
    let mut left_out = BTreeSet::new();
    let mut exclusion = Exclusion {
        patterns: &settings.exclude,
        used: BTreeSet::new(),
    };
    for pattern in &settings.include {
        let matched = folder
            .glob(pattern.as_str())
            .map_err(|error| Unselected::Unsearched(unsearched(pattern.as_str(), error)))?;
        let names_hidden = has_hidden_part(pattern.as_str());
        for path in matched {
            let name = path.rsplit('/').next().unwrap_or(&path);
            let is_excluded = exclusion.excludes(&path);
            if FOREIGN.contains(&name) {
                if !is_excluded {
                    ignored.insert(path);
                }
            } else if is_excluded
                || !ENDINGS.iter().any(|ending| name.ends_with(ending))
                || (has_hidden_part(&path) && !names_hidden)
            {
                left_out.insert(path);
            } else if OWN.contains(&name) {
                if path.contains('/') {
                    nested.insert(path.clone());
                }
                left_out.insert(path);
            } else {
                files.insert(path);
            }
        }
    }
    left_out.retain(|path| !files.contains(path));
    if files.is_empty() {
        return Err(Unselected::Nothing(nothing(settings, &left_out, &ignored)));
    }
    Ok(Selected {
        files: files.into_iter().collect(),
        ignored: ignored.into_iter().collect(),
        nested: nested.into_iter().collect(),
        idle: exclusion.idle(),
    })
}

fn has_hidden_part(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.'))
}

/// Returns the warning about a file that another tool would have read.
pub(crate) fn ignored(path: &str) -> Problem {
    Problem::new(format!("`{path}` is not read; what it says is not applied"))
        .hint("use the renderer for it, or name it in `exclude` to silence this")
}

/// Returns the warning about a file that is left out because of its name, if it holds a manifest. The settings of an
/// application below, which are what should have this name, are that application's own matter, even if they cannot be read.
pub(crate) fn misnamed(path: &str, folder: &dyn Tree) -> Option<Problem> {
    let bytes = folder.read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    // Settings never have these fields.
    (has("apiVersion:") && has("kind:")).then(|| {
        Problem::new(format!(
            "`{path}` holds a manifest and is not read: only the settings of an application have this name"
        ))
        .hint("rename it, or name it in `exclude` to silence this")
    })
}

fn unsearched(pattern: &str, error: ReadError) -> Problem {
    let problem = Problem::new(format!("cannot search for `{pattern}`: {error}"));
    match error {
        // Settings cannot change what is in the folder, only where to look.
        ReadError::TooMany(_) => problem.hint(
            "or search less of it: of `deploy/**/*.yaml` in `include` only the folder `deploy` is searched",
        ),
        _ => problem.pointer("/include"),
    }
}

fn nothing(
    settings: &Settings,
    left_out: &BTreeSet<String>,
    ignored: &BTreeSet<String>,
) -> Problem {
    let patterns: Vec<String> = settings
        .include
        .iter()
        .map(|pattern| format!("`{pattern}`"))
        .collect();
    let problem = Problem::new(format!(
        "there are no manifests: no file to read matches {}",
        patterns.join(", ")
    ));
    if let Some(path) = ignored.first() {
        return problem.hint(format!(
            "`{path}` is read by another renderer; is that the one to use?"
        ));
    }
    match left_out.first() {
        Some(path) => problem.hint(format!(
            "`{path}` matches, but is hidden, excluded, no YAML or JSON by its name, or the application's own \
             settings; see `include` and `exclude`"
        )),
        None => problem.hint("is the application's path right? `include` says which files are read"),
    }
}
