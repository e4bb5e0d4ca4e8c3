//! Checks that every guest and every mode of a guest has a test.

use std::{collections::BTreeSet, fs};

use crate::components::root;

fn sources() -> String {
    let folder = root().join("agent/host/tests/it");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

#[test]
fn every_guest_is_built_by_a_test() {
    let sources = sources();
    for guest in fs::read_dir(root().join("tests/guests")).unwrap() {
        let guest = guest.unwrap();
        if guest.file_type().unwrap().is_dir() {
            let package = format!("\"pintle-guest-{}\"", guest.file_name().to_str().unwrap());
            assert!(sources.contains(&package), "no test builds {package}");
        }
    }
}

#[test]
fn every_mode_of_a_guest_is_asked_for_by_a_test() {
    let sources = sources();
    for guest in ["renderer", "policy", "notifier"] {
        let code =
            fs::read_to_string(root().join(format!("tests/guests/{guest}/src/guest.rs"))).unwrap();
        let modes = modes(&code);
        assert!(modes.len() >= 3, "{guest}: {modes:?}");
        for mode in modes {
            assert!(
                sources.contains(&format!("\"{mode}\"")),
                "no test asks the {guest} for `{mode}`"
            );
        }
    }
}

/// Returns the arms of the matches on `mode`.
fn modes(code: &str) -> BTreeSet<&str> {
    let arms = code
        .split("field(&settings, \"mode\")")
        .skip(1)
        .filter_map(|rest| rest.split("_ =>").next())
        .flat_map(str::lines)
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"));
    arms.map(|(mode, _)| mode)
        .filter(|mode| !mode.contains(' '))
        .collect()
}
