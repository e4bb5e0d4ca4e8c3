//! File search by pattern at a bounded cost.
//!
//! Patterns come from plugins, and the cost of compiling and matching one grows with its length: a long pattern over many files
//! could occupy a thread for as long as it likes. So patterns are limited as in the SDK, a pattern that the engine does not
//! accept is an error rather than a panic, and callers with a deadline are asked at each file whether to continue.

use globset::{ErrorKind, GlobBuilder, GlobSet, GlobSetBuilder};

use super::{EntryKind, Tree, TreeError, TreePath, walk_while};

/// The maximum number of characters of a pattern. The SDK rejects longer ones too.
pub const PATTERN_CHARACTERS: usize = 1_024;

/// The maximum number of patterns that the braces of one pattern may expand to. The SDK rejects more too.
pub const PATTERN_ALTERNATIVES: usize = 64;

/// The number of characters of a rejected pattern that are shown.
const SHOWN: usize = 80;

/// The reason why a glob pattern is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// The pattern is malformed, or too large.
    #[error("`{pattern}` is not a glob pattern: {reason}")]
    Pattern {
        /// The pattern, or its beginning.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The tree could not be walked.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Lists the files that match a pattern, sorted. `*` stays within a folder, `**` crosses folders.
///
/// A pattern of more than [`PATTERN_CHARACTERS`], or whose braces expand to more than [`PATTERN_ALTERNATIVES`], is rejected.
pub fn glob(tree: &dyn Tree, pattern: &str) -> Result<Vec<TreePath>, GlobError> {
    Ok(glob_while(tree, pattern, &mut || true)?.unwrap_or_default())
}

/// Works like [`glob`], but asks before each entry that it walks and before each file that it matches whether to continue.
/// Returns `None` if it was stopped.
pub fn glob_while(
    tree: &dyn Tree,
    pattern: &str,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Vec<TreePath>>, GlobError> {
    let matcher = compile(pattern)?;
    let none = Ok(Some(Vec::new()));
    let Some(folder) = start(pattern) else {
        return none;
    };
    match tree.stat(&folder)? {
        Some(entry) if entry.kind == EntryKind::Folder => {}
        _ => return none,
    }
    let Some(files) = walk_while(tree, &folder, go_on)? else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for (path, _) in files {
        if !go_on() {
            return Ok(None);
        }
        if matcher.is_match(path.as_str()) {
            found.push(path);
        }
    }
    Ok(Some(found))
}

/// Compiles a pattern, or returns why it is invalid.
fn compile(pattern: &str) -> Result<GlobSet, GlobError> {
    let refused = |reason: String| GlobError::Pattern {
        pattern: shown(pattern),
        reason,
    };
    if pattern.chars().nth(PATTERN_CHARACTERS).is_some() {
        return Err(refused(format!(
            "it has more than {PATTERN_CHARACTERS} characters"
        )));
    }
    if alternatives(pattern) > PATTERN_ALTERNATIVES {
        return Err(refused(format!(
            "its braces stand for more than {PATTERN_ALTERNATIVES} patterns"
        )));
    }
    let told = |error: globset::Error| {
        refused(match error.kind() {
            // The engine's message is about an expression that nobody wrote.
            ErrorKind::Regex(_) => "it is too large, or its braces nest too deeply".to_owned(),
            kind => kind.to_string(),
        })
    };
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .empty_alternates(true)
        .build()
        .map_err(told)?;
    // A set of one pattern: the matcher of a single pattern panics where this returns an error.
    GlobSetBuilder::new().add(glob).build().map_err(told)
}

fn shown(pattern: &str) -> String {
    match pattern.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &pattern[..end]),
        None => pattern.to_owned(),
    }
}

/// Counts the patterns that the braces of a pattern expand to. The count of a malformed pattern is meaningless.
fn alternatives(pattern: &str) -> usize {
    // For each open brace: the number of patterns that the text before it expands to, and the sum over its alternatives so far.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut now = 1_usize;
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => {
                rest.next();
            }
            '[' => skip_class(&mut rest),
            '{' => {
                open.push((now, 0));
                now = 1;
            }
            ',' => {
                if let Some((_, choices)) = open.last_mut() {
                    *choices = choices.saturating_add(now);
                    now = 1;
                }
            }
            '}' => {
                if let Some((before, choices)) = open.pop() {
                    now = before.saturating_mul(choices.saturating_add(now));
                }
            }
            _ => {}
        }
    }
    now
}

/// Skips the rest of `[!a-z]` after its opening bracket. The first character is a member even if it is `]`.
fn skip_class(rest: &mut std::str::Chars<'_>) {
    if matches!(rest.next(), Some('!' | '^')) {
        rest.next();
    }
    while rest.next().is_some_and(|character| character != ']') {}
}

