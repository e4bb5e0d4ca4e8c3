//! Calls of functions and methods, and the part of the execution that they see.

use std::rc::Rc;

use super::{Executor, Failure, Limit, Operand, Result};
use crate::{
    function::{Args, Call, Function, FunctionError, Place, State, prepare},
    set::Set,
    syntax::{
        self,
        node::{Callee, Expr, Id},
    },
    value::{Kind, Text, Type, Value},
};

/// The largest number of arguments, including the receiver, for which a call needs no allocation.
const INLINE: usize = 4;

impl Executor<'_> {
    /// Evaluates a call. `node` is the whole call, which the function's errors name.
    #[inline(never)]
    pub(super) fn function(
        &mut self,
        dot: &Operand,
        callee: Callee,
        node: Id,
        args: &[Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        match callee {
            Callee::Function(function) => self.call(dot, function, None, node, args, last),
            Callee::And => self.short_circuit(dot, "and", false, args, last),
            Callee::Or => self.short_circuit(dot, "or", true, args, last),
            Callee::Call => self.call_value(dot, node, args, last),
        }
    }

    /// Evaluates `and` until the first false argument, or `or` until the first true one.
    #[inline(never)]
    fn short_circuit(
        &mut self,
        dot: &Operand,
        name: &str,
        ends_with: bool,
        args: &[Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        if args.is_empty() && last.is_none() {
            return self.fail(format_args!(
                "wrong number of args for {name}: want at least 1 got 0"
            ));
        }
        let mut value = Value::Nil;
        for arg in args {
            value = self.argument(dot, Type::Any, arg)?;
            if value.is_true() == ends_with {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// Makes a call with checked arguments. A method gets its receiver before them.
    #[inline(never)]
    pub(super) fn call(
        &mut self,
        dot: &Operand,
        function: &'static Function,
        receiver: Option<&Value>,
        node: Id,
        args: &[Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        let given = args.len() + usize::from(last.is_some());
        if let Err(error) = function.check_count(args.len(), given) {
            return self.fail(format_args!("{error}"));
        }
        let first = usize::from(receiver.is_some());
        let mut inline = [const { Value::Nil }; INLINE];
        let mut heap;
        let values = if first + given <= INLINE {
            &mut inline[..first + given]
        } else {
            heap = vec![Value::Nil; first + given];
            &mut heap[..]
        };
        if let Some(receiver) = receiver {
            values[0] = receiver.clone();
        }
        for (index, arg) in args.iter().enumerate() {
            values[first + index] = self.argument(dot, function.param(index), arg)?;
        }
        if let Some(last) = last {
            let param = function.param(given - 1);
            values[first + given - 1] = self.fit(Operand::concrete(last), param)?;
        }
        for value in &mut values[first..] {
            if let Value::Object(object) = value
                && let Some(copy) = object.copied()
            {
                *value = copy;
            }
        }
        self.run_body(function, node, values)
            .or_else(|error| self.call_failed(function.name(), node, error))
    }

    fn run_body(
        &mut self,
        function: &'static Function,
        node: Id,
        values: &[Value],
    ) -> Result<Value, FunctionError> {
        let caller = (self.function, self.called_at);
        (self.function, self.called_at) = (function.name(), node);
        let result = (function.body())(self, Args::new(values));
        (self.function, self.called_at) = caller;
        let result = result?;
        // This stops values that grow by repeated concatenation, whatever function builds them. A list is usually one that
        // existed before or that the function has paid for: templates look things up in a long list for each of its items.
        self.charge(match &result {
            Value::String(text) => text.len(),
            Value::List(list) => list.len(),
            _ => 0,
        })?;
        Ok(result)
    }

    #[cold]
    fn call_failed<T>(&mut self, name: &str, node: Id, error: FunctionError) -> Result<T> {
        self.at = node;
        Err(self.error(match error {
            FunctionError::Limit(limit) => Failure::Limit(limit),
            error => Failure::Call {
                function: name.to_owned(),
                error,
            },
        }))
    }

    /// Evaluates the builtin `call`.
    #[inline(never)]
    fn call_value(
        &mut self,
        dot: &Operand,
        node: Id,
        args: &[Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        if args.is_empty() && last.is_none() {
            return self.fail(format_args!(
                "wrong number of args for call: want at least 1 got 0"
            ));
        }
        let name = match args.first() {
            Some(first) => self.text_of(first),
            None => last.as_ref().map_or(String::new(), super::shown),
        };
        let mut values = Vec::new();
        for arg in args {
            values.push(self.argument(dot, Type::Any, arg)?);
        }
        values.extend(last);
        self.call_object(&name, node, &mut values)
            .or_else(|error| self.call_failed("call", node, error))
    }

    fn call_object(
        &mut self,
        name: &str,
        node: Id,
        values: &mut [Value],
    ) -> Result<Value, FunctionError> {
        let function = match &values[0] {
            Value::Nil => return Err(FunctionError::new("call of nil")),
            Value::Object(object) if object.go_type().kind() == Kind::Func => object.function(),
            _ => None,
        };
        let Some(function) = function else {
            let of = values[0].go_type();
            return Err(FunctionError::new(format_args!(
                "non-function {name} of type {of}"
            )));
        };
        let given = values.len() - 1;
        let least = function.params().len() - usize::from(function.is_variadic());
        if given < least || (given > least && !function.is_variadic()) {
            let want = if function.is_variadic() {
                "want at least"
            } else {
                "want"
            };
            return Err(FunctionError::new(format_args!(
                "wrong number of args for {name}: got {given} {want} {least}"
            )));
        }
        for (index, value) in values[1..].iter_mut().enumerate() {
            *value = prepare(std::mem::take(value), function.param(index))
                .map_err(|error| FunctionError::new(format_args!("arg {index}: {error}")))?;
        }
        self.run_body(function, node, values)
    }
}

impl Call for Executor<'_> {
    fn function(&self) -> &str {
        self.function
    }

    fn place(&self) -> Place<'_> {
        let (line, column) = self.tree.source.line_and_column(self.call_position());
        Place {
            root: &self.root,
            template: &self.tree.source.name,
            line,
            column,
        }
    }

    fn count(&mut self) -> u64 {
        let place = (self.tree.source.name.clone(), self.call_position());
        let next = self.counts.entry(place).or_default();
        let count = *next;
        *next += 1;
        count
    }

    fn state(&self) -> &State {
        &self.options.state
    }

    fn charge(&mut self, bytes: usize) -> Result<(), FunctionError> {
        self.memory = self.memory.checked_sub(bytes).ok_or(Limit::Memory)?;
        Ok(())
    }

    fn templates(&self) -> Option<&Rc<Set>> {
        Some(&self.set)
    }

    fn execute(&mut self, set: &Rc<Set>, name: &str, data: &Value) -> Result<Text, FunctionError> {
        let tree = set.find(name)?;
        let caller = std::mem::replace(&mut self.set, set.clone());
        let start = self.out.len();
        self.captured += 1;
        let result = self.template(&tree, Operand::concrete(data.clone()));
        self.captured -= 1;
        let text = Text::from(&self.out[start..]);
        self.out.truncate(start);
        self.set = caller;
        match result {
            Ok(()) => Ok(text),
            // The place where the limit was reached says nothing about the cause.
            Err(error) => Err(match error.failure {
                Failure::Limit(limit) => FunctionError::Limit(limit),
                _ => FunctionError::Template {
                    prefix: String::new(),
                    error,
                },
            }),
        }
    }
}

impl Executor<'_> {
    /// Returns the position of the current call in its text.
    fn call_position(&self) -> usize {
        syntax::find(&self.tree, self.called_at)
            .unwrap_or_default()
            .0
    }
}
