//! Generates values that challenge the writers.

use pintle_gotemplate::{Int, IntKind, List, Map, Type, Value};
use proptest::prelude::*;

/// Pieces that have a special meaning somewhere in YAML, JSON or TOML.
const PIECES: &[&str] = &[
    "",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "\r",
    "\r\n",
    ": ",
    ":",
    " #",
    "#",
    "-",
    "- ",
    "---",
    "...",
    "?",
    "? ",
    "!",
    "!!",
    "&",
    "&a",
    "*",
    "*a",
    "|",
    ">",
    "%",
    "@",
    "`",
    "'",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    "<",
    "<<",
    "=",
    "~",
    "null",
    "Null",
    "true",
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "N",
    "0",
    "1",
    "-1",
    "007",
    "0o7",
    "0o+7",
    "0x1F",
    "0b11",
    "0b-1",
    "1e3",
    "1.5",
    ".5",
    "5.",
    "1_000",
    "12:30",
    "1:2:3.4",
    "2001-01-01",
    "2001-12-14 21:59:43",
    "+",
    "-.inf",
    ".nan",
    "a",
    "b",
    "key",
    "value",
    "hello world",
    "http://example.com:80/a?b=c&d",
    "image:tag",
    "é",
    "ß",
    "中文",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{1f600}",
    "\u{0}",
    "\u{7}",
    "\u{1b}",
    "\u{7f}",
    "\u{80}",
    "\u{200b}",
    "{{ x }}",
    "$(VAR)",
    "a: b",
    "a #b",
    "a\nb",
    "a \nb",
    "\n a",
    "a\n\n",
    "9223372036854775808",
    "lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore",
    "01234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "a  b   c",
];

pub(crate) fn nasty() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
        1 => "[a-z0-9 ]{1,60}".prop_map(String::into_bytes),
    ];
    let valid = proptest::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat());
    prop_oneof![
        30 => valid.clone(),
        1 => (valid, any::<Vec<u8>>()).prop_map(|(valid, bytes)| [valid, bytes].concat()),
    ]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => "[a-c_.-]{0,2}[0-9]{0,3}[a-cé]{0,1}[0-9]{0,2}".prop_map(String::into_bytes),
        1 => nasty(),
        1 => proptest::sample::select(&["10", "9", "a1", "a10", "a9", "a", "b", "é", "A", "_a", "a.b/c-d", "1.5", "00", "0", "٣"][..])
            .prop_map(|key| key.as_bytes().to_vec()),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<f64>().prop_map(Value::Float),
        (-1e7..1e7f64).prop_map(Value::Float),
        any::<i32>().prop_map(|n| Value::Float(f64::from(n))),
        (any::<i32>(), 0..40i32).prop_map(|(n, e)| Value::Float(f64::from(n) * 10f64.powi(e - 20))),
        proptest::sample::select(
            &[
                0.0,
                -0.0,
                1e6,
                1e20,
                1e21,
                1e-6,
                1e-7,
                9_223_372_036_854_775_808.0,
                18_446_744_073_709_551_616.0,
                -1e19,
                0.1,
                1e300,
                5e-324,
                123_456.0,
                1_234_567.0,
                1_234_567.5
            ][..]
        )
        .prop_map(Value::Float),
        any::<i64>().prop_map(Value::int),
        any::<i64>().prop_map(Value::int64),
        (-10..10i64).prop_map(Value::int),
        any::<u64>().prop_map(|n| Value::Int(Int::unsigned(IntKind::Uint64, n))),
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Nil),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => number(),
        8 => nasty().prop_map(Value::string),
        1 => Just(Value::list(vec![])),
        1 => Just(Map::new().into()),
        1 => Just(List::nil(Type::ANY_SLICE).into()),
        1 => Just(Map::nil(Type::ANY_MAP).into()),
        1 => any::<Vec<u8>>().prop_map(|bytes| List::bytes(bytes).into()),
    ]
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::list),
            map_of(inner),
        ]
    })
}

fn map_of(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    proptest::collection::vec((key(), inner), 0..6)
        .prop_map(|entries| entries.into_iter().collect::<Map>().into())
}

/// Generates values as in charts: a map at the top.
pub(crate) fn map() -> impl Strategy<Value = Value> {
    map_of(value())
}
