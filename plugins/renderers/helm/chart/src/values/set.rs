//! Values in the syntax of Helm's command line: `--set`, `--set-string`, `--set-json`, `--set-file`, `--set-literal`.
//!
//! The grammar and its oddities come from Helm's documentation ("The format and limitations of --set") and from the behaviour of
//! its parser on malformed lines: a comma ends a value, a backslash takes the next character literally, `{a,b}` is a list, `a[0]`
//! is an item, and `a.b` is a key in a table.

use pintle_goencoding::json::{self, JsonError};
use pintle_gotemplate::{Map, Value, value::clamp_to_usize};
use thiserror::Error;

use super::merge;

/// The largest list index that may be set.
const MAX_INDEX: usize = 65_536;
/// The maximum number of dots in a key.
const MAX_DOTS: usize = 30;
/// The maximum number of indices in a key. Helm has no limit because its stack grows, but a component's does not.
const MAX_INDICES: usize = 100;

/// Why a line of values is malformed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SetError {
    /// A key without `=`.
    #[error("key {0:?} has no value")]
    NoValue(String),
    /// A comma where a value is expected.
    #[error("key {0:?} has no value (cannot end with ,)")]
    Comma(String),
    /// A key that ends with a dot.
    #[error("key map {0:?} has no value")]
    EmptyTable(String),
    /// `{` without `}`.
    #[error("list must terminate with '}}'")]
    UnfinishedList,
    /// Brackets that do not contain a number, or have no end.
    #[error("error parsing index: {0:?} is not a number")]
    Index(String),
    /// Text between `]` and what may follow it.
    #[error("unexpected data at end of array index: {0:?}")]
    AfterIndex(String),
    /// A negative index.
    #[error("negative {0} index not allowed")]
    Negative(i64),
    /// An index that would create a huge list.
    #[error("index of {0} is greater than maximum supported index of {MAX_INDEX}")]
    TooLarge(i64),
    /// Too many dots.
    #[error("value name nested level is greater than maximum supported nested level of {MAX_DOTS}")]
    TooManyDots,
    /// Too many brackets.
    #[error("a key has more than {MAX_INDICES} indices")]
    TooManyIndices,
    /// A key in something that has no keys, or an index into something that is not a list.
    #[error("unable to parse key: {key:?} holds {found}, though {wanted} is set in it")]
    Conflict {
        /// The key that already has a value.
        key: String,
        /// What the key holds: `a string`.
        found: &'static str,
        /// What the line treats it as: `a key`, `an item`.
        wanted: &'static str,
    },
    /// A value that is not JSON.
    #[error("the value of {key:?} is not JSON: {reason}")]
    Json {
        /// The key.
        key: String,
        /// What is wrong.
        reason: JsonError,
    },
    /// A whole object that is not JSON.
    #[error("it is not JSON: {0}")]
    Object(JsonError),
    /// A file that cannot be read.
    #[error("{0}")]
    File(String),
}

/// Reads files for `--set-file`. Returns the content or an error message.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Result<Value, String>;

/// The interpretation of the text after `=`.
#[derive(Clone, Copy)]
enum Reading<'a> {
    /// Numbers, booleans and null are recognised.
    Typed,
    /// The text is a string.
    Text,
    /// The text is JSON.
    Json,
    /// The text is the path of a file.
    File(ReadFile<'a>),
    /// The text is a string up to the end of the line, and nothing in the line is escaped.
    Literal,
}

/// Puts the values of a `--set` line into `values`.
pub fn set(line: &str, values: &Map) -> Result<(), SetError> {
    Parser::new(line, Reading::Typed).run(values)
}

/// Puts the values of a `--set-string` line into `values`.
pub fn set_string(line: &str, values: &Map) -> Result<(), SetError> {
    Parser::new(line, Reading::Text).run(values)
}

/// Puts the values of a `--set-json` line of the form `a=JSON,b=JSON` into `values`.
pub fn set_json(line: &str, values: &Map) -> Result<(), SetError> {
    Parser::new(line, Reading::Json).run(values)
}

/// Merges a `--set-json` line of either form over values: one whole object, or keys with JSON.
pub fn merge_json(line: &str, values: Map) -> Result<Map, SetError> {
    let object = line.trim();
    if !object.starts_with('{') {
        set_json(line, &values)?;
        return Ok(values);
    }
    match json::read(object.as_bytes()).map_err(SetError::Object)? {
        Value::Map(object) => Ok(merge(&values, &object)),
        _ => Ok(values),
    }
}

/// Puts the contents of the files of a `--set-file` line into `values`.
pub fn set_file(line: &str, values: &Map, read: ReadFile<'_>) -> Result<(), SetError> {
    Parser::new(line, Reading::File(read)).run(values)
}

/// Puts the value of a `--set-literal` line into `values`. An empty line sets nothing.
pub fn set_literal(line: &str, values: &Map) -> Result<(), SetError> {
    Parser::new(line, Reading::Literal).run(values)
}

