//! Fields, methods and map elements.

use super::{Executor, Operand, Result, eval::quoted};
use crate::{
    function::Function,
    set::MissingKey,
    syntax::node::{Expr, Id, Names},
    value::{Kind, Map, Object, Type, Value},
};

/// A use of a name before it is known what the name refers to.
struct Access<'a> {
    dot: &'a Operand,
    /// The node of the whole expression.
    node: Id,
    name: &'a [u8],
    args: &'a [Expr],
    last: Option<Value>,
}

impl Access<'_> {
    fn has_arguments(&self) -> bool {
        !self.args.is_empty() || self.last.is_some()
    }
}

impl Executor<'_> {
    /// Evaluates one field after another. Only the last one may be a method with arguments.
    #[inline(never)]
    pub(super) fn fields(
        &mut self,
        dot: &Operand,
        start: &Operand,
        names: Names,
        node: Id,
        args: &[Expr],
        last: Option<Value>,
    ) -> Result<Operand> {
        let source = self.tree.source.clone();
        let Some((mut name, mut names)) = names.split_first(&source) else {
            return Ok(start.clone());
        };
        let mut current = None;
        while let Some((next, rest)) = names.split_first(&source) {
            let access = Access {
                dot,
                node,
                name,
                args: &[],
                last: None,
            };
            current = Some(self.field(current.as_ref().unwrap_or(start), access)?);
            (name, names) = (next, rest);
        }
        let access = Access {
            dot,
            node,
            name,
            args,
            last,
        };
        self.field(current.as_ref().unwrap_or(start), access)
    }

    fn field(&mut self, receiver: &Operand, access: Access<'_>) -> Result<Operand> {
        let name = access.name;
        match &receiver.value {
            Value::Nil if receiver.is_interface => {
                let name = String::from_utf8_lossy(name);
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
                String::from_utf8_lossy(access.name)
            )),
            Kind::Struct | Kind::Pointer => match object.field(access.name) {
                Some(_) if access.has_arguments() => self.fail(format_args!(
                    "{} has arguments but cannot be invoked as function",
                    String::from_utf8_lossy(access.name)
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
            let name = String::from_utf8_lossy(name);
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

    #[cold]
    #[inline(never)]
    fn no_field(&self, receiver: &Operand, name: &[u8]) -> Result<Operand> {
        let name = String::from_utf8_lossy(name);
        self.fail(format_args!(
            "can't evaluate field {name} in type {}",
            receiver.static_type()
        ))
    }
}

/// Returns a method of a list or map of a named type.
fn named_method(of: Type, name: &[u8]) -> Option<&'static Function> {
    match of {
        Type::Named(named) => Function::find(named.methods, name),
        _ => None,
    }
}
