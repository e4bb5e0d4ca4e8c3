//! Reads JSON into nodes. The reader is `serde_json`. Positions come from where its raw values lie in the text.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    Error, ErrorKind, Limits, Stream, Warning, WarningKind,
    node::{Entry, Mapping, Mark, Node, Value, pointer},
    scalar,
    text::Cursor,
};

/// Reads every document of the text.
pub(crate) fn stream(text: &str, limits: &Limits) -> Stream {
    let mut reader = Reader {
        text,
        cursor: Cursor::new(text),
        limits,
        nodes: 0,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut documents = Vec::new();
    for raw in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        match raw {
            Ok(raw) => {
                reader.nodes = 0;
                let errors = reader.errors.len();
                let node = reader.node(raw, "", 0);
                if reader.errors.len() == errors {
                    documents.extend(node);
                }
            }
            Err(error) => {
                reader.syntax(&error);
                break;
            }
        }
    }
    Stream {
        documents,
        errors: reader.errors,
        warnings: reader.warnings,
    }
}

struct Reader<'a> {
    text: &'a str,
    cursor: Cursor<'a>,
    limits: &'a Limits,
    nodes: usize,
    errors: Vec<Error>,
    warnings: Vec<Warning>,
}

impl<'a> Reader<'a> {
    fn syntax(&mut self, error: &serde_json::Error) {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mark = Mark {
            line: narrow(error.line()),
            column: narrow(error.column()).max(1),
        };
        let kind = ErrorKind::Json(without_place(error));
        self.errors.push(Error {
            kind,
            mark,
            pointer: String::new(),
        });
    }

    /// Reads one value. If that fails, records an error and returns `None`.
    fn node(&mut self, raw: &'a RawValue, at: &str, depth: usize) -> Option<Node> {
        let source = raw.get();
        // Raw values borrow from the text, so the difference of the addresses is the offset.
        let offset = source.as_ptr() as usize - self.text.as_ptr() as usize;
        let mark = self.cursor.mark(offset);
        self.nodes += 1;
        let collection = source.starts_with(['{', '[']);
        let limit = if self.nodes > self.limits.nodes {
            Some(ErrorKind::Nodes(self.limits.nodes))
        } else if collection && depth >= self.limits.depth {
            Some(ErrorKind::Depth(self.limits.depth))
        } else {
            None
        };
        if let Some(kind) = limit {
            self.errors.push(Error {
                kind,
                mark,
                pointer: at.to_owned(),
            });
            return None;
        }
        let value = match Shallow::read(raw) {
            Ok(Shallow::Scalar(value)) => value,
            Ok(Shallow::Sequence(items)) => {
                let items = items.into_iter().enumerate();
                Value::Sequence(
                    items
                        .map_while(|(index, raw)| {
                            self.node(raw, &format!("{at}/{index}"), depth + 1)
                        })
                        .collect(),
                )
            }
            Ok(Shallow::Mapping(entries)) => self.mapping(entries, at, depth)?,
            Err(error) => {
                let kind = ErrorKind::Json(without_place(&error));
                self.errors.push(Error {
                    kind,
                    mark,
                    pointer: at.to_owned(),
                });
                return None;
            }
        };
        if let Value::Number(number) = &value
            && number.is_f64()
            && scalar::is_whole(source)
        {
            let kind = WarningKind::Rounded {
                text: source.to_owned(),
            };
            self.warnings.push(Warning {
                kind,
                mark,
                pointer: at.to_owned(),
            });
        }
        Some(Node { value, mark })
    }

    fn mapping(
        &mut self,
        raw: Vec<(String, &'a RawValue)>,
        at: &str,
        depth: usize,
    ) -> Option<Value> {
        let mut known = std::collections::HashMap::new();
        let mut entries = Vec::with_capacity(raw.len());
        for (key, raw) in raw {
            // Only blanks and a comma come between the end of the previous value and the next key.
            let key_mark = self.cursor.seek('"');
            let pointer = pointer(at, &key);
            let node = self.node(raw, &pointer, depth + 1)?;
            self.cursor
                .mark(raw.get().as_ptr() as usize - self.text.as_ptr() as usize + raw.get().len());
            if let Some(&first) = known.get(&key) {
                self.errors.push(Error {
                    kind: ErrorKind::DuplicateKey { key, first },
                    mark: key_mark,
                    pointer,
                });
                continue;
            }
            known.insert(key.clone(), key_mark);
            entries.push(Entry {
                key,
                key_mark,
                node,
            });
        }
        Some(Value::Mapping(Mapping::new_unchecked(entries)))
    }
}

/// Returns the message without the position that `serde_json` appends, which an [`Error`] carries itself.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// A value, read one level deep.
enum Shallow<'a> {
    Scalar(Value),
    Sequence(Vec<&'a RawValue>),
    Mapping(Vec<(String, &'a RawValue)>),
}

impl<'a> Shallow<'a> {
    fn read(raw: &'a RawValue) -> Result<Self, serde_json::Error> {
        serde_json::from_str(raw.get())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Shallow<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShallowVisitor(std::marker::PhantomData))
    }
}

struct ShallowVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for ShallowVisitor<'a> {
    type Value = Shallow<'a>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Shallow::Scalar(Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Shallow::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Shallow::Scalar(Value::Number(value.into())))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Shallow::Scalar(Value::Number(value.into())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        let number = scalar::number(value).ok_or_else(|| E::custom("number out of range"))?;
        Ok(Shallow::Scalar(Value::Number(number)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Shallow::Scalar(Value::String {
            text: value.to_owned(),
            plain: false,
        }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(raw) = items.next_element()? {
            found.push(raw);
        }
        Ok(Shallow::Sequence(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            found.push(entry);
        }
        Ok(Shallow::Mapping(found))
    }
}
