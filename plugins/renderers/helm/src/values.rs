//! The user's values, from all the places that the settings name.

use std::cell::RefCell;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memmem;
use pintle_gotemplate::{Map, Value};
use pintle_helm_chart::{
    read_values,
    values::{
        from_json, merge,
        set::{SetError, merge_json, set, set_file, set_literal, set_string},
    },
};
use pintle_sdk::{Problem, Tree};

use crate::settings::{Content, Encoded, Settings};

/// The user's values, and whether the word `Files` occurs in them.
pub(crate) struct UserValues {
    /// The values.
    pub(crate) values: Map,
    /// Whether the word `Files` occurs, so that `tpl` might access `.Files`.
    pub(crate) mentions_files: bool,
}

/// Combines the user's values.
pub(crate) fn read(settings: &Settings, folder: &dyn Tree) -> Result<UserValues, Problem> {
    let mut values = Map::new();
    let mut texts = Vec::new();
    for (index, path) in settings.values_files.iter().enumerate() {
        let pointer = format!("/valuesFiles/{index}");
        let text = content(settings, folder, path)
            .map_err(|reason| Problem::new(reason).pointer(pointer.clone()))?;
        let read = read_values(&text).map_err(|error| {
            Problem::new(format!("failed to parse {path}: {error}")).pointer(pointer)
        })?;
        values = merge(&values, &read);
        texts.push(text);
    }
    if !settings.values.is_empty() {
        let inline = serde_json::Value::Object(settings.values.clone());
        if let Value::Map(inline) = from_json(&inline) {
            values = merge(&values, &inline);
        }
        texts.push(inline_text(&settings.values).into_bytes());
    }
    for (index, line) in settings.set_json.iter().enumerate() {
        values = merge_json(line, values)
            .map_err(|error| problem("setJson", index, line, &error.to_string()))?;
    }
    let lines: [(&str, &[String], SetLine); 3] = [
        ("set", &settings.set, set),
        ("setString", &settings.set_string, set_string),
        ("setLiteral", &settings.set_literal, set_literal),
    ];
    let [typed, text, literal] = lines;
    for (name, lines, put) in [typed, text] {
        put_all(name, lines, put, &values)?;
    }
    let contents = RefCell::new(Vec::new());
    for (index, line) in settings.set_file.iter().enumerate() {
        let read = |path: &str| -> Result<Value, String> {
            let bytes = content(settings, folder, path)?;
            contents.borrow_mut().push(bytes.clone());
            Ok(Value::String(bytes.into()))
        };
        set_file(line, &values, &read)
            .map_err(|error| problem("setFile", index, line, &error.to_string()))?;
    }
    texts.extend(contents.into_inner());
    let (name, lines, put) = literal;
    put_all(name, lines, put, &values)?;
    for lines in [
        &settings.set,
        &settings.set_string,
        &settings.set_json,
        &settings.set_file,
        &settings.set_literal,
    ] {
        texts.extend(lines.iter().map(|line| line.clone().into_bytes()));
    }
    Ok(UserValues {
        values,
        mentions_files: texts
            .iter()
            .any(|text| memmem::find(text, b"Files").is_some()),
    })
}

type SetLine = fn(&str, &Map) -> Result<(), SetError>;

fn put_all(name: &str, lines: &[String], put: SetLine, values: &Map) -> Result<(), Problem> {
    for (index, line) in lines.iter().enumerate() {
        put(line, values).map_err(|error| problem(name, index, line, &error.to_string()))?;
    }
    Ok(())
}

fn problem(name: &str, index: usize, line: &str, reason: &str) -> Problem {
    Problem::new(format!("failed parsing {name} data {line:?}: {reason}"))
        .pointer(format!("/{name}/{index}"))
        .hint("the grammar is that of `helm --set`: a comma separates, a backslash takes the next character as it is")
}

/// Returns the content of a file that the settings name. It need not be text, because `--set-file` accepts any file.
fn content(settings: &Settings, folder: &dyn Tree, path: &str) -> Result<Vec<u8>, String> {
    match settings.file_contents.get(path) {
        Some(Content::Text(text)) => Ok(text.clone().into_bytes()),
        Some(Content::Bytes(Encoded { base64 })) => STANDARD
            .decode(base64)
            .map_err(|error| format!("what `fileContents` has for {path} is no base64: {error}")),
        None => folder.read(path).map_err(|error| error.at(path).message),
    }
}

fn inline_text(values: &serde_json::Map<String, serde_json::Value>) -> String {
    serde_json::to_string(values).unwrap_or_default()
}
