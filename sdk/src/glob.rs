//! Patterns for paths and names in settings.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The maximum number of patterns that one pattern with `{a,b}` may stand for. The host has the same limit.
const MAX_ALTERNATIVES: usize = 64;

/// The maximum number of characters in a pattern. It bounds the work and the depth of nested braces. The host has the
/// same limit.
pub(crate) const MAX_LENGTH: usize = 1024;

/// A case-sensitive pattern that a path or a name must match as a whole.
///
/// | Written | Matches |
/// |---|---|
/// | `*` | any number of characters other than `/` |
/// | `?` | one character other than `/` |
/// | `**` | as a whole part, any number of folders: `**/x`, `a/**/x`; at the end, everything below: `a/**` |
/// | `[a-z]`, `[!a-z]` | one character of the range, or one outside it; never `/` |
/// | `{yaml,yml}` | either |
/// | `\*` | the character itself |
///
/// In settings a pattern is a string. A malformed one is refused with its JSON path, like any other malformed setting.
///
/// ```
/// use pintle_sdk::glob::Glob;
///
/// let glob = Glob::parse("**/*.{yaml,yml}")?;
/// assert!(glob.matches("web.yaml"));
/// assert!(glob.matches("base/web/deployment.yml"));
/// assert!(!glob.matches("base/web/README.md"));
/// # Ok::<(), pintle_sdk::glob::GlobError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    alternatives: Vec<Vec<Token>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    One,
    Star,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// `**/`: any number of whole folders.
    Folders,
    /// `**` at the end: at least one character, whatever it is.
    Rest,
}

/// The reason why a text is not a valid pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GlobError {
    /// The pattern is empty.
    Empty,
    /// The pattern has more than 1,024 characters.
    TooLong,
    /// `[` has no `]`.
    UnclosedClass,
    /// `[]` or `[!]`, which nothing matches.
    EmptyClass,
    /// A range such as `z-a`.
    BackwardRange(char, char),
    /// `{` has no `}`.
    UnclosedBrace,
    /// `}` has no `{`.
    UnopenedBrace,
    /// `**` shares its part of the path with something else.
    DoubleStarInPart,
    /// A `\` at the end escapes nothing.
    TrailingBackslash,
    /// The braces stand for too many patterns.
    TooManyAlternatives,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a pattern must not be empty"),
            Self::TooLong => write!(
                f,
                "a pattern must not have more than {MAX_LENGTH} characters"
            ),
            Self::UnclosedClass => {
                f.write_str("`[` has no closing `]`; write `\\[` for the character itself")
            }
            Self::EmptyClass => f.write_str("`[]` matches nothing; name at least one character"),
            Self::BackwardRange(from, to) => {
                write!(
                    f,
                    "the range `{from}-{to}` runs backwards; write `{to}-{from}`"
                )
            }
            Self::UnclosedBrace => {
                f.write_str("`{` has no closing `}`; write `\\{` for the character itself")
            }
            Self::UnopenedBrace => {
                f.write_str("`}` has no opening `{`; write `\\}` for the character itself")
            }
            Self::DoubleStarInPart => f.write_str(
                "`**` must stand alone between two `/`, as in `**/*.yaml`; use `*` within a name",
            ),
            Self::TrailingBackslash => {
                f.write_str("the `\\` at the end escapes nothing; write `\\\\` for itself")
            }
            Self::TooManyAlternatives => {
                write!(
                    f,
                    "the braces stand for more than {MAX_ALTERNATIVES} patterns; split it into several patterns"
                )
            }
        }
    }
}

impl std::error::Error for GlobError {}

impl Glob {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        let characters: Vec<char> = text.chars().collect();
        if characters.len() > MAX_LENGTH {
            return Err(GlobError::TooLong);
        }
        let alternatives = expand(&characters)?
            .iter()
            .map(|one| tokens(one))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            alternatives,
        })
    }

    /// Returns whether the whole of `subject` matches.
    pub fn matches(&self, subject: &str) -> bool {
        self.alternatives
            .iter()
            .any(|tokens| matches(tokens, subject))
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        Self::parse(text)
    }
}

impl Serialize for Glob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .map_err(|error| de::Error::custom(format_args!("`{text}` is no pattern: {error}")))
    }
}

