//! The functions available to a set of templates.

use rustc_hash::FxHashMap;

use super::{Args, Call, Function, FunctionError, fit};
use crate::value::Value;

/// The functions available to a set of templates, in addition to those of the language itself.
#[derive(Clone, Debug, Default)]
pub struct Functions(FxHashMap<&'static str, &'static Function>);

impl Functions {
    /// Collects all functions of the tables. A later function replaces an earlier one of the same name.
    pub fn from_tables(tables: &[&'static [Function]]) -> Self {
        let all = tables.iter().flat_map(|table| table.iter());
        Self(all.map(|function| (function.name, function)).collect())
    }

    /// Removes a function.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Returns the function of that name.
    pub fn get(&self, name: &str) -> Option<&'static Function> {
        self.0.get(name).copied()
    }

    /// Returns the names, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// Calls a function with the same checks as a call from a template.
    pub fn call(
        &self,
        name: &str,
        call: &mut dyn Call,
        args: &[Value],
    ) -> Result<Value, FunctionError> {
        let function = self
            .get(name)
            .ok_or_else(|| FunctionError::new(format_args!("function {name:?} not defined")))?;
        function.check_count(args.len(), args.len())?;
        let fitted = args.iter().enumerate();
        let fitted: Vec<_> = fitted
            .map(|(index, value)| fit(value.clone(), function.param(index)))
            .collect::<Result<_, _>>()?;
        (function.body)(call, Args::new(&fitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{function::Standalone, value::Type};

    const TABLE: &[Function] = &[
        Function::variadic("all", &[Type::String, Type::Any], |_, args| {
            Ok(Value::list(args.all().to_vec()))
        }),
        Function::new("typed", &[Type::ANY_MAP], |_, args| {
            Ok(args.any(0).is_nil().into())
        }),
    ];

    fn call(name: &str, args: &[Value]) -> Result<Value, String> {
        let functions = Functions::from_tables(&[TABLE]);
        functions
            .call(name, &mut Standalone::default(), args)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_counted_and_typed() {
        let expected = "wrong number of args for all: want at least 1 got 0";
        assert_eq!(call("all", &[]), Err(expected.to_owned()));
        let expected = "invalid value; expected string";
        assert_eq!(call("all", &[Value::Nil]), Err(expected.to_owned()));
        assert_eq!(call("typed", &[Value::Nil]), Ok(true.into()));
        assert_eq!(
            call("all", &["a".into(), Value::Nil]),
            Ok(Value::list(vec!["a".into(), Value::Nil]))
        );
    }

    #[test]
    fn later_tables_win() {
        const OTHER: &[Function] = &[Function::new("typed", &[], |_, _| Ok("new".into()))];
        let functions = Functions::from_tables(&[TABLE, OTHER]);
        assert_eq!(functions.names(), ["all", "typed"]);
        assert!(
            functions
                .get("typed")
                .is_some_and(|found| found.params().is_empty())
        );
    }
}
