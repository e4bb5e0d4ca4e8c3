//! Pointers to fields of an object, as operators write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diff::escape;

/// Names one or more fields of an object: an RFC 6901 pointer in which a part may also be `*` for every key or item,
/// `[name=main]` for the list items that have this value (or several: `[port=80,protocol=TCP]`), or `[=value]` for the items that
/// equal this value.
///
/// ```
/// use pintle_core::drift::FieldPointer;
/// let pointer: FieldPointer = "/spec/template/spec/containers/[name=main]/image".parse()?;
/// assert!("spec/replicas".parse::<FieldPointer>().is_err());
/// # Ok::<(), pintle_core::drift::ParseFieldPointerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPointer {
    text: String,
    parts: Vec<Part>,
}

/// One part of a pointer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    /// A key, or the index of an item.
    Name(String),
    /// Every key or item.
    Any,
    /// The items that have these values for these keys. An empty key means the item itself.
    Where(Vec<(String, String)>),
}

/// The error for a text that names no field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseFieldPointerError {
    /// It does not begin with a slash.
    #[error(
        "`{0}` names no field: expected parts that each begin with a slash, such as `/spec/replicas`"
    )]
    Relative(String),
    /// It names the object as a whole.
    #[error(
        "an empty pointer names the whole object: name a field of it, such as `/spec/replicas`"
    )]
    Whole,
    /// It covers the identity of the object.
    #[error(
        "`{0}` takes in what the object is (its kind, its name or its namespace): name other fields"
    )]
    Identity(String),
    /// It has a tilde that escapes nothing.
    #[error(
        "`{0}` has a `~` that is followed by neither 0 nor 1: write `~0` for a tilde and `~1` for a slash"
    )]
    Escape(String),
}

/// The fields that identify an object.
const IDENTITY: [&[&str]; 4] = [
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
];

impl FromStr for FieldPointer {
    type Err = ParseFieldPointerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text == "/" {
            return Err(ParseFieldPointerError::Whole);
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(ParseFieldPointerError::Relative(text.to_owned()));
        };
        let part =
            |part: &str| read(part).ok_or_else(|| ParseFieldPointerError::Escape(text.to_owned()));
        let parts: Vec<Part> = rest.split('/').map(part).collect::<Result<_, _>>()?;
        // `/metadata` includes the name, and so does `/*`.
        let takes = |path: &&[&str]| {
            let mut pairs = parts.iter().zip(*path);
            parts.len() <= path.len() && pairs.all(|(part, key)| part.is_key(key))
        };
        if IDENTITY.iter().any(takes) {
            return Err(ParseFieldPointerError::Identity(text.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }
}

fn read(part: &str) -> Option<Part> {
    if part == "*" {
        return Some(Part::Any);
    }
    let conditions = part
        .strip_prefix('[')
        .and_then(|part| part.strip_suffix(']'))
        .filter(|conditions| conditions.contains('='));
    if let Some(conditions) = conditions {
        return conditions_of(conditions).map(Part::Where);
    }
    unescape(part).map(Part::Name)
}

fn conditions_of(text: &str) -> Option<Vec<(String, String)>> {
    let mut conditions: Vec<(String, String)> = Vec::new();
    for piece in text.split(',') {
        match (piece.split_once('='), conditions.last_mut()) {
            (Some((key, value)), _) => conditions.push((unescape(key)?, unescape(value)?)),
            // The comma was part of a value.
            (None, Some((_, value))) => {
                value.push(',');
                value.push_str(&unescape(piece)?);
            }
            (None, None) => return None,
        }
    }
    Some(conditions)
}

/// Writes one path element of a `fieldsV1` as a part of a pointer.
fn written(element: &str) -> Option<String> {
    let (kind, rest) = element.split_once(':')?;
    let scalar = |value: &Value| match value {
        Value::String(text) => escape(text),
        other => escape(&other.to_string()),
    };
    match kind {
        "f" => Some(escape(rest)),
        "i" => Some(rest.to_owned()),
        "v" => Some(format!("[={}]", scalar(&serde_json::from_str(rest).ok()?))),
        "k" => {
            let keys: serde_json::Map<String, Value> = serde_json::from_str(rest).ok()?;
            let keys = keys
                .iter()
                .map(|(key, value)| format!("{}={}", escape(key), scalar(value)));
            Some(format!("[{}]", keys.collect::<Vec<_>>().join(",")))
        }
        _ => None,
    }
}

/// Unescapes a part as in RFC 6901, section 4.
fn unescape(part: &str) -> Option<String> {
    let mut out = String::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        match c {
            '~' => out.push(match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            }),
            c => out.push(c),
        }
    }
    Some(out)
}

impl TryFrom<String> for FieldPointer {
    type Error = ParseFieldPointerError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FieldPointer> for String {
    fn from(pointer: FieldPointer) -> Self {
        pointer.text
    }
}

impl fmt::Display for FieldPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl schemars::JsonSchema for FieldPointer {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FieldPointer".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^/.+" })
    }
}

