//! The built-in functions of the language.

mod compare;
mod escape;
mod index;

use crate::{
    function::{Function, FunctionError},
    print,
    syntax::node::Callee,
    value::{Type, Value},
};

/// Returns the builtin of that name.
pub(crate) fn find(name: &str) -> Option<Callee> {
    Some(match name {
        "and" => Callee::And,
        "or" => Callee::Or,
        "call" => Callee::Call,
        other => Callee::Function(Function::find(FUNCTIONS, other.as_bytes())?),
    })
}

const ANY: &[Type] = &[Type::Any];
const TWO: &[Type] = &[Type::Any, Type::Any];

/// All builtins except those that evaluate their arguments in a special way.
const FUNCTIONS: &[Function] = &[
    Function::variadic("eq", TWO, |_, args| {
        compare::equal_any(&args[0], args.rest(1)).map(Value::Bool)
    }),
    Function::new("ne", TWO, |_, args| {
        compare::equal_any(&args[0], args.rest(1)).map(|equal| Value::Bool(!equal))
    }),
    Function::new("lt", TWO, |_, args| {
        compare::less(&args[0], &args[1]).map(Value::Bool)
    }),
    Function::new("le", TWO, |_, args| {
        compare::less_or_equal(&args[0], &args[1]).map(Value::Bool)
    }),
    Function::new("gt", TWO, |_, args| {
        compare::less_or_equal(&args[0], &args[1]).map(|less| Value::Bool(!less))
    }),
    Function::new("ge", TWO, |_, args| {
        compare::less(&args[0], &args[1]).map(|less| Value::Bool(!less))
    }),
    Function::new("not", ANY, |_, args| Ok(Value::Bool(!args[0].is_true()))),
    Function::new("len", ANY, |_, args| index::len(&args[0])),
    Function::variadic("index", TWO, |_, args| index::index(&args[0], args.rest(1))),
    Function::variadic("slice", TWO, |_, args| index::slice(&args[0], args.rest(1))),
    Function::variadic(
        "print",
        ANY,
        |_, args| Ok(print::sprint(args.all())?.into()),
    ),
    Function::variadic("println", ANY, |_, args| {
        Ok(print::sprintln(args.all())?.into())
    }),
    Function::variadic("printf", &[Type::String, Type::Any], |_, args| {
        Ok(print::sprintf(args.text(0)?, args.rest(1))?.into())
    }),
    Function::variadic("html", ANY, |_, args| escaped(args.all(), escape::html)),
    Function::variadic("js", ANY, |_, args| escaped(args.all(), escape::js)),
    Function::variadic("urlquery", ANY, |_, args| {
        escaped(args.all(), escape::url_query)
    }),
];

/// Escapes what actions would print for the arguments. The untyped nil prints as in a template, not as in fmt.
fn escaped(args: &[Value], escape: fn(&[u8]) -> Vec<u8>) -> Result<Value, FunctionError> {
    let named = args.iter().map(|value| match value {
        Value::Nil => "<no value>".into(),
        other => other.clone(),
    });
    let text = print::sprint_results(&named.collect::<Vec<_>>())?;
    Ok(Value::string(escape(&text)))
}
