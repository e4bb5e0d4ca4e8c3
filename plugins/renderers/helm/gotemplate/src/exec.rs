//! Executes templates: walks their trees and writes the output.
//!
//! Functions through which evaluation recurses are not inlined into each other, and error messages are built in separate
//! functions. The stack space that a nesting level takes determines how deep templates may nest.

mod call;
mod error;
mod eval;
mod field;
mod literal;
mod operand;
mod separators;

use std::{collections::HashMap, fmt, rc::Rc};

pub use error::{ExecError, ExecuteError, Failure, Limit};
pub use separators::{Output, Separator};

use crate::{
    function::State,
    print,
    set::Set,
    syntax::{
        self,
        node::{Choice, Id, Invocation, List, Loop, Node, Source, Tree},
    },
    value::{Int, Kind, Value},
};
use operand::Operand;
use separators::Written;

/// The resources that an execution may use. Exceeding a limit is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of actions and calls to execute.
    pub steps: u64,
    /// The size of the output in bytes, including that of nested templates.
    pub output: usize,
    /// The number of bytes that functions request with [`Call::charge`](crate::Call::charge), plus the bytes of text and the list
    /// items that they return, over the whole execution.
    pub memory: usize,
    /// The nesting depth of templates, blocks and parentheses, where a template counts as four levels. Which depth is safe
    /// depends on the size of the stack.
    pub depth: usize,
}

impl Default for Limits {
    /// Returns limits that are far higher than any real template needs, and safe on a stack of 1 MiB in a release build.
    fn default() -> Self {
        Self {
            steps: 100_000_000,
            output: 256 << 20,
            memory: 1 << 30,
            depth: 1000,
        }
    }
}

/// The number of levels that a template counts for in [`Limits::depth`]. A call takes more stack space than a block.
const TEMPLATE_LEVELS: usize = 4;

/// The options of an execution.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The state that functions get from [`Call::state`](crate::Call::state).
    pub state: State,
    /// The resources that the execution may use.
    pub limits: Limits,
}

type Result<T, E = Box<ExecError>> = std::result::Result<T, E>;

/// How a loop continues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// One execution, from the requested template through everything it calls.
pub(crate) struct Executor<'o> {
    options: &'o Options,
    set: Rc<Set>,
    /// The requested template.
    root: Rc<str>,
    /// The template that is running.
    tree: Rc<Tree>,
    /// The node that errors name: the last one that evaluation reached, as in Go.
    at: Id,
    /// All variables. Those of the running template begin at `frame`.
    variables: Vec<(u32, Operand)>,
    frame: usize,
    out: Vec<u8>,
    /// The text of the requested template.
    source: Rc<Source>,
    /// The document separators in that text: their place in the output, and the place in the text where the next document begins.
    separators: Vec<(usize, usize)>,
    /// The number of functions that are executing templates whose output is not yet part of the whole output.
    captured: usize,
    steps: u64,
    memory: usize,
    depth: usize,
    /// The function that is running, and the node of its call.
    function: &'static str,
    called_at: Id,
    /// How often each place asked for its count.
    counts: HashMap<(Rc<str>, usize), u64>,
}

impl<'o> Executor<'o> {
    pub(crate) fn new(set: Rc<Set>, tree: Rc<Tree>, options: &'o Options) -> Self {
        Self {
            options,
            set,
            root: tree.name.clone(),
            source: tree.source.clone(),
            tree,
            at: 0,
            variables: Vec::new(),
            frame: 0,
            out: Vec::new(),
            separators: Vec::new(),
            captured: 0,
            steps: options.limits.steps,
            memory: options.limits.memory,
            depth: options.limits.depth,
            function: "",
            called_at: 0,
            counts: HashMap::new(),
        }
    }

    pub(crate) fn run(mut self, tree: &Rc<Tree>, data: &Value) -> Result<Output, ExecuteError> {
        self.template(tree, Operand::concrete(data.clone()))?;
        Ok(Output::new(self.out, &self.separators, &self.source))
    }

    // Errors

    /// Returns an error at the node that evaluation reached last.
    #[cold]
    #[inline(never)]
    fn error(&self, failure: Failure) -> Box<ExecError> {
        let (pos, expression) = syntax::find(&self.tree, self.at).unwrap_or_default();
        let (line, column) = self.tree.source.line_and_column(pos);
        Box::new(ExecError {
            source_name: self.tree.source.name.to_string(),
            line,
            column,
            template: self.tree.name.to_string(),
            expression,
            failure,
        })
    }

