//! Sets of templates that can call each other.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::{
    exec::{ExecuteError, Executor, Options, Output},
    function::Functions,
    syntax::{Delimiters, ParseError, node::Tree, parse},
    value::{Text, Value},
};

/// The result of a lookup of a key that a map does not have: Go's `missingkey` option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// No value at all. It prints as `<no value>`, and its fields are also no value.
    #[default]
    Default,
    /// The zero value of the map's element type. For `map[string]interface {}`, this is nil, which also prints as `<no value>`,
    /// but whose fields are an error.
    Zero,
    /// An error.
    Error,
}

/// A set of templates that can call each other, and the functions available to them.
///
/// See the crate's documentation for an example.
#[derive(Clone, Debug)]
pub struct Set {
    name: Rc<str>,
    functions: Rc<Functions>,
    marks: Delimiters,
    missing_key: MissingKey,
    outer: Option<Rc<Set>>,
    trees: FxHashMap<Rc<str>, Rc<Tree>>,
}

impl Set {
    /// Creates an empty set. The name appears in errors.
    pub fn new(name: &str, functions: Functions) -> Self {
        Self {
            name: name.into(),
            functions: Rc::new(functions),
            marks: Delimiters::default(),
            missing_key: MissingKey::Default,
            outer: None,
            trees: FxHashMap::default(),
        }
    }

    /// Sets the result of missing keys.
    #[must_use]
    pub fn with_missing_key(self, missing_key: MissingKey) -> Self {
        Self {
            missing_key,
            ..self
        }
    }

    /// Sets the marks around actions for texts that are parsed from now on.
    #[must_use]
    pub fn with_delimiters(self, marks: Delimiters) -> Self {
        Self { marks, ..self }
    }

    /// Creates a set that has all templates of this one, and to which more can be added without affecting this one. It does what
    /// Go's `Clone` is used for, at no cost.
    #[must_use]
    pub fn extend(self: &Rc<Self>) -> Self {
        Self {
            name: self.name.clone(),
            functions: self.functions.clone(),
            marks: self.marks.clone(),
            missing_key: self.missing_key,
            outer: Some(self.clone()),
            trees: FxHashMap::default(),
        }
    }

    /// Parses a text, and adds it and all templates that it defines.
    ///
    /// A template replaces another one of the same name, unless it contains only whitespace and comments.
    pub fn parse(&mut self, name: &str, text: impl Into<Text>) -> Result<(), ParseError> {
        let trees = parse::parse(&name.into(), text.into(), &self.marks, &self.functions)?;
        for tree in trees {
            if !(tree.is_empty() && self.contains(&tree.name)) {
                self.trees.insert(tree.name.clone(), tree);
            }
        }
        Ok(())
    }

    /// Parses like [`Self::parse`], for a text that will itself be executed under the name, even if it contains only whitespace.
    pub fn parse_main(&mut self, name: &str, text: impl Into<Text>) -> Result<(), ParseError> {
        let name: Rc<str> = name.into();
        let trees = parse::parse(&name, text.into(), &self.marks, &self.functions)?;
        for tree in trees {
            if tree.name == name || !(tree.is_empty() && self.contains(&tree.name)) {
                self.trees.insert(tree.name.clone(), tree);
            }
        }
        Ok(())
    }

    /// Returns the name of the set in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether there is a template of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.tree(name).is_some()
    }

    /// Returns the names of all templates, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names = self
            .outer
            .as_ref()
            .map_or(Vec::new(), |outer| outer.names());
        names.extend(self.trees.keys().map(AsRef::as_ref));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Executes a template with some data and returns its output.
    pub fn execute(
        self: &Rc<Self>,
        name: &str,
        data: &Value,
        options: &Options,
    ) -> Result<Vec<u8>, ExecuteError> {
        Ok(self.execute_noting(name, data, options)?.bytes)
    }

    /// Executes a template with some data. Returns its output and the lines of its text from which the documents in the output
    /// come.
    pub fn execute_noting(
        self: &Rc<Self>,
        name: &str,
        data: &Value,
        options: &Options,
    ) -> Result<Output, ExecuteError> {
        let tree = self.find(name)?;
        Executor::new(self.clone(), tree.clone(), options).run(&tree, data)
    }

    pub(crate) fn find(&self, name: &str) -> Result<Rc<Tree>, ExecuteError> {
        self.tree(name)
            .cloned()
            .ok_or_else(|| ExecuteError::Missing {
                name: name.to_owned(),
                set: self.name.to_string(),
            })
    }

    pub(crate) fn tree(&self, name: &str) -> Option<&Rc<Tree>> {
        self.trees
            .get(name)
            .or_else(|| self.outer.as_ref()?.tree(name))
    }

    pub(crate) fn missing_key(&self) -> MissingKey {
        self.missing_key
    }
}
