//! Patterns of `.Files.Glob` as in the Go library `gobwas/glob`, with `/` as separator.
//!
//! `*` and `?` stay within a part of the path, and `**` crosses parts. `[abc]`, `[a-z]` and `[!abc]` are character classes,
//! `{a,b}` is either alternative, and a backslash takes the next character literally. The library does not follow these rules
//! everywhere: `a/**/b` matches `a/b`, and `{*.yaml,x.txt}` after something fixed matches only names as long as `x.txt`. This
//! module therefore compiles a pattern step by step as the library does, and matches in the same way.

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
    /// Compiles a pattern. A malformed pattern matches everything, as in Helm.
    pub(crate) fn compile(pattern: &[u8], call: &mut dyn Call) -> Result<Self, FunctionError> {
        call.charge(pattern.len().saturating_mul(size_of::<Node>()))?;
        match syntax::parse(&String::from_utf8_lossy(pattern)) {
            Ok(tree) => Ok(Self(compiler::compile(&tree, call)?)),
            Err(Refused::Malformed) => Ok(Self(Matcher::Everything)),
            Err(refused @ Refused::TooDeep) => Err(FunctionError::new(refused)),
        }
    }

    /// Returns whether the whole path matches. The library panics on a few patterns, which is an error here as in Helm.
    pub(crate) fn matches(&self, path: &[u8], call: &mut dyn Call) -> Result<bool, FunctionError> {
        self.0.matches(path, call)
    }
}

#[cfg(test)]
mod tests;
