use std::cmp::Ordering;

use super::*;

fn version(text: &str) -> Version {
    Version::parse(text.as_bytes()).expect(text)
}

/// Returns the message with which a version is refused.
fn no_version(text: &str) -> String {
    let refused = Version::parse(text.as_bytes()).expect_err(text);
    refused.to_string()
}

/// Returns the message with which a constraint is refused.
fn no_constraint(text: &str) -> String {
    let refused = Constraint::parse(text.as_bytes()).expect_err(text);
    refused.to_string()
}

#[test]
fn versions_that_are_lenient() {
    for (text, major, minor, patch, pre) in [
        ("1", 1, 0, 0, ""),
        ("v1.2", 1, 2, 0, ""),
        ("1.2.3-beta.1+build.5", 1, 2, 3, "beta.1"),
        ("1.2.3+build-7", 1, 2, 3, ""),
        ("01.2.3", 1, 2, 3, ""),
        ("1-rc1", 1, 0, 0, "rc1"),
    ] {
        let version = version(text);
        assert_eq!(
            (version.major(), version.minor(), version.patch()),
            (major, minor, patch)
        );
        assert_eq!(version.prerelease(), pre);
        assert_eq!(version.original(), text);
    }
    for bad in [
        "", "v", "a", "1.2.3.4", "1..2", "1.2.", "1.2.3-", "1.2.3-01", "1.2.3+", "-1", " 1", "vv1",
    ] {
        assert!(Version::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn why_a_text_is_no_version() {
    assert_eq!(no_version("1.2.3.4"), "invalid semantic version");
    assert_eq!(no_version("1.2.3-a.01"), "version segment starts with 0");
    assert_eq!(
        no_version("1.18446744073709551616"),
        "error parsing version segment: strconv.ParseUint: parsing \"18446744073709551616\": value out of range"
    );
    assert_eq!(version("18446744073709551615").major(), u64::MAX);
    let long = |prerelease: usize| format!("1.2.3-{}", "a".repeat(prerelease));
    assert_eq!(version(&long(250)).original().len(), 256);
    assert_eq!(
        no_version(&long(251)),
        "version string is too long (max 256 bytes)"
    );
}

#[test]
fn pre_releases_are_ordered() {
    let order = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
    ];
    let versions: Vec<_> = order.into_iter().map(version).collect();
    assert!(
        versions
            .windows(2)
            .all(|pair| pair[0].compare(&pair[1]) == Ordering::Less)
    );
}

#[test]
fn versions_that_are_changed() {
    let shown = |changed: Result<Version, ChangeError>| match changed {
        Ok(version) => version.original().to_owned(),
        Err(error) => error.to_string(),
    };
    let old = version("v1.2.3-rc.1+m");
    assert_eq!(shown(old.next_major()), "v2.0.0");
    assert_eq!(shown(old.next_minor()), "v1.3.0");
    assert_eq!(shown(old.next_patch()), "v1.2.3");
    assert_eq!(shown(version("1.2").next_patch()), "1.2.1");
    assert_eq!(
        shown(version("18446744073709551615").next_major()),
        "major version increment would overflow uint64"
    );
    assert_eq!(shown(old.with_prerelease("a.0")), "v1.2.3-a.0+m");
    assert_eq!(shown(old.with_prerelease("")), "v1.2.3+m");
    assert_eq!(
        shown(old.with_prerelease("a+b")),
        "invalid prerelease string"
    );
    assert_eq!(
        shown(old.with_prerelease("01.+")),
        "version segment starts with 0"
    );
    assert_eq!(shown(old.with_metadata("01")), "v1.2.3-rc.1+01");
    assert_eq!(shown(old.with_metadata("")), "v1.2.3-rc.1");
    assert_eq!(shown(old.with_metadata("a..b")), "invalid metadata string");
}

#[test]
fn ranges() {
    // range, versions inside, versions outside
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("*", &["1.0.0", "7", "0.0.0"], &["1.0.0-beta"]),
        (
            "1.2.3",
            &["1.2.3", "v1.2.3", "1.2.3+x"],
            &["1.2.4", "1.2.3-a"],
        ),
        ("1.2", &["1.2.0", "1.2.9"], &["1.3.0", "1.1.9"]),
        ("1.x", &["1.0.0", "1.9.9"], &["2.0.0"]),
        ("=1", &["1.5.0"], &["2.0.0"]),
        ("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0", "1.2.2"]),
        ("~1", &["1.0.0", "1.9.0"], &["2.0.0"]),
        ("^1.2.3", &["1.2.3", "1.9.0"], &["2.0.0", "1.2.2"]),
        ("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0"]),
        ("^0.0.3", &["0.0.3"], &["0.0.4", "0.1.0"]),
        ("^0.0", &["0.0.0", "0.0.9"], &["0.1.0"]),
        ("^0", &["0.9.0"], &["1.0.0"]),
        ("^x", &["0.0.0"], &["1.0.0", "0.0.1"]),
        (">=1.2 <2", &["1.2.0", "1.99.0"], &["2.0.0", "1.1.0"]),
        (">= 1.2, < 2", &["1.2.0"], &["2.0.0"]),
        (">=1.19.0-0", &["1.20.0", "1.20.0-gke.1"], &["1.18.0"]),
        ("<1 || >=2", &["0.1.0", "2.0.0"], &["1.5.0"]),
        ("1.2 - 2.3", &["1.2.0", "2.3.9"], &["2.4.0", "1.1.0"]),
        ("1.2.0 - 1.4.5 || 7", &["1.3.0", "7.1.0"], &["1.4.6"]),
        (">1", &["2.0.0"], &["1.9.0", "1.0.0"]),
        (">1.2", &["1.3.0"], &["1.2.9"]),
        ("<=1", &["1.9.0", "0.1.0"], &["2.0.0"]),
        ("<=1.2", &["1.2.9"], &["1.3.0"]),
        ("!=1.2", &["1.3.0"], &["1.2.4"]),
        ("!=1", &["2.0.0"], &["1.2.4"]),
        ("!=1.2.3", &["1.2.4"], &["1.2.3"]),
        ("=>1 =<2", &["1.0.0", "2.9.0"], &["3.0.0"]),
        ("~>1.2.3", &["1.2.4"], &["1.3.0"]),
        // From the library's own tests.
        ("~0.0.0", &["1.2.3"], &[]),
        ("0.x.x", &["0.1.0"], &["1.2.3"]),
        ("*-0", &["1.2.3-alpha.1"], &[]),
        ("!=4.1-alpha", &["4.1.0"], &["4.1.0-alpha", "4.1.1-alpha"]),
        (">0-0", &["1.0.0"], &["0.0.1-alpha", "0.0.0-alpha"]),
        (">0.0.0-0", &["0.0.0-alpha"], &[]),
        ("<=1.1-a", &["0.1.0-alpha"], &[]),
        ("~1.2.3-beta.2", &["1.2.4-beta.2"], &["1.3.4-beta.2"]),
        (
            ">= 1.0.0  <= 2.0.0-beta || > 3",
            &["1.0.1-beta"],
            &["3.0.1-beta"],
        ),
        ("1.1-3", &[], &["4.3.2"]),
        ("1.0.0 - 2.0.0, <=2.0.0", &["1.5.0"], &["2.0.1"]),
    ];
    for (range, inside, outside) in cases {
        for version in *inside {
            assert!(matches(range, version), "{version} is in {range:?}");
        }
        for version in *outside {
            assert!(!matches(range, version), "{version} is not in {range:?}");
        }
    }
}

