//! Defaults and conditions.

use pintle_gotemplate::{Function, FunctionError, Type};

use crate::cast::is_empty;

const ANY: &[Type] = &[Type::Any];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::variadic("default", &[Type::Any, Type::Any], |_, args| {
        let given = args.rest(1).first().filter(|given| !is_empty(given));
        Ok(given.unwrap_or_else(|| args.any(0)).clone())
    }),
    Function::new("empty", ANY, |_, args| Ok(is_empty(args.any(0)).into())),
    Function::variadic("coalesce", ANY, |_, args| {
        let found = args.all().iter().find(|value| !is_empty(value));
        Ok(found.cloned().unwrap_or_default())
    }),
    Function::variadic("all", ANY, |_, args| {
        Ok((!args.all().iter().any(is_empty)).into())
    }),
    Function::variadic("any", ANY, |_, args| {
        Ok((!args.all().iter().all(is_empty)).into())
    }),
    Function::new("ternary", &[Type::Any, Type::Any, Type::Bool], |_, args| {
        Ok(args.any(usize::from(!args.boolean(2)?)).clone())
    }),
    Function::new("fail", &[Type::String], |_, args| {
        Err(FunctionError::new(args.text(0)?))
    }),
];
