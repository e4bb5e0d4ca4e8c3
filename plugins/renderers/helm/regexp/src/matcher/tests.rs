use super::*;

fn problem(pattern: &str) -> String {
    let error = Regex::new(pattern.as_bytes()).err();
    error.map(|error| error.to_string()).unwrap_or_default()
}

/// Syntax that other libraries refuse or interpret differently.
#[test]
fn what_go_has_of_its_own() {
    for (pattern, found, not_found) in [
        (r"\p{L}", "É", "5"),
        (r"\pL", "λ", "."),
        (r"^\P{L}$", "1", "a"),
        (r"[\p{Lu}\d]", "É", "é"),
        (r"\Q.\E$", "a.", "ab"),
        ("^{", "{start}", "a{"),
        ("a{,2}", "a{,2}", "aa"),
        ("^[[a]]$", "[]", "[[a]]"),
        ("^[a&&b]$", "&", "x"),
        (r"^[\d-x]$", "-", "w"),
        (r"^\07$", "\u{7}", "7"),
        ("(?)a", "a", "b"),
        (r"\<", "<", "a"),
        (r"\b{start}", "a{start}", "start"),
        ("^[--a]$", "5", "b"),
        ("(?i)É", "é", "e"),
        ("(?P<n>a)(?P<n>b)", "ab", "aa"),
    ] {
        let regex = Regex::new(pattern.as_bytes()).unwrap();
        assert!(regex.is_match(found.as_bytes()), "{pattern} {found}");
        let matches = regex.is_match(not_found.as_bytes());
        assert!(!matches, "{pattern} {not_found}");
    }
}

#[test]
fn what_go_refuses() {
    for (pattern, expected) in [
        ("a++", "invalid nested repetition operator: `++`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        (r"\u0041", r"invalid escape sequence: `\u`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("[a", "missing closing ]: `[a`"),
        ("(?P<>a)", "invalid named capture: `(?P<>`"),
    ] {
        let expected = format!("error parsing regexp: {expected}");
        assert_eq!(problem(pattern), expected, "{pattern}");
    }
}

#[test]
fn limits() {
    assert_eq!(problem(r"\pL{60}"), "");
    assert_eq!(
        problem(r"\pL{1000}"),
        r"error parsing regexp: expression too large: `\pL{1000}`"
    );
    assert!(problem(&"(".repeat(1000)).contains("expression nests too deeply"));
    let largest = Regex::new(br"\pL{60}").unwrap();
    assert!((1..=SIZE_LIMIT).contains(&largest.memory_usage()));
}

#[test]
fn groups_and_their_names() {
    let regex = Regex::new(b"(?P<n>x)?(y)?(?P<n>z)").unwrap();
    let found = regex.find_at(&Haystack::new(b"aaz"), 1).unwrap();
    assert_eq!((found.start(), found.end()), (2, 3));
    let numbers: Vec<_> = regex.groups_named(b"n").collect();
    assert_eq!(numbers, [1, 3]);
    let places: Vec<_> = numbers.iter().map(|&number| found.group(number)).collect();
    assert_eq!(places, [None, Some((2, 3))]);
    assert_eq!(regex.groups_named(b"m").count(), 0);
}

/// Tests searches of all lengths, because short texts use a different engine.
#[test]
fn long_texts() {
    let text = "ä".repeat(100_000);
    let regex = Regex::new("^ä*$".as_bytes()).unwrap();
    assert!(regex.is_match(text.as_bytes()));
    assert!(!regex.is_match(format!("{text}b").as_bytes()));
    // Each byte that is not valid UTF-8 is one character.
    assert!(Regex::new(b"^.{3}$").unwrap().is_match(b"\xFFa\xE2"));
}
