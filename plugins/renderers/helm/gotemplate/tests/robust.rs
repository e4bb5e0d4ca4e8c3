//! Checks that no text makes the parser or the executor panic, run on, or overflow the stack.

use std::rc::Rc;

use pintle_gotemplate::{
    ExecuteError, Failure, Functions, Limit, Limits, List, Map, Options, Set, Value, print,
};
use proptest::prelude::*;

fn data() -> Value {
    let inner: Map = [("x", Value::int(1)), ("n", Value::Nil)]
        .into_iter()
        .collect();
    let entries = [
        ("a", Value::from(inner)),
        ("l", List::strings(["p", "q"]).into()),
        ("s", "text".into()),
        ("f", 1.5.into()),
    ];
    Value::Map(entries.into_iter().collect())
}

fn limits() -> Limits {
    Limits {
        steps: 10_000,
        output: 1 << 20,
        memory: 8 << 20,
        ..Limits::default()
    }
}

fn run(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut set = Set::new("main", Functions::default());
    set.parse_main("main", text)
        .map_err(|error| error.to_string())?;
    let options = Options {
        limits: limits(),
        ..Options::default()
    };
    let out = Rc::new(set).execute("main", &data(), &options);
    out.map_err(|error| error.to_string())
}

fn failure(text: &str) -> Failure {
    let mut set = Set::new("main", Functions::default());
    set.parse_main("main", text)
        .expect("the text is a template");
    let options = Options {
        limits: limits(),
        ..Options::default()
    };
    match Rc::new(set).execute("main", &data(), &options) {
        Err(ExecuteError::Failed(error)) => error.failure,
        other => panic!("{other:?}"),
    }
}

/// Generates pieces that together often form a template.
fn piece() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "{{",
        "}}",
        "{{- ",
        " -}}",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "block",
        "template",
        "break",
        "continue",
        "\"main\"",
        "\"x\"",
        ".a",
        ".a.x",
        ".a.n.y",
        ".l",
        ".s",
        ".f",
        "$",
        "$x",
        ":=",
        "=",
        ",",
        "|",
        "(",
        ")",
        " ",
        " ",
        " ",
        "\n",
        "nil",
        "true",
        "1",
        "-1.5",
        "0x1p3",
        "'c'",
        "2i",
        "printf",
        "\"%*[2]d\"",
        "index",
        "slice",
        "len",
        "eq",
        "lt",
        "and",
        "or",
        "not",
        "call",
        "print",
        "html",
        "js",
        "/*",
        "*/",
        "`",
        "é",
        ".",
    ];
    prop_oneof![
        8 => prop::sample::select(WORDS).prop_map(str::to_owned),
        1 => "\\PC{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = run(&text);
    }

    #[test]
    fn any_mix_of_words(pieces in prop::collection::vec(piece(), 0..40)) {
        let _ = run(pieces.concat().as_bytes());
    }

    #[test]
    fn any_action(pieces in prop::collection::vec(piece(), 0..12)) {
        let _ = run(format!("{{{{ {} }}}}", pieces.join(" ")).as_bytes());
    }

    #[test]
    fn any_format(format in "[%a-zA-Z0-9*.+\\-# \\[\\]]{0,12}", number in any::<i64>(), float in any::<f64>()) {
        let args = [Value::int(number), float.into(), "é\u{0}".into()];
        prop_assert!(print::sprintf(format.as_bytes(), &args).is_ok());
    }

    #[test]
    fn the_shortest_float_reads_back(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        for verb in ['e', 'f', 'g'] {
            let text = print::format_float(number, verb, None);
            prop_assert_eq!(text.parse::<f64>(), Ok(number), "{}", text);
        }
    }
}

#[test]
fn nesting_is_refused_before_the_stack_ends() {
    for (open, close) in [
        ("{{if true}}", "{{end}}"),
        ("{{with .s}}", "{{end}}"),
        ("{{range .l}}", "{{end}}"),
        ("{{if false}}{{else}}", "{{end}}"),
        ("{{block \"main\" .}}", "{{end}}"),
    ] {
        let text = format!("{}{}", open.repeat(100_000), close.repeat(100_000));
        let error = run(text.as_bytes()).unwrap_err();
        assert!(error.ends_with("max expression depth exceeded"), "{error}");
    }
    let text = format!("{{{{{}1{}}}}}", "(".repeat(100_000), ")".repeat(100_000));
    let error = run(text.as_bytes()).unwrap_err();
    assert!(error.ends_with("max expression depth exceeded"), "{error}");
    let chain = format!(
        "{{{{if false}}}}{}{{{{end}}}}",
        "{{else if false}}".repeat(5000)
    );
    assert_eq!(run(chain.as_bytes()), Ok(Vec::new()));
}

#[test]
fn what_does_not_end_is_stopped() {
    let nested = format!(
        "{}{{{{.}}}}{}",
        "{{range 1000}}".repeat(9),
        "{{end}}".repeat(9)
    );
    assert_eq!(failure(&nested), Failure::Limit(Limit::Steps));
    assert_eq!(
        failure("{{range 9223372036854775807}}{{end}}"),
        Failure::Limit(Limit::Steps)
    );
    assert_eq!(
        failure("{{template \"main\" .}}"),
        Failure::Limit(Limit::Depth(1000))
    );
    let blown = "{{define \"b\"}}{{.}}{{template \"b\" (print . .)}}{{end}}{{template \"b\" .s}}";
    assert_eq!(failure(blown), Failure::Limit(Limit::Output));
    let doubled = "{{$x := .s}}{{range 100}}{{$x = print $x $x}}{{end}}";
    assert_eq!(failure(doubled), Failure::Limit(Limit::Memory));
    assert_eq!(
        failure("{{printf \"%9999999d\" 1}}"),
        Failure::Limit(Limit::Memory)
    );
}
