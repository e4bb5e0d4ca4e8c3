//! Compares TOML in both directions.

use pintle_goencoding::toml::{self, DateTime, Offset};
use pintle_gotemplate::Value;
use proptest::prelude::*;

use crate::{
    oracle::{Answer, sample},
    values,
};

/// Returns a time in the oracle's form.
fn time(time: &DateTime) -> Value {
    let DateTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        nanos,
        offset,
    } = *time;
    let fraction = match nanos {
        0 => String::new(),
        _ => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    let seconds = match offset {
        Offset::Known(seconds) => seconds,
        _ => 0,
    };
    let zone = match seconds / 60 {
        0 => "Z".to_owned(),
        minutes => {
            let sign = if minutes < 0 { '-' } else { '+' };
            let minutes = minutes.abs();
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    };
    let location = match offset {
        Offset::Known(0) => "UTC",
        other => other.location().unwrap_or_default(),
    };
    Value::string(format!(
        "time {year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone} {location}"
    ))
}

fn read(text: &[u8]) -> Result<Value, String> {
    toml::read(text, &time).map_err(|error| error.to_string())
}

/// Returns whether two errors are the same except for the line. The library may name the one before or after a line break.
fn in_next_line(ours: &str, theirs: &str) -> bool {
    fn split(text: &str) -> Option<(i64, &str)> {
        let text = text.strip_prefix("toml: line ")?;
        let end = text.find(|c: char| !c.is_ascii_digit())?;
        Some((text[..end].parse().ok()?, &text[end..]))
    }
    match (split(ours), split(theirs)) {
        (Some((one, ours)), Some((other, theirs))) => ours == theirs && (one - other).abs() == 1,
        _ => false,
    }
}

fn same(ours: &Result<Value, String>, answer: &Answer) -> bool {
    match (ours, answer) {
        (Ok(ours), Answer::Value(theirs)) => format!("{ours:?}") == format!("{theirs:?}"),
        (Err(ours), Answer::Error(theirs)) => {
            ours == theirs
                || in_next_line(ours, theirs)
                || theirs.starts_with("panic: ")
                // The library checks these only at the end of a string.
                || ours.contains("is not valid UTF-8")
        }
        _ => false,
    }
}

/// Generates texts that are nearly TOML.
fn tomlish() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "a",
        "b",
        "\"c d\"",
        "'e'",
        ".",
        " . ",
        " = ",
        "=",
        "\n",
        "\r\n",
        "[a]\n",
        "[a.b]\n",
        "[[a]]\n",
        "[[a.b]]\n",
        "[",
        "]",
        "{",
        "}",
        "[[",
        "]]",
        ", ",
        ",",
        "a = 1\n",
        "b = \"x\"\n",
        "a.b = 2\n",
        "a.c = {x = 1}\n",
        "c = [1, 2]\n",
        "d = {x = {y = 1}, z.w = 2}\n",
        "e = [{x = 1}, {x = 2}]\n",
        "1",
        "-1",
        "+5",
        "1_000",
        "1__0",
        "007",
        "0x1f",
        "0b101",
        "0o17",
        "1.5",
        "-0.0",
        "1e3",
        "1.e3",
        "6.02E+23",
        "1e400",
        "inf",
        "-nan",
        "nan",
        "true",
        "false",
        "tru",
        "9223372036854775808",
        "1979-05-27T07:32:00Z",
        "1979-05-27 07:32:00.5+01:30",
        "1979-05-27T07:32:00",
        "1979-05-27",
        "07:32:00",
        "07:32",
        "1979-02-30",
        "\"\"\"",
        "'''",
        "\"",
        "'",
        "\\n",
        "\\u00e9",
        "\\U0001F600",
        "\\x41",
        "\\q",
        "\\ud800",
        "\\\n  ",
        "# comment\n",
        " # comment",
        "é",
        "\u{1}",
        "\t",
        "text",
        "\"\"\"\nlong \\\n   text\"\"\"\n",
        "'''\nraw'''\n",
        "x = ",
        "y = [\n  1,\n  2,\n]\n",
        "[a.\"b c\"]\n",
    ];
    let piece = prop_oneof![
        30 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    let fragments =
        || proptest::collection::vec(piece.clone(), 0..9).prop_map(|pieces| pieces.concat());
    let values = || {
        let value =
            proptest::collection::vec(piece.clone(), 1..4).prop_map(|pieces| pieces.concat());
        (0..4usize, value).prop_map(|(key, value)| {
            [b"k", key.to_string().as_bytes(), b" = ", &value, b"\n"].concat()
        })
    };
    let written = || {
        values::map().prop_map(|value| {
            let mut text = Vec::new();
            toml::write(&value, &mut text).map_or(vec![], |()| text)
        })
    };
    let changed = (
        written(),
        any::<prop::sample::Index>(),
        0..4usize,
        fragments(),
    )
        .prop_map(|(mut text, at, cut, insert)| {
            if !text.is_empty() {
                let at = at.index(text.len());
                let end = (at + cut).min(text.len());
                text.splice(at..end, insert);
            }
            text
        });
    let pairs = proptest::collection::vec(values(), 1..3).prop_map(|pairs| pairs.concat());
    prop_oneof![4 => fragments(), 3 => pairs, 1 => written(), 2 => changed]
}

#[test]
fn toml_texts() {
    let sound = crate::reading::compare("fromToml", read, same, &sample(tomlish(), 15_000));
    assert!(sound > 2_000, "only {sound} texts are TOML");
}

#[test]
fn toml_of_values() {
    crate::writing::compare("toToml", toml::write, &sample(values::map(), 8_000));
    crate::writing::compare("toToml", toml::write, &sample(values::value(), 8_000));
}