impl FieldPointer {
    /// Converts a `fieldsV1` path, such as `f:spec` followed by `f:replicas`, into a pointer that can be parsed again. Returns
    /// `None` if it is not a path to a field.
    pub fn of_path<'a>(path: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut text = String::new();
        for element in path {
            text.push('/');
            text.push_str(&written(element)?);
        }
        text.parse().ok()
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl Part {
    pub(super) fn is_key(&self, key: &str) -> bool {
        match self {
            Self::Name(name) => name == key,
            Self::Any => true,
            Self::Where(_) => false,
        }
    }

    pub(super) fn is_item(&self, index: usize, item: &Value) -> bool {
        match self {
            Self::Name(name) => name.parse() == Ok(index),
            Self::Any => true,
            Self::Where(conditions) => conditions
                .iter()
                .all(|(key, value)| plain(item, key).as_ref() == Some(value)),
        }
    }
}

/// Returns a scalar of an item as it is written in a pointer.
fn plain(item: &Value, key: &str) -> Option<String> {
    let found = if key.is_empty() {
        Some(item)
    } else {
        item.get(key)
    };
    match found {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) => None,
        Some(other) => Some(other.to_string()),
        // The only key that the built-in types leave out when it has its default.
        None => (key == "protocol").then(|| "TCP".to_owned()),
    }
}

/// What is left of the pointers below one field: those that continue, without their first part.
pub(super) type Below<'a> = Vec<&'a [Part]>;

/// Follows pointers into a field of an object.
pub(super) fn below_key<'a>(pointers: &[&'a [Part]], key: &str) -> Below<'a> {
    below(pointers, |part| part.is_key(key))
}

/// Follows pointers into an item of a list.
pub(super) fn below_item<'a>(pointers: &[&'a [Part]], index: usize, item: &Value) -> Below<'a> {
    below(pointers, |part| part.is_item(index, item))
}

/// Follows pointers into an item that is not among the `live` ones yet. An index refers to the live item there, if there is one.
pub(super) fn below_new_item<'a>(
    pointers: &[&'a [Part]],
    live: usize,
    index: usize,
    item: &Value,
) -> Below<'a> {
    let is_free = index >= live;
    below(pointers, |part| {
        part.is_item(index, item) && (is_free || !matches!(part, Part::Name(_)))
    })
}

fn below<'a>(pointers: &[&'a [Part]], is_meant: impl Fn(&Part) -> bool) -> Below<'a> {
    let meant = pointers.iter().filter_map(|parts| parts.split_first());
    meant
        .filter(|(first, _)| is_meant(first))
        .map(|(_, rest)| rest)
        .collect()
}

/// Returns whether a pointer ends here.
pub(super) fn ends(pointers: &[&[Part]]) -> bool {
    pointers.iter().any(|parts| parts.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn error(text: &str) -> String {
        text.parse::<FieldPointer>().unwrap_err().to_string()
    }

    #[test]
    fn what_names_no_field_is_refused_with_what_would() {
        insta::assert_snapshot!(
            ["spec/replicas", "", "/", "/metadata/name", "/metadata", "/metadata/*", "/*", "/a~2"].map(error).join("\n"), @r"
        `spec/replicas` names no field: expected parts that each begin with a slash, such as `/spec/replicas`
        an empty pointer names the whole object: name a field of it, such as `/spec/replicas`
        an empty pointer names the whole object: name a field of it, such as `/spec/replicas`
        `/metadata/name` takes in what the object is (its kind, its name or its namespace): name other fields
        `/metadata` takes in what the object is (its kind, its name or its namespace): name other fields
        `/metadata/*` takes in what the object is (its kind, its name or its namespace): name other fields
        `/*` takes in what the object is (its kind, its name or its namespace): name other fields
        `/a~2` has a `~` that is followed by neither 0 nor 1: write `~0` for a tilde and `~1` for a slash
        ");
    }

    #[test]
    fn parts_find_keys_and_items() {
        let pointer: FieldPointer = "/metadata/annotations/a.b~1c/*/[port=80]".parse().unwrap();
        let parts = pointer.parts();
        assert!(parts[2].is_key("a.b/c") && !parts[2].is_key("a.b"));
        assert!(parts[3].is_key("anything") && parts[3].is_item(7, &json!(null)));
        assert!(parts[4].is_item(0, &json!({"port": 80})));
        assert!(!parts[4].is_item(0, &json!({"port": 8080})) && !parts[4].is_key("port"));
    }

    #[test]
    fn what_is_told_of_a_field_can_be_written_into_a_rule() {
        let path = [
            "f:spec",
            r#"k:{"port":80,"protocol":"TCP"}"#,
            "f:a/b",
            r#"v:"x,y""#,
        ];
        let pointer = FieldPointer::of_path(path).unwrap();
        assert_eq!(
            pointer.to_string(),
            "/spec/[port=80,protocol=TCP]/a~1b/[=x,y]"
        );
        assert!(
            pointer.parts()[1].is_item(0, &json!({"port": 80})),
            "TCP is the default"
        );
        assert!(!pointer.parts()[1].is_item(0, &json!({"port": 80, "protocol": "UDP"})));
        assert!(pointer.parts()[3].is_item(0, &json!("x,y")));
        assert_eq!(FieldPointer::of_path(["spec"]), None);
        assert_eq!(FieldPointer::of_path([]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_written_as_it_was(text in ".{0,20}") {
            if let Ok(pointer) = text.parse::<FieldPointer>() {
                prop_assert_eq!(pointer.to_string(), text);
            }
        }
    }
}
