//! Semantic versions and constraints on them: [`pintle_gosemver`] for templates.

mod object;

use pintle_gosemver::{Constraint, Version};
use pintle_gotemplate::{Function, FunctionError, Type, Value};

use object::VersionObject;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("semver", &[Type::String], |_, args| {
        let version = Version::parse(args.text(0)?).map_err(FunctionError::new)?;
        Ok(Value::object(VersionObject::pointer(version)))
    }),
    Function::new("semverCompare", &[Type::String, Type::String], |_, args| {
        let constraint = Constraint::parse(args.text(0)?).map_err(FunctionError::new)?;
        let version = Version::parse(args.text(1)?).map_err(FunctionError::new)?;
        Ok(constraint.allows(&version).into())
    }),
];
