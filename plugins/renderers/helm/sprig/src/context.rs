//! What functions know of the world besides their arguments.

use std::{cell::RefCell, collections::HashMap, fmt, rc::Rc};

use pintle_gotemplate::{Call, FunctionError};

/// What time it is: for a render of a commit, the commit's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds of the second, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// Says what time it is only when a function asks: whoever keeps a result by what it depends on need not note the time
/// for templates that never look at it. A [`Clock`] beside it comes first.
pub struct ClockSource(Box<dyn Fn() -> Clock>);

impl ClockSource {
    /// A clock that is asked by calling a function, which always says the same.
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

/// Gives so many bytes for a purpose.
type Derive = dyn Fn(&str, u32) -> Vec<u8>;

/// The source of everything that is random in Go: bytes derived from a secret seed and from what they are for.
///
/// What they are for is named by a text, the purpose, so that a render repeats. It is made of
///
/// - the function's name,
/// - the name of the template that is being rendered, and of the one in it that calls the function,
/// - the arguments that say which secret is meant: the length of a password, the name in a certificate,
/// - and how many times before this, in this render, all of that was the same.
///
/// Lines and columns are no part of it, nor are other templates or other functions: an edit elsewhere in a chart, or
/// elsewhere in the same file, leaves a password as it is. It changes when its length does, when its template is
/// renamed, or when a call with the same function and arguments is put before it in the same file. The seed belongs to
/// one application, so that two releases of a chart share nothing.
pub struct Secrets {
    derive: Box<Derive>,
    counts: RefCell<HashMap<String, u64>>,
}

impl Secrets {
    /// Secrets from a function that gives the bytes for a purpose: always the same, and unrelated to those of others.
    pub fn new(derive: impl Fn(&str, u32) -> Vec<u8> + 'static) -> Self {
        Self {
            derive: Box::new(derive),
            counts: RefCell::default(),
        }
    }

    /// 32 bytes for a call of a function, of which `which` says what it is to make.
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

    /// 32 bytes that are the same for all calls in all renders of the application.
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

/// Gives the base to the power of the exponent modulo the modulus.
type Calculate = dyn Fn(&[u8], &[u8], &[u8]) -> Option<Vec<u8>>;

/// Who calculates powers modulo large numbers, of which a key takes many: somebody who is faster at it than a component
/// can be, if there is one. The results are the same.
#[derive(Clone, Default)]
pub struct Powers(Option<Rc<Calculate>>);

impl Powers {
    /// Powers from a function that gives the first number to the power of the second, modulo the third: unsigned numbers,
    /// the most significant byte first. What it gives nothing for is calculated here.
    pub fn new(calculate: impl Fn(&[u8], &[u8], &[u8]) -> Option<Vec<u8>> + 'static) -> Self {
        Self(Some(Rc::new(calculate)))
    }

    /// Those of a call's render; nobody's where it was given none.
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
