//! Compares printing with what Go 1.26 printed for the same formats and values (data/print.tsv).
//!
//! Each line has the number of a value, the format, and Go's output with backslash escapes. `A`, `P` and `L` stand for the
//! arguments and calls that [`expected_by_go`] names.

use pintle_gotemplate::{Int, IntKind, List, Map, Type, Value, print};

fn values() -> Vec<Option<Value>> {
    let map: Map = [
        ("b", Value::int(1)),
        ("a", Value::list(vec!["q".into()])),
        ("c", Value::Nil),
    ]
    .into_iter()
    .collect();
    let mixed = vec![Value::int(1), "a".into(), Value::Nil, 2.5.into()];
    [
        Value::Nil,
        true.into(),
        Value::int(42),
        Value::int(-42),
        Value::int64(7),
        Int::new(IntKind::Uint8, 200).into(),
        Value::int(0),
        Int::new(IntKind::Int32, 233).into(),
        3.0.into(),
        (-2.5).into(),
        1e6.into(),
        123_456_789.0.into(),
        1e21.into(),
        1e-7.into(),
        0.1.into(),
        100_000.0.into(),
        f64::INFINITY.into(),
        f64::NAN.into(),
        "".into(),
        "abc".into(),
        "héllo \"w\"\n".into(),
        "`".into(),
        Value::list(mixed),
        List::strings(["x", "y z"]).into(),
        List::nil(Type::INT_SLICE).into(),
        map.into(),
        List::bytes("hi\0").into(),
        // Complex numbers come only from templates.
        Value::Nil,
        Value::int(1 << 40),
        Value::uint64(u64::MAX),
        Value::int64(i64::MIN),
        Map::nil(Type::STRING_MAP).into(),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, value)| (index != 27).then_some(value))
    .collect()
}

fn unescape(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::new();
    while let Some(char) = chars.next() {
        out.push(match char {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    out
}

#[test]
fn expected_by_go() {
    let values = values();
    let mut wrong = Vec::new();
    for line in include_str!("data/print.tsv").lines() {
        let [which, format, expected] = line.splitn(3, '\t').collect::<Vec<_>>()[..] else {
            panic!("not three columns: {line}");
        };
        let expected = unescape(expected);
        let abc: Vec<Value> = vec![
            "a".into(),
            Value::int(1),
            Value::int(2),
            "b".into(),
            Value::Nil,
        ];
        let more: Vec<Value> = vec![true.into(), 1.5.into(), "c".into(), "d".into()];
        let printed = match which {
            "A" => print::sprintf(
                format.as_bytes(),
                &[Value::int(3), Value::int(2), 1.5.into()],
            ),
            "P" => print::sprint(&[abc, more].concat()),
            "L" => print::sprintln(&abc),
            index => match &values[index.parse::<usize>().unwrap()] {
                Some(value) => print::sprintf(format.as_bytes(), std::slice::from_ref(value)),
                None => continue,
            },
        };
        let printed = printed.unwrap().to_str_lossy().into_owned();
        if printed != expected {
            wrong.push(format!(
                "{which} {format:?}: Go {expected:?}, here {printed:?}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_contains_itself_is_refused() {
    let map = Map::new();
    map.insert("self", map.clone().into()).unwrap();
    assert_eq!(
        print::value(&map.clone().into()),
        Err(print::PrintError::TooDeep)
    );
    map.remove(b"self");
}