impl JsonSchema for Glob {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Glob".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// Expands the outermost braces and, by recursion, all of them. Escapes are left for [`tokens`].
fn expand(pattern: &[char]) -> Result<Vec<Vec<char>>, GlobError> {
    let Some(open) = find_open_brace(pattern)? else {
        return Ok(vec![pattern.to_vec()]);
    };
    let (choices, close) = choices(pattern, open)?;
    let tails = expand(&pattern[close + 1..])?;
    let mut expanded = Vec::new();
    for choice in choices {
        for middle in expand(choice)? {
            for tail in &tails {
                if expanded.len() == MAX_ALTERNATIVES {
                    return Err(GlobError::TooManyAlternatives);
                }
                expanded.push([&pattern[..open], &middle, tail].concat());
            }
        }
    }
    Ok(expanded)
}

fn find_open_brace(pattern: &[char]) -> Result<Option<usize>, GlobError> {
    let mut at = 0;
    while at < pattern.len() {
        match pattern[at] {
            '\\' => at += 1,
            '[' => at = class_end(pattern, at)?,
            '{' => return Ok(Some(at)),
            '}' => return Err(GlobError::UnopenedBrace),
            _ => {}
        }
        at += 1;
    }
    Ok(None)
}

/// Splits `{a,b}` at its own commas. Returns the index of its `}` as well.
fn choices(pattern: &[char], open: usize) -> Result<(Vec<&[char]>, usize), GlobError> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut at) = (0_usize, open + 1, open + 1);
    while at < pattern.len() {
        match pattern[at] {
            '\\' => at += 1,
            '[' => at = class_end(pattern, at)?,
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(&pattern[start..at]);
                return Ok((found, at));
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    Err(GlobError::UnclosedBrace)
}

/// Returns the index of the `]` that closes the class opened at `open`. A `]` right after the opening is a member.
fn class_end(pattern: &[char], open: usize) -> Result<usize, GlobError> {
    let mut at = open + 1;
    if matches!(pattern.get(at), Some('!' | '^')) {
        at += 1;
    }
    let first = at;
    while let Some(&character) = pattern.get(at) {
        match character {
            '\\' => at += 1,
            ']' if at > first => return Ok(at),
            ']' if !pattern[at + 1..].contains(&']') => return Err(GlobError::EmptyClass),
            _ => {}
        }
        at += 1;
    }
    Err(GlobError::UnclosedClass)
}

fn tokens(pattern: &[char]) -> Result<Vec<Token>, GlobError> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut at = 0;
    while at < pattern.len() {
        match pattern[at] {
            '\\' => {
                at += 1;
                tokens.push(Token::Literal(
                    *pattern.get(at).ok_or(GlobError::TrailingBackslash)?,
                ));
            }
            '?' => tokens.push(Token::One),
            '*' if pattern.get(at + 1) == Some(&'*') => {
                let starts_part = at == 0 || pattern[at - 1] == '/';
                match (starts_part, pattern.get(at + 2)) {
                    (true, None) => tokens.push(Token::Rest),
                    (true, Some('/')) => {
                        tokens.push(Token::Folders);
                        at += 1;
                    }
                    _ => return Err(GlobError::DoubleStarInPart),
                }
                at += 1;
            }
            '*' => tokens.push(Token::Star),
            '[' => {
                let end = class_end(pattern, at)?;
                tokens.push(class(&pattern[at + 1..end])?);
                at = end;
            }
            character => tokens.push(Token::Literal(character)),
        }
        at += 1;
    }
    Ok(tokens)
}

fn class(body: &[char]) -> Result<Token, GlobError> {
    let negated = matches!(body.first(), Some('!' | '^'));
    let mut members = body[usize::from(negated)..].iter();
    let mut ranges = Vec::new();
    while let Some(from) = member(&mut members) {
        let to = match members.as_slice() {
            ['-', _, ..] => {
                members.next();
                member(&mut members).unwrap_or(from)
            }
            _ => from,
        };
        if to < from {
            return Err(GlobError::BackwardRange(from, to));
        }
        ranges.push((from, to));
    }
    Ok(Token::Class { negated, ranges })
}

fn member(members: &mut std::slice::Iter<'_, char>) -> Option<char> {
    match members.next() {
        Some('\\') => members.next().copied(),
        other => other.copied(),
    }
}

/// Returns whether the tokens match the whole of `subject`.
///
/// Follows all ways to match at the same time, so that no pattern takes more than tokens × characters steps.
fn matches(tokens: &[Token], subject: &str) -> bool {
    let mut now = vec![false; tokens.len() + 1];
    enter(tokens, &mut now, 0, true);
    for character in subject.chars() {
        let mut next = vec![false; tokens.len() + 1];
        let boundary = character == '/';
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| now[*at]) {
            match token {
                Token::Literal(literal) if *literal == character => {
                    enter(tokens, &mut next, at + 1, boundary);
                }
                Token::One if !boundary => enter(tokens, &mut next, at + 1, boundary),
                Token::Class { negated, ranges } if !boundary => {
                    let inside = ranges
                        .iter()
                        .any(|(from, to)| (*from..=*to).contains(&character));
                    if inside != *negated {
                        enter(tokens, &mut next, at + 1, boundary);
                    }
                }
                Token::Star if !boundary => enter(tokens, &mut next, at, boundary),
                Token::Folders => enter(tokens, &mut next, at, boundary),
                Token::Rest => {
                    next[at] = true;
                    next[at + 1] = true;
                }
                Token::Literal(_) | Token::One | Token::Class { .. } | Token::Star => {}
            }
        }
        now = next;
    }
    now[tokens.len()]
}

