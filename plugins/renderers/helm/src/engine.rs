//! Helm's template engine: all templates of a chart and its dependencies share one namespace.
//!
//! The rules are those of `pkg/engine` in Helm 4: the order of parsing and rendering, which determines whose `define` of a name
//! counts and who sees what `set` has changed; `include` and `tpl`; the form of errors. The caller decides what is rendered with
//! which values, as [`Template`]s.

mod encode;
mod error;
mod functions;
mod tpl;

use std::{cmp::Reverse, fmt, rc::Rc};

use memchr::memmem;
use pintle_gotemplate::{
    Functions, Limits, Map, MissingKey, Options, Separator, Set, State, Text, Type,
};

pub use error::RenderError;
pub use functions::Lookup;
pub use pintle_helm_chart::values::VALUES;

use crate::memory::leave;
use functions::Includes;
use tpl::Cache;

/// The name of the template set, and of the texts that `tpl` renders. It appears in Helm's errors.
const SET: &str = "gotpl";

/// The text that Go prints for a missing value and that Helm removes.
const NO_VALUE: &[u8] = b"<no value>";

/// A file among the templates of a chart.
#[derive(Clone, Debug)]
pub struct Template {
    /// The path, including the enclosing charts: `parent/charts/child/templates/deployment.yaml`.
    pub name: String,
    /// The `BasePath` that templates see: `parent/charts/child/templates`.
    pub base_path: String,
    /// The text of the template.
    pub text: Text,
    /// The value of `.` in the template: a map of the type [`VALUES`], which all templates of a chart share.
    pub values: Map,
}

/// The output of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The name of the template.
    pub name: String,
    /// The output, as Helm has it: without `<no value>`.
    pub text: Text,
    /// The lines in the template's text from which the documents in the output come.
    pub separators: Vec<Separator>,
}

/// Renders templates.
#[derive(Clone)]
pub struct Engine {
    functions: Functions,
    state: State,
    limits: Limits,
}

impl Engine {
    /// Creates an engine with Helm's functions. `state` holds what functions look up: the seed and the time for sprig's
    /// functions.
    pub fn new(state: State) -> Self {
        Self {
            functions: functions::all(),
            state,
            limits: Limits::default(),
        }
    }

    /// Lets `lookup` query a cluster. Without this, it finds nothing, as in `helm template`.
    #[must_use]
    pub fn with_lookup(mut self, lookup: Rc<dyn Lookup>) -> Self {
        self.state = self.state.with(lookup);
        self
    }

    /// Sets other limits for each template.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns the functions that templates can call in addition to those of the language itself.
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Parses all templates, and renders those that are not partials in Helm's order. The result has the same order.
    ///
    /// The key `Template` of the values changes during the call.
    pub fn render(&self, mut templates: Vec<Template>) -> Result<Vec<Rendered>, RenderError> {
        templates.sort_by_cached_key(|template| Reverse(order(&template.name)));
        let mut set = Set::new(SET, self.functions.clone()).with_missing_key(MissingKey::Zero);
        for template in &templates {
            set.parse(&template.name, template.text.clone())
                .map_err(RenderError::parse)?;
        }
        let set = Rc::new(set);
        let state = self
            .state
            .clone()
            .with(Rc::new(Includes::default()))
            .with(Rc::new(Cache::default()));
        let options = Options {
            state,
            limits: self.limits,
        };
        let files = templates
            .iter()
            .filter(|template| !is_partial(&template.name));
        let rendered = files
            .map(|template| {
                template.announce()?;
                let data = template.values.clone().into();
                let mut output = set
                    .execute_noting(&template.name, &data, &options)
                    .map_err(RenderError::execution)?;
                shift(&mut output.separators, &output.bytes);
                Ok(Rendered {
                    name: template.name.clone(),
                    text: without_no_value(output.bytes).into(),
                    separators: output.separators,
                })
            })
            .collect();
        leave((set, templates));
        rendered
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Template {
    /// Stores the template's name where templates look for it.
    fn announce(&self) -> Result<(), RenderError> {
        let own = Map::typed(Type::Named(&VALUES));
        let refused = |_| RenderError::values(&self.name);
        own.insert("Name", self.name.as_str().into())
            .map_err(refused)?;
        own.insert("BasePath", self.base_path.as_str().into())
            .map_err(refused)?;
        self.values.insert("Template", own.into()).map_err(refused)
    }
}

/// Returns the key by which templates are sorted in descending order: files in deeper folders come before those above them.
fn order(name: &str) -> (usize, String) {
    (name.matches('/').count(), name.to_owned())
}

fn is_partial(name: &str) -> bool {
    let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
    file.starts_with('_')
}

/// Moves the separators of a text to their places after each `<no value>` before them is removed.
fn shift(separators: &mut [Separator], text: &[u8]) {
    if separators.is_empty() {
        return;
    }
    let removed: Vec<usize> = memmem::find_iter(text, NO_VALUE).collect();
    for separator in separators {
        let before = removed.partition_point(|&at| at < separator.at);
        separator.at -= before * NO_VALUE.len();
    }
}

/// Returns the text without any `<no value>`.
fn without_no_value(text: Vec<u8>) -> Vec<u8> {
    let mut rest = &text[..];
    let mut out = Vec::new();
    while let Some(found) = memmem::find(rest, NO_VALUE) {
        out.extend_from_slice(&rest[..found]);
        rest = &rest[found + NO_VALUE.len()..];
    }
    if rest.len() == text.len() {
        return text;
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests;
