use super::*;

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
        let version = Version::parse(text).expect(text);
        assert_eq!(
            (version.major, version.minor, version.patch),
            (major, minor, patch)
        );
        assert_eq!(version.pre, pre);
    }
    for bad in [
        "", "v", "a", "1.2.3.4", "1..2", "1.2.", "1.2.3-", "1.2.3-01", "1.2.3+", "-1", " 1", "vv1",
    ] {
        assert_eq!(Version::parse(bad), None, "{bad}");
    }
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
    let versions: Vec<_> = order
        .iter()
        .filter_map(|text| Version::parse(text))
        .collect();
    assert!(
        versions
            .windows(2)
            .all(|pair| pair[0].compare(&pair[1]) == Ordering::Less)
    );
}

#[test]
fn ranges() {
    // range, versions inside, versions outside
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("", &["1.0.0", "0.0.0"], &["1.0.0-beta"]),
        ("*", &["1.0.0", "7"], &["1.0.0-beta"]),
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
        assert_eq!(Constraint::parse(bad), None, "{bad}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(range in "[0-9x*.<>=~^!|, v+a-]{0,20}", version in "[0-9v.a+-]{0,10}") {
        let _ = matches(&range, &version);
        if Version::parse(&version).is_some() {
            proptest::prop_assert!(matches(&version, &version) || Version::parse(&version).is_some_and(|v| !v.pre.is_empty()) || Constraint::parse(&version).is_some());
        }
    }
}
