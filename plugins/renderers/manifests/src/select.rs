//! Which files are read.

use std::collections::BTreeSet;

use pintle_sdk::{Failure, Problem, ReadError, Tree, glob::Glob};

use crate::settings::{Settings, idle};

const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// The settings of an application: of this one, or of one in a folder below.
const OWN: [&str; 2] = ["pintle.yaml", "pintle.yml"];

/// Files of other tools, which turn the folder into something else than its manifests.
const FOREIGN: [&str; 4] = [
    "Chart.yaml",
    "kustomization.yaml",
    "kustomization.yml",
    "Kustomization",
];

/// The files of a folder.
#[derive(Debug)]
pub(crate) struct Selected {
    /// To be read, sorted.
    pub(crate) files: Vec<String>,
    /// Matched, and of another tool, sorted.
    pub(crate) ignored: Vec<String>,
    /// Matched, below the folder, and settings by their names, sorted.
    pub(crate) nested: Vec<String>,
    /// Warnings of patterns to exclude that exclude nothing.
    pub(crate) idle: Vec<Problem>,
}

/// Patterns to exclude, and which of them matched something, by their index.
struct Exclusion<'a> {
    patterns: &'a [Glob],
    used: BTreeSet<usize>,
}

impl Exclusion<'_> {
    fn excludes(&mut self, path: &str) -> bool {
        let mut is_excluded = false;
        for (index, pattern) in self.patterns.iter().enumerate() {
            // One that is used already, of a path that is excluded already, has nothing to add.
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
    /// None is there that would be read.
    Nothing(Problem),
}

impl From<Unselected> for Failure {
    fn from(why: Unselected) -> Self {
        let (Unselected::Unsearched(problem) | Unselected::Nothing(problem)) = why;
        problem.into()
    }
}

/// Whether the folder has manifests and is not another renderer's.
///
/// One that cannot be searched counts as if it had: this has no way to say what is wrong with it, and the rendering has.
pub(crate) fn detect(folder: &dyn Tree) -> bool {
    let is_foreign = FOREIGN.iter().any(|name| folder.stat(name).is_some());
    !is_foreign
        && !matches!(
            select(&Settings::default(), folder),
            Err(Unselected::Nothing(_))
        )
}

/// Finds the files to read; refuses if there are none.
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

/// Warns of a file that another tool would have read.
pub(crate) fn ignored(path: &str) -> Problem {
    Problem::new(format!("`{path}` is not read; what it says is not applied"))
        .hint("use the renderer for it, or name it in `exclude` to silence this")
}

/// Warns of a file that is left out for its name, if it holds a manifest. The settings of an application below, which are what
/// should have this name, are its own matter, also if they cannot be read.
pub(crate) fn misnamed(path: &str, folder: &dyn Tree) -> Option<Problem> {
    let bytes = folder.read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    // No settings have these fields.
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
        // Of what is in the folder, the settings can only say where to look.
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