/// Returns the folder before the first wildcard, or `None` if it is outside the tree. The other folders of a monorepo are neither
/// read nor listed.
fn start(pattern: &str) -> Option<TreePath> {
    let literal: Vec<&str> = pattern
        .split('/')
        .take_while(|part| !part.contains(['*', '?', '[', '{']))
        .collect();
    let depth = literal.len().min(pattern.split('/').count() - 1);
    TreePath::parse(&literal[..depth].join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memory::MemoryTree;

    #[test]
    fn globs_match_within_and_across_folders() {
        let tree = MemoryTree::new([
            ("a.yaml", ""),
            ("b/c.yaml", ""),
            ("b/d/e.yaml", ""),
            ("b/d/e.txt", ""),
        ]);
        let found = |pattern: &str| -> Vec<String> {
            glob(&tree, pattern)
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(found("*.yaml"), ["a.yaml"]);
        assert_eq!(found("**/*.yaml"), ["a.yaml", "b/c.yaml", "b/d/e.yaml"]);
        assert_eq!(
            found("**"),
            ["a.yaml", "b/c.yaml", "b/d/e.txt", "b/d/e.yaml"]
        );
        assert_eq!(found("**/e.*"), ["b/d/e.txt", "b/d/e.yaml"]);
        assert_eq!(found("b/**"), ["b/c.yaml", "b/d/e.txt", "b/d/e.yaml"]);
        assert_eq!(found("b/*"), ["b/c.yaml"]);
        assert_eq!(found("b/d/e.{txt,yaml}"), ["b/d/e.txt", "b/d/e.yaml"]);
        assert_eq!(found("b/d/e.txt{,.bak}"), ["b/d/e.txt"]);
        assert_eq!(found("[a-b].yaml"), ["a.yaml"]);
        assert_eq!(found("a.yaml"), ["a.yaml"]);
        assert!(
            found("../*").is_empty()
                && found("none/**").is_empty()
                && found("a.yaml/**").is_empty()
        );
    }

    #[test]
    fn what_is_malformed_or_too_large_is_refused_and_is_no_panic() {
        let reason = |pattern: &str| match glob(&MemoryTree::default(), pattern) {
            Err(GlobError::Pattern { pattern, reason }) => {
                assert!(pattern.chars().count() <= SHOWN + 1, "{pattern}");
                reason
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(reason("["), "unclosed character class; missing ']'");
        let long = "it has more than 1024 characters";
        assert_eq!(reason(&"?".repeat(300_000)), long);
        assert_eq!(reason(&"?".repeat(PATTERN_CHARACTERS + 1)), long);
        let many = "its braces stand for more than 64 patterns";
        assert_eq!(reason(&"{a,b}".repeat(7)), many);
        assert_eq!(reason(&format!("{{{}}}", ",".repeat(64))), many);
        // Short, with a single alternative, yet the engine cannot compile the expression.
        let nested = "{".repeat(400) + "*" + &"}".repeat(400);
        let refused = "it is too large, or its braces nest too deeply";
        assert_eq!(reason(&nested), refused);
    }

    #[test]
    fn what_the_sdk_accepts_is_accepted() {
        for pattern in [
            "?".repeat(PATTERN_CHARACTERS),
            "é".repeat(PATTERN_CHARACTERS),
            "a*".repeat(PATTERN_CHARACTERS / 2),
            "[!a-z]".repeat(PATTERN_CHARACTERS / 6),
            "{a,b}".repeat(6),
            r"[{,}]\{,,{a,}".repeat(6),
        ] {
            assert_eq!(glob(&MemoryTree::default(), &pattern), Ok(Vec::new()));
        }
    }

    #[test]
    fn braces_are_counted_as_the_sdk_does() {
        for (pattern, count) in [
            ("", 1),
            ("a,b", 1),
            ("{}", 1),
            ("*.{yaml,yml}", 2),
            ("{a,b{c,d}}/{x,}", 6),
            ("[{,}]{a,b}", 2),
            ("[]{,}]{a,b}", 2),
            (r"\{a,b}", 1),
            ("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", 128),
        ] {
            assert_eq!(alternatives(pattern), count, "{pattern}");
        }
        assert_eq!(alternatives(&"{a,b}".repeat(200)), usize::MAX);
    }

    #[test]
    fn it_stops_when_it_is_told_to() {
        let tree = MemoryTree::new((0..10).map(|number| (format!("{number}.yaml"), "")));
        let after = |steps: usize| {
            let mut asked = 0;
            glob_while(&tree, "*", &mut || {
                asked += 1;
                asked <= steps
            })
        };
        assert_eq!(after(5), Ok(None), "while it walks");
        assert_eq!(after(15), Ok(None), "while it matches");
        assert_eq!(after(20).unwrap().unwrap().len(), 10);
    }
}
