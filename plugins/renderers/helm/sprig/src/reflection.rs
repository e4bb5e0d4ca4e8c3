//! Questions about types.

use pintle_gotemplate::{Function, Type, Value, value::deep_equal};

const ONE: &[Type] = &[Type::Any];
const NAME_AND_VALUE: &[Type] = &[Type::String, Type::Any];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("typeOf", ONE, |_, args| Ok(type_of(args.any(0)).into())),
    Function::new("kindOf", ONE, |_, args| {
        Ok(args.any(0).kind().to_string().into())
    }),
    Function::new("typeIs", NAME_AND_VALUE, |_, args| {
        Ok((*args.text(0)? == type_of(args.any(1)).as_str()).into())
    }),
    Function::new("typeIsLike", NAME_AND_VALUE, |_, args| {
        let (wanted, is) = (args.text(0)?, type_of(args.any(1)));
        let pointer = is.strip_prefix('*').is_some_and(|is| *wanted == is);
        Ok((*wanted == is.as_str() || pointer).into())
    }),
    Function::new("kindIs", NAME_AND_VALUE, |_, args| {
        Ok((*args.text(0)? == args.any(1).kind().to_string().as_str()).into())
    }),
    Function::new("deepEqual", &[Type::Any, Type::Any], |_, args| {
        Ok(deep_equal(args.any(0), args.any(1)).into())
    }),
];

/// Returns what `%T` prints.
fn type_of(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>".to_owned(),
        other => other.go_type().to_string(),
    }
}
