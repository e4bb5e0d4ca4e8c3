//! Regular expressions with the syntax, the errors and the results of Go's `regexp`.

mod class;
mod functions;
mod group;
mod matcher;
mod syntax;

pub(crate) use functions::FUNCTIONS;