    #[cold]
    #[inline(never)]
    fn fail<T>(&self, text: fmt::Arguments<'_>) -> Result<T> {
        Err(self.error(Failure::Expression(text.to_string())))
    }

    #[cold]
    #[inline(never)]
    fn exceed<T>(&self, limit: Limit) -> Result<T> {
        Err(self.error(Failure::Limit(limit)))
    }

    fn step(&mut self) -> Result<()> {
        if self.steps == 0 {
            return self.exceed(Limit::Steps);
        }
        self.steps -= 1;
        Ok(())
    }

    /// Runs a function `levels` deeper.
    fn deeper<T>(&mut self, levels: usize, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth < levels {
            return self.exceed(Limit::Depth(self.options.limits.depth));
        }
        self.depth -= levels;
        let result = run(self);
        self.depth += levels;
        result
    }

    // Templates

    /// Runs a template with its own variables. At first, `$` is the only one.
    #[inline(never)]
    fn template(&mut self, tree: &Rc<Tree>, dot: Operand) -> Result<()> {
        let caller = std::mem::replace(&mut self.tree, tree.clone());
        let (at, frame) = (self.at, self.frame);
        self.frame = self.variables.len();
        self.variables.push((0, dot.clone()));
        let result = self.deeper(TEMPLATE_LEVELS, |executor| executor.list(&dot, &tree.root));
        self.variables.truncate(self.frame);
        self.frame = frame;
        self.at = at;
        self.tree = caller;
        result.map(|_| ())
    }

