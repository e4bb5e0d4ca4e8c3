//! Reads TOML: the tables, and what may be defined twice.
//!
//! The reader remembers by path which tables are implicit and which values are arrays. The rules are the library's, which accepts
//! some texts that the specification does not allow.

mod error;
mod scan;
mod tree;
mod value;

use pintle_gotemplate::{Text, Value};

pub use error::TomlError;

use super::DateTime;
use scan::Scanner;
use tree::Tree;

/// The maximum nesting depth of tables and arrays. The library has no limit.
const MAX_DEPTH: usize = 100;

/// Reads a document, which is always a map. Integers become `int64`, arrays of tables become `[]map[string]interface{}`, and
/// `time` converts times to values.
pub fn read(text: &[u8], time: &dyn Fn(&DateTime) -> Value) -> Result<Value, TomlError> {
    let text = match text {
        [0xff, 0xfe, rest @ ..] | [0xfe, 0xff, rest @ ..] | [0xef, 0xbb, 0xbf, rest @ ..] => rest,
        _ => text,
    };
    if text[..text.len().min(6)].contains(&0) {
        let problem =
            "files cannot contain NULL bytes; probably using UTF-16; TOML files must be UTF-8";
        return Err(TomlError::new(1, &[], None, problem.to_owned()));
    }
    let mut reader = Reader {
        scanner: Scanner::new(text),
        tree: Tree::default(),
        context: Vec::new(),
        key: None,
        key_line: 1,
        time,
    };
    match reader.document() {
        Ok(()) => Ok(reader.tree.into_value()),
        Err(problem) => Err(reader.error(problem)),
    }
}

/// The error, and its line if that is not the line of the last key.
struct Problem {
    line: Option<usize>,
    text: String,
}

struct Reader<'a> {
    scanner: Scanner<'a>,
    tree: Tree,
    /// The path of the current table.
    context: Vec<Text>,
    /// The key whose value is being read.
    key: Option<Text>,
    /// The line of the last key.
    key_line: usize,
    time: &'a dyn Fn(&DateTime) -> Value,
}

impl Reader<'_> {
    fn error(&self, problem: Problem) -> TomlError {
        let line = problem.line.unwrap_or(self.key_line);
        TomlError::new(line, &self.context, self.key.as_ref(), problem.text)
    }

    fn document(&mut self) -> Result<(), Problem> {
        loop {
            self.scanner.skip_lines()?;
            match self.scanner.peek() {
                None => return self.scanner.check_end(),
                Some(b'[') => self.header()?,
                Some(_) => {
                    let context = self.context.clone();
                    self.pair()?;
                    self.context = context;
                    self.key = None;
                }
            }
            self.scanner.end_of_line()?;
        }
    }

    /// Reads `[a.b]` or `[[a.b]]`.
    fn header(&mut self) -> Result<(), Problem> {
        self.scanner.at += 1;
        let array = self.scanner.peek() == Some(b'[');
        if array {
            self.scanner.at += 1;
        }
        self.key_line = self.scanner.line();
        let path = self.scanner.table_name(array)?;
        self.enter(&path, array)?;
        self.tree.set_array(&self.context, false);
        Ok(())
    }

    /// Makes a path the context: a new table, or the next one of an array.
    fn enter(&mut self, path: &[Text], array: bool) -> Result<(), Problem> {
        if path.len() > MAX_DEPTH {
            return Err(defined("exceeded max depth".to_owned()));
        }
        let Some((last, parents)) = path.split_last() else {
            return Ok(());
        };
        self.tree.add_parents(parents).map_err(defined)?;
        self.context = parents.to_vec();
        if array {
            self.tree.add_table(path).map_err(defined)?;
        } else {
            self.set(last, None)?;
        }
        self.context.push(last.clone());
        Ok(())
    }

    /// Defines a key of the context, as a new table if there is no value.
    fn set(&mut self, key: &Text, value: Option<Value>) -> Result<(), Problem> {
        self.tree.set(&self.context, key, value).map_err(defined)
    }

    /// Reads `a.b = value`. Returns the whole key and the value. The context stays where the key put it.
    fn pair(&mut self) -> Result<(Vec<Text>, Value), Problem> {
        self.scanner.skip_blanks();
        self.key_line = self.scanner.line();
        let path = self.scanner.key()?;
        let Some((last, parents)) = path.split_last() else {
            return Ok((path, Value::Nil));
        };
        self.key = Some(last.clone());
        for part in parents {
            let mut table = self.context.clone();
            table.push(part.clone());
            self.tree.set_implicit(&table, true);
            self.enter(&table, false)?;
        }
        let array = self.scanner.is_array();
        let value = self.value(false)?;
        self.set(last, Some(value.clone()))?;
        self.tree.set_array(&self.typed_path(last), array);
        Ok((path, value))
    }

    /// Returns the path under which the type of a key's value is remembered. For an empty key, this is the path of the table,
    /// unless the table is the whole document.
    fn typed_path(&self, key: &Text) -> Vec<Text> {
        let mut path = self.context.clone();
        if !key.is_empty() || path.is_empty() {
            path.push(key.clone());
        }
        path
    }
}

fn defined(text: String) -> Problem {
    Problem { line: None, text }
}
