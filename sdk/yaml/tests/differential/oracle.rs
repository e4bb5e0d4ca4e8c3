//! The Go module, and the comparison of its answers.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use pintle_yaml::{Limits, read_yaml};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) json: Option<Value>,
    pub(crate) error: Option<String>,
}

/// Builds the oracle once for all tests of this binary.
pub(crate) fn oracle() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/yaml");
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("yaml-oracle");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(".")
            .current_dir(folder)
            .output()
            .expect("this test needs Go 1.24 or newer on the PATH: https://go.dev/dl");
        assert!(
            built.status.success(),
            "the oracle does not build: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        binary
    })
}

pub(crate) fn ask(texts: &[String]) -> Vec<Answer> {
    let mut child = Command::new(oracle())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle was just built");
    let mut stdin = child.stdin.take().expect("the standard input is piped");
    let question = serde_json::to_vec(texts).unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&question));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "the oracle failed");
    let answers: Vec<Answer> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), texts.len());
    answers
}

pub(crate) fn ours(text: &str) -> Result<Value, String> {
    let stream = read_yaml(text.as_bytes(), &Limits::default());
    match stream.errors.first() {
        Some(error) => Err(format!("{} at {}", error, error.mark)),
        // The Go module reads the first document only.
        None => Ok(stream
            .documents
            .into_iter()
            .next()
            .map_or(Value::Null, pintle_yaml::Node::into_json)),
    }
}

/// Returns whether two values are equal, where `-0` equals 0: Go writes it for a negative zero, and reads it as 0.
pub(crate) fn equal(ours: &Value, go: &Value) -> bool {
    match (ours, go) {
        (Value::Number(ours), Value::Number(go)) => {
            ours == go || (go.as_f64() == Some(0.0) && ours.as_i64() == Some(0))
        }
        (Value::Array(ours), Value::Array(go)) => {
            ours.len() == go.len() && ours.iter().zip(go).all(|(ours, go)| equal(ours, go))
        }
        (Value::Object(ours), Value::Object(go)) => {
            ours.len() == go.len()
                && ours
                    .iter()
                    .all(|(key, value)| go.get(key).is_some_and(|other| equal(value, other)))
        }
        (ours, go) => ours == go,
    }
}

/// Returns the differences, as `text => ours | Go's`.
pub(crate) fn differences(texts: &[String]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (text, answer) in texts.iter().zip(ask(texts)) {
        let go = match answer {
            Answer {
                error: Some(error), ..
            } => Err(error),
            Answer { json, .. } => Ok(json.unwrap_or(Value::Null)),
        };
        let ours = ours(text);
        let same = match (&ours, &go) {
            (Ok(ours), Ok(go)) => equal(ours, go),
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if !same {
            found.insert(text.clone(), format!("{ours:?} | {go:?}"));
        }
    }
    found
}

#[track_caller]
pub(crate) fn same(texts: &[String]) {
    let found = differences(texts);
    let listed: Vec<String> = found
        .iter()
        .take(40)
        .map(|(text, difference)| format!("{text:?} => {difference}"))
        .collect();
    assert!(
        found.is_empty(),
        "{} of {} differ:\n{}",
        found.len(),
        texts.len(),
        listed.join("\n")
    );
}

pub(crate) fn strings(texts: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}
