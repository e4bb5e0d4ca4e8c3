//! Evaluates pipelines, commands and their operands.

use super::{Executor, Operand, Result};
use crate::{
    function::fit,
    print::quote,
    syntax::node::{Command, Expr, ExprKind, Names, Pipe, Variable},
    value::{Type, Value},
};

impl Executor<'_> {
    /// Evaluates a pipeline. The variables that it declares stay until the block ends.
    #[inline(never)]
    pub(super) fn pipeline(&mut self, dot: &Operand, pipe: &Pipe) -> Result<Value> {
        self.at = pipe.id;
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(dot, command, last)?);
        }
        let value = last.unwrap_or_default();
        for variable in &pipe.variables {
            let value = Operand::concrete(value.clone());
            if pipe.assigns {
                self.assign(variable, value)?;
            } else {
                self.variables.push((variable.symbol, value));
            }
        }
        Ok(value)
    }

    /// Assigns a value to a variable.
    pub(super) fn assign(&mut self, variable: &Variable, value: Operand) -> Result<()> {
        match self.slot(variable) {
            Some(slot) => {
                self.variables[slot].1 = value;
                Ok(())
            }
            None => self.fail(format_args!("undefined variable: {}", variable.name)),
        }
    }

    fn slot(&self, variable: &Variable) -> Option<usize> {
        let own = &self.variables[self.frame..];
        let found = own
            .iter()
            .rposition(|(symbol, _)| *symbol == variable.symbol);
        found.map(|index| self.frame + index)
    }

    /// Evaluates a command. `last` is the result of the previous command.
    #[inline(never)]
    fn command(&mut self, dot: &Operand, command: &Command, last: Option<Value>) -> Result<Value> {
        self.step()?;
        let (first, args) = command
            .args
            .split_first()
            .expect("the parser refuses empty commands");
        match &first.kind {
            ExprKind::Field(fields) => {
                self.at = first.id;
                self.fields(dot, dot, *fields, first.id, args, last)
                    .map(|operand| operand.value)
            }
            ExprKind::Variable { variable, fields } => self
                .variable(dot, first, variable, *fields, args, last)
                .map(|operand| operand.value),
            ExprKind::Chain { start, fields } => self
                .chain(dot, first, start, *fields, args, last)
                .map(|operand| operand.value),
            ExprKind::Function(callee) => {
                self.at = first.id;
                self.function(dot, *callee, command.id, args, last)
            }
            ExprKind::Pipe(pipe) => {
                self.refuse_arguments(first, args, last.as_ref())?;
                self.deeper(1, |executor| executor.pipeline(dot, pipe))
            }
            _ => {
                self.at = first.id;
                self.refuse_arguments(first, args, last.as_ref())?;
                match &first.kind {
                    ExprKind::Dot => Ok(dot.value.clone()),
                    ExprKind::Nil => self.fail(format_args!("nil is not a command")),
                    _ => self.constant(first),
                }
            }
        }
    }

    fn refuse_arguments(&self, first: &Expr, args: &[Expr], last: Option<&Value>) -> Result<()> {
        if args.is_empty() && last.is_none() {
            return Ok(());
        }
        let shown = self.text_of(first);
        self.fail(format_args!("can't give argument to non-function {shown}"))
    }

    #[inline(never)]
    pub(super) fn variable(
        &mut self,
        dot: &Operand,
        expr: &Expr,
        variable: &Variable,
        fields: Names,
        args: &[Expr],
        last: Option<Value>,
    ) -> Result<Operand> {
        self.at = expr.id;
        let Some(slot) = self.slot(variable) else {
            return self.fail(format_args!("undefined variable: {}", variable.name));
        };
        let value = self.variables[slot].1.clone();
        if fields.is_empty() {
            self.refuse_arguments(expr, args, last.as_ref())?;
            return Ok(value);
        }
        self.fields(dot, &value, fields, expr.id, args, last)
    }

    #[inline(never)]
    pub(super) fn chain(
        &mut self,
        dot: &Operand,
        expr: &Expr,
        start: &Expr,
        fields: Names,
        args: &[Expr],
        last: Option<Value>,
    ) -> Result<Operand> {
        self.at = expr.id;
        if matches!(start.kind, ExprKind::Nil) {
            let shown = self.text_of(expr);
            return self.fail(format_args!("indirection through explicit nil in {shown}"));
        }
        let start = self.deeper(1, |executor| executor.argument(dot, Type::Any, start))?;
        self.fields(dot, &Operand::concrete(start), fields, expr.id, args, last)
    }

    /// Evaluates an argument for a parameter of that type.
    #[inline(never)]
    pub(super) fn argument(&mut self, dot: &Operand, param: Type, expr: &Expr) -> Result<Value> {
        self.at = expr.id;
        let operand = match &expr.kind {
            ExprKind::Dot => dot.clone(),
            ExprKind::Nil if param.can_be_nil() => return Ok(Value::zero(param)),
            ExprKind::Nil => return self.fail(format_args!("cannot assign nil to {param}")),
            ExprKind::Field(fields) => self.fields(dot, dot, *fields, expr.id, &[], None)?,
            ExprKind::Variable { variable, fields } => {
                self.variable(dot, expr, variable, *fields, &[], None)?
            }
            ExprKind::Chain { start, fields } => {
                self.chain(dot, expr, start, *fields, &[], None)?
            }
            ExprKind::Pipe(pipe) => {
                Operand::concrete(self.deeper(1, |executor| executor.pipeline(dot, pipe))?)
            }
            ExprKind::Function(callee) => {
                let value = self.function(dot, *callee, expr.id, &[], None)?;
                // A function without a value returns a nil interface, which has not been unwrapped at this point.
                let is_interface = matches!(value, Value::Nil);
                Operand {
                    value,
                    is_interface,
                }
            }
            _ => return self.literal(param, expr),
        };
        self.fit(operand, param)
    }

    /// Makes a value fit a parameter.
    pub(super) fn fit(&self, operand: Operand, param: Type) -> Result<Value> {
        if param == Type::Any {
            return Ok(operand.value);
        }
        if operand.is_nil_interface() {
            return self.fail(format_args!(
                "wrong type for value; expected {param}; got interface {{}}"
            ));
        }
        match fit(operand.value, param) {
            Ok(value) => Ok(value),
            Err(error) => self.fail(format_args!("{error}")),
        }
    }

    /// Returns an expression as Go writes it.
    pub(super) fn text_of(&self, expr: &Expr) -> String {
        crate::syntax::text(expr, &self.tree.source)
    }
}

/// Formats a name for an error message, as a Go string literal.
pub(super) fn quoted(name: &[u8]) -> String {
    String::from_utf8_lossy(&quote(name)).into_owned()
}
