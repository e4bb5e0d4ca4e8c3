//! Regular expressions with the syntax, errors and results of Go's `regexp`. Templates match with them, and JSON Schemas use them
//! as patterns.
//!
//! Charts rely on what Go refuses (`(?=a)`, `a++`) and on what it interprets in its own way (`\<`, `[[a]`, `{`).
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
//! Groups nest at most 250 deep, and a compiled expression takes at most 4 MiB. Go's limits are 1000 and 128 MiB.

mod class;
mod group;
mod matcher;
mod syntax;

pub use matcher::{Haystack, Match, Regex};
pub use syntax::SyntaxError;
