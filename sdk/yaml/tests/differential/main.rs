//! Reads the same texts with this crate and with the Go module that `kubectl` and the API server use.
//!
//! The oracle is `tests/oracle/yaml`. This test requires Go, as does `cargo xtask test`.

#![expect(clippy::unwrap_used, reason = "tests")]

mod known;
mod oracle;
mod texts;

use oracle::{differences, ours, same, strings};
use texts::{SCALARS, STRUCTURES, TAGS};

#[test]
fn scalars_in_every_place() {
    let places = [
        "{}",
        "v: {}",
        "v: {}\n",
        "- {}\n- x\n",
        "[ {} ]",
        "{{ v: {} }}",
        "{}: x",
        "{{ {}: x }}",
        "v: '{}'",
        "v: \"{}\"",
        "v: {} # comment",
        "v: &a {}\nw: *a",
        "v:\n  {}\n",
        "v: {}\r\nw: {}\r\n",
        "? {}\n: x\n",
    ];
    let texts: Vec<String> = SCALARS
        .iter()
        .flat_map(|scalar| {
            places.iter().map(move |place| {
                place
                    .replace("{}", scalar)
                    .replace("{{", "{")
                    .replace("}}", "}")
            })
        })
        .collect();
    same(&texts);
}

#[test]
fn scalars_with_every_tag() {
    let texts: Vec<String> = SCALARS
        .iter()
        .flat_map(|scalar| {
            TAGS.iter().flat_map(move |tag| {
                [
                    format!("v: {tag} {scalar}"),
                    format!("{tag} {scalar}: v"),
                    format!("v: {tag} \"{scalar}\""),
                ]
            })
        })
        .collect();
    let found: Vec<_> = differences(&texts)
        .into_iter()
        // Go keeps bytes that are not UTF-8, and its JSON encoder replaces each with U+FFFD: the value is lost silently.
        .filter(|(_, difference)| {
            !(difference.contains("not UTF-8 once decoded") && difference.contains('\u{fffd}'))
        })
        .collect();
    assert!(
        found.is_empty(),
        "{} of {} differ: {found:#?}",
        found.len(),
        texts.len()
    );
}

#[test]
fn every_short_number_like_text() {
    let alphabet = [
        '0', '1', '7', '9', '_', '.', '+', '-', 'e', 'E', 'x', 'o', 'b', 'f', ':',
    ];
    let mut texts = vec![String::new()];
    let mut last = texts.clone();
    for _ in 0..4 {
        last = last
            .iter()
            .flat_map(|text| alphabet.iter().map(move |next| format!("{text}{next}")))
            .collect();
        texts.extend(last.iter().cloned());
    }
    let documents: Vec<String> = texts.iter().map(|text| format!("v: {text}")).collect();
    same(&documents);
}

#[test]
fn block_scalars() {
    let bodies = [
        "a\n",
        "a",
        "a\nb\n",
        "a\n\nb\n",
        "a\n\n\nb\n\n\n",
        "\na\n",
        "\n\n  a\n",
        " a\n b\n",
        "a\n  b\nc\n",
        "a\n  b\n\n  c\nd\n",
        "a\n  ",
        "a\n\n",
        "a\n b",
        "a \nb\n",
        "a\tb\n",
        "- a\n",
        "# a\n",
        "",
        "\n",
        "\n\n",
        "a\n---b\n",
        "a: b\n",
        "a\n\tb\n",
        "é\n日本\n",
    ];
    let mut texts = Vec::new();
    for style in ["|", ">"] {
        for chomp in ["", "-", "+"] {
            for indicator in ["", "1", "2"] {
                for body in bodies {
                    for after in ["", "w: x\n", "# end\n", "\nw: x\n"] {
                        let indented: String = body
                            .split_inclusive('\n')
                            .map(|line| {
                                if line == "\n" {
                                    line.to_owned()
                                } else {
                                    format!("  {line}")
                                }
                            })
                            .collect();
                        texts.push(format!("v: {style}{indicator}{chomp}\n{indented}{after}"));
                    }
                }
            }
        }
    }
    same(&texts);
}

#[test]
fn structure_keys_and_merges() {
    same(&strings(STRUCTURES.iter().copied()));
}

/// Compares texts that a fixed generator assembles from pieces of YAML.
///
/// Syntax that one of the two refuses does not matter here (see [`known`]). What both read must be the same.
#[test]
fn what_both_read_is_the_same() {
    let pieces = [
        "a", "b", "k", ": ", "- ", "\n", "\n", "\n  ", "\n    ", " ", "  ", "[", "]", "{", "}",
        ", ", "'", "\"", "#", " # ", "|", ">", "|-\n", ">+\n", "&x ", "*x", "<<: ", "!!str ", "1",
        "0x1", "1.5", "yes", "~", "\\n", "-", "---\n", "\t", "\r\n", "é",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let texts: Vec<String> = (0..200_000)
        .map(|_| {
            (0..=random(14))
                .map(|_| pieces[random(pieces.len())])
                .collect::<String>()
                + "\n"
        })
        .collect();
    let read: Vec<String> = texts
        .into_iter()
        .filter(|text| ours(text).is_ok_and(|value| value.is_object()))
        .collect();
    assert!(
        read.len() > 3_000,
        "the generator makes too little YAML: {}",
        read.len()
    );
    let found: Vec<_> = differences(&read)
        .into_iter()
        .filter(|(_, difference)| !difference.contains(" | Err("))
        .collect();
    assert!(
        found.is_empty(),
        "{} of {} differ: {found:#?}",
        found.len(),
        read.len()
    );
}