    #[inline(never)]
    fn list(&mut self, dot: &Operand, list: &List) -> Result<Flow> {
        for node in list {
            self.step()?;
            let flow = match node {
                Node::Text(range) => {
                    let text = &self.tree.source.text[range.clone()];
                    let before = self.out.len();
                    self.out.extend_from_slice(text);
                    self.note_separators(before, Written::Text(range.start));
                    self.check_output()?;
                    Flow::Next
                }
                Node::Action(action) => {
                    let value = self.pipeline(dot, &action.pipe)?;
                    if action.pipe.variables.is_empty() {
                        self.at = action.id;
                        let before = self.out.len();
                        self.write(&value)?;
                        self.note_separators(before, Written::Action(action.id));
                    }
                    Flow::Next
                }
                Node::If(choice) => self.choice(dot, choice, false)?,
                Node::With(choice) => self.choice(dot, choice, true)?,
                Node::Range(range) => self.range(dot, range)?,
                Node::Template(invocation) => {
                    self.invocation(dot, invocation)?;
                    Flow::Next
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    #[inline(never)]
    fn write(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Nil => self.out.extend_from_slice(b"<no value>"),
            Value::String(text) => self.out.extend_from_slice(text),
            Value::Object(object) if object.go_type().kind() == Kind::Func => {
                return self.fail(format_args!(
                    "can't print {} of type {}",
                    self.expression(),
                    object.go_type()
                ));
            }
            other => {
                if let Err(error) = print::append_result(&mut self.out, other) {
                    return self.fail(format_args!("{error}"));
                }
            }
        }
        self.check_output()
    }

    /// Returns the text of the node that evaluation reached last.
    fn expression(&self) -> String {
        syntax::find(&self.tree, self.at).unwrap_or_default().1
    }

    fn check_output(&self) -> Result<()> {
        if self.out.len() > self.options.limits.output {
            return self.exceed(Limit::Output);
        }
        Ok(())
    }

    #[inline(never)]
    fn invocation(&mut self, dot: &Operand, invocation: &Invocation) -> Result<()> {
        self.at = invocation.id;
        let Some(tree) = self.set.tree(&invocation.name).cloned() else {
            return self.fail(format_args!("template {:?} not defined", invocation.name));
        };
        let data = match &invocation.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Value::Nil,
        };
        self.template(&tree, Operand::concrete(data))
    }

    // Blocks

    #[inline(never)]
    fn choice(&mut self, dot: &Operand, choice: &Choice, moves_dot: bool) -> Result<Flow> {
        let scope = self.variables.len();
        let mut flow = None;
        for (pipe, body) in &choice.arms {
            let value = self.pipeline(dot, pipe)?;
            if value.is_true() {
                flow = Some(if moves_dot {
                    let dot = Operand::concrete(value);
                    self.deeper(1, |executor| executor.list(&dot, body))?
                } else {
                    self.deeper(1, |executor| executor.list(dot, body))?
                });
                break;
            }
        }
        let flow = match (flow, &choice.otherwise) {
            (Some(flow), _) => flow,
            (None, Some(body)) => self.deeper(1, |executor| executor.list(dot, body))?,
            (None, None) => Flow::Next,
        };
        self.variables.truncate(scope);
        Ok(flow)
    }

    #[inline(never)]
    fn range(&mut self, dot: &Operand, range: &Loop) -> Result<Flow> {
        let scope = self.variables.len();
        let value = self.pipeline(dot, &range.pipe)?;
        let ran = self.iterate(range, &value)?;
        let flow = match &range.otherwise {
            Some(body) if !ran => self.deeper(1, |executor| executor.list(dot, body))?,
            _ => Flow::Next,
        };
        self.variables.truncate(scope);
        // A `break` that parses as part of the enclosing loop ends this one. Only `continue` reaches the enclosing loop.
        Ok(match flow {
            Flow::Break => Flow::Next,
            flow => flow,
        })
    }

    /// Runs the body for each item. Returns whether there was any.
    #[inline(never)]
    fn iterate(&mut self, range: &Loop, value: &Value) -> Result<bool> {
        match value {
            Value::Nil => Ok(false),
            Value::Int(int) => self.count_up(range, *int),
            Value::List(list) => {
                let of = list.go_type().elem();
                for (index, item) in list.iter().enumerate() {
                    let index = Operand::concrete(Value::int(i64::try_from(index).unwrap_or(0)));
                    if self.iteration(range, index, Operand::of(item, of))? == Flow::Break {
                        break;
                    }
                }
                Ok(!list.is_empty())
            }
            Value::Map(map) => {
                let of = map.go_type().elem();
                // The body may change the map. As in Go, the loop does not see the change.
                let entries = map.entries();
                let any = !entries.is_empty();
                for (key, item) in entries {
                    let key = Operand::concrete(Value::String(key));
                    if self.iteration(range, key, Operand::of(item, of))? == Flow::Break {
                        break;
                    }
                }
                Ok(any)
            }
            Value::Object(object)
                if matches!(
                    object.go_type().kind(),
                    Kind::Map | Kind::Slice | Kind::Int(_)
                ) =>
            {
                self.iterate(range, &object.to_plain())
            }
            other => {
                let shown = shown(other);
                self.fail(format_args!("range can't iterate over {shown}"))
            }
        }
    }

    #[inline(never)]
    fn count_up(&mut self, range: &Loop, end: Int) -> Result<bool> {
        if range.pipe.variables.len() > 1 {
            return self.fail(format_args!(
                "can't use {end} to iterate over more than one variable"
            ));
        }
        let mut ran = false;
        for number in 0..end.as_u64().unwrap_or(0) {
            ran = true;
            let number = Operand::concrete(Value::Int(Int::unsigned(end.kind(), number)));
            if self.iteration(range, Operand::concrete(Value::Nil), number)? == Flow::Break {
                break;
            }
        }
        Ok(ran)
    }

    fn iteration(&mut self, range: &Loop, index: Operand, item: Operand) -> Result<Flow> {
        self.step()?;
        let variables = &range.pipe.variables;
        if range.pipe.assigns {
            match &variables[..] {
                [one] => self.assign(one, item.clone())?,
                [one, two] => {
                    self.assign(one, index)?;
                    self.assign(two, item.clone())?;
                }
                _ => {}
            }
        } else {
            // The pipeline has pushed the variables. The last one is the item.
            let top = self.variables.len();
            if variables.len() > 1 {
                self.variables[top - 2].1 = index;
            }
            if !variables.is_empty() {
                self.variables[top - 1].1 = item.clone();
            }
        }
        let scope = self.variables.len();
        let flow = self.deeper(1, |executor| executor.list(&item, &range.body))?;
        self.variables.truncate(scope);
        Ok(flow)
    }
}

/// Formats a value for an error message.
fn shown(value: &Value) -> String {
    match print::value(value) {
        Ok(text) => text.to_str_lossy().into_owned(),
        Err(_) => value.go_type().to_string(),
    }
}
