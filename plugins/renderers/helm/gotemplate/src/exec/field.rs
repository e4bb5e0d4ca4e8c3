//! Fields, methods and map elements.

use super::{Executor, Operand, Result, eval::quoted};
use crate::{
    function::Function,
    set::MissingKey,
    syntax::node::{Expr, Id},
    value::{Kind, Map, Object, Text, Type, Value},
};

/// A call of what a name turns out to be.
struct Access<'a> {
    dot: &'a Operand,
    /// The node of the whole expression.
    node: Id,
    name: &'a Text,
    args: &'a [Expr],
    last: Option<Value>,
}

impl Access<'_> {
    fn has_arguments(&self) -> bool {
        !self.args.is_empty() || self.last.is_some()
    }
}

impl Executor<'_> {
    /// One field after the other; only the last one may be a method with arguments.
    #[inline(never)]
    pub(super) fn fields(
        &mut self,
        dot: &Operand,
        start: &Operand,
        fields: &[Text],
        node: Id,
        args: &[Expr],
        last: Option<Value>,
    ) -> Result<Operand> {
        let Some((final_name, names)) = fields.split_last() else {
            return Ok(start.clone());
        };
        let mut current = None;
        for name in names {
            let access = Access {
                dot,
                node,
                name,
                args: &[],
                last: None,
            };
            current = Some(self.field(current.as_ref().unwrap_or(start), access)?);
        }
        let access = Access {
            dot,
            node,
            name: final_name,
            args,
            last,
        };
        self.field(current.as_ref().unwrap_or(start), access)
    }

    fn field(&mut self, receiver: &Operand, access: Access<'_>) -> Result<Operand> {
        let name = access.name;
        match &receiver.value {
            Value::Nil if receiver.is_interface => {
                self.fail(format_args!("nil pointer evaluating interface {{}}.{name}"))
            }
            Value::Nil if self.set.missing_key() == MissingKey::Error => {
                self.fail(format_args!("nil data; no entry for key {}", quoted(name)))
            }
            Value::Nil => Ok(Operand::concrete(Value::Nil)),
            Value::Map(map) => match named_method(map.go_type(), name) {
                Some(method) => self.method(receiver, method, access),
                None => self.element(map, &access),
            },
            Value::Object(object) => {
                let object = object.clone();
                self.object(receiver, &*object, access)
            }
            other => match named_method(other.go_type(), name) {
                Some(method) => self.method(receiver, method, access),
                None => self.no_field(receiver, name),
            },
        }
    }

    #[inline(never)]
    fn object(
        &mut self,
        receiver: &Operand,
        object: &dyn Object,
        access: Access<'_>,
    ) -> Result<Operand> {
        if let Some(method) = object.method(access.name) {
            return self.method(receiver, method, access);
        }
        match object.go_type().kind() {
            Kind::Pointer if object.is_nil() => self.fail(format_args!(
                "nil pointer evaluating {}.{}",
                receiver.static_type(),
                access.name
            )),
            Kind::Struct | Kind::Pointer => match object.field(access.name) {
                Some(_) if access.has_arguments() => self.fail(format_args!(
                    "{} has arguments but cannot be invoked as function",
                    access.name
                )),
                Some(value) => {
                    let is_interface = matches!(value, Value::Nil);
                    Ok(Operand {
                        value,
                        is_interface,
                    })
                }
                None => self.no_field(receiver, access.name),
            },
            Kind::Map => match object.to_plain() {
                Value::Map(map) => self.element(&map, &access),
                _ => self.no_field(receiver, access.name),
            },
            _ => self.no_field(receiver, access.name),
        }
    }

    fn element(&mut self, map: &Map, access: &Access<'_>) -> Result<Operand> {
        let name = access.name;
        if access.has_arguments() {
            return self.fail(format_args!("{name} is not a method but has arguments"));
        }
        let of = map.go_type().elem();
        if let Some(value) = map.get(name) {
            return Ok(Operand::of(value, of));
        }
        match self.set.missing_key() {
            MissingKey::Default => Ok(Operand::concrete(Value::Nil)),
            MissingKey::Zero => Ok(Operand::of(Value::zero(of), of)),
            MissingKey::Error => {
                self.fail(format_args!("map has no entry for key {}", quoted(name)))
            }
        }
    }

    #[inline(never)]
    fn method(
        &mut self,
        receiver: &Operand,
        method: &'static Function,
        access: Access<'_>,
    ) -> Result<Operand> {
        self.call(
            access.dot,
            method,
            Some(&receiver.value),
            access.node,
            access.args,
            access.last,
        )
        .map(Operand::concrete)
    }

    fn no_field(&self, receiver: &Operand, name: &Text) -> Result<Operand> {
        self.fail(format_args!(
            "can't evaluate field {name} in type {}",
            receiver.static_type()
        ))
    }
}

/// A method of a list or map of a named type.
fn named_method(of: Type, name: &[u8]) -> Option<&'static Function> {
    match of {
        Type::Named(named) => Function::find(named.methods, name),
        _ => None,
    }
}
