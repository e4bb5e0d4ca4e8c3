//! Splits the output of templates into manifests and hooks, in the order in which Helm handles them.

mod hook;
mod order;
mod part;
mod split;

use std::collections::BTreeMap;

use memchr::memchr_iter;
use pintle_gotemplate::{Map, Text, Value};
use thiserror::Error;

pub use hook::{Hook, HookEvent};
pub use part::Part;
pub use split::{Document, split};

use crate::{scope::is_partial, warning::Warnings, yaml, yaml::YamlError};

/// The output of templates, by their names.
pub type Rendered = BTreeMap<String, Text>;

/// The fields that identify an object.
const HEAD: &[&[u8]] = &[b"apiVersion", b"kind", b"metadata"];

/// The byte order mark that some editors put before a text, in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The end of the names of templates whose output is for users.
const NOTES: &str = "NOTES.txt";

/// One document in the output of a template.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The name of the template, or of the file.
    pub path: String,
    /// The line of the output at which the document begins, from 1.
    pub line: usize,
    /// The text.
    pub text: Part,
    /// The content as JSON without white space; `null` if it is empty or has only comments.
    pub json: String,
    /// The identifying fields `apiVersion`, `kind` and `metadata` of the content; the untyped nil if it is empty.
    pub head: Value,
}

/// A document cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("YAML parse error on {path}: {cause}")]
pub struct ManifestError {
    /// The name of the template, or of the file.
    pub path: String,
    /// The line of the output at which the document begins, from 1.
    pub line: usize,
    /// What is wrong.
    pub cause: ManifestCause,
    /// The document.
    pub text: Part,
}

/// What is wrong with a document.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ManifestCause {
    /// The document is malformed.
    #[error("{0}")]
    Yaml(YamlError),
    /// A field that Helm examines has the wrong type.
    #[error("{field} must be {wanted}, and here is {found}")]
    Type {
        /// The path of the field.
        field: &'static str,
        /// The expected type.
        wanted: &'static str,
        /// The actual type.
        found: &'static str,
    },
}

impl ManifestError {
    /// Returns the line of the document, from 1, if it is known.
    pub fn place(&self) -> Option<usize> {
        match &self.cause {
            ManifestCause::Yaml(error) => error.line(),
            ManifestCause::Type { .. } => None,
        }
    }
}

/// Manifests and hooks.
#[derive(Clone, Debug, Default)]
pub struct Sorted {
    /// The manifests to install.
    pub manifests: Vec<Manifest>,
    /// The hooks, which run at certain events.
    pub hooks: Vec<Hook>,
}

/// Removes and returns the notes: those of the chart itself, and optionally of its subcharts.
pub fn take_notes(rendered: &mut Rendered, chart: &str, subcharts: bool) -> Option<String> {
    let own = format!("{chart}/templates/{NOTES}");
    let mut notes: Option<String> = None;
    rendered.retain(|path, text| {
        if !path.ends_with(NOTES) {
            return true;
        }
        if subcharts || *path == own {
            let text = text.to_str_lossy();
            match &mut notes {
                Some(notes) if !notes.is_empty() => {
                    notes.push('\n');
                    notes.push_str(&text);
                }
                _ => notes = Some(text.into_owned()),
            }
        }
        false
    });
    notes
}

/// Splits the output of templates into documents, identifies hooks, and sorts both by kind.
pub fn sort(rendered: &Rendered, warnings: &mut Warnings) -> Result<Sorted, ManifestError> {
    let mut sorted = Sorted::default();
    for (path, text) in rendered {
        if is_partial(path) {
            continue;
        }
        for manifest in read(path, text)? {
            let annotations = manifest.annotations()?;
            let events = annotations.and_then(|mut all| all.remove(hook::ANNOTATION));
            match events {
                None => sorted.manifests.push(manifest),
                Some(events) => match hook::read(manifest.alone()?, &events)? {
                    Ok(hook) => sorted.hooks.push(hook),
                    Err(unknown) => warnings.add(format_args!(
                        "{path}: {unknown:?} is no event of a hook that Helm knows, so Helm leaves the object out"
                    )),
                },
            }
        }
    }
    sorted
        .manifests
        .sort_by_cached_key(|manifest| order::key(manifest.kind()));
    sorted
        .hooks
        .sort_by_cached_key(|hook| order::key(hook.manifest.kind()));
    let manifests = sorted.manifests.into_iter();
    sorted.manifests = manifests
        .map(Manifest::behind_comment)
        .collect::<Result<_, _>>()?;
    Ok(sorted)
}

/// Reads the documents in the output of a template, including those with only comments.
pub fn read(path: &str, file: &Text) -> Result<Vec<Manifest>, ManifestError> {
    read_documents(path, file, |_| true)
}

/// Reads the documents of a file of definitions. The file as a whole is part of a release's manifest, so only its last document
/// is terminated there.
pub fn read_definitions(path: &str, file: &Text) -> Result<Vec<Manifest>, ManifestError> {
    read_documents(path, file, |document| {
        document.start + document.text.len() == file.len()
    })
}

