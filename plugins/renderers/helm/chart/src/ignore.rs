//! `.helmignore`: the files that are not part of a chart.

use thiserror::Error;

use crate::pattern::{Pattern, PatternError};

/// Why a `.helmignore` is malformed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IgnoreError {
    /// A rule contains `**`.
    #[error("double-star (**) syntax is not supported: line {0}")]
    DoubleStar(usize),
    /// A rule is not a valid pattern.
    #[error("line {line}: {error}")]
    Pattern {
        /// The line, from 1.
        line: usize,
        /// The error in it.
        error: PatternError,
    },
}

/// The rules of a `.helmignore`, and the one that Helm adds.
#[derive(Clone, Debug)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    negated: bool,
    folders_only: bool,
    /// Whether only the last part of the path counts.
    name_only: bool,
    pattern: Pattern,
}

impl Rules {
    /// Returns rules that ignore nothing.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Parses the rules. An empty text has only the rule that ignores hidden files in `templates/`.
    pub(crate) fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            rules.extend(rule(line.trim(), index + 1)?);
        }
        rules.extend(rule("templates/.?*", 0)?);
        Ok(Self(rules))
    }

    /// Returns whether a path is ignored. The first rule that matches decides. As in Helm, a rule with `!` ignores what does
    /// *not* match it.
    pub(crate) fn ignores(&self, path: &str, is_folder: bool) -> bool {
        for rule in &self.0 {
            let applies = is_folder || !rule.folders_only;
            if rule.negated {
                if !applies || !rule.matches(path) {
                    return true;
                }
            } else if applies && rule.matches(path) {
                return true;
            }
        }
        false
    }
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        let last = path.rsplit('/').next().unwrap_or(path);
        self.pattern
            .matches(if self.name_only { last } else { path })
    }
}

fn rule(text: &str, line: usize) -> Result<Option<Rule>, IgnoreError> {
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    if text.contains("**") {
        return Err(IgnoreError::DoubleStar(line));
    }
    let pattern =
        |text: &str| Pattern::parse(text).map_err(|error| IgnoreError::Pattern { line, error });
    pattern(text)?;
    let (negated, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (folders_only, rest) = match rest.strip_suffix('/') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (name_only, rest) = match rest.strip_prefix('/') {
        Some(rest) => (false, rest),
        None => (!rest.contains('/'), rest),
    };
    Ok(Some(Rule {
        negated,
        folders_only,
        name_only,
        pattern: pattern(rest)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignores(rules: &str, path: &str, is_folder: bool) -> bool {
        Rules::parse(rules).expect(rules).ignores(path, is_folder)
    }

    #[test]
    fn rules_are_helm_s() {
        for (rules, path, is_folder, expected) in [
            ("helm.txt", "helm.txt", false, true),
            ("helm.*", "helm.txt", false, true),
            ("*.txt", "cargo/a.txt", false, true),
            ("cargo/*.txt", "cargo/a.txt", false, true),
            ("cargo/*.txt", "mast/a.txt", false, false),
            ("ru[c-e]?er.txt", "rudder.txt", false, true),
            ("/a.txt", "a.txt", false, true),
            ("/a.txt", "cargo/a.txt", false, false),
            ("cargo/", "cargo", true, true),
            ("cargo/", "cargo", false, false),
            ("cargo/", "mast/cargo", true, true),
            ("!helm.txt", "helm.txt", false, false),
            ("!helm.txt", "tiller.txt", false, true),
            ("!*.txt", "cargo", true, true),
            ("!cargo/", "mast/a.txt", false, true),
            ("a.txt\n!a.txt", "a.txt", false, true),
            ("# a.txt", "a.txt", false, false),
            ("  a.txt  ", "a.txt", false, true),
            ("", "templates/.hidden", false, true),
            ("", "templates/.a/b.yaml", false, false),
            ("", ".hidden", false, false),
            ("\u{feff}a.txt\r\n", "a.txt", false, true),
        ] {
            assert_eq!(
                ignores(rules, path, is_folder),
                expected,
                "{rules:?} {path}"
            );
        }
    }

    #[test]
    fn malformed_rules_are_refused() {
        let error = |rules: &str| Rules::parse(rules).expect_err(rules).to_string();
        insta::assert_snapshot!(error("a\n**/b"), @"double-star (**) syntax is not supported: line 2");
        insta::assert_snapshot!(error("[a"), @r#"line 1: syntax error in pattern "[a""#);
    }

    proptest::proptest! {
        #[test]
        fn no_rules_are_a_problem(rules in "[a*?/!#\\[\\] \n-]{0,20}", path in "[a/]{1,8}") {
            if let Ok(rules) = Rules::parse(&rules) {
                let _ = rules.ignores(&path, false);
            }
        }
    }
}