#[test]
fn what_is_no_range() {
    for bad in [
        "a", ">", "1.2.3.4", "1,", ",1", "1 2 b", ">=1<2", "1.2.3-", "||x y", "~~1",
    ] {
        assert!(Constraint::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

// An empty text is not a constraint. No version satisfies a constraint without a version, or one that has an alternative without
// a version.
#[test]
fn nothing_is_no_range() {
    assert_eq!(no_constraint(""), r#"improper constraint: """#);
    assert_eq!(no_constraint(" "), r#"improper constraint: " ""#);
    assert_eq!(no_constraint("^1 ||"), r#"improper constraint: """#);
    assert_eq!(no_constraint("|| ^1"), r#"improper constraint: """#);
    assert!(!matches("", "1.0.0"));
    assert!(!matches("^1 ||", "1.0.0"));
}

#[test]
fn only_some_spaces_are_spaces() {
    assert!(matches("\t>=1\r\n<2\x0c", "1.5.0"));
    assert!(matches("1\t-\n2", "1.5.0"));
    for other in ["\u{a0}", "\u{b}", "\u{2003}"] {
        for range in [
            format!(">=1{other}<2"),
            format!("{other}1"),
            format!("1{other}"),
            format!("1 -{other}2"),
        ] {
            assert!(
                Constraint::parse(range.as_bytes()).is_err(),
                "{range:?} is no range"
            );
        }
    }
}

#[test]
fn ranges_are_limited() {
    let spaces = |count: usize| format!("1{}", " ".repeat(count));
    assert!(matches(&spaces(511), "1.0.0"));
    assert_eq!(
        no_constraint(&spaces(512)),
        "constraint string is too long (max 512 bytes)"
    );
    let alternatives = |count: usize| vec!["1"; count].join("||");
    assert!(matches(&alternatives(32), "1.0.0"));
    assert_eq!(
        no_constraint(&alternatives(33)),
        "too many constraint groups (max 32)"
    );
    let long = |before: &str, prerelease: usize| format!("{before}{}", "a".repeat(prerelease));
    assert!(Constraint::parse(long("1.2.3-", 250).as_bytes()).is_ok());
    for range in [
        long("1.2.3-", 251),
        long("v1.2.3-", 250),
        // Too long only with the zeros that it leaves out.
        long("1-", 251),
        "1.2.3-01".to_owned(),
        "1|2".to_owned(),
        "1xx".to_owned(),
        "18446744073709551616".to_owned(),
    ] {
        assert_eq!(no_constraint(&range), "constraint parser error");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(range in "[0-9x*.<>=~^!|, v+a-]{0,20}", version in "[0-9v.a+-]{0,10}") {
        let _ = matches(&range, &version);
        // A version is also a constraint, which it satisfies itself.
        proptest::prop_assert_eq!(
            matches(&version, &version),
            Version::parse(version.as_bytes()).is_ok()
        );
    }
}
