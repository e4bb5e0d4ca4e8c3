//! Recorded objects: `tests/fixtures/*.yaml`, whose documents each have one object and cases that patch it (RFC 7396).

use std::fs;
use std::path::Path;

use pintle_health_kubernetes::Settings;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The time at which a case without a time is judged: well after all times in the recorded objects.
const NOW: &str = "2026-06-01T12:00:00Z";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    object: Value,
    cases: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    case: String,
    status: String,
    message: String,
    #[serde(default)]
    now: Option<String>,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    patch: Map<String, Value>,
}

/// One object, how it is judged, and the expected verdict.
pub(crate) struct Case {
    /// The file and the case: `pod: ready`.
    pub(crate) name: String,
    pub(crate) object: Value,
    pub(crate) settings: Settings,
    pub(crate) now_ms: u64,
    /// The expected verdict: `healthy: 3 of 3 replicas are available`.
    pub(crate) expected: String,
}

impl Case {
    /// Returns whether the case is about the object alone.
    pub(crate) fn has_default_settings(&self) -> bool {
        self.settings == Settings::default()
    }
}

/// Reads all cases.
pub(crate) fn load() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().flat_map(|path| load_file(path)).collect()
}

fn load_file(path: &Path) -> Vec<Case> {
    let file = path.file_stem().unwrap().to_str().unwrap();
    let text = fs::read_to_string(path).unwrap();
    let documents: Vec<Document> = serde_saphyr::from_multiple(&text)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    documents
        .into_iter()
        .flat_map(|Document { object, cases }| {
            cases
                .into_iter()
                .map(move |entry| read(file, object.clone(), entry))
        })
        .collect()
}

fn read(file: &str, mut object: Value, entry: Entry) -> Case {
    let name = format!("{file}: {}", entry.case);
    let now: jiff::Timestamp = entry.now.as_deref().unwrap_or(NOW).parse().expect(&name);
    merge(&mut object, &Value::Object(entry.patch));
    Case {
        settings: serde_json::from_value(Value::Object(entry.settings)).expect(&name),
        now_ms: u64::try_from(now.as_millisecond()).expect(&name),
        expected: format!("{}: {}", entry.status, entry.message),
        name,
        object,
    }
}

/// Applies a merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().expect("it has just been made one");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
