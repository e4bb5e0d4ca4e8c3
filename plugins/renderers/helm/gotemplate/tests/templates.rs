//! Compares the output of templates with that of Go 1.26 (data/templates.tsv). Each line has a template and its output or error,
//! both with backslash escapes.

use std::rc::Rc;

use pintle_gotemplate::{
    Function, Functions, Int, IntKind, List, Map, MissingKey, Options, Set, Text, Type, Value,
    print,
};

const FUNCTIONS: &[Function] = &[
    Function::new("add", &[Type::INT, Type::INT], |_, args| {
        Ok(Value::int(args.int(0)? + args.int(1)?))
    }),
    Function::new("upper", &[Type::String], |_, args| {
        Ok(Value::string(args.text(0)?.to_ascii_uppercase()))
    }),
    Function::variadic("join", &[Type::String, Type::Any], |_, args| {
        let items = args.rest(1).iter().map(print::value);
        let items = items.collect::<Result<Vec<Text>, _>>()?;
        Ok(Value::string(items.join(&args.text(0)?[..])))
    }),
    Function::new("boom", &[], |_, _| {
        Err(pintle_gotemplate::FunctionError::new("boom failed"))
    }),
    Function::new("mapf", &[Type::ANY_MAP], |_, args| {
        Ok(count(args.map(0)?.len()))
    }),
    Function::new("slicef", &[Type::ANY_SLICE], |_, args| {
        Ok(count(args.list(0)?.len()))
    }),
    Function::new("fl", &[Type::Float64], |_, args| {
        Ok((args.float(0)? * 2.0).into())
    }),
    Function::new("b", &[Type::Bool], |_, args| Ok((!args.boolean(0)?).into())),
    Function::new("u", &[Type::Int(IntKind::Uint8)], |_, args| {
        Ok(args[0].clone())
    }),
    Function::new("nothing", &[], |_, _| Ok(Value::Nil)),
    Function::new("i64f", &[Type::INT64], |_, args| Ok(args[0].clone())),
    Function::new("any", &[Type::Any], |_, args| Ok(args[0].clone())),
    Function::new("dict", &[], |_, _| Ok(map([("z", Value::int(1))]))),
];

fn count(number: usize) -> Value {
    Value::int(i64::try_from(number).expect("the data is small"))
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().collect())
}

fn data() -> Value {
    let sm = Map::typed(Type::STRING_MAP);
    sm.insert("k", "v".into()).expect("it is not nil");
    let list = vec![
        "a".into(),
        Value::int(2),
        Value::Nil,
        map([("k", "v".into())]),
    ];
    map([
        ("s", "text".into()),
        ("empty", "".into()),
        ("i", Value::int(7)),
        ("i64", Value::int64(-3)),
        ("u8", Int::new(IntKind::Uint8, 200).into()),
        ("f", 2.5.into()),
        ("big", 1e6.into()),
        ("t", true.into()),
        ("nil", Value::Nil),
        ("list", Value::list(list)),
        ("strs", List::strings(["x", "y"]).into()),
        ("ints", List::ints([3, 1, 2]).into()),
        ("none", Value::list(vec![])),
        (
            "m",
            map([
                ("b", Value::int(1)),
                ("a", map([("x", "deep".into())])),
                ("c", Value::Nil),
                ("if", "kw".into()),
            ]),
        ),
        ("sm", sm.into()),
        ("bytes", List::bytes("hi").into()),
        ("nilmap", Map::nil(Type::ANY_MAP).into()),
        ("html", "<a href='x'>\"&\"</a>".into()),
    ])
}

const LIBRARY: &str =
    r#"{{define "lib"}}[{{.}}]{{end}}{{define "vars"}}{{$x := 1}}{{$.s}}{{$x}}{{end}}"#;

fn run(text: &str) -> Result<String, Box<dyn std::error::Error>> {
    let mut set =
        Set::new("main", Functions::from_tables(&[FUNCTIONS])).with_missing_key(MissingKey::Zero);
    set.parse("main", LIBRARY)?;
    set.parse_main("main", text)?;
    let out = Rc::new(set).execute("main", &data(), &Options::default())?;
    Ok(String::from_utf8_lossy(&out).into_owned())
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
    let mut wrong = Vec::new();
    let lines = include_str!("data/templates.tsv").lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (template, expected) = line.split_once('\t').unwrap();
        let (text, expected) = (unescape(template), unescape(expected));
        let given = run(&text).unwrap_or_else(|error| format!("ERROR {error}"));
        if given != expected {
            wrong.push(format!(
                "{template}\n    Go:   {expected}\n    here: {given}"
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