/// Enters a state. If its token may match nothing, also enters the states after it.
fn enter(tokens: &[Token], states: &mut [bool], at: usize, boundary: bool) {
    states[at] = true;
    match tokens.get(at) {
        Some(Token::Star) => enter(tokens, states, at + 1, boundary),
        Some(Token::Folders) if boundary => enter(tokens, states, at + 1, boundary),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let glob = Glob::parse(pattern).unwrap();
        for subject in yes {
            assert!(
                glob.matches(subject),
                "`{pattern}` should match `{subject}`"
            );
        }
        for subject in no {
            assert!(
                !glob.matches(subject),
                "`{pattern}` should not match `{subject}`"
            );
        }
    }

    #[test]
    fn stars_stay_within_a_part() {
        check(
            "*.yaml",
            &["a.yaml", ".yaml"],
            &["a/b.yaml", "a.yml", "a.yaml.bak"],
        );
        check("a*c", &["ac", "abc", "abbc"], &["a/c", "abd", "xac"]);
        check("a?c", &["abc", "aéc"], &["ac", "a/c", "abbc"]);
        check("*", &["", "anything"], &["a/b"]);
    }

    #[test]
    fn double_stars_cross_folders() {
        check(
            "**/*.yaml",
            &["a.yaml", "x/a.yaml", "x/y/a.yaml"],
            &["a.json", "x/a.json"],
        );
        check(
            "a/**/b",
            &["a/b", "a/x/b", "a/x/y/b"],
            &["ab", "a/xb", "x/a/b"],
        );
        check("a/**", &["a/b", "a/b/c"], &["a", "a/", "b/a"]);
        check("**", &["a", "a/b"], &[""]);
        check("**/a/**", &["a/b", "x/a/b/c"], &["a", "x/a", "xa/b"]);
    }

    #[test]
    fn classes_braces_and_escapes() {
        check("[a-c]x[!0-9]", &["axz", "cx-"], &["dxz", "ax5", "ax/"]);
        check("[]]", &["]"], &["["]);
        check("[a-]", &["a", "-"], &["b"]);
        check("*.{yaml,yml}", &["a.yaml", "a.yml"], &["a.json"]);
        check("{a,b{c,d}}/{x,}", &["a/x", "a/", "bc/x", "bd/"], &["b/x"]);
        check(r"\*\{\[", &["*{["], &["a{["]);
        check(r"[\]x]", &["]", "x"], &["\\"]);
    }

    #[test]
    fn malformed_patterns_say_why() {
        for (pattern, error) in [
            ("", GlobError::Empty),
            (&"{".repeat(2_000), GlobError::TooLong),
            ("[a", GlobError::UnclosedClass),
            ("[]", GlobError::EmptyClass),
            ("[!]", GlobError::EmptyClass),
            ("[z-a]", GlobError::BackwardRange('z', 'a')),
            ("{a,b", GlobError::UnclosedBrace),
            ("a}", GlobError::UnopenedBrace),
            ("a**", GlobError::DoubleStarInPart),
            ("**a/b", GlobError::DoubleStarInPart),
            ("a\\", GlobError::TrailingBackslash),
            (
                "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}",
                GlobError::TooManyAlternatives,
            ),
        ] {
            assert_eq!(Glob::parse(pattern), Err(error), "{pattern}");
        }
    }

    #[test]
    fn no_pattern_takes_exponential_time() {
        let pattern = "a*".repeat(200);
        assert!(
            !Glob::parse(&pattern)
                .unwrap()
                .matches(&("a".repeat(2_000) + "/"))
        );
        let nested = "{".repeat(512) + &"}".repeat(512);
        assert!(Glob::parse(&nested).unwrap().matches(""));
    }

    #[test]
    fn settings_name_the_pattern_that_is_malformed() {
        let error = serde_json::from_str::<Vec<Glob>>(r#"["a/*", "[z-a]"]"#)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("`[z-a]` is no pattern: the range `z-a` runs backwards"),
            "{error}"
        );
    }
}
