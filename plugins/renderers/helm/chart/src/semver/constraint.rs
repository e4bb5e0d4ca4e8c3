//! Ranges of versions: `>=1.2 <2`, `~1.2`, `^1`, `1.x`, `1.2 - 2.3`, with `||` between alternatives.

use std::cmp::Ordering;

use super::Version;

/// A range of versions: alternatives, of which each is met by meeting all of its comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint(Vec<Vec<Comparison>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

/// What of a version is left open: `1.x` leaves the minor number open, `1.2` the patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Patch,
    Minor,
    Everything,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    version: Version,
    open: Open,
}

impl Constraint {
    /// Reads a range; the empty text allows every version but pre-releases.
    pub fn parse(text: &str) -> Option<Self> {
        let text = spell_out_ranges(text);
        let alternatives = text.split("||").map(|part| {
            let comparisons = Reader { rest: part }.comparisons()?;
            Some(comparisons)
        });
        Some(Self(alternatives.collect::<Option<_>>()?))
    }

    /// Whether the version is in the range.
    pub fn check(&self, version: &Version) -> bool {
        self.0.iter().any(|all| {
            let pre_allowed = all.iter().any(|one| !one.version.pre.is_empty());
            (version.pre.is_empty() || pre_allowed) && all.iter().all(|one| one.check(version))
        })
    }
}

impl Comparison {
    fn check(&self, version: &Version) -> bool {
        let wanted = &self.version;
        let order = version.compare(wanted);
        match self.operator {
            Operator::Equal if self.open == Open::Nothing => order == Ordering::Equal,
            Operator::Equal | Operator::Tilde => self.tilde(version),
            Operator::NotEqual => self.not_equal(version),
            Operator::Greater => match self.open {
                Open::Nothing | Open::Everything => order == Ordering::Greater,
                Open::Minor => version.major > wanted.major,
                Open::Patch => (version.major, version.minor) > (wanted.major, wanted.minor),
            },
            Operator::Less => order == Ordering::Less,
            Operator::GreaterEqual => order != Ordering::Less,
            Operator::LessEqual => match self.open {
                Open::Nothing => order != Ordering::Greater,
                Open::Minor => version.major <= wanted.major,
                Open::Patch | Open::Everything => {
                    (version.major, version.minor) <= (wanted.major, wanted.minor)
                }
            },
            Operator::Caret => self.caret(version),
        }
    }

    fn not_equal(&self, version: &Version) -> bool {
        let wanted = &self.version;
        match self.open {
            Open::Minor => version.major != wanted.major,
            Open::Patch => {
                (version.major, version.minor) != (wanted.major, wanted.minor)
                    || (version.pre != wanted.pre)
            }
            Open::Everything | Open::Nothing => version.compare(wanted) != Ordering::Equal,
        }
    }

    /// At least the version, with the same major number and, unless it is open, the same minor one.
    fn tilde(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if version.compare(wanted) == Ordering::Less {
            return false;
        }
        let zero = (wanted.major, wanted.minor, wanted.patch) == (0, 0, 0);
        if zero && !matches!(self.open, Open::Minor | Open::Patch) {
            return true;
        }
        version.major == wanted.major && (self.open == Open::Minor || version.minor == wanted.minor)
    }

    /// At least the version, with the same first number that is not 0.
    fn caret(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if version.compare(wanted) == Ordering::Less {
            return false;
        }
        if wanted.major > 0 || self.open == Open::Minor {
            return version.major == wanted.major;
        }
        if version.major > 0 {
            return false;
        }
        if wanted.minor > 0 || self.open == Open::Patch {
            return version.minor == wanted.minor;
        }
        version.minor == 0 && version.patch == wanted.patch
    }
}

/// Rewrites `A - B` as `>= A, <= B`.
fn spell_out_ranges(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        if let Some((from, to, behind)) = hyphen_range(rest) {
            result.extend([">= ", from, ", <= ", to, " "]);
            rest = behind;
        } else {
            let next = rest.chars().next().map_or(0, char::len_utf8);
            let (one, behind) = rest.split_at(next);
            result.push_str(one);
            rest = behind;
        }
    }
    result
}

/// `A - B` at the start of a text, and what follows.
fn hyphen_range(text: &str) -> Option<(&str, &str, &str)> {
    let (from, rest) = version(text.trim_start())?;
    let dash = rest.trim_start();
    if dash.len() == rest.len() {
        return None;
    }
    let behind = dash.strip_prefix('-')?;
    let next = behind.trim_start();
    if next.len() == behind.len() {
        return None;
    }
    let (to, rest) = version(next)?;
    Some((from, to, rest.trim_start()))
}

