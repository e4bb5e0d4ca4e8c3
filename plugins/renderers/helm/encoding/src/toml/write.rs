//! Writes TOML. Keys are sorted, and the fields of a struct keep their order. Entries without tables come before those with
//! tables, which are indented by two spaces per level.

use std::borrow::Cow;

use pintle_gotemplate::{Kind, List, Object, Text, Value, value::MAX_NESTING};

use super::text::{write_key, write_path, write_string};
use crate::{error::WriteError, float};

/// Appends a value as the encoder of `BurntSushi/toml` writes it.
///
/// A value that is not a table is written by itself. That is not valid TOML, but the library does the same. Objects are written
/// in their plain form. On an error, `out` contains a part of the text.
pub fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let value = plain(value).map_err(|error| match error {
        WriteError::Kind(kind) => WriteError::Document(kind),
        error => error,
    })?;
    if *value == Value::Nil {
        return Err(WriteError::NoValue);
    }
    let start = out.len();
    Writer {
        out,
        start,
        path: Vec::new(),
    }
    .encode(&value)
}

/// The shape of a value in TOML.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Null, which no array may contain.
    Nil,
    Table,
    /// An array that contains only tables.
    Tables,
    Other,
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    path: Vec<Text>,
}

impl Writer<'_> {
    fn encode(&mut self, value: &Value) -> Result<(), WriteError> {
        if self.path.len() > MAX_NESTING {
            return Err(WriteError::Depth);
        }
        match (shape(value, 0)?, value) {
            (Shape::Nil, Value::List(_)) if self.path.is_empty() => self.pair(value),
            (Shape::Nil, _) => Ok(()),
            (Shape::Tables, Value::List(list)) => self.tables(list),
            (Shape::Table, _) => {
                if self.path.len() == 1 {
                    self.newline();
                }
                if !self.path.is_empty() {
                    self.header(b"[", b"]");
                }
                self.table(value)
            }
            _ => self.pair(value),
        }
    }

    fn tables(&mut self, list: &List) -> Result<(), WriteError> {
        if self.path.is_empty() {
            return Err(WriteError::NoTable);
        }
        for table in list.iter() {
            let table = plain(&table)?;
            if shape(&table, 0)? == Shape::Table {
                self.newline();
                self.header(b"[[", b"]]");
                self.table(&table)?;
            }
        }
        Ok(())
    }

    fn header(&mut self, open: &[u8], close: &[u8]) {
        self.indent();
        self.out.extend_from_slice(open);
        write_path(&self.path, self.out);
        self.out.extend_from_slice(close);
        self.newline();
    }

    fn table(&mut self, table: &Value) -> Result<(), WriteError> {
        let entries = plain_entries(table)?;
        for tables in [false, true] {
            for (key, value, shape) in &entries {
                if is_table(*shape) == tables && *shape != Shape::Nil {
                    self.path.push(key.clone());
                    self.encode(value)?;
                    self.path.pop();
                }
            }
        }
        Ok(())
    }

    fn pair(&mut self, value: &Value) -> Result<(), WriteError> {
        let Some(key) = self.path.last().cloned() else {
            return self.element(value, 0);
        };
        self.indent();
        write_key(&key, self.out);
        self.out.extend_from_slice(b" = ");
        self.element(value, 0)?;
        self.newline();
        Ok(())
    }

    /// Appends a value on one line.
    fn element(&mut self, value: &Value, depth: usize) -> Result<(), WriteError> {
        if depth > MAX_NESTING {
            return Err(WriteError::Depth);
        }
        match value {
            Value::Nil => return Err(WriteError::NilElement),
            Value::Bool(true) => self.out.extend_from_slice(b"true"),
            Value::Bool(false) => self.out.extend_from_slice(b"false"),
            Value::Int(int) => self.out.extend_from_slice(int.to_string().as_bytes()),
            Value::Float(number) => self.float(*number),
            Value::String(text) => write_string(text, self.out),
            Value::List(list) => {
                self.out.push(b'[');
                for (index, item) in list.iter().enumerate() {
                    if index > 0 {
                        self.out.extend_from_slice(b", ");
                    }
                    self.element(&*plain(&item)?, depth + 1)?;
                }
                self.out.push(b']');
            }
            Value::Map(_) => self.inline(value, depth)?,
            Value::Object(object) => match time(&**object) {
                Some(time) => self.out.extend_from_slice(&time),
                None if is_struct(&**object) => self.inline(value, depth)?,
                None => return Err(unsupported(&**object)),
            },
        }
        Ok(())
    }

    fn float(&mut self, number: f64) {
        if !number.is_finite() {
            if number.is_sign_negative() {
                self.out.push(b'-');
            }
            let word: &[u8] = if number.is_nan() { b"nan" } else { b"inf" };
            self.out.extend_from_slice(word);
            return;
        }
        let start = self.out.len();
        float::write_general(number, self.out);
        if !self.out[start..].iter().any(|b| matches!(b, b'.' | b'e')) {
            self.out.extend_from_slice(b".0");
        }
    }

    fn inline(&mut self, table: &Value, depth: usize) -> Result<(), WriteError> {
        let entries = plain_entries(table)?;
        let (tables, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(_, _, shape)| is_table(*shape));
        self.out.push(b'{');
        for (group, more) in [(&others, !tables.is_empty()), (&tables, false)] {
            for (index, (key, value, shape)) in group.iter().enumerate() {
                if *shape == Shape::Nil {
                    continue;
                }
                write_key(key, self.out);
                self.out.extend_from_slice(b" = ");
                self.element(value, depth + 1)?;
                // Omitted entries count here, so the last character can be a comma. The library does the same.
                if more || index + 1 < group.len() {
                    self.out.extend_from_slice(b", ");
                }
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn newline(&mut self) {
        if self.out.len() > self.start {
            self.out.push(b'\n');
        }
    }

    fn indent(&mut self) {
        for _ in 1..self.path.len() {
            self.out.extend_from_slice(b"  ");
        }
    }
}

fn is_table(shape: Shape) -> bool {
    matches!(shape, Shape::Table | Shape::Tables)
}

type Entries = Vec<(Text, Value, Shape)>;

/// Returns the entries of a map in key order, or the fields of a struct in their own order, with their shapes.
fn plain_entries(table: &Value) -> Result<Entries, WriteError> {
    let entry = |(key, value): (Text, &Value)| {
        let value = plain(value)?.into_owned();
        let shape = shape(&value, 0)?;
        Ok((key, value, shape))
    };
    match table {
        Value::Map(map) => {
            let entries = map.borrow();
            let entries = entries.iter().map(|(key, value)| (key.clone(), value));
            entries.map(entry).collect()
        }
        Value::Object(object) => {
            let fields = exported(&**object);
            let entries = fields.iter().map(|(name, value)| ((*name).into(), value));
            entries.map(entry).collect()
        }
        _ => Ok(Entries::new()),
    }
}

/// Returns whether an object is a struct whose fields have an order.
fn is_struct(object: &dyn Object) -> bool {
    object.json_fields().is_some()
}

/// Returns the fields of a struct under their names in Go. The library ignores JSON tags.
fn exported(object: &dyn Object) -> Vec<(&'static str, Value)> {
    let mut fields = object.fields();
    fields.retain(|(name, _)| name.starts_with(|first: char| first.is_ascii_uppercase()));
    fields
}

/// Returns the shape of a value, or an error if it contains an array with a null item.
fn shape(value: &Value, depth: usize) -> Result<Shape, WriteError> {
    if depth > MAX_NESTING {
        return Err(WriteError::Depth);
    }
    let list = match value {
        Value::Nil => return Ok(Shape::Nil),
        Value::Map(map) if map.is_nil() => return Ok(Shape::Nil),
        Value::Map(_) => return Ok(Shape::Table),
        Value::List(list) if list.is_nil() => return Ok(Shape::Nil),
        Value::List(list) if list.as_bytes().is_none() => list,
        Value::Object(object) if is_struct(&**object) => return Ok(Shape::Table),
        Value::Object(object) if time(&**object).is_none() => return Err(unsupported(&**object)),
        _ => return Ok(Shape::Other),
    };
    let mut all = !list.is_empty();
    for item in list.iter() {
        match shape(&*plain(&item)?, depth + 1)? {
            Shape::Nil => return Err(WriteError::NilElement),
            Shape::Table => {}
            Shape::Tables | Shape::Other => all = false,
        }
    }
    Ok(if all { Shape::Tables } else { Shape::Other })
}

/// Returns the value, or the plain form of an object that is neither a time nor a struct.
fn plain(value: &Value) -> Result<Cow<'_, Value>, WriteError> {
    match value {
        Value::Object(object) if is_struct(&**object) => Ok(Cow::Borrowed(value)),
        Value::Object(object) if object.go_type().to_string() == "time.Duration" => Ok(Cow::Owned(
            Value::String(object.string().unwrap_or_default()),
        )),
        Value::Object(object) if time(&**object).is_none() => match object.to_plain() {
            Value::Object(object) => Err(unsupported(&*object)),
            _ if object.go_type().kind() == Kind::Func => Err(unsupported(&**object)),
            plain => Ok(Cow::Owned(plain)),
        },
        _ => Ok(Cow::Borrowed(value)),
    }
}

fn unsupported(object: &dyn Object) -> WriteError {
    WriteError::Kind(object.go_type().kind())
}

/// Formats a time for TOML. Times that were read without an offset have none.
fn time(object: &dyn Object) -> Option<Vec<u8>> {
    if object.go_type().to_string() != "time.Time" {
        return None;
    }
    let shown = object.string()?;
    let mut words = shown.split(|&b| b == b' ');
    let (date, clock) = (words.next()?, words.next()?);
    match words.next_back()? {
        b"datetime-local" => Some([date, clock].join(&b'T')),
        b"date-local" => Some(date.to_vec()),
        b"time-local" => Some(clock.to_vec()),
        _ => match object.to_plain() {
            Value::String(text) => Some(text.to_vec()),
            _ => None,
        },
    }
}
