//! Patterns of `.Files.Glob`, as the Go library `gobwas/glob` has them, with `/` as separator.
//!
//! `*` and `?` stay within a part of the path, `**` crosses them, `[abc]`, `[a-z]` and `[!abc]` are characters, `{a,b}` is
//! either, a backslash takes the next character as it is. The library does not keep to that everywhere: `a/**/b` matches
//! `a/b`, and `{*.yaml,x.txt}` behind something fixed matches only names as long as `x.txt`. So a pattern is made here into
//! what the library makes of it, step by step, and that matches as it does there.

mod compiler;
mod matcher;
mod syntax;

use pintle_gotemplate::{Call, FunctionError};

use matcher::Matcher;
use syntax::{Node, Refused};

/// A pattern.
#[derive(Clone, Debug)]
pub(crate) struct Glob(Matcher);

impl Glob {
    /// Reads a pattern. One that is malformed matches everything, as in Helm.
    pub(crate) fn compile(pattern: &[u8], call: &mut dyn Call) -> Result<Self, FunctionError> {
        call.charge(pattern.len().saturating_mul(size_of::<Node>()))?;
        match syntax::parse(&String::from_utf8_lossy(pattern)) {
            Ok(tree) => Ok(Self(compiler::compile(&tree, call)?)),
            Err(Refused::Malformed) => Ok(Self(Matcher::Everything)),
            Err(refused @ Refused::TooDeep) => Err(FunctionError::new(refused)),
        }
    }

    /// Whether the whole path matches. The library panics at a few patterns, and that is an error as in Helm.
    pub(crate) fn matches(&self, path: &[u8], call: &mut dyn Call) -> Result<bool, FunctionError> {
        self.0.matches(path, call)
    }
}

#[cfg(test)]
mod tests;
