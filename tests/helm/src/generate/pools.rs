//! The files in `tests/helm/cases`: lists of template text under headings.
//!
//! A heading is `@` and names. The lines up to the next heading belong to each of the names. `#` starts a comment, and `⏎` in a
//! line stands for a line break.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Lists by heading.
type Lists = HashMap<&'static str, Vec<String>>;

static VALUES: LazyLock<Lists> = LazyLock::new(|| read(include_str!("../../cases/values.txt")));
static ARGUMENTS: LazyLock<Lists> =
    LazyLock::new(|| read(include_str!("../../cases/arguments.txt")));
static CALLS: LazyLock<Lists> = LazyLock::new(|| read(include_str!("../../cases/calls.txt")));
static TEMPLATES: LazyLock<Lists> =
    LazyLock::new(|| read(include_str!("../../cases/templates.txt")));

fn read(text: &'static str) -> Lists {
    let mut lists = Lists::new();
    let mut names = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("@ ") {
            names = heading.split(' ').collect();
        } else if !line.starts_with('#') {
            for name in &names {
                lists.entry(name).or_default().push(line.replace('⏎', "\n"));
            }
        }
    }
    lists
}

fn of(lists: &'static Lists, name: &str) -> &'static [String] {
    lists.get(name).map_or(&[], Vec::as_slice)
}

/// Returns arguments that test a particular function.
pub(super) fn arguments(function: &str) -> &'static [String] {
    of(&ARGUMENTS, function)
}

/// Returns complete calls of a function.
pub(super) fn calls(function: &str) -> &'static [String] {
    of(&CALLS, function)
}

/// Returns complete templates about a function or a part of the language.
pub(super) fn templates(about: &str) -> &'static [String] {
    of(&TEMPLATES, about)
}

/// Returns all headings of complete templates, in order.
pub(super) fn subjects() -> Vec<&'static str> {
    let mut subjects: Vec<_> = TEMPLATES.keys().copied().collect();
    subjects.sort_unstable();
    subjects
}

/// Returns a few values of each type, to pass where another type is expected.
pub(super) fn one_of_each() -> &'static [String] {
    of(&VALUES, "one_of_each")
}

/// Returns integers that would make some functions work or allocate for long.
pub(super) fn large_ints() -> &'static [String] {
    of(&VALUES, "large_ints")
}

/// Returns the values that are passed for a parameter of a Go type.
pub(super) fn of_type(param: &str) -> Vec<&'static str> {
    let pools: &[&str] = match param {
        "string" => &["strings"],
        "int" | "uint32" => &["ints"],
        "float64" => &["numbers"],
        "bool" => &["bools"],
        "[]any" => &["lists"],
        "map[string]any" => &["maps"],
        "time.Time" => &["times"],
        "comparable" => &["ints", "strings"],
        "sprig.certificate" => &["certificates"],
        _ => &["numbers", "strings", "lists", "maps", "others"],
    };
    pools
        .iter()
        .flat_map(|pool| of(&VALUES, pool))
        .map(String::as_str)
        .collect()
}