/// A version with `x`, `X` or `*` for open parts at the start of a text, and what follows.
fn version(text: &str) -> Option<(&str, &str)> {
    let number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'x' | b'X' | b'*' | b'|');
    let bytes = text.as_bytes();
    let run = |from: usize| {
        let run = bytes[from..].iter().take_while(|&&byte| number(byte));
        run.count()
    };
    let mut end = usize::from(text.starts_with('v'));
    let first = run(end);
    if first == 0 {
        return None;
    }
    end += first;
    for _ in 0..2 {
        if bytes.get(end) != Some(&b'.') {
            break;
        }
        let next = run(end + 1);
        if next == 0 {
            break;
        }
        end += 1 + next;
    }
    for mark in [b'-', b'+'] {
        if bytes.get(end) == Some(&mark) {
            end += suffix(&bytes[end..]);
        }
    }
    Some((&text[..end], &text[end..]))
}

/// The length of `-a.b-c.1` or `+a.b` at the start; 0 if nothing follows the mark.
fn suffix(bytes: &[u8]) -> usize {
    let identifier = |from: usize| {
        let run = bytes.get(from..).unwrap_or_default().iter();
        run.take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
            .count()
    };
    let mut end = 1 + identifier(1);
    if end == 1 {
        return 0;
    }
    while bytes.get(end) == Some(&b'.') && identifier(end + 1) > 0 {
        end += 1 + identifier(end + 1);
    }
    end
}

/// What is left of one alternative.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn comparisons(&mut self) -> Option<Vec<Comparison>> {
        if self.rest.trim().is_empty() {
            // Nothing: everything from 0.0.0 on. Go takes only the empty text for that, not spaces.
            let everything = Comparison {
                operator: Operator::Equal,
                version: Version::parse("0.0.0")?,
                open: Open::Everything,
            };
            return self.rest.is_empty().then(|| vec![everything]);
        }
        let mut found = Vec::new();
        self.spaces();
        while !self.rest.is_empty() {
            let operator = self.operator();
            self.spaces();
            let (text, rest) = version(self.rest)?;
            found.push(comparison(operator, text)?);
            let spaces = rest.trim_start();
            let behind = spaces.strip_prefix(',').unwrap_or(spaces);
            if !behind.is_empty() && behind.len() == rest.len() {
                return None;
            }
            // A comma has to be followed by another comparison.
            if behind.trim().is_empty() && behind.len() != spaces.len() {
                return None;
            }
            self.rest = behind;
            self.spaces();
        }
        Some(found)
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn operator(&mut self) -> Operator {
        const OPERATORS: [(&str, Operator); 11] = [
            ("!=", Operator::NotEqual),
            (">=", Operator::GreaterEqual),
            ("=>", Operator::GreaterEqual),
            ("<=", Operator::LessEqual),
            ("=<", Operator::LessEqual),
            ("~>", Operator::Tilde),
            ("=", Operator::Equal),
            (">", Operator::Greater),
            ("<", Operator::Less),
            ("~", Operator::Tilde),
            ("^", Operator::Caret),
        ];
        for (text, operator) in OPERATORS {
            if let Some(rest) = self.rest.strip_prefix(text) {
                self.rest = rest;
                return operator;
            }
        }
        Operator::Equal
    }
}

fn comparison(operator: Operator, text: &str) -> Option<Comparison> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let end = bare.find(['-', '+']).unwrap_or(bare.len());
    let (numbers, suffix) = bare.split_at(end);
    let pre = suffix.split('+').next().unwrap_or_default();
    let parts: Vec<&str> = numbers.split('.').collect();
    let open = |index: usize| {
        parts
            .get(index)
            .is_none_or(|part| matches!(*part, "x" | "X" | "*"))
    };
    let (open, text) = if open(0) {
        (Open::Everything, format!("0.0.0{pre}"))
    } else if open(1) {
        (Open::Minor, format!("{}.0.0{pre}", parts[0]))
    } else if open(2) {
        (Open::Patch, format!("{}.{}.0{pre}", parts[0], parts[1]))
    } else {
        (Open::Nothing, format!("{numbers}{pre}"))
    };
    Some(Comparison {
        operator,
        version: Version::parse(&text)?,
        open,
    })
}
