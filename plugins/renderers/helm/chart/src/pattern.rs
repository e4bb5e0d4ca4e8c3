//! Path patterns as in Go's `filepath.Match`, for `.helmignore` and `--show-only`.
//!
//! `*` and `?` stay within a part of the path, `[a-z]` and `[^a-z]` are classes, and a backslash takes the next character
//! literally. There is no `**`.

use thiserror::Error;

/// A pattern is malformed: a class without an end, or a backslash at the end.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("syntax error in pattern {0:?}")]
pub struct PatternError(pub String);

/// A path pattern.
#[derive(Clone, Debug)]
pub struct Pattern(Vec<Token>);

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `[…]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let malformed = || PatternError(text.to_owned());
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => Token::Literal(chars.next().ok_or_else(malformed)?),
                '[' => class(&mut chars).ok_or_else(malformed)?,
                c => Token::Literal(c),
            });
        }
        Ok(Self(tokens))
    }

    /// Returns whether the whole path matches.
    pub fn matches(&self, path: &str) -> bool {
        let tokens = &self.0;
        // `at` is where a character begins.
        let next = |at: usize| path.get(at..).and_then(|rest| rest.chars().next());
        let (mut at, mut token) = (0, 0);
        // Where to continue if what follows the last star does not match: after the star, and one character further.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match (tokens.get(token), next(at)) {
                (None, None) => return true,
                (Some(Token::Many), _) => {
                    token += 1;
                    retry = Some((at, token));
                    continue;
                }
                (Some(one), Some(c)) if one.takes(c) => {
                    at += c.len_utf8();
                    token += 1;
                    continue;
                }
                _ => {}
            }
            let Some((from, star)) = retry else {
                return false;
            };
            match next(from) {
                Some(c) if c != '/' => {
                    at = from + c.len_utf8();
                    token = star;
                    retry = Some((at, star));
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::One => c != '/',
            Self::Many => false,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|&(low, high)| low <= c && c <= high) != *negated
            }
        }
    }
}

/// Parses what follows `[`, up to and including `]`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Token::Class { negated, ranges });
        }
        let low = bound(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() {
            bound(chars)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

fn bound(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).expect(pattern).matches(path)
    }

    #[test]
    fn go_s_rules() {
        for (pattern, path) in [
            ("abc", "abc"),
            ("*", "abc"),
            ("*c", "abc"),
            ("a*", "a"),
            ("a*b*c", "axbxbxc"),
            ("a*/b", "abc/b"),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f"),
            ("a[b-d]e", "ace"),
            ("[^x]?", "ab"),
            ("a\\*b", "a*b"),
            ("[\\]a]", "]"),
            ("[x\\-]", "-"),
            ("ä?", "äö"),
            ("", ""),
            ("templates/*.yaml", "templates/a.yaml"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("abc", "abcd"),
            ("*", "a/b"),
            ("a*/b", "a/c/b"),
            ("a?b", "a/b"),
            ("[^a]", "a"),
            ("a[b-d]e", "aze"),
            ("", "a"),
            ("*x", "xxy"),
            ("templates/*.yaml", "templates/sub/a.yaml"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
        for bad in [
            "[", "[a", "[]a]", "[-]", "[x-]", "[-x]", "a\\", "[a-b-c]", "[^]",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_problem(pattern in "[a-b*?/\\[\\]^\\\\-]{0,12}", path in "[ab/]{0,12}") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let _ = pattern.matches(&path);
            }
        }
    }
}
