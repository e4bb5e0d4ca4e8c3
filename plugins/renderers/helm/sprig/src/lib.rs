//! The functions of sprig v3 for Go templates, and the ones for durations that Helm adds to them.
//!
//! [`tables`] has them all but `env` and `expandenv`, which Helm takes out. A render gives them what they may know of
//! the world through the [`State`](pintle_gotemplate::State) of its execution: a [`Clock`] and [`Secrets`]. With
//! [`Powers`] it makes keys faster, and the same ones.
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
//! - `now` is the time of the render's [`Clock`], and the local zone is UTC. Zones have the rules of today, also for dates
//!   in the past.
//! - What is random in Go is derived from the render's [`Secrets`]: see the [`Secrets`] for how.
//! - A certificate is not valid from this moment, which would be another one at each render, but from one of a row of times
//!   that are half of its life apart.
//! - Private keys that charts bring along must be of RSA with two primes, of ECDSA with P-256, P-384 or P-521, or Ed25519:
//!   Go also signs with P-224 and with more primes, which nobody has.
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

/// All functions, by theme.
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
