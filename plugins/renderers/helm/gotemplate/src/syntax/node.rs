//! The trees of templates.
//!
//! Each part that an execution error can point to has an [`Id`], unique within its text. The executor records ids at no cost, and
//! only an error looks up what they stand for.

use std::{borrow::Cow, ops::Range, rc::Rc};

use super::{count_lines, number::Number};
use crate::{function::Function, value::Text};

/// The number of a node within its text.
pub(crate) type Id = u32;

/// A parsed text.
#[derive(Debug)]
pub(crate) struct Source {
    /// The name under which the text was parsed.
    pub(crate) name: Rc<str>,
    pub(crate) text: Text,
}

impl Source {
    /// Returns the line from 1 and the column in bytes from 0 of a position in the text.
    pub(crate) fn line_and_column(&self, pos: usize) -> (usize, usize) {
        let before = &self.text[..pos.min(self.text.len())];
        let line = 1 + count_lines(before);
        let start = before.iter().rposition(|byte| *byte == b'\n');
        (line, pos - start.map_or(0, |newline| newline + 1))
    }
}

/// A template: a whole text, or the content of a `define` or `block`.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) name: Rc<str>,
    pub(crate) source: Rc<Source>,
    pub(crate) root: List,
}

impl Tree {
    /// Returns whether the template contains only whitespace. Such a template does not replace another one.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.iter().all(|node| match node {
            Node::Text(range) => {
                let text = String::from_utf8_lossy(&self.source.text[range.clone()]);
                text.trim().is_empty()
            }
            _ => false,
        })
    }
}

pub(crate) type List = Vec<Node>;

#[derive(Debug)]
pub(crate) enum Node {
    Text(Range<usize>),
    Action(Action),
    If(Box<Choice>),
    With(Box<Choice>),
    Range(Box<Loop>),
    Template(Box<Invocation>),
    Break,
    Continue,
}

/// `{{pipeline}}`
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) id: Id,
    pub(crate) pos: usize,
    pub(crate) pipe: Pipe,
}

/// `if` or `with`, and all its `else if` or `else with`.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) arms: Vec<(Pipe, List)>,
    pub(crate) otherwise: Option<List>,
}

/// `range`
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) pipe: Pipe,
    pub(crate) body: List,
    pub(crate) otherwise: Option<List>,
}

/// `{{template "name" pipeline}}`, also in place of a `block`.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) id: Id,
    pub(crate) pos: usize,
    pub(crate) name: Rc<str>,
    pub(crate) pipe: Option<Pipe>,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) id: Id,
    pub(crate) pos: usize,
    /// Whether this is `=`, not `:=`.
    pub(crate) assigns: bool,
    pub(crate) variables: Vec<Variable>,
    pub(crate) commands: Vec<Command>,
}

/// The name of a variable, and a number that represents it within its text.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) symbol: u32,
    pub(crate) name: Rc<str>,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) id: Id,
    pub(crate) pos: usize,
    /// The arguments, of which there is at least one.
    pub(crate) args: Vec<Expr>,
}

#[derive(Debug)]
pub(crate) struct Expr {
    pub(crate) id: Id,
    pub(crate) pos: usize,
    pub(crate) kind: ExprKind,
}

#[derive(Debug)]
pub(crate) enum ExprKind {
    Bool(bool),
    Dot,
    Nil,
    Number {
        number: Box<Number>,
        literal: Range<usize>,
    },
    String {
        text: Text,
        literal: Range<usize>,
    },
    /// `.a.b`
    Field(Names),
    /// `$a.b`
    Variable {
        variable: Variable,
        fields: Names,
    },
    Function(Callee),
    /// `(pipeline).a.b`
    Chain {
        start: Box<Expr>,
        fields: Names,
    },
    Pipe(Box<Pipe>),
}

/// Names with a dot before each, `.a.b`, as written in the text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names {
    start: u32,
    end: u32,
}

impl Names {
    /// Creates the names at a position of the text.
    ///
    /// # Panics
    ///
    /// Panics if the text has 4 GiB, which is impossible in a component.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let place = |at: usize| u32::try_from(at).expect("templates are shorter than 4 GiB");
        Self {
            start: place(start),
            end: place(end),
        }
    }

    /// Extends these names by the ones that follow them in the text.
    pub(crate) fn up_to(self, others: Self) -> Self {
        Self {
            start: self.start,
            end: others.end,
        }
    }

    /// Returns whether there are no names.
    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Returns the first name, and the others.
    pub(crate) fn split_first(self, source: &Source) -> Option<(&[u8], Self)> {
        let (start, end) = (self.start as usize, self.end as usize);
        let (_, text) = source.text.get(start..end)?.split_first()?;
        let len = text.iter().position(|byte| *byte == b'.');
        let (name, rest) = match len {
            Some(len) => (&text[..len], Self::new(start + 1 + len, end)),
            None => (text, Self::default()),
        };
        Some((name, rest))
    }

    /// Returns all names with their dots.
    pub(crate) fn text(self, source: &Source) -> Cow<'_, str> {
        let text = source.text.get(self.start as usize..self.end as usize);
        String::from_utf8_lossy(text.unwrap_or_default())
    }
}

/// A function, resolved when the text was parsed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Callee {
    /// `and`, which evaluates its arguments until one is false.
    And,
    /// `or`, which evaluates its arguments until one is true.
    Or,
    /// `call`, whose first argument is the function.
    Call,
    Function(&'static Function),
}

impl Callee {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Or => "or",
            Self::Call => "call",
            Self::Function(function) => function.name(),
        }
    }
}
