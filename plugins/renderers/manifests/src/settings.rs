//! What an application may set.

use std::collections::BTreeMap;

use pintle_sdk::{
    Problem,
    glob::Glob,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// Settings of the renderer `manifests`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Patterns of the files to read. Of what they match, only files that end in `.yaml`, `.yml` or `.json` are read; a
    /// hidden file or folder has to be named: `.deploy/**`.
    #[schemars(length(min = 1))]
    pub include: Vec<Glob>,
    /// Patterns of files not to read.
    pub exclude: Vec<Glob>,
    /// Values to put in place of `${name}`, where that is asked for.
    pub substitute: Substitute,
}

impl Default for Settings {
    fn default() -> Self {
        let include = ["**/*.yaml", "**/*.yml", "**/*.json"]
            .map(|pattern| Glob::parse(pattern).expect("the pattern is well formed"));
        Self {
            include: include.into(),
            exclude: Vec::new(),
            substitute: Substitute::default(),
        }
    }
}

/// Values to put in place of `${name}`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Substitute {
    /// Patterns of the files in which values are put in. Other files are left alone, but for objects that ask for it
    /// by the annotation `pintle.dev/substitute: enabled`.
    pub files: Vec<Glob>,
    /// The values by name: texts, numbers or booleans. A name has letters, digits and `_`, and begins with no digit.
    pub variables: BTreeMap<String, Variable>,
    /// What to do with a `${name}` that is not among the variables and has no default.
    pub undefined: Undefined,
}

/// What to do with a `${name}` that is not among the variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Undefined {
    /// Refuse to render, and name the place.
    #[default]
    Error,
    /// Leave it as it is.
    Keep,
}

/// The value of a variable: a text, a number or a boolean.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable(Value);

impl Variable {
    /// Returns the value: a string, a number or a boolean.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Returns the value as text.
    pub fn text(&self) -> String {
        match &self.0 {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            value @ (Value::String(_) | Value::Number(_) | Value::Bool(_)) => Ok(Self(value)),
            Value::Null => Err(de::Error::custom(
                "a variable must not be null; write \"\" for the empty text",
            )),
            Value::Array(_) | Value::Object(_) => Err(de::Error::custom(
                "a variable is a text, a number or a boolean, no list and no mapping",
            )),
        }
    }
}

impl JsonSchema for Variable {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Variable".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl Settings {
    /// Finds problems that the schema cannot express.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.include.is_empty() {
            problems.push(
                Problem::new("no file would be read")
                    .pointer("/include")
                    .hint("leave the setting out to read every YAML and JSON file"),
            );
        }
        let patterns = [
            ("/include", &self.include),
            ("/exclude", &self.exclude),
            ("/substitute/files", &self.substitute.files),
        ];
        for (setting, patterns) in patterns {
            for (index, pattern) in patterns.iter().enumerate() {
                if is_astray(pattern.as_str()) {
                    problems.push(astray(format!("{setting}/{index}"), pattern));
                }
            }
        }
        for name in self
            .substitute
            .variables
            .keys()
            .filter(|name| !is_name(name))
        {
            problems.push(
                Problem::new(format!("`{name}` is no name of a variable"))
                    .pointer(pintle_yaml::pointer("/substitute/variables", name))
                    .hint("use letters, digits and `_`, and no digit at the beginning"),
            );
        }
        problems
    }
}

/// Returns whether a pattern has a part that no path has. Paths are those of files, relative to the application's folder.
fn is_astray(pattern: &str) -> bool {
    pattern
        .split('/')
        .any(|part| matches!(part, "" | "." | ".."))
}

fn astray(pointer: String, pattern: &Glob) -> Problem {
    let hint = match meant(pattern.as_str()) {
        Some(meant) => format!("write `{meant}`"),
        None => "write `test/**` for all that is in the folder `test`, and `*.yaml` for files of the application's folder".to_owned(),
    };
    Problem::new(format!(
        "`{pattern}` matches no path: a path begins in the application's folder, ends with a file, and has no part `.` or `..`"
    ))
    .pointer(pointer)
    .hint(hint)
}

/// Suggests what is meant by a pattern that matches no path, unless the pattern goes up, or names no more than the
/// application's folder.
fn meant(pattern: &str) -> Option<String> {
    let parts = pattern.split('/').filter(|part| !matches!(*part, "" | "."));
    let mut parts: Vec<&str> = parts.collect();
    if parts.is_empty() || parts.contains(&"..") {
        return None;
    }
    let is_folder = pattern.ends_with('/') || pattern.ends_with("/.");
    if is_folder && parts.last() != Some(&"**") {
        parts.push("**");
    }
    Some(parts.join("/"))
}

/// Returns the warning about a pattern that matches none of its files, as the message says.
pub(crate) fn idle(pointer: String, message: String) -> Problem {
    Problem::new(message)
        .pointer(pointer)
        .hint("patterns match whole paths: `test/**` is all that is in the folder `test`, `**/test/**` all that is in any folder of that name")
}

/// Returns whether a text can be the name of a variable.
pub(crate) fn is_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
