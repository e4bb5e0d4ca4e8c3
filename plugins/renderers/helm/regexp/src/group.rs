//! The groups of a regular expression during parsing.

use regex_syntax::hir::{Capture, ClassUnicode, Hir, Look};

use super::{
    class,
    syntax::{Code, MAX_DEPTH, SyntaxError, before, class_hir},
};

/// The flags that `(?imsU)` sets.
#[expect(clippy::struct_excessive_bools, reason = "each is one of Go's flags")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) fold_case: bool,
    pub(super) multi_line: bool,
    pub(super) dot_matches_line_end: bool,
    /// Whether repetitions match as few as possible.
    pub(super) lazy: bool,
}

/// A part of an expression.
pub(super) struct Item {
    pub(super) hir: Hir,
    /// The largest product of the counts of nested repetitions.
    pub(super) factor: u32,
}

/// A group whose end has not been reached yet.
struct Open {
    /// The number of the group; None if it does not capture.
    capture: Option<u32>,
    /// The flags to restore when the group ends.
    flags: Flags,
    alternatives: Vec<Item>,
    items: Vec<Item>,
}

/// The open groups. The first one is the whole expression.
pub(super) struct Groups {
    open: Vec<Open>,
    pub(super) flags: Flags,
    names: Vec<Option<String>>,
}

impl Groups {
    pub(super) fn new() -> Self {
        let mut groups = Self {
            open: Vec::new(),
            flags: Flags::default(),
            names: vec![None],
        };
        groups.push_open(None);
        groups
    }

    fn push_open(&mut self, capture: Option<u32>) {
        self.open.push(Open {
            capture,
            flags: self.flags,
            alternatives: Vec::new(),
            items: Vec::new(),
        });
    }

    fn current(&mut self) -> &mut Open {
        self.open
            .last_mut()
            .expect("the whole expression is never closed")
    }

    pub(super) fn push(&mut self, item: Item) {
        self.current().items.push(item);
    }

    fn push_hir(&mut self, hir: Hir) {
        self.push(Item { hir, factor: 1 });
    }

    pub(super) fn push_look(&mut self, look: Look) {
        self.push_hir(Hir::look(look));
    }

    pub(super) fn push_class(&mut self, class: ClassUnicode) {
        self.push_hir(class_hir(class));
    }

    pub(super) fn push_char(&mut self, char: char) {
        if self.flags.fold_case && (char.is_alphabetic() || char == '\u{345}') {
            let mut folded = class::of(&[(char, char)]);
            class::fold_case(&mut folded);
            self.push_class(folded);
        } else {
            self.push_hir(Hir::literal(char.to_string().into_bytes()));
        }
    }

    /// Adds a character by its number. A number that is not a Unicode character never matches.
    pub(super) fn push_code(&mut self, code: u32) {
        match char::from_u32(code) {
            Some(char) => self.push_char(char),
            None => self.push_class(ClassUnicode::empty()),
        }
    }

    /// Removes and returns the last item, so that it can be wrapped.
    pub(super) fn pop_item(&mut self) -> Option<Item> {
        self.current().items.pop()
    }

    /// Begins the next alternative of the group.
    pub(super) fn next_alternative(&mut self) {
        let open = self.current();
        let items = std::mem::take(&mut open.items);
        open.alternatives.push(concatenated(items));
    }

    /// Opens a capturing group without a name.
    pub(super) fn open_numbered(&mut self, pattern: &str) -> Result<(), SyntaxError> {
        self.open_capture(None, pattern)
    }

    fn open_capture(&mut self, name: Option<String>, part: &str) -> Result<(), SyntaxError> {
        self.check_depth(part)?;
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name);
        self.push_open(Some(number));
        Ok(())
    }

    fn check_depth(&self, part: &str) -> Result<(), SyntaxError> {
        if self.open.len() > MAX_DEPTH {
            return Err(SyntaxError::new(Code::Depth, part));
        }
        Ok(())
    }

    /// Opens a group that begins with `(?`, or sets flags. Returns the text after that.
    pub(super) fn open_special<'a>(&mut self, text: &'a str) -> Result<&'a str, SyntaxError> {
        let name = text.strip_prefix("(?P<").filter(|name| !name.is_empty());
        let name = name.or_else(|| text.strip_prefix("(?<").filter(|name| !name.is_empty()));
        if let Some(name) = name {
            let error = |part: &str| SyntaxError::new(Code::NamedCapture, part);
            let (name, rest) = name.split_once('>').ok_or_else(|| error(text))?;
            let fits = |char: char| char.is_ascii_alphanumeric() || char == '_';
            if name.is_empty() || !name.chars().all(fits) {
                return Err(error(before(text, rest)));
            }
            self.open_capture(Some(name.to_owned()), text)?;
            return Ok(rest);
        }
        let (flags, opens, rest) = read_flags(self.flags, text)?;
        if opens {
            self.check_depth(text)?;
            self.push_open(None);
        }
        self.flags = flags;
        Ok(rest)
    }

    /// Closes the innermost group; None if no group is open.
    pub(super) fn close(&mut self) -> Option<()> {
        if self.open.len() < 2 {
            return None;
        }
        let open = self.open.pop()?;
        self.flags = open.flags;
        let item = closed(open.alternatives, open.items);
        let item = match open.capture {
            None => item,
            // The name is left out: Go allows two groups with the same name, but the matcher does not.
            Some(index) => Item {
                hir: Hir::capture(Capture {
                    index,
                    name: None,
                    sub: Box::new(item.hir),
                }),
                factor: item.factor,
            },
        };
        self.push(item);
        Some(())
    }

    /// Returns the whole expression and the names of its groups; None if a group is still open.
    pub(super) fn finish(mut self) -> Option<(Hir, Vec<Option<String>>)> {
        let open = self.open.pop().filter(|_| self.open.is_empty())?;
        Some((closed(open.alternatives, open.items).hir, self.names))
    }
}

fn concatenated(items: Vec<Item>) -> Item {
    Item {
        factor: largest(&items),
        hir: Hir::concat(items.into_iter().map(|item| item.hir).collect()),
    }
}

fn closed(mut alternatives: Vec<Item>, items: Vec<Item>) -> Item {
    alternatives.push(concatenated(items));
    Item {
        factor: largest(&alternatives),
        hir: Hir::alternation(alternatives.into_iter().map(|item| item.hir).collect()),
    }
}

fn largest(items: &[Item]) -> u32 {
    items.iter().map(|item| item.factor).max().unwrap_or(1)
}

/// Reads the flags after `(?i-s`. Returns them, whether they apply to a group that opens here, and the text after them.
fn read_flags(mut flags: Flags, text: &str) -> Result<(Flags, bool, &str), SyntaxError> {
    let mut chars = text[2..].chars();
    let (mut set, mut seen) = (true, false);
    while let Some(char) = chars.next() {
        let flag = match char {
            'i' => &mut flags.fold_case,
            'm' => &mut flags.multi_line,
            's' => &mut flags.dot_matches_line_end,
            'U' => &mut flags.lazy,
            '-' if set => {
                (set, seen) = (false, false);
                continue;
            }
            ':' | ')' if set || seen => return Ok((flags, char == ':', chars.as_str())),
            _ => break,
        };
        *flag = set;
        seen = true;
    }
    Err(SyntaxError::new(
        Code::PerlOperator,
        before(text, chars.as_str()),
    ))
}
