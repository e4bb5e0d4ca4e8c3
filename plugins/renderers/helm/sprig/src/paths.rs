//! Path functions, based on the text alone. The operating system variants are those of Unix.

use pintle_gotemplate::{Args, Call, Function, Type, Value};

use crate::{Outcome, go::path};

const PATH: &[Type] = &[Type::String];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("base", PATH, base),
    Function::new("dir", PATH, dir),
    Function::new("clean", PATH, clean),
    Function::new("ext", PATH, ext),
    Function::new("isAbs", PATH, is_abs),
    Function::new("osBase", PATH, base),
    Function::new("osDir", PATH, dir),
    Function::new("osClean", PATH, clean),
    Function::new("osExt", PATH, ext),
    Function::new("osIsAbs", PATH, is_abs),
];

fn base(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    Ok(Value::string(path::base(args.text(0)?)))
}

fn dir(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    Ok(Value::string(path::dir(args.text(0)?)))
}

fn clean(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    Ok(Value::string(path::clean(args.text(0)?)))
}

fn ext(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    Ok(Value::string(path::ext(args.text(0)?)))
}

fn is_abs(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    Ok(path::is_abs(args.text(0)?).into())
}
