//! Builds trees from tokens.

mod pipeline;

use std::{borrow::Cow, rc::Rc};

use super::{
    Delimiters, ParseError,
    lex::{Kind, Lexer, Token},
    literal::unquote,
    node::{Action, Choice, Id, Invocation, List, Loop, Node, Pipe, Source, Tree, Variable},
};
use crate::{function::Functions, value::Text};

/// The maximum nesting depth of blocks and parentheses. Go allows 1000 parentheses in Wasm, where stacks are small, and any
/// number of blocks. No template comes near the limit.
pub(crate) const MAX_DEPTH: usize = 150;

/// Parses all templates that a text defines. The template of the text itself comes last.
pub(crate) fn parse(
    name: &Rc<str>,
    text: Text,
    marks: &Delimiters,
    functions: &Functions,
) -> Result<Vec<Rc<Tree>>, ParseError> {
    let source = Rc::new(Source {
        name: name.clone(),
        text,
    });
    let mut parser = Parser {
        source: &source,
        functions,
        lexer: Lexer::new(&source.text, marks),
        pushed_back: [NOTHING; MAX_BACK],
        backed: 0,
        last: 0,
        action: None,
        ids: 0,
        symbols: Vec::new(),
        variables: Vec::new(),
        range_depth: 0,
        depth: 0,
        done: Vec::new(),
    };
    parser.text(name)?;
    Ok(parser.done)
}

type Result<T, E = ParseError> = std::result::Result<T, E>;

/// The maximum number of tokens to push back.
const MAX_BACK: usize = 3;

const NOTHING: Token = Token {
    kind: Kind::Eof,
    start: 0,
    end: 0,
};

struct Parser<'a> {
    source: &'a Rc<Source>,
    functions: &'a Functions,
    lexer: Lexer<'a>,
    /// The pushed-back tokens, the next one last, and their number.
    pushed_back: [Token; MAX_BACK],
    backed: usize,
    /// The start of the last token that was read. Errors name its line.
    last: usize,
    /// The start of the current action; None outside an action.
    action: Option<usize>,
    ids: Id,
    /// The names of the variables. A name's index is the number that represents the variable.
    symbols: Vec<Rc<str>>,
    /// The variables in scope.
    variables: Vec<Variable>,
    range_depth: usize,
    depth: usize,
    done: Vec<Rc<Tree>>,
}

/// How a list of nodes ended.
enum End {
    End,
    Else,
}

/// Why the body of a `define` or `block` is invalid.
enum Body {
    /// It ends with an `else`.
    Else,
    /// Something else is wrong.
    Wrong(ParseError),
}

impl From<ParseError> for Body {
    fn from(error: ParseError) -> Self {
        Self::Wrong(error)
    }
}

/// An element of the text: a node, or the end of the enclosing list.
enum Item {
    Node(Node),
    End(End),
}