fn read_documents(
    path: &str,
    file: &Text,
    is_ended: impl Fn(&Document<'_>) -> bool,
) -> Result<Vec<Manifest>, ManifestError> {
    let documents = split(file).into_iter();
    documents
        .map(|document| {
            let end = document.start + document.text.len();
            let text = Part::new(file, document.start..end);
            let error = |cause| ManifestError {
                path: path.to_owned(),
                line: document.line,
                cause,
                text: text.clone(),
            };
            let read = if is_ended(&document) {
                read_ended(document.text)
            } else {
                yaml::read_object(document.text, HEAD)
            };
            let (json, head) = read.map_err(|cause| error(ManifestCause::Yaml(cause)))?;
            if !matches!(head, Value::Nil | Value::Map(_)) {
                return Err(error(ManifestCause::Type {
                    field: "the document",
                    wanted: "a table",
                    found: crate::values::noun(&head),
                }));
            }
            Ok(Manifest {
                path: path.to_owned(),
                line: document.line,
                text: text.clone(),
                json,
                head,
            })
        })
        .collect()
}

/// Reads a document as it appears in a release's manifest. A line feed terminates each document, and is part of a text after
/// `|+`.
fn read_ended(text: &[u8]) -> Result<(String, Value), YamlError> {
    // An additional line feed after another one has no effect, unless texts keep theirs.
    if text.ends_with(b"\n")
        && !may_keep_line_feeds(text)
        && let Ok(read) = yaml::read_object(text, HEAD)
    {
        return Ok(read);
    }
    yaml::read_object(&[text, b"\n"].concat(), HEAD)
}

/// Returns whether a text in the document may keep its trailing line feeds, because it begins with `|+`, `>2+` or the like. In
/// UTF-16, a zero precedes each such character.
fn may_keep_line_feeds(text: &[u8]) -> bool {
    memchr_iter(b'+', text).any(|at| {
        matches!(
            text[..at],
            [.., 0 | b'|' | b'>'] | [.., b'|' | b'>', b'1'..=b'9']
        )
    })
}

impl Manifest {
    /// Reads the document again as one that stands alone, which hooks do.
    fn alone(self) -> Result<Self, ManifestError> {
        if may_keep_line_feeds(self.text.as_bytes()) {
            let text = self.text.clone();
            return self.read_again(text.as_bytes());
        }
        Ok(self)
    }

    /// Reads the document again as part of a release's manifest, where a comment precedes it. There, a byte order mark at the
    /// beginning of a text is part of the first key.
    fn behind_comment(self) -> Result<Self, ManifestError> {
        if self.text.as_bytes().starts_with(BYTE_ORDER_MARK) {
            let text = [b"\n", self.text.as_bytes(), b"\n"].concat();
            return self.read_again(&text);
        }
        Ok(self)
    }

    fn read_again(mut self, text: &[u8]) -> Result<Self, ManifestError> {
        match yaml::read_object(text, HEAD) {
            Ok((json, head)) => {
                self.json = json;
                self.head = head;
                Ok(self)
            }
            Err(cause) => Err(ManifestError {
                path: self.path,
                line: self.line,
                cause: ManifestCause::Yaml(cause),
                text: self.text,
            }),
        }
    }

    /// Returns the kind; empty if there is none.
    pub fn kind(&self) -> String {
        self.text_field(b"kind")
    }

    /// Returns the API version; empty if there is none.
    pub fn api_version(&self) -> String {
        self.text_field(b"apiVersion")
    }

    /// Returns the name; empty if there is none.
    pub fn name(&self) -> String {
        let metadata = self.fields().and_then(|fields| fields.get(b"metadata"));
        let name = metadata
            .as_ref()
            .and_then(Value::as_map)
            .and_then(|metadata| metadata.get(b"name"));
        name.and_then(|name| scalar(&name)).unwrap_or_default()
    }

    fn fields(&self) -> Option<&Map> {
        self.head.as_map()
    }

    fn text_field(&self, name: &[u8]) -> String {
        let value = self.fields().and_then(|fields| fields.get(name));
        value.and_then(|value| scalar(&value)).unwrap_or_default()
    }

    /// Returns the annotations as strings, if there are any.
    fn annotations(&self) -> Result<Option<BTreeMap<String, String>>, ManifestError> {
        let Some(fields) = self.fields() else {
            return Ok(None);
        };
        for (name, field) in [(&b"kind"[..], "kind"), (b"apiVersion", "apiVersion")] {
            if let Some(value @ (Value::Map(_) | Value::List(_))) = fields.get(name) {
                return Err(self.wrong(field, "a string", &value));
            }
        }
        let metadata = match fields.get(b"metadata") {
            None | Some(Value::Nil) => return Ok(None),
            Some(Value::Map(metadata)) => metadata,
            Some(other) => return Err(self.wrong("metadata", "a table", &other)),
        };
        if let Some(value @ (Value::Map(_) | Value::List(_))) = metadata.get(b"name") {
            return Err(self.wrong("metadata.name", "a string", &value));
        }
        let annotations = match metadata.get(b"annotations") {
            None | Some(Value::Nil) => return Ok(None),
            Some(Value::Map(annotations)) => annotations,
            Some(other) => return Err(self.wrong("metadata.annotations", "a table", &other)),
        };
        let annotations = annotations.entries().into_iter();
        annotations
            .map(|(key, value)| match value {
                Value::Nil => Ok((key.to_string(), String::new())),
                value => scalar(&value)
                    .map(|text| (key.to_string(), text))
                    .ok_or_else(|| {
                        let field = "every value in metadata.annotations";
                        self.wrong(field, "a string", &value)
                    }),
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn wrong(&self, field: &'static str, wanted: &'static str, found: &Value) -> ManifestError {
        ManifestError {
            path: self.path.clone(),
            line: self.line,
            cause: ManifestCause::Type {
                field,
                wanted,
                found: crate::values::noun(found),
            },
            text: self.text.clone(),
        }
    }
}

/// Returns a string, or a scalar that Helm reads as one.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(yaml::float_text(*number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
