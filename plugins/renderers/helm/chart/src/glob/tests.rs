//! Patterns and what they match.

use pintle_gotemplate::{Limit, Standalone};

use super::*;

fn compiled(pattern: &str) -> Glob {
    Glob::compile(pattern.as_bytes(), &mut Standalone::default()).expect(pattern)
}

fn all_hold(rules: &[(&str, &str, bool)]) {
    for &(pattern, path, expected) in rules {
        let matches = compiled(pattern).matches(path.as_bytes(), &mut Standalone::default());
        assert_eq!(matches, Ok(expected), "{pattern} {path}");
    }
}

#[test]
fn rules_are_the_library_s() {
    all_hold(&[
        ("*.yaml", "a.yaml", true),
        ("*.yaml", "a/b.yaml", false),
        ("**.yaml", "a/b.yaml", true),
        ("files/**", "files/a/b", true),
        ("files/**", "files/", true),
        ("**/*.txt", "a.txt", false),
        ("**/*.txt", "b/a.txt", true),
        ("a/**/*.yaml", "a/b.yaml", false),
        ("a/**/*.yaml", "a/b/c.yaml", true),
        ("***", "a/b", true),
        ("*?", "abc", true),
        ("?*[!/]", "a", false),
        ("?*[!/]", "ab", true),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("[abc]x", "bx", true),
        ("[!abc]x", "bx", false),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "dx", true),
        ("{a,b*}.txt", "bcd.txt", true),
        ("{a,b{c,d}}", "bd", true),
        ("{a,}", "", true),
        ("{a,b", "b", true),
        ("a}", "a}", true),
        ("a,b", "a,b", true),
        ("a\\*", "a*", true),
        ("", "", true),
        ("", "a", false),
    ]);
}

#[test]
fn what_is_before_two_stars_and_after_them_may_overlap() {
    all_hold(&[
        ("dir/**/name.ext", "dir/name.ext", true),
        ("dir/**/name.ext", "dir/a/b/name.ext", true),
        ("dir/**/name.ext", "dir/other.ext", false),
        ("a**a", "a", true),
        ("a*a", "a", false),
        ("{dir/**/a,b*}", "dir/a", true),
        ("{dir/**/a,dir/*.x}", "dir/a", false),
    ]);
}

#[test]
fn an_alternative_of_any_length_before_one_of_a_fixed_length_has_that_length() {
    all_hold(&[
        ("config/{*.yaml,a.json}", "config/values.yaml", false),
        ("config/{*.yaml,a.json}", "config/a.yaml", true),
        ("config/{*.yaml,a.json}", "config/a.json", true),
        ("config/{a.json,*.yaml}", "config/values.yaml", true),
        ("config/{*.yaml,*.yml}", "config/values.yml", true),
        ("{*.yaml,a.json}", "values.yaml", true),
    ]);
}

#[test]
fn other_oddities_of_the_library_are_kept() {
    all_hold(&[
        ("[!ab][!ab]", "ba", true),
        ("[!ab][!ab]", "ab", false),
        ("é?", "éa", false),
        ("é*", "éa", true),
    ]);
    for (pattern, path, expected) in [
        (
            "a{}",
            "a",
            "runtime error: slice bounds out of range [:2] with length 1",
        ),
        (
            "{a.txt*,a.txt}",
            "a.txt",
            "runtime error: slice bounds out of range [:6] with length 5",
        ),
    ] {
        let matches = compiled(pattern).matches(path.as_bytes(), &mut Standalone::default());
        assert_eq!(matches, Err(FunctionError::new(expected)), "{pattern}");
    }
}

#[test]
fn what_is_malformed_matches_everything() {
    for bad in ["[", "[a", "[]", "[a-z0-9]", "[z-a]", "[!]", "\u{fffd}"] {
        all_hold(&[(bad, "any/thing", true)]);
    }
}

#[test]
fn what_is_too_much_is_refused() {
    for pattern in ["*x".repeat(60), "{".repeat(30)] {
        let refused = Glob::compile(pattern.as_bytes(), &mut Standalone::default());
        let error = refused.expect_err(&pattern);
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"the pattern has more than 100 parts in a row or inside each other");
        }
    }
    let mut little = Standalone {
        budget: Some(20),
        ..Standalone::default()
    };
    let matches = compiled("a*a*a").matches(b"bab/a", &mut little);
    assert_eq!(matches, Err(FunctionError::Limit(Limit::Memory)));
}

proptest::proptest! {
    #[test]
    fn no_pattern_is_a_problem(pattern in "[abé*?/\\[\\]{},!\\\\-]{0,20}", path in "[abé/]{0,20}") {
        let mut call = Standalone::default();
        if let Ok(glob) = Glob::compile(pattern.as_bytes(), &mut call) {
            let _ = glob.matches(path.as_bytes(), &mut call);
        }
    }
}
