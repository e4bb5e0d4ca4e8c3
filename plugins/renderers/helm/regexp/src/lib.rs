//! Regular expressions with the syntax, the errors and the results of Go's `regexp`: what templates match with, and the
//! patterns of JSON Schemas.
//!
//! What Go refuses (`(?=a)`, `a++`) or reads in its own way (`\<`, `[[a]`, `{`) is part of what charts rely on.
//!
//! ```
//! use pintle_goregexp::Regex;
//!
//! let regex = Regex::new(br"^\p{Lu}\d{2,}$")?;
//! assert!(regex.is_match("Ä12".as_bytes()) && !regex.is_match(b"a12"));
//! let error = Regex::new(b"a(?=b)").err().expect("Go does not look around");
//! assert_eq!(error.to_string(), "error parsing regexp: invalid or unsupported Perl syntax: `(?=`");
//! # Ok::<(), pintle_goregexp::SyntaxError>(())
//! ```
//!
//! # Where the results are not Go's
//!
//! Groups nest 250 deep at most, and a compiled expression takes 4 MiB at most; Go stops at 1000 and at 128 MiB.

mod class;
mod group;
mod matcher;
mod syntax;

pub use matcher::{Haystack, Match, Regex};
pub use syntax::SyntaxError;
