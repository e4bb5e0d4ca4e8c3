//! What functions know besides their arguments.

use std::{cell::RefCell, collections::HashMap, fmt, rc::Rc};

use pintle_gotemplate::{Call, FunctionError};

/// The current time. For a render of a commit, this is the commit's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// A source that is asked for the time only when a function needs it. A caller that caches results by their dependencies
/// therefore need not record the time for templates that never use it. A [`Clock`] in the same state takes precedence.
pub struct ClockSource(Box<dyn Fn() -> Clock>);

impl ClockSource {
    /// Creates a clock that calls a function, which always returns the same time.
    pub fn new(ask: impl Fn() -> Clock + 'static) -> Self {
        Self(Box::new(ask))
    }

    pub(crate) fn ask(&self) -> Clock {
        (self.0)()
    }
}

impl fmt::Debug for ClockSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClockSource")
    }
}

/// Derives this many bytes for a purpose.
type Derive = dyn Fn(&str, u32) -> Vec<u8>;

/// The source of everything that is random in Go: bytes derived from a secret seed and their purpose.
///
/// The purpose is a text, so that a render repeats. It consists of
///
/// - the function's name,
/// - the name of the template that is being rendered, and of the one in it that calls the function,
/// - the arguments that identify the secret: the length of a password, the name in a certificate,
/// - and how often all of these have already been the same in this render.
///
/// Lines and columns, other templates and other functions are not part of it. An edit elsewhere in a chart, or elsewhere in the
/// same file, therefore does not change a password. The password changes when its length changes, when its template is renamed,
/// or when a call with the same function and arguments is inserted before it in the same file. The seed belongs to one
/// application, so two releases of a chart share nothing.
pub struct Secrets {
    derive: Box<Derive>,
    counts: RefCell<HashMap<String, u64>>,
}

impl Secrets {
    /// Creates secrets from a function that returns the bytes for a purpose: always the same, and unrelated to those for other
    /// purposes.
    pub fn new(derive: impl Fn(&str, u32) -> Vec<u8> + 'static) -> Self {
        Self {
            derive: Box::new(derive),
            counts: RefCell::default(),
        }
    }

    /// Returns 32 bytes for a function call. `which` identifies what the call creates.
    pub(crate) fn seed(call: &dyn Call, which: &str) -> Result<[u8; 32], FunctionError> {
        let secrets = Self::of(call)?;
        let (function, at) = (call.function(), call.place());
        let place = format!("helm/{function}/{}/{}/{which}", at.root, at.template);
        let count = {
            let mut counts = secrets.counts.borrow_mut();
            let count = counts.entry(place.clone()).or_default();
            *count += 1;
            *count
        };
        secrets.bytes(&format!("{place}/{count}"))
    }

    /// Returns 32 bytes that are the same for all calls in all renders of the application.
    pub(crate) fn fixed(call: &dyn Call, purpose: &str) -> Result<[u8; 32], FunctionError> {
        Self::of(call)?.bytes(&format!("helm/{purpose}"))
    }

    fn of(call: &dyn Call) -> Result<&Self, FunctionError> {
        call.state().get::<Self>().ok_or_else(|| {
            FunctionError::new(
                "this render was given no secret seed, from which random values are derived",
            )
        })
    }

    fn bytes(&self, purpose: &str) -> Result<[u8; 32], FunctionError> {
        let bytes = (self.derive)(purpose, 32);
        bytes.try_into().map_err(|bytes: Vec<u8>| {
            FunctionError::new(format_args!(
                "a seed of 32 bytes was asked for, and {} came",
                bytes.len()
            ))
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secrets")
    }
}

/// Computes the base to the power of the exponent modulo the modulus.
type Calculate = dyn Fn(&[u8], &[u8], &[u8]) -> Option<Vec<u8>>;

/// Computes powers modulo large numbers, of which a key requires many. The work goes to a calculator that is faster than a
/// component can be, if there is one. The results are the same.
#[derive(Clone, Default)]
pub struct Powers(Option<Rc<Calculate>>);

impl Powers {
    /// Creates powers from a function that computes the first number to the power of the second, modulo the third. The numbers
    /// are unsigned, with the most significant byte first. If the function returns nothing, the power is computed here.
    pub fn new(calculate: impl Fn(&[u8], &[u8], &[u8]) -> Option<Vec<u8>> + 'static) -> Self {
        Self(Some(Rc::new(calculate)))
    }

    /// Returns the powers of a call's render, or ones without a calculator if the render has none.
    pub(crate) fn of(call: &dyn Call) -> Self {
        call.state().get::<Self>().cloned().unwrap_or_default()
    }

    pub(crate) fn ask(&self, base: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>> {
        let calculate = self.0.as_ref()?;
        calculate(base, exponent, modulus)
    }
}

impl fmt::Debug for Powers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Powers")
    }
}
