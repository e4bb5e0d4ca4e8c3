//! Substitution of values for `${name}`, in texts of objects that ask for it.
//!
//! It works on the texts of the parsed object, never on the file. So a value cannot change the structure, and a script in a
//! `ConfigMap` that nobody meant is left alone. Anything that is not exactly `${name}` or `${name:=default}` stays as it is, so
//! that most of what shells and other templates use passes through even where values are asked for.

use std::collections::BTreeSet;

use pintle_sdk::Problem;
use pintle_yaml::{Mark, Node, Value, resolve_plain};

use crate::{
    objects::Object,
    report::Report,
    settings::{Substitute, Undefined, idle, is_name},
};

/// The annotation by which an object asks for values, or declines them.
const ANNOTATION: &str = "pintle.dev/substitute";

/// The values to put in, and which of them have been used.
pub(crate) struct Substitution<'a> {
    settings: &'a Substitute,
    used: BTreeSet<&'a str>,
}

/// A part of a text.
#[derive(Debug, PartialEq)]
enum Piece<'t> {
    Text(&'t str),
    Variable {
        name: &'t str,
        default: Option<&'t str>,
        source: &'t str,
    },
}

/// The place of a text with an undefined variable.
struct Missing {
    name: String,
    pointer: String,
    mark: Mark,
}

impl<'a> Substitution<'a> {
    /// Creates a substitution with no values used.
    pub(crate) fn new(settings: &'a Substitute) -> Self {
        Self {
            settings,
            used: BTreeSet::new(),
        }
    }

    /// Puts the values into an object that asks for it.
    pub(crate) fn apply(&mut self, object: &mut Object, report: &mut Report) {
        match self.is_asked(object) {
            Ok(false) => return,
            Ok(true) => {}
            Err(problem) => return report.problem(problem),
        }
        let mut missing = Vec::new();
        self.walk(&mut object.node, "", &mut missing);
        for Missing {
            name,
            pointer,
            mark,
        } in missing
        {
            let problem = Problem::new(format!("the variable `{name}` is not defined"))
                .pointer(pointer)
                .position(object.position(mark));
            report.problem(problem.hint(format!(
                "add it to `substitute.variables`, give it a default as in `${{{name}:=default}}`, or write \
                 `$${{{name}}}` to keep the text `${{{name}}}`"
            )));
        }
    }

    fn is_asked(&self, object: &Object) -> Result<bool, Problem> {
        let pointer = pintle_yaml::pointer("/metadata/annotations", ANNOTATION);
        match object.node.at(&pointer).map(Node::as_str) {
            None => Ok(self
                .settings
                .files
                .iter()
                .any(|pattern| pattern.matches(&object.file))),
            Some(Some("enabled")) => Ok(true),
            // A value that is not a text is refused along with the other annotations.
            Some(Some("disabled") | None) => Ok(false),
            Some(Some(_)) => Err(object.problem(
                format!("the annotation `{ANNOTATION}` is neither `enabled` nor `disabled`"),
                &pointer,
            )),
        }
    }