/// The depth of a key so far.
#[derive(Clone, Copy, Default)]
struct Depth {
    dots: usize,
    indices: usize,
}

impl Depth {
    fn dot(mut self) -> Result<Self, SetError> {
        self.dots += 1;
        if self.dots > MAX_DOTS {
            return Err(SetError::TooManyDots);
        }
        Ok(self)
    }

    fn index(mut self) -> Result<Self, SetError> {
        self.indices += 1;
        if self.indices > MAX_INDICES {
            return Err(SetError::TooManyIndices);
        }
        Ok(self)
    }
}

/// The end of the line, which is not an error, or an error.
enum Stop {
    End,
    Failed(SetError),
}

impl From<SetError> for Stop {
    fn from(error: SetError) -> Self {
        Self::Failed(error)
    }
}

/// The rest of a line.
struct Parser<'a> {
    rest: &'a str,
    reading: Reading<'a>,
}

impl<'a> Parser<'a> {
    fn new(line: &'a str, reading: Reading<'a>) -> Self {
        Self {
            rest: line,
            reading,
        }
    }

    fn run(mut self, values: &Map) -> Result<(), SetError> {
        loop {
            match self.key(values, Depth::default()) {
                Ok(()) => {}
                Err(Stop::End) => return Ok(()),
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    /// Reads up to and including one of `stops`. The second part of the result is None at the end of the line.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let mut text = String::new();
        while let Some(next) = self.next() {
            if stops.contains(&next) {
                return (text, Some(next));
            }
            if next == '\\' && !self.is_literal() {
                match self.next() {
                    Some(escaped) => text.push(escaped),
                    None => return (text, None),
                }
            } else {
                text.push(next);
            }
        }
        (text, None)
    }

    fn is_literal(&self) -> bool {
        matches!(self.reading, Reading::Literal)
    }

    /// Reads one key with its value, and stores it in `table`.
    fn key(&mut self, table: &Map, depth: Depth) -> Result<(), Stop> {
        let stops: &[char] = if self.is_literal() {
            &['=', '[', '.']
        } else {
            &['=', '[', '.', ',']
        };
        let (key, stop) = self.until(stops);
        match stop {
            None if key.is_empty() => Err(Stop::End),
            None => Err(SetError::NoValue(key).into()),
            Some('[') => {
                let index = self.index()?;
                let mut items = inner_list(table, &key)?;
                let result = self.item(&key, &mut items, index, depth);
                // Helm keeps the part of the list that exists when the line ends too early.
                put(table, &key, Value::list(items));
                result
            }
            Some('=') => self.value_of(table, &key),
            Some(',') => Err(SetError::Comma(key).into()),
            Some(_) => {
                let depth = depth.dot()?;
                let inner = inner_table(table, &key)?;
                let result = self.key(&inner, depth);
                if inner.is_empty() && result.is_ok() {
                    return Err(SetError::EmptyTable(key).into());
                }
                if !inner.is_empty() {
                    put(table, &key, inner.into());
                }
                result
            }
        }
    }

    /// Reads `…]`. Without the bracket, the line ends there, and Helm does nothing.
    fn index(&mut self) -> Result<i64, Stop> {
        let (text, stop) = self.until(&[']']);
        stop.ok_or(Stop::End)?;
        text.parse().map_err(|_| SetError::Index(text).into())
    }

    /// Reads what follows `key[index]`.
    fn item(
        &mut self,
        key: &str,
        items: &mut Vec<Value>,
        index: i64,
        depth: Depth,
    ) -> Result<(), Stop> {
        let at = checked(index)?;
        let depth = depth.index()?;
        let (text, stop) = self.until(&['[', '.', '=']);
        if !text.is_empty() {
            return Err(SetError::AfterIndex(text).into());
        }
        let value = match stop {
            None => return Err(Stop::End),
            Some('=') => match self.value(key) {
                // At the end of the line, an item is the empty string, like any other value.
                Ok(value) | Err((Some(value), Stop::End)) => value,
                Err((_, stop)) => return Err(stop),
            },
            Some('[') => {
                let next = self.index()?;
                let mut nested = nested_list(items, at, key)?;
                self.item(key, &mut nested, next, depth)?;
                Value::list(nested)
            }
            Some(_) => {
                let inner = nested_table(items, at);
                self.key(&inner, depth)?;
                inner.into()
            }
        };
        set_item(items, at, value);
        Ok(())
    }

    /// Reads `key=…`.
    fn value_of(&mut self, table: &Map, key: &str) -> Result<(), Stop> {
        match self.value(key) {
            Ok(value) => {
                put(table, key, value);
                Ok(())
            }
            Err((value, stop)) => {
                if let Some(value) = value {
                    put(table, key, value);
                }
                Err(stop)
            }
        }
    }

    /// Reads the value after `=` and the comma after it. If there was nothing to read, a value is returned together with the end
    /// of the line.
    fn value(&mut self, key: &str) -> Result<Value, (Option<Value>, Stop)> {
        match self.reading {
            Reading::Json => return self.json(key).map_err(|error| (None, error.into())),
            Reading::Literal => return Ok(std::mem::take(&mut self.rest).into()),
            Reading::Typed | Reading::Text | Reading::File(_) => {}
        }
        if self.rest.is_empty() {
            return Err((Some("".into()), Stop::End));
        }
        if self.rest.starts_with('{') {
            self.next();
            return self.list().map_err(|error| (None, error.into()));
        }
        let (text, _) = self.until(&[',']);
        self.read(text).map_err(|error| (None, error.into()))
    }

    /// Reads `a,b}`.
    fn list(&mut self) -> Result<Value, SetError> {
        let mut items = Vec::new();
        loop {
            let (text, stop) = self.until(&[',', '}']);
            match stop {
                None => return Err(SetError::UnfinishedList),
                Some(',') => items.push(self.read(text)?),
                Some(_) => {
                    if let Some(behind) = self.rest.strip_prefix(',') {
                        self.rest = behind;
                    }
                    items.push(self.read(text)?);
                    return Ok(Value::list(items));
                }
            }
        }
    }

    /// Reads one JSON value and the comma after it. Nothing at all is null.
    fn json(&mut self, key: &str) -> Result<Value, SetError> {
        if self.skip_to_comma() {
            return Ok(Value::Nil);
        }
        let (value, end) =
            json::read_first(self.rest.as_bytes()).map_err(|reason| SetError::Json {
                key: key.to_owned(),
                reason,
            })?;
        self.rest = &self.rest[end..];
        self.skip_to_comma();
        Ok(value)
    }

    /// Skips spaces and one comma. Returns whether a comma, or the end of the line, came next.
    fn skip_to_comma(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(',') {
            Some(behind) => {
                self.rest = behind;
                true
            }
            None => self.rest.is_empty(),
        }
    }

    fn read(&self, text: String) -> Result<Value, SetError> {
        match self.reading {
            Reading::Typed => Ok(typed(&text)),
            Reading::File(read) => read(&text).map_err(SetError::File),
            Reading::Text | Reading::Json | Reading::Literal => Ok(text.into()),
        }
    }
}

/// Interprets a value without quotes: a boolean, null, an integer, or a string.
fn typed(text: &str) -> Value {
    match text {
        "0" => return Value::int64(0),
        _ if text.eq_ignore_ascii_case("true") => return true.into(),
        _ if text.eq_ignore_ascii_case("false") => return false.into(),
        _ if text.eq_ignore_ascii_case("null") => return Value::Nil,
        _ => {}
    }
    if !text.starts_with('0')
        && let Ok(number) = text.parse()
    {
        return Value::int64(number);
    }
    text.into()
}

/// Sets a key. Helm ignores the empty key.
fn put(table: &Map, key: &str, value: Value) {
    if !key.is_empty() {
        super::put(table, key, value);
    }
}

/// Returns the table at a key, or a new one.
fn inner_table(table: &Map, key: &str) -> Result<Map, SetError> {
    match table.get(key.as_bytes()) {
        None => Ok(Map::new()),
        Some(Value::Map(inner)) => Ok(inner),
        Some(other) => Err(conflict(key, &other, "a key")),
    }
}

/// Returns the items at a key, or none.
fn inner_list(table: &Map, key: &str) -> Result<Vec<Value>, SetError> {
    match table.get(key.as_bytes()) {
        None => Ok(Vec::new()),
        Some(Value::List(list)) => Ok(list.items().into_owned()),
        Some(other) => Err(conflict(key, &other, "an item")),
    }
}

/// Returns the items of the list at an index, or none.
fn nested_list(items: &[Value], at: usize, key: &str) -> Result<Vec<Value>, SetError> {
    match items.get(at) {
        None | Some(Value::Nil) => Ok(Vec::new()),
        Some(Value::List(list)) => Ok(list.items().into_owned()),
        Some(other) => Err(conflict(&format!("{key}[{at}]"), other, "an item")),
    }
}

/// Returns the table at an index. Any other value there is replaced.
fn nested_table(items: &mut [Value], at: usize) -> Map {
    match items.get_mut(at) {
        Some(Value::Map(table)) => table.clone(),
        Some(other) => {
            let table = Map::new();
            *other = table.clone().into();
            table
        }
        None => Map::new(),
    }
}

fn conflict(key: &str, found: &Value, wanted: &'static str) -> SetError {
    SetError::Conflict {
        key: key.to_owned(),
        found: crate::values::noun(found),
        wanted,
    }
}

fn checked(index: i64) -> Result<usize, SetError> {
    if index < 0 {
        return Err(SetError::Negative(index));
    }
    match clamp_to_usize(index) {
        at if at > MAX_INDEX => Err(SetError::TooLarge(index)),
        at => Ok(at),
    }
}

fn set_item(items: &mut Vec<Value>, at: usize, value: Value) {
    if items.len() <= at {
        items.resize(at + 1, Value::Nil);
    }
    items[at] = value;
}

#[cfg(test)]
mod tests;
