//! Formats nodes as Go's errors quote them, and finds nodes by their number.

use std::fmt::{self, Write};

use super::node::{
    Action, Command, Expr, ExprKind, Id, Invocation, List, Node, Pipe, Source, Tree,
};
use crate::print::quote;

/// Returns the position and the text of the node with that number.
pub(crate) fn find(tree: &Tree, id: Id) -> Option<(usize, String)> {
    let search = Search {
        source: &tree.source,
        id,
    };
    search.list(&tree.root)
}

struct Search<'a> {
    source: &'a Source,
    id: Id,
}

type Found = Option<(usize, String)>;

impl Search<'_> {
    fn list(&self, list: &List) -> Found {
        list.iter().find_map(|node| self.node(node))
    }

    fn node(&self, node: &Node) -> Found {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => None,
            Node::Action(action) => self
                .found(action.id, action.pos, action)
                .or_else(|| self.pipe(&action.pipe)),
            Node::If(choice) | Node::With(choice) => choice
                .arms
                .iter()
                .find_map(|(pipe, list)| self.pipe(pipe).or_else(|| self.list(list)))
                .or_else(|| self.list(choice.otherwise.as_ref()?)),
            Node::Range(range) => self
                .pipe(&range.pipe)
                .or_else(|| self.list(&range.body))
                .or_else(|| self.list(range.otherwise.as_ref()?)),
            Node::Template(template) => self
                .found(template.id, template.pos, &**template)
                .or_else(|| self.pipe(template.pipe.as_ref()?)),
        }
    }

    fn pipe(&self, pipe: &Pipe) -> Found {
        self.found(pipe.id, pipe.pos, pipe).or_else(|| {
            pipe.commands
                .iter()
                .find_map(|command| self.command(command))
        })
    }

    fn command(&self, command: &Command) -> Found {
        self.found(command.id, command.pos, command)
            .or_else(|| command.args.iter().find_map(|arg| self.expr(arg)))
    }

    fn expr(&self, expr: &Expr) -> Found {
        self.found(expr.id, expr.pos, expr)
            .or_else(|| match &expr.kind {
                ExprKind::Chain { start, .. } => self.expr(start),
                ExprKind::Pipe(pipe) => self.pipe(pipe),
                _ => None,
            })
    }

    fn found(&self, id: Id, pos: usize, node: &dyn Show) -> Found {
        (id == self.id).then(|| {
            let mut text = String::new();
            node.show(self.source, &mut text)
                .expect("writing to memory does not fail");
            (pos, text)
        })
    }
}

/// Returns the text of an operand.
pub(crate) fn text(expr: &Expr, source: &Source) -> String {
    let mut text = String::new();
    expr.show(source, &mut text)
        .expect("writing to memory does not fail");
    text
}

trait Show {
    fn show(&self, source: &Source, out: &mut String) -> fmt::Result;
}

impl Show for Action {
    fn show(&self, source: &Source, out: &mut String) -> fmt::Result {
        out.push_str("{{");
        self.pipe.show(source, out)?;
        out.push_str("}}");
        Ok(())
    }
}

impl Show for Invocation {
    fn show(&self, source: &Source, out: &mut String) -> fmt::Result {
        let name = quote(self.name.as_bytes());
        write!(out, "{{{{template {}", String::from_utf8_lossy(&name))?;
        if let Some(pipe) = &self.pipe {
            out.push(' ');
            pipe.show(source, out)?;
        }
        out.push_str("}}");
        Ok(())
    }
}

impl Show for Pipe {
    fn show(&self, source: &Source, out: &mut String) -> fmt::Result {
        for (index, variable) in self.variables.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            out.push_str(&variable.name);
        }
        if !self.variables.is_empty() {
            out.push_str(if self.assigns { " = " } else { " := " });
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                out.push_str(" | ");
            }
            command.show(source, out)?;
        }
        Ok(())
    }
}

impl Show for Command {
    fn show(&self, source: &Source, out: &mut String) -> fmt::Result {
        for (index, arg) in self.args.iter().enumerate() {
            if index > 0 {
                out.push(' ');
            }
            parenthesised(arg, source, out)?;
        }
        Ok(())
    }
}

impl Show for Expr {
    fn show(&self, source: &Source, out: &mut String) -> fmt::Result {
        let fields = match &self.kind {
            ExprKind::Bool(value) => return write!(out, "{value}"),
            ExprKind::Dot => return out.write_char('.'),
            ExprKind::Nil => return out.write_str("nil"),
            ExprKind::Number { literal, .. } | ExprKind::String { literal, .. } => {
                let literal = &source.text[literal.clone()];
                return out.write_str(&String::from_utf8_lossy(literal));
            }
            ExprKind::Function(callee) => return out.write_str(callee.name()),
            ExprKind::Pipe(pipe) => return pipe.show(source, out),
            ExprKind::Field(fields) => fields,
            ExprKind::Variable { variable, fields } => {
                out.push_str(&variable.name);
                fields
            }
            ExprKind::Chain { start, fields } => {
                parenthesised(start, source, out)?;
                fields
            }
        };
        out.write_str(&fields.text(source))
    }
}

fn parenthesised(expr: &Expr, source: &Source, out: &mut String) -> fmt::Result {
    if matches!(expr.kind, ExprKind::Pipe(_)) {
        out.push('(');
        expr.show(source, out)?;
        out.push(')');
        return Ok(());
    }
    expr.show(source, out)
}
