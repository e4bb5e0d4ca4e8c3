//! What a function sees of the execution that calls it.

use std::{any::Any, rc::Rc};

use super::FunctionError;
use crate::{
    exec::{Limit, Options},
    set::Set,
    value::{Text, Value},
};

/// Where in the templates a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The name of the template that is being rendered, from which all others are called.
    pub root: &'a str,
    /// The name under which the text around the call was parsed.
    pub template: &'a str,
    /// The line from 1.
    pub line: usize,
    /// The column in bytes from 0, as Go counts.
    pub column: usize,
}

/// The execution that calls a function.
pub trait Call {
    /// The name under which the function was called.
    fn function(&self) -> &str;

    /// Where the call stands. Together with [`Call::count`] it is unique among the templates of one name space, and the
    /// same in the next render.
    fn place(&self) -> Place<'_>;

    /// How many times before this the same place has asked for its count since the root template began: 0 at first.
    fn count(&mut self) -> u64;

    /// What the caller of the render gave its functions.
    fn state(&self) -> &State;

    /// Pays for `bytes` of memory or work beyond what the arguments' size explains, before it is done.
    ///
    /// Fails when the render's limit is reached: return that error as it is.
    fn charge(&mut self, bytes: usize) -> Result<(), FunctionError>;

    /// The templates among which the call stands; None if no template makes the call.
    fn templates(&self) -> Option<&Rc<Set>>;

    /// What a template of a set gives for some data. Limits are those of the whole execution.
    fn execute(&mut self, set: &Rc<Set>, name: &str, data: &Value) -> Result<Text, FunctionError>;
}

/// What functions need besides their arguments, found by type: a seed, the time, a cluster.
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
    /// The state with one more entry; one of the same type is hidden by it.
    #[must_use]
    pub fn with<T: 'static>(mut self, entry: T) -> Self {
        self.0.insert(0, Rc::new(entry));
        self
    }

    /// The entry of the type `T`.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.iter().find_map(|entry| entry.downcast_ref())
    }
}

/// A call that no template makes: for tests, and for whoever calls functions directly.
#[derive(Clone, Debug, Default)]
pub struct Standalone {
    /// What [`Call::state`] gives.
    pub state: State,
    /// What [`Call::function`] gives.
    pub function: String,
    /// What [`Call::place`] gives as template and root.
    pub template: String,
    /// What [`Call::count`] gives next.
    pub count: u64,
    /// What is left to [`Call::charge`]; no limit if None.
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
