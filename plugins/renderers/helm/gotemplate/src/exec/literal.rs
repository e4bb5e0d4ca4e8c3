//! Constants, whose type may depend on the parameter that receives them.

use super::{Executor, Result};
use crate::{
    syntax::node::{Expr, ExprKind},
    value::{Int, Kind, Type, Value},
};

impl Executor<'_> {
    /// Evaluates a constant where nothing determines the type.
    pub(super) fn constant(&self, expr: &Expr) -> Result<Value> {
        match &expr.kind {
            ExprKind::Bool(value) => Ok(Value::Bool(*value)),
            ExprKind::String { text, .. } => Ok(Value::String(text.clone())),
            ExprKind::Number { number, .. } => {
                if let Some(value) = &number.ideal {
                    return Ok(value.clone());
                }
                let shown = self.text_of(expr);
                self.fail(format_args!("{shown} overflows int"))
            }
            _ => {
                let shown = self.text_of(expr);
                self.fail(format_args!("can't evaluate command {shown:?}"))
            }
        }
    }

    /// Evaluates a constant for a parameter of that type.
    pub(super) fn literal(&self, param: Type, expr: &Expr) -> Result<Value> {
        let number = match &expr.kind {
            ExprKind::Number { number, .. } => Some(&**number),
            _ => None,
        };
        let (value, wanted) = match param {
            Type::Any => return self.constant(expr),
            Type::Bool => match expr.kind {
                ExprKind::Bool(value) => (Some(Value::Bool(value)), "bool"),
                _ => (None, "bool"),
            },
            Type::String => match &expr.kind {
                ExprKind::String { text, .. } => (Some(Value::String(text.clone())), "string"),
                _ => (None, "string"),
            },
            Type::Float64 => {
                let float = number.and_then(|number| number.float);
                (float.map(Value::Float), "float")
            }
            Type::Int(kind) if kind.is_signed() => {
                let int = number.and_then(|number| number.int);
                (int.map(|int| Int::new(kind, int).into()), "integer")
            }
            Type::Int(kind) => {
                let int = number.and_then(|number| number.uint);
                let value = int.map(|int| Int::unsigned(kind, int).into());
                (value, "unsigned integer")
            }
            _ if param.kind() == Kind::Complex128 => {
                let complex = number.and_then(|number| number.complex);
                (complex.map(Value::object), "complex")
            }
            _ => {
                let shown = self.text_of(expr);
                return self.fail(format_args!("can't handle {shown} for arg of type {param}"));
            }
        };
        if let Some(value) = value {
            return Ok(value);
        }
        let shown = self.text_of(expr);
        self.fail(format_args!("expected {wanted}; found {shown}"))
    }
}
