//! The grammar of patterns.

use thiserror::Error;

/// A pattern as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// The remainder of an alternative that has nothing of its own.
    Nothing,
    Text(String),
    /// `?`
    Single,
    /// `*`
    Any,
    /// `**`
    Everything,
    /// `[abc]`
    List {
        chars: Vec<char>,
        negated: bool,
    },
    /// `[a-z]`
    Range {
        low: char,
        high: char,
        negated: bool,
    },
    /// A sequence of nodes.
    Pattern(Vec<Node>),
    /// `{a,b}`. Each alternative is a [`Node::Pattern`] until parts are factored out.
    AnyOf(Vec<Node>),
}

/// Why a pattern was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Refused {
    #[error("the pattern is malformed")]
    Malformed,
    #[error("the pattern has more than {MAX_LEVELS} parts in a row or inside each other")]
    TooDeep,
}

/// The maximum number of consecutive parts, including the parts inside them, which is the depth of matching.
const MAX_LEVELS: usize = 100;

/// The maximum nesting depth of `{`.
const MAX_DEPTH: usize = 20;

/// Parses a pattern into a [`Node::Pattern`].
pub(super) fn parse(pattern: &str) -> Result<Node, Refused> {
    // The library's reader treats this character as invalid UTF-8.
    if pattern.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Refused::Malformed);
    }
    let chars: Vec<char> = pattern.chars().collect();
    let mut parser = Parser {
        chars: &chars,
        at: 0,
    };
    let tree = Node::Pattern(parser.sequence(0)?);
    if tree.levels() > MAX_LEVELS {
        return Err(Refused::TooDeep);
    }
    Ok(tree)
}

impl Node {
    /// Returns the largest number of consecutive parts from the outside to the inside.
    fn levels(&self) -> usize {
        let inside = |nodes: &[Node]| nodes.iter().map(Self::levels).max().unwrap_or(0);
        match self {
            Self::Pattern(nodes) => nodes.len() + inside(nodes),
            Self::AnyOf(nodes) => 1 + inside(nodes),
            _ => 0,
        }
    }
}

struct Parser<'a> {
    chars: &'a [char],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Result<char, Refused> {
        let next = self.peek().ok_or(Refused::Malformed)?;
        self.at += 1;
        Ok(next)
    }

    /// Parses nodes up to the end, or up to `,` or `}` inside braces.
    fn sequence(&mut self, depth: usize) -> Result<Vec<Node>, Refused> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            if depth > 0 && matches!(c, ',' | '}') {
                break;
            }
            self.at += 1;
            match c {
                '?' => nodes.push(Node::Single),
                '*' if self.peek() == Some('*') => {
                    self.at += 1;
                    nodes.push(Node::Everything);
                }
                '*' => nodes.push(Node::Any),
                '[' => nodes.push(self.class()?),
                '{' => nodes.push(self.either(depth + 1)?),
                // The library treats this character as the end.
                '\0' => self.at = self.chars.len(),
                _ => {
                    self.at -= 1;
                    let text = self.text(depth > 0);
                    if !text.is_empty() {
                        nodes.push(Node::Text(text));
                    }
                }
            }
        }
        Ok(nodes)
    }

    /// Reads characters up to one that has a special meaning.
    fn text(&mut self, in_braces: bool) -> String {
        let mut text = String::new();
        let mut escaped = false;
        while let Some(c) = self.peek() {
            let ends = matches!(c, '?' | '*' | '[' | '{') || (in_braces && matches!(c, '}' | ','));
            if ends && !escaped {
                break;
            }
            self.at += 1;
            if c == '\0' {
                break;
            }
            if c == '\\' && !escaped {
                escaped = true;
                continue;
            }
            escaped = false;
            text.push(c);
        }
        text
    }

    /// Parses `a,b}`. The end of the pattern also closes it.
    fn either(&mut self, depth: usize) -> Result<Node, Refused> {
        if depth > MAX_DEPTH {
            return Err(Refused::TooDeep);
        }
        let mut alternatives = vec![Node::Pattern(self.sequence(depth)?)];
        while self.next() == Ok(',') {
            alternatives.push(Node::Pattern(self.sequence(depth)?));
        }
        Ok(Node::AnyOf(alternatives))
    }

    /// Parses `!abc]` or `a-z]`: a single range, or only characters.
    fn class(&mut self) -> Result<Node, Refused> {
        let mut first = self.next()?;
        let negated = first == '!';
        if negated {
            first = self.next()?;
        }
        if self.peek() == Some('-') {
            self.at += 1;
            let high = self.next()?;
            let closed = self.next()? == ']';
            return if closed && first <= high && first != '\0' {
                Ok(Node::Range {
                    low: first,
                    high,
                    negated,
                })
            } else {
                Err(Refused::Malformed)
            };
        }
        self.at -= 1;
        let mut chars = Vec::new();
        loop {
            match self.next()? {
                ']' if chars.is_empty() => return Err(Refused::Malformed),
                ']' => return Ok(Node::List { chars, negated }),
                '\0' => return Err(Refused::Malformed),
                '\\' => chars.push(self.next()?),
                c => chars.push(c),
            }
        }
    }
}
