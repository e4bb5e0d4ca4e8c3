//! Pipelines: declarations, commands, operands and terms.

use super::super::{
    node::{Callee, Command, Expr, ExprKind, Names, Pipe, Variable},
    number::Number,
    show,
};
use super::{Kind, Parser, Result, Token, quoted};
use crate::{builtin, value::Text};

impl Parser<'_> {
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        let id = self.id();
        let pos = self.peek_non_space().1;
        let (variables, assigns) = self.declarations(context)?;
        // Most pipelines have one command of one word.
        let mut commands = Vec::with_capacity(1);
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.back(token);
                    commands.push(self.command()?);
                }
                _ => return Err(self.unexpected(&token, context)),
            }
        }
        self.check(&commands, context)?;
        commands.shrink_to_fit();
        Ok(Pipe {
            id,
            pos,
            assigns,
            variables,
            commands,
        })
    }

    /// Parses `$a :=`, `$a =`, or `$a, $b :=` in a range.
    fn declarations(&mut self, context: &str) -> Result<(Vec<Variable>, bool)> {
        let mut variables = Vec::new();
        loop {
            let token = self.next_non_space();
            if token.kind != Kind::Variable {
                self.back(token);
                return Ok((variables, false));
            }
            // A space after the variable matters: it separates arguments, whereas a field follows without one.
            let space = self.next();
            let next = if space.kind == Kind::Space {
                self.next_non_space()
            } else {
                space
            };
            let declares = matches!(next.kind, Kind::Assign | Kind::Declare);
            let comma = next.kind == Kind::Char && self.slice(&next) == b",";
            if !declares && !comma {
                self.back(next);
                if space.kind == Kind::Space {
                    self.back(space);
                }
                self.back(token);
                return Ok((variables, false));
            }
            let variable = self.variable(&token);
            variables.push(variable.clone());
            self.variables.push(variable);
            if declares {
                return Ok((variables, next.kind == Kind::Assign));
            }
            if context != "range" || variables.len() > 1 {
                return Err(self.error(format!("too many declarations in {context}")));
            }
            if !matches!(
                self.peek_non_space().0,
                Kind::Variable | Kind::RightDelim | Kind::RightParen
            ) {
                return Err(self.error("range can only initialize variables"));
            }
        }
    }

    fn check(&self, commands: &[Command], context: &str) -> Result<()> {
        if commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            if is_constant(&command.args[0]) {
                let stage = index + 1;
                let reason = format!("non executable command in pipeline stage {stage}");
                return Err(self.error(reason));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command> {
        let id = self.id();
        let pos = self.peek_non_space().1;
        let mut args = Vec::with_capacity(1);
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                args.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => {}
                Kind::RightDelim | Kind::RightParen => {
                    self.back(token);
                    break;
                }
                Kind::Pipe => break,
                _ => return Err(self.unexpected(&token, "operand")),
            }
        }
        if args.is_empty() {
            return Err(self.error("empty command"));
        }
        args.shrink_to_fit();
        Ok(Command { id, pos, args })
    }

    /// Parses a term and the fields that follow it.
    fn operand(&mut self) -> Result<Option<Expr>> {
        let Some(mut start) = self.term()? else {
            return Ok(None);
        };
        let (kind, pos) = self.peek();
        if kind != Kind::Field {
            return Ok(Some(start));
        }
        let mut end = pos;
        while self.peek().0 == Kind::Field {
            end = self.next().end;
        }
        // There is nothing between the fields.
        let fields = Names::new(pos, end);
        if is_constant(&start) {
            let shown = quoted(show::text(&start, self.source).as_bytes());
            return Err(self.error(format!("unexpected . after term {shown}")));
        }
        let kind = match start.kind {
            ExprKind::Field(first) => ExprKind::Field(first.up_to(fields)),
            ExprKind::Variable { variable, .. } => ExprKind::Variable { variable, fields },
            other => {
                start.kind = other;
                let id = self.id();
                return Ok(Some(Expr {
                    id,
                    pos,
                    kind: ExprKind::Chain {
                        start: Box::new(start),
                        fields,
                    },
                }));
            }
        };
        // As in Go, the position of the whole is that of its second part.
        let id = start.id;
        Ok(Some(Expr { id, pos, kind }))
    }

    fn term(&mut self) -> Result<Option<Expr>> {
        let token = self.next_non_space();
        let kind = match token.kind {
            Kind::Identifier => ExprKind::Function(self.callee(&token)?),
            Kind::Dot => ExprKind::Dot,
            Kind::Nil => ExprKind::Nil,
            Kind::Variable => self.use_variable(&token)?,
            Kind::Field => ExprKind::Field(Names::new(token.start, token.end)),
            Kind::Bool => ExprKind::Bool(self.slice(&token) == b"true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => {
                let number = Number::parse(self.slice(&token), token.kind)
                    .map_err(|reason| self.error(reason))?;
                ExprKind::Number {
                    number: Box::new(number),
                    literal: token.range(),
                }
            }
            Kind::String | Kind::RawString => ExprKind::String {
                text: Text::from(&*self.string(&token)?),
                literal: token.range(),
            },
            Kind::LeftParen => {
                let pipe = self
                    .deeper(|parser| parser.pipeline("parenthesized pipeline", Kind::RightParen))?;
                return Ok(Some(Expr {
                    id: pipe.id,
                    pos: pipe.pos,
                    kind: ExprKind::Pipe(Box::new(pipe)),
                }));
            }
            _ => {
                self.back(token);
                return Ok(None);
            }
        };
        let id = self.id();
        Ok(Some(Expr {
            id,
            pos: token.start,
            kind,
        }))
    }

    fn callee(&self, token: &Token) -> Result<Callee> {
        let name = String::from_utf8_lossy(self.slice(token));
        if let Some(function) = self.functions.get(&name) {
            return Ok(Callee::Function(function));
        }
        builtin::find(&name).ok_or_else(|| self.error(format!("function \"{name}\" not defined")))
    }

    fn use_variable(&mut self, token: &Token) -> Result<ExprKind> {
        let variable = self.variable(token);
        let known = self
            .variables
            .iter()
            .any(|known| known.symbol == variable.symbol);
        if !known {
            let name = &variable.name;
            return Err(self.error(format!("undefined variable \"{name}\"")));
        }
        Ok(ExprKind::Variable {
            variable,
            fields: Names::default(),
        })
    }
}

fn is_constant(expr: &Expr) -> bool {
    matches!(
        expr.kind,
        ExprKind::Bool(_)
            | ExprKind::Dot
            | ExprKind::Nil
            | ExprKind::Number { .. }
            | ExprKind::String { .. }
    )
}
