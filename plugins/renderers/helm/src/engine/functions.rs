//! The functions that Helm adds to sprig's.

use std::{cell::RefCell, rc::Rc};

use rustc_hash::FxHashMap;

use pintle_gotemplate::{Args, Call, Function, FunctionError, Functions, Map, Type, Value};

use super::{encode, tpl};

/// The maximum number of nested inclusions of templates with the same name. Helm counts the same way.
const MAX_INCLUDES: usize = 1000;

/// Returns all functions of Helm: sprig's except those that read the environment, the encoders, and its own.
pub(super) fn all() -> Functions {
    let tables = pintle_sprig::tables().iter().copied();
    let tables = tables.chain([encode::FUNCTIONS, FUNCTIONS]);
    Functions::from_tables(&tables.collect::<Vec<_>>())
}

const FUNCTIONS: &[Function] = &[
    Function::new("include", &[Type::String, Type::Any], include),
    Function::new("tpl", &[Type::String, Type::Any], tpl::tpl),
    Function::new("required", &[Type::String, Type::Any], required),
    Function::new("fail", &[Type::String], |_, args| {
        Err(FunctionError::Refused(args.text(0)?.to_string()))
    }),
    Function::new(
        "lookup",
        &[Type::String, Type::String, Type::String, Type::String],
        lookup,
    ),
    // Helm queries a name server only if the user allows it. A pure renderer never does.
    Function::new("getHostByName", &[Type::String], |_, _| Ok("".into())),
];

/// The number of inclusions in progress, by template name.
#[derive(Debug, Default)]
pub(super) struct Includes(RefCell<FxHashMap<String, usize>>);

fn include(call: &mut dyn Call, args: Args<'_>) -> Result<Value, FunctionError> {
    let name = args.text(0)?.to_str_lossy();
    let set = call
        .templates()
        .ok_or_else(|| FunctionError::new("only templates can include templates"))?
        .clone();
    let includes = call.state().get::<Rc<Includes>>().cloned();
    if let Some(includes) = &includes {
        includes.enter(&name)?;
    }
    let result = call.execute(&set, &name, args.any(1));
    if let Some(includes) = &includes {
        includes.leave(&name);
    }
    result.map(Value::String)
}

impl Includes {
    fn enter(&self, name: &str) -> Result<(), FunctionError> {
        let mut counts = self.0.borrow_mut();
        match counts.get_mut(name) {
            Some(count) if *count > MAX_INCLUDES => Err(FunctionError::new(format_args!(
                "rendering template has a nested reference name: {name}: unable to execute template"
            ))),
            Some(count) => {
                *count += 1;
                Ok(())
            }
            None => {
                counts.insert(name.to_owned(), 1);
                Ok(())
            }
        }
    }

    fn leave(&self, name: &str) {
        if let Some(count) = self.0.borrow_mut().get_mut(name) {
            *count -= 1;
        }
    }
}

fn required(_: &mut dyn Call, args: Args<'_>) -> Result<Value, FunctionError> {
    let value = args.any(1);
    let is_missing = match value {
        Value::Nil => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if is_missing {
        return Err(FunctionError::Refused(args.text(0)?.to_string()));
    }
    Ok(value.clone())
}

/// Reads the cluster for `lookup`.
pub trait Lookup {
    /// Returns the object, or the list of objects if the name is empty, as the API server has it; None if there is none. An empty
    /// namespace stands for all namespaces, or for objects without one.
    ///
    /// The template's author sees the error.
    fn lookup(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Map>, String>;
}

fn lookup(call: &mut dyn Call, args: Args<'_>) -> Result<Value, FunctionError> {
    let Some(cluster) = call.state().get::<Rc<dyn Lookup>>() else {
        return Ok(Map::new().into());
    };
    let text = |index| args.text(index).map(|text| text.to_str_lossy());
    let found = cluster.lookup(&text(0)?, &text(1)?, &text(2)?, &text(3)?);
    let found = found.map_err(FunctionError::new)?;
    Ok(found.unwrap_or_default().into())
}
