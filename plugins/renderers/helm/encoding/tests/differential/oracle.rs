//! Runs the Go libraries, and converts values on the way to them and back.

use std::{
    fmt,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use pintle_gotemplate::{Int, IntKind, List, Map, Type, Value};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, TestRunner},
};
use serde_json::{Value as Json, json};

/// Generates values of a kind; always the same ones.
pub(crate) fn sample<T>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// Bytes that are mostly readable, and are displayed that way.
#[derive(Clone)]
pub(crate) struct Text(pub(crate) Vec<u8>);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// The library's answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Text(Text),
    Value(Value),
    Error(String),
}

/// Builds the oracle once for all tests of this binary.
fn oracle() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../tests/oracle/encoding");
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("encoding-oracle");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(".")
            .current_dir(folder)
            .output()
            .expect("this test needs Go 1.25 or newer on the PATH: https://go.dev/dl");
        assert!(
            built.status.success(),
            "the oracle does not build: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        binary
    })
}

/// Asks for the answer to each question.
pub(crate) fn ask(questions: &[Json]) -> Vec<Answer> {
    let mut child = Command::new(oracle())
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle was just built");
    let mut stdin = child.stdin.take().expect("the standard input is piped");
    let lines: Vec<String> = questions.iter().map(Json::to_string).collect();
    let text = lines.join("\n");
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "the oracle failed");
    let answers: Vec<Answer> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| answer(&serde_json::from_str(line).unwrap()))
        .collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

fn answer(json: &Json) -> Answer {
    if let Some(error) = json["error"].as_str() {
        Answer::Error(error.to_owned())
    } else if json["text"].is_string() {
        Answer::Text(Text(bytes(&json["text"])))
    } else {
        Answer::Value(unwrap(&json["value"]))
    }
}

/// A question with a text.
pub(crate) fn reading(op: &str, text: &[u8]) -> Json {
    json!({"op": op, "text": STANDARD.encode(text)})
}

/// A question with a value.
pub(crate) fn writing(op: &str, value: &Value) -> Json {
    json!({"op": op, "value": wrap(value)})
}

fn wrap(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Bool(value) => json!({"bool": value}),
        Value::Int(int) if int.kind() == IntKind::Int => json!({"int": int.wrapping_i64()}),
        Value::Int(int) if int.kind() == IntKind::Int64 => json!({"int64": int.wrapping_i64()}),
        Value::Int(int) => json!({"uint64": int.wrapping_u64()}),
        Value::Float(number) => json!({"float": format!("{:016x}", number.to_bits())}),
        Value::String(text) => json!({"string": STANDARD.encode(text.as_bytes())}),
        Value::List(list) if list.is_nil() => json!({"nil": "list"}),
        Value::List(list) => match list.as_bytes() {
            Some(bytes) => json!({"bytes": STANDARD.encode(bytes.as_bytes())}),
            None => json!({"list": list.iter().map(|item| wrap(&item)).collect::<Vec<_>>()}),
        },
        Value::Map(map) if map.is_nil() => json!({"nil": "map"}),
        Value::Map(map) => {
            let entries = map.entries().into_iter().map(
                |(key, value)| json!({"key": STANDARD.encode(key.as_bytes()), "value": wrap(&value)}),
            );
            json!({"map": entries.collect::<Vec<_>>()})
        }
        Value::Object(_) => unreachable!("no test makes one"),
    }
}

fn bytes(json: &Json) -> Vec<u8> {
    STANDARD.decode(json.as_str().unwrap()).unwrap()
}

fn unwrap(json: &Json) -> Value {
    let Json::Object(fields) = json else {
        return Value::Nil;
    };
    let (kind, json) = fields.iter().next().unwrap();
    let items = || json.as_array().unwrap().iter().map(unwrap).collect();
    match kind.as_str() {
        "bool" => Value::Bool(json.as_bool().unwrap()),
        "int64" => Value::int64(json.as_i64().unwrap()),
        "uint64" => Value::Int(Int::unsigned(IntKind::Uint64, json.as_u64().unwrap())),
        "float" => Value::Float(f64::from_bits(
            u64::from_str_radix(json.as_str().unwrap(), 16).unwrap(),
        )),
        "string" => Value::string(bytes(json)),
        "list" => Value::list(items()),
        "maps" => List::typed(Type::Slice(&Type::ANY_MAP), items()).into(),
        "map" => json
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (bytes(&entry["key"]), unwrap(&entry["value"])))
            .collect::<Map>()
            .into(),
        "nil" if json == "list" => List::nil(Type::ANY_SLICE).into(),
        "nil" => Map::nil(Type::ANY_MAP).into(),
        "time" => {
            let time = json.as_str().unwrap().replace(" Local", " UTC");
            Value::string(format!("time {time}"))
        }
        other => unreachable!("{other}"),
    }
}
