//! Tests how much arbitrary bytes may cost.

use std::fmt::Write;

use pintle_goencoding::yaml::{Document, Numbers};

/// Tests nested lists and maps in each notation.
#[test]
fn nesting() {
    let deep = 100_000;
    let texts = [
        "[".repeat(deep),
        "{a: ".repeat(deep),
        "- ".repeat(deep),
        "? ".repeat(deep),
        "[".repeat(390) + &"]".repeat(390),
        "{a: ".repeat(390) + &"}".repeat(390),
        "- ".repeat(390),
    ];
    for text in texts {
        let start = text.chars().next();
        let document = Document::new(text.as_bytes());
        let result = document.to_value(Numbers::Float);
        let mut json = Vec::new();
        let same = document.write_json(&mut json);
        assert_eq!(result.clone().err(), same.err(), "{start:?}");
        assert_eq!(result.is_ok(), text.len() < deep, "{start:?}: {result:?}");
    }
}

/// Tests what anchors multiply and nest.
#[test]
fn aliases() {
    let chain = |count: usize| {
        // Nodes without aliases, so that a share of all nodes may come from aliases.
        let mut text = format!("plain: [{}]\na0: &a0 [x]\n", "x, ".repeat(10_000));
        for n in 1..count {
            writeln!(text, "a{n}: &a{n} [*a{}]", n - 1).unwrap();
        }
        text
    };
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..20 {
        let item = format!("*a{}", n - 1);
        writeln!(bomb, "a{n}: &a{n} [{}]", vec![item; 9].join(", ")).unwrap();
    }
    let texts = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        vec!["*a"; 50].join(", ")
    );
    let error = |text: &str| {
        let result = Document::new(text.as_bytes()).to_value(Numbers::Float);
        result.err().map(|error| error.to_string())
    };
    assert_eq!(error(&chain(300)), None);
    let excessive = "yaml: document contains excessive aliasing";
    assert_eq!(error(&bomb).as_deref(), Some(excessive));
    assert_eq!(error(&texts).as_deref(), Some(excessive));
    assert_eq!(
        error(&chain(5000)).as_deref(),
        Some("yaml: exceeded max depth of 400")
    );
    assert_eq!(
        error("a: &a [*a]").as_deref(),
        Some("yaml: anchor 'a' value contains itself")
    );
}

/// The reported error is the first one in the document, whichever way it is read.
#[test]
fn the_first_error_is_told() {
    let document = Document::new(b"b: .inf\na: -.inf\n");
    let error = document.to_value(Numbers::Float).unwrap_err();
    assert_eq!(error.place().map(|place| place.line), Some(1));
    assert_eq!(document.write_json(&mut Vec::new()), Err(error));
}