    fn walk(&mut self, node: &mut Node, pointer: &str, missing: &mut Vec<Missing>) {
        let mark = node.mark;
        match &mut node.value {
            Value::String { text, plain } => {
                if let Some(value) = self.replace(text, *plain, pointer, mark, missing) {
                    node.value = value;
                }
            }
            Value::Sequence(nodes) => {
                for (index, node) in nodes.iter_mut().enumerate() {
                    self.walk(node, &format!("{pointer}/{index}"), missing);
                }
            }
            Value::Mapping(mapping) => {
                for (key, node) in mapping.iter_mut() {
                    self.walk(node, &pintle_yaml::pointer(pointer, key), missing);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Returns what a text becomes; `None` if it stays as it is.
    fn replace(
        &mut self,
        text: &str,
        plain: bool,
        pointer: &str,
        mark: Mark,
        missing: &mut Vec<Missing>,
    ) -> Option<Value> {
        if !text.contains("${") {
            return None;
        }
        let pieces = pieces(text);
        // A value without quotes that is nothing but a variable takes the variable's type.
        if let ([Piece::Variable { name, default, .. }], true) = (pieces.as_slice(), plain) {
            if let Some((key, variable)) = self.settings.variables.get_key_value(*name) {
                self.used.insert(key);
                return Some(typed(variable.value()));
            }
            if let Some(default) = default {
                return Some(resolve_plain(default));
            }
        }
        let mut joined = String::with_capacity(text.len());
        for piece in &pieces {
            match piece {
                Piece::Text(text) => joined.push_str(text),
                Piece::Variable {
                    name,
                    default,
                    source,
                } => match (self.settings.variables.get_key_value(*name), default) {
                    (Some((key, variable)), _) => {
                        self.used.insert(key);
                        joined.push_str(&variable.text());
                    }
                    (None, Some(default)) => joined.push_str(default),
                    (None, None) if self.settings.undefined == Undefined::Keep => {
                        joined.push_str(source);
                    }
                    (None, None) => {
                        let (name, pointer) = ((*name).to_owned(), pointer.to_owned());
                        missing.push(Missing {
                            name,
                            pointer,
                            mark,
                        });
                    }
                },
            }
        }
        Some(Value::String {
            text: joined,
            plain,
        })
    }

    /// Returns warnings about patterns that match none of the files that are read.
    pub(crate) fn idle(&self, files: &[String]) -> Vec<Problem> {
        let all = self.settings.files.iter().enumerate();
        all.filter(|(_, pattern)| !files.iter().any(|file| pattern.matches(file)))
            .map(|(index, pattern)| {
                let message = format!("no file that is read matches `{pattern}`");
                idle(format!("/substitute/files/{index}"), message)
            })
            .collect()
    }

    /// Returns warnings about variables that nothing asked for.
    pub(crate) fn unused(&self) -> Vec<Problem> {
        let variables = self
            .settings
            .variables
            .keys()
            .filter(|name| !self.used.contains(name.as_str()));
        variables
            .map(|name| {
                Problem::new(format!("nothing uses the variable `{name}`"))
                    .pointer(pintle_yaml::pointer("/substitute/variables", name))
                    .hint(format!(
                        "values are put only into the files of `substitute.files` and into objects with the annotation \
                         `{ANNOTATION}: enabled`"
                    ))
            })
            .collect()
    }
}

/// Converts a variable's value to a value of the document.
fn typed(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(value) => Value::Number(value.clone()),
        serde_json::Value::String(text) => Value::String {
            text: text.clone(),
            plain: false,
        },
        // A `Variable` holds nothing else.
        other => Value::String {
            text: other.to_string(),
            plain: false,
        },
    }
}

/// Splits a text at its variables and escapes.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut start = 0;
    while let Some(at) = rest[start..].find('$').map(|at| start + at) {
        let tail = &rest[at..];
        if tail.starts_with("$${") {
            // `$${` stands for `${`: the first `$` is dropped, and the rest is not a variable.
            pieces.push(Piece::Text(&rest[..at]));
            rest = &rest[at + 1..];
            start = 2;
        } else if let Some((variable, length)) = variable(tail) {
            pieces.push(Piece::Text(&rest[..at]));
            pieces.push(variable);
            rest = &rest[at + length..];
            start = 0;
        } else {
            start = at + 1;
        }
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    pieces
}

/// Reads `${name}` or `${name:=default}` at the beginning of the text, and returns it with its length.
fn variable(text: &str) -> Option<(Piece<'_>, usize)> {
    let inside = text.strip_prefix("${")?;
    let end = inside.find('}')?;
    let (name, default) = match inside[..end].split_once(":=") {
        Some((name, default)) => (name, Some(default)),
        None => (&inside[..end], None),
    };
    let length = end + 3;
    is_name(name).then(|| {
        (
            Piece::Variable {
                name,
                default,
                source: &text[..length],
            },
            length,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let shown = pieces(text).into_iter().map(|piece| match piece {
            Piece::Text(text) => format!("[{text}]"),
            Piece::Variable {
                name,
                default: None,
                ..
            } => format!("<{name}>"),
            Piece::Variable {
                name,
                default: Some(default),
                ..
            } => format!("<{name}|{default}>"),
        });
        shown.collect()
    }

    #[test]
    fn texts_are_split_at_variables_and_escapes() {
        for (text, expected) in [
            ("${a}", "<a>"),
            ("x${a}y${b_1}", "[x]<a>[y]<b_1>"),
            ("${a:=b c}", "<a|b c>"),
            ("${a:=}", "<a|>"),
            ("$${a}", "[${a}]"),
            ("x$${a}${b}", "[x][${a}]<b>"),
            ("$$${a}", "[$][${a}]"),
            (
                "$a ${1} ${} ${a-b} ${a:-b} ${#a[@]} ${a%.*} $(a) ${",
                "[$a ${1} ${} ${a-b} ${a:-b} ${#a[@]} ${a%.*} $(a) ${]",
            ),
            ("${a", "[${a]"),
            ("é${a}é", "[é]<a>[é]"),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
