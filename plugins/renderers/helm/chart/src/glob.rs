//! Patterns of `.Files.Glob`, with the grammar of the Go library `gobwas/glob` and `/` as separator.
//!
//! `*` and `?` stay within a part of the path, `**` crosses them, `[abc]`, `[a-z]` and `[!abc]` are characters, `{a,b}` is
//! either, a backslash takes the next character as it is.

/// A pattern.
#[derive(Clone, Debug)]
pub(crate) struct Glob(Vec<Node>);

#[derive(Clone, Debug)]
enum Node {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Any,
    /// `**`
    Everything,
    Chars {
        chars: Vec<char>,
        negated: bool,
    },
    Range {
        low: char,
        high: char,
        negated: bool,
    },
    Either(Vec<Vec<Node>>),
}

/// How deep `{` may be inside each other.
const MAX_DEPTH: usize = 20;

impl Glob {
    /// Reads a pattern; None if it is malformed.
    pub(crate) fn parse(pattern: &str) -> Option<Self> {
        let chars: Vec<char> = pattern.chars().collect();
        let mut parser = Parser {
            chars: &chars,
            at: 0,
        };
        let nodes = parser.sequence(0)?;
        (parser.at == chars.len()).then_some(Self(nodes))
    }

    /// Whether the whole path matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        follow(&self.0, &path, reached)[path.len()]
    }
}

/// The positions in a path that a sequence leads to from those marked in `reached`.
fn follow(nodes: &[Node], path: &[char], mut reached: Vec<bool>) -> Vec<bool> {
    for node in nodes {
        reached = step(node, path, &reached);
    }
    reached
}

fn step(node: &Node, path: &[char], reached: &[bool]) -> Vec<bool> {
    match node {
        Node::Any => stretch(path, reached, |c| c != '/'),
        Node::Everything => stretch(path, reached, |_| true),
        Node::Either(alternatives) => {
            let mut all = vec![false; reached.len()];
            for nodes in alternatives {
                let one = follow(nodes, path, reached.to_vec());
                for (all, one) in all.iter_mut().zip(one) {
                    *all |= one;
                }
            }
            all
        }
        single => {
            let mut next = vec![false; reached.len()];
            for (at, &c) in path.iter().enumerate() {
                next[at + 1] = reached[at] && takes(single, c);
            }
            next
        }
    }
}

fn stretch(path: &[char], reached: &[bool], over: impl Fn(char) -> bool) -> Vec<bool> {
    let mut next = reached.to_vec();
    for (at, &c) in path.iter().enumerate() {
        next[at + 1] |= next[at] && over(c);
    }
    next
}

fn takes(node: &Node, c: char) -> bool {
    match node {
        Node::Literal(literal) => *literal == c,
        Node::One => c != '/',
        Node::Chars { chars, negated } => chars.contains(&c) != *negated,
        Node::Range { low, high, negated } => (*low <= c && c <= *high) != *negated,
        Node::Any | Node::Everything | Node::Either(_) => false,
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

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    /// Nodes up to the end, or up to `,` or `}` inside braces.
    fn sequence(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            if depth > 0 && matches!(c, ',' | '}') {
                break;
            }
            self.at += 1;
            match c {
                '?' => nodes.push(Node::One),
                '*' if self.peek() == Some('*') => {
                    self.at += 1;
                    nodes.push(Node::Everything);
                }
                '*' => nodes.push(Node::Any),
                '[' => nodes.push(self.class()?),
                '{' => nodes.push(self.either(depth + 1)?),
                '\\' => nodes.extend(self.next().map(Node::Literal)),
                c => nodes.push(Node::Literal(c)),
            }
        }
        Some(nodes)
    }

    /// `a,b}`; the end of the pattern closes as well.
    fn either(&mut self, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut alternatives = vec![self.sequence(depth)?];
        while self.next() == Some(',') {
            alternatives.push(self.sequence(depth)?);
        }
        Some(Node::Either(alternatives))
    }

    /// `!abc]` or `a-z]`: one range alone, or characters alone.
    fn class(&mut self) -> Option<Node> {
        let mut first = self.next()?;
        let negated = first == '!';
        if negated {
            first = self.next()?;
        }
        if self.peek() == Some('-') {
            self.at += 1;
            let high = self.next()?;
            let closed = self.next()? == ']';
            return (closed && first <= high).then_some(Node::Range {
                low: first,
                high,
                negated,
            });
        }
        self.at -= 1;
        let mut chars = Vec::new();
        loop {
            match self.next()? {
                ']' if chars.is_empty() => return None,
                ']' => return Some(Node::Chars { chars, negated }),
                '\\' => chars.push(self.next()?),
                c => chars.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_the_library_s() {
        for (pattern, path, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a/b.yaml", false),
            ("**.yaml", "a/b.yaml", true),
            ("files/**", "files/a/b", true),
            ("files/**", "files/", true),
            ("**/*.txt", "a.txt", false),
            ("**/*.txt", "b/a.txt", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[abc]x", "bx", true),
            ("[!abc]x", "bx", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "dx", true),
            ("{a,b*}.txt", "bcd.txt", true),
            ("{a,b{c,d}}", "bd", true),
            ("{a,}", "", true),
            ("{a,b", "b", true),
            ("a}", "a}", true),
            ("a,b", "a,b", true),
            ("a\\*", "a*", true),
            ("", "", true),
            ("", "a", false),
        ] {
            let glob = Glob::parse(pattern).expect(pattern);
            assert_eq!(glob.matches(path), expected, "{pattern} {path}");
        }
        for bad in ["[", "[a", "[]", "[a-z0-9]", "[z-a]", "[!]"] {
            assert!(Glob::parse(bad).is_none(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_is_a_problem(pattern in "[ab*?/\\[\\]{},!\\\\-]{0,20}", path in "[ab/]{0,20}") {
            if let Some(glob) = Glob::parse(&pattern) {
                let _ = glob.matches(&path);
            }
        }
    }
}
