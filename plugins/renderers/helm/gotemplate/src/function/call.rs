//! What a function can see of the execution that calls it.

use std::{any::Any, rc::Rc};

use super::FunctionError;
use crate::{
    exec::{Limit, Options},
    set::Set,
    value::{Text, Value},
};

/// The place of a call in the templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The name of the template that is being rendered and from which all others are called.
    pub root: &'a str,
    /// The name under which the text with the call was parsed.
    pub template: &'a str,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes from 0, as in Go.
    pub column: usize,
}

/// The execution that calls a function.
pub trait Call {
    /// Returns the name under which the function was called.
    fn function(&self) -> &str;

    /// Returns the place of the call. Together with [`Call::count`], it is unique among the templates of one namespace, and the
    /// same in the next render.
    fn place(&self) -> Place<'_>;

    /// Returns how many times the same place asked for its count before, since the root template began; 0 at first.
    fn count(&mut self) -> u64;

    /// Returns the state that the caller of the render provides to its functions.
    fn state(&self) -> &State;

    /// Pays in advance for `bytes` of memory or work beyond what the size of the arguments explains.
    ///
    /// Fails when the render's limit is reached. Return that error unchanged.
    fn charge(&mut self, bytes: usize) -> Result<(), FunctionError>;

    /// Returns the set of templates that the call belongs to; None if no template makes the call.
    fn templates(&self) -> Option<&Rc<Set>>;

    /// Executes a template of a set with some data and returns its output. The limits are those of the whole execution.
    fn execute(&mut self, set: &Rc<Set>, name: &str, data: &Value) -> Result<Text, FunctionError>;
}

/// What functions need besides their arguments, looked up by type: a seed, the time, a cluster.
///
/// ```
/// use pintle_gotemplate::State;
///
/// struct Now(i64);
/// let state = State::default().with(Now(1_700_000_000));
/// assert_eq!(state.get::<Now>().map(|now| now.0), Some(1_700_000_000));
/// assert!(state.get::<String>().is_none());
/// ```
#[derive(Clone, Debug, Default)]
pub struct State(Vec<Rc<dyn Any>>);

impl State {
    /// Adds an entry. It hides an existing one of the same type.
    #[must_use]
    pub fn with<T: 'static>(mut self, entry: T) -> Self {
        self.0.insert(0, Rc::new(entry));
        self
    }

    /// Returns the entry of the type `T`.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.iter().find_map(|entry| entry.downcast_ref())
    }
}

/// A call that no template makes, for tests and for code that calls functions directly.
#[derive(Clone, Debug, Default)]
pub struct Standalone {
    /// The result of [`Call::state`].
    pub state: State,
    /// The result of [`Call::function`].
    pub function: String,
    /// The template and the root in the result of [`Call::place`].
    pub template: String,
    /// The next result of [`Call::count`].
    pub count: u64,
    /// The remaining budget for [`Call::charge`]; no limit if None.
    pub budget: Option<usize>,
}

impl Call for Standalone {
    fn function(&self) -> &str {
        &self.function
    }

    fn place(&self) -> Place<'_> {
        Place {
            root: &self.template,
            template: &self.template,
            line: 1,
            column: 0,
        }
    }

    fn count(&mut self) -> u64 {
        let count = self.count;
        self.count += 1;
        count
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn charge(&mut self, bytes: usize) -> Result<(), FunctionError> {
        if let Some(budget) = &mut self.budget {
            *budget = budget
                .checked_sub(bytes)
                .ok_or(FunctionError::Limit(Limit::Memory))?;
        }
        Ok(())
    }

    fn templates(&self) -> Option<&Rc<Set>> {
        None
    }

    fn execute(&mut self, set: &Rc<Set>, name: &str, data: &Value) -> Result<Text, FunctionError> {
        let options = Options {
            state: self.state.clone(),
            ..Options::default()
        };
        set.execute(name, data, &options)
            .map(Text::from)
            .map_err(FunctionError::from)
    }
}