impl Parser<'_> {
    // Tokens

    fn next(&mut self) -> Token {
        if self.backed > 0 {
            self.backed -= 1;
            return self.pushed_back[self.backed];
        }
        let token = self.lexer.next();
        self.last = token.start;
        token
    }

    fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn back(&mut self, token: Token) {
        self.pushed_back[self.backed] = token;
        self.backed += 1;
    }

    fn peek(&mut self) -> (Kind, usize) {
        let token = self.next();
        let seen = (token.kind, token.start);
        self.back(token);
        seen
    }

    fn peek_non_space(&mut self) -> (Kind, usize) {
        let token = self.next_non_space();
        let seen = (token.kind, token.start);
        self.back(token);
        seen
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token> {
        let token = self.next_non_space();
        if token.kind == kind {
            Ok(token)
        } else {
            Err(self.unexpected(&token, context))
        }
    }

    // Errors

    /// Returns the line of a position in the text, from 1.
    fn line(&self, pos: usize) -> usize {
        self.source.line_and_column(pos).0
    }

    #[cold]
    #[inline(never)]
    fn error(&self, reason: impl Into<String>) -> ParseError {
        ParseError {
            template: self.source.name.to_string(),
            line: self.line(self.last),
            reason: reason.into(),
        }
    }

    #[cold]
    #[inline(never)]
    fn unexpected(&self, token: &Token, context: &str) -> ParseError {
        if token.kind != Kind::Error {
            let shown = token.show(&self.source.text);
            return self.error(format!("unexpected {shown} in {context}"));
        }
        let shown = self.lexer.problem().unwrap_or_default();
        let began = self.action.map(|action| self.line(action));
        let started = match began {
            Some(line) if line != self.line(token.start) => {
                // Avoids "action in action".
                let words = if shown.ends_with(" action") {
                    ""
                } else {
                    " in action"
                };
                format!("{words} started at {}:{line}", self.source.name)
            }
            _ => String::new(),
        };
        self.error(format!("{shown}{started}"))
    }

    // Helpers

    fn id(&mut self) -> Id {
        self.ids += 1;
        self.ids
    }

    fn slice(&self, token: &Token) -> &[u8] {
        &self.source.text[token.range()]
    }

    fn string(&self, token: &Token) -> Result<Cow<'_, [u8]>> {
        unquote(self.slice(token)).ok_or_else(|| self.error("invalid syntax"))
    }

    fn name(&self, token: &Token) -> Result<Rc<str>> {
        let bytes = self.string(token)?;
        Ok(String::from_utf8_lossy(&bytes).into())
    }

    fn variable(&mut self, token: &Token) -> Variable {
        let source = self.source;
        self.symbol(&source.text[token.range()])
    }

    fn symbol(&mut self, name: &[u8]) -> Variable {
        let mut symbols = self.symbols.iter();
        let place = symbols.position(|known| known.as_bytes() == name);
        let place = place.unwrap_or_else(|| {
            self.symbols.push(String::from_utf8_lossy(name).into());
            self.symbols.len() - 1
        });
        Variable {
            symbol: u32::try_from(place).unwrap_or(u32::MAX),
            name: self.symbols[place].clone(),
        }
    }

    /// Runs a function with one more level of nesting, or refuses.
    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error("max expression depth exceeded"));
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    // Templates

    fn text(&mut self, name: &Rc<str>) -> Result<()> {
        let dollar = self.symbol(b"$");
        self.variables = vec![dollar];
        let mut root = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::Eof => break,
                Kind::LeftDelim => {
                    let after = self.next_non_space();
                    if after.kind == Kind::Define {
                        self.definition()?;
                        continue;
                    }
                    self.back(after);
                    self.back(token);
                }
                _ => self.back(token),
            }
            match self.text_or_action()? {
                Item::Node(node) => root.push(node),
                Item::End(End::End) => return Err(self.error("unexpected {{end}}")),
                Item::End(End::Else) => return Err(self.error("unexpected {{else}}")),
            }
        }
        self.add(name.clone(), root)
    }

    fn add(&mut self, name: Rc<str>, root: List) -> Result<()> {
        let tree = Tree {
            name,
            source: self.source.clone(),
            root,
        };
        let old = self.done.iter().position(|old| old.name == tree.name);
        match old {
            Some(index) if self.done[index].is_empty() => {
                self.done.remove(index);
            }
            Some(_) if tree.is_empty() => return Ok(()),
            Some(_) => {
                return Err(self.error(format!(
                    "template: multiple definition of template {}",
                    quoted(tree.name.as_bytes())
                )));
            }
            None => {}
        }
        self.done.push(Rc::new(tree));
        Ok(())
    }

    /// Parses what follows `{{define`.
    fn definition(&mut self) -> Result<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_non_space();
        if !matches!(token.kind, Kind::String | Kind::RawString) {
            return Err(self.unexpected(&token, CONTEXT));
        }
        let name = self.name(&token)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        self.template(name).map_err(|error| match error {
            Body::Else => self.unexpected_else(CONTEXT),
            Body::Wrong(error) => error,
        })
    }

    /// Parses the body of a `define` or `block`, which sees no variables from outside.
    fn template(&mut self, name: Rc<str>) -> Result<(), Body> {
        let dollar = self.symbol(b"$");
        let variables = std::mem::replace(&mut self.variables, vec![dollar]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let action = self.action.take();
        let (root, end) = self.deeper(Self::list)?;
        if matches!(end, End::Else) {
            return Err(Body::Else);
        }
        self.variables = variables;
        self.range_depth = range_depth;
        self.action = action;
        Ok(self.add(name, root)?)
    }

    fn unexpected_else(&self, context: &str) -> ParseError {
        self.error(format!("unexpected {{{{else}}}} in {context}"))
    }

    fn list(&mut self) -> Result<(List, End)> {
        let mut list = Vec::new();
        while self.peek_non_space().0 != Kind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => list.push(node),
                Item::End(end) => {
                    list.shrink_to_fit();
                    return Ok((list, end));
                }
            }
        }
        Err(self.error("unexpected EOF"))
    }

    fn text_or_action(&mut self) -> Result<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.range()))),
            Kind::LeftDelim => {
                self.action = Some(token.start);
                let item = self.action();
                self.action = None;
                item
            }
            _ => Err(self.unexpected(&token, "input")),
        }
    }

    // Actions

    fn action(&mut self) -> Result<Item> {
        let token = self.next_non_space();
        let node = match token.kind {
            Kind::Block => self.block()?,
            Kind::Break => {
                self.loop_control("{{break}}")?;
                Node::Break
            }
            Kind::Continue => {
                self.loop_control("{{continue}}")?;
                Node::Continue
            }
            Kind::Else => return self.otherwise(),
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Item::End(End::End));
            }
            Kind::If => Node::If(Box::new(self.choice("if", Kind::If)?)),
            Kind::With => Node::With(Box::new(self.choice("with", Kind::With)?)),
            Kind::Range => Node::Range(Box::new(self.range()?)),
            Kind::Template => {
                let token = self.next_non_space();
                self.invocation(&token)?
            }
            _ => {
                let pos = token.start;
                self.back(token);
                let id = self.id();
                let pipe = self.pipeline("command", Kind::RightDelim)?;
                Node::Action(Action { id, pos, pipe })
            }
        };
        Ok(Item::Node(node))
    }

    fn loop_control(&mut self, shown: &str) -> Result<()> {
        self.expect(Kind::RightDelim, shown)?;
        if self.range_depth == 0 {
            return Err(self.error(format!("{shown} outside {{{{range}}}}")));
        }
        Ok(())
    }

    fn otherwise(&mut self) -> Result<Item> {
        // The caller that asked for the list distinguishes `else if` from `else with`.
        if !matches!(self.peek_non_space().0, Kind::If | Kind::With) {
            self.expect(Kind::RightDelim, "else")?;
        }
        Ok(Item::End(End::Else))
    }

    fn choice(&mut self, context: &str, keyword: Kind) -> Result<Choice> {
        let scope = self.variables.len();
        // Few have another arm.
        let mut arms = Vec::with_capacity(1);
        let otherwise = loop {
            let pipe = self.pipeline(context, Kind::RightDelim)?;
            let (body, end) = self.deeper(Self::list)?;
            arms.push((pipe, body));
            match end {
                End::End => break None,
                End::Else if self.peek().0 == keyword => {
                    self.next();
                }
                End::Else => break Some(self.last_list()?),
            }
        };
        self.variables.truncate(scope);
        Ok(Choice { arms, otherwise })
    }

    /// Parses what follows an `else` without a condition.
    fn last_list(&mut self) -> Result<List> {
        match self.deeper(Self::list)? {
            (list, End::End) => Ok(list),
            (_, End::Else) => Err(self.error("expected end; found {{else}}")),
        }
    }

    fn range(&mut self) -> Result<Loop> {
        let scope = self.variables.len();
        let pipe = self.pipeline("range", Kind::RightDelim)?;
        self.range_depth += 1;
        let (body, end) = self.deeper(Self::list)?;
        self.range_depth -= 1;
        let otherwise = match end {
            End::End => None,
            End::Else => Some(self.last_list()?),
        };
        self.variables.truncate(scope);
        Ok(Loop {
            pipe,
            body,
            otherwise,
        })
    }

    fn block(&mut self) -> Result<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = Some(self.pipeline(CONTEXT, Kind::RightDelim)?);
        let opened = self.last;
        // Go parses the body with a second parser, and reports an `else` at the line that the first one has reached.
        self.template(name.clone()).map_err(|error| match error {
            Body::Else => ParseError {
                line: self.line(opened),
                ..self.unexpected_else(CONTEXT)
            },
            Body::Wrong(error) => error,
        })?;
        Ok(self.invoke(&token, name, pipe))
    }

    fn invocation(&mut self, token: &Token) -> Result<Node> {
        const CONTEXT: &str = "template clause";
        let name = self.template_name(token, CONTEXT)?;
        let after = self.next_non_space();
        let pipe = if after.kind == Kind::RightDelim {
            None
        } else {
            self.back(after);
            Some(self.pipeline(CONTEXT, Kind::RightDelim)?)
        };
        Ok(self.invoke(token, name, pipe))
    }

    fn invoke(&mut self, token: &Token, name: Rc<str>, pipe: Option<Pipe>) -> Node {
        let id = self.id();
        Node::Template(Box::new(Invocation {
            id,
            pos: token.start,
            name,
            pipe,
        }))
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Result<Rc<str>> {
        match token.kind {
            Kind::String | Kind::RawString => self.name(token),
            _ => Err(self.unexpected(token, context)),
        }
    }
}

fn quoted(text: &[u8]) -> String {
    String::from_utf8_lossy(&crate::print::quote(text)).into_owned()
}
