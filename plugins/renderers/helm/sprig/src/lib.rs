//! The functions of sprig v3 for Go templates, and the functions for durations that Helm adds to them.
//!
//! [`tables`] has all of them except `env` and `expandenv`, which Helm removes. A render tells them what they may know through
//! the [`State`](pintle_gotemplate::State) of its execution: a [`Clock`] and [`Secrets`]. With [`Powers`], it creates the same
//! keys faster.
//!
//! ```
//! use pintle_gotemplate::{Functions, Standalone, Value};
//!
//! let functions = Functions::from_tables(pintle_sprig::tables());
//! let mut call = Standalone::default();
//! assert_eq!(functions.call("upper", &mut call, &["web".into()])?, Value::from("WEB"));
//! # Ok::<(), pintle_gotemplate::FunctionError>(())
//! ```
//!
//! # Where the results are not Go's
//!
//! - Where Go's order is random (`keys`, `values`), it is that of the keys.
//! - `now` is the time of the render's [`Clock`], and the local zone is UTC. Zones have today's rules, also for dates in the
//!   past.
//! - What is random in Go is derived from the render's [`Secrets`], as described there.
//! - A certificate is not valid from the current moment, which would differ in each render, but from one of a series of times
//!   spaced by half its lifetime.
//! - Private keys that charts supply must be RSA with two primes, ECDSA with P-256, P-384 or P-521, or Ed25519. Go also signs
//!   with P-224 and with more primes, which nobody uses.
//! - `getHostByName` is empty, as in Helm without `--enable-dns`.

mod case;
mod cast;
mod context;
mod crypto;
mod dates;
mod decimal;
mod defaults;
mod dicts;
mod encodings;
mod go;
mod lists;
mod math;
mod merge;
mod network;
mod paths;
mod random;
mod reflection;
mod regexes;
mod semver;
mod strings;
mod words;

use pintle_gotemplate::{Function, FunctionError, Value};

pub use context::{Clock, ClockSource, Powers, Secrets};
pub use dates::toml_time;

type Outcome = Result<Value, FunctionError>;

/// Returns all functions, by theme.
pub fn tables() -> &'static [&'static [Function]] {
    &[
        case::FUNCTIONS,
        crypto::CERTIFICATE_FUNCTIONS,
        crypto::FUNCTIONS,
        dates::DURATION_FUNCTIONS,
        dates::FUNCTIONS,
        defaults::FUNCTIONS,
        dicts::FUNCTIONS,
        encodings::FUNCTIONS,
        lists::FUNCTIONS,
        math::FUNCTIONS,
        network::FUNCTIONS,
        paths::FUNCTIONS,
        random::FUNCTIONS,
        reflection::FUNCTIONS,
        regexes::FUNCTIONS,
        semver::FUNCTIONS,
        strings::FUNCTIONS,
    ]
}
