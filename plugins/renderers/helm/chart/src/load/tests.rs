//! Tests with charts in memory.

use std::{cell::RefCell, collections::BTreeMap};

use super::*;
use crate::archive::tests::{entry, packed};

/// Files by path, and the paths that were read.
#[derive(Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    read: RefCell<Vec<String>>,
}

impl Memory {
    fn new(files: &[(&str, &str)]) -> Self {
        let files = files.iter();
        Self {
            files: files
                .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
                .collect(),
            ..Self::default()
        }
    }
}

impl Folder for Memory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.read.borrow_mut().push(path.to_owned());
        let found = self.files.get(path).cloned();
        found.ok_or_else(|| "there is no such file".to_owned())
    }

    fn list(&self, path: &str) -> Result<Vec<FolderEntry>, String> {
        let mut found: BTreeMap<String, bool> = BTreeMap::new();
        for name in self.files.keys() {
            let inner = if path.is_empty() {
                Some(name.as_str())
            } else {
                name.strip_prefix(path)
                    .and_then(|rest| rest.strip_prefix('/'))
            };
            if let Some(inner) = inner {
                match inner.split_once('/') {
                    Some((folder, _)) => found.insert(folder.to_owned(), true),
                    None => found.insert(inner.to_owned(), false),
                };
            }
        }
        let found = found.into_iter();
        Ok(found
            .map(|(name, is_folder)| FolderEntry { name, is_folder })
            .collect())
    }
}

const CHART: &str = "{apiVersion: v2, name: web, version: 1.0.0}";

fn load(files: &[(&str, &str)]) -> Result<Chart, LoadError> {
    let mut all = vec![("Chart.yaml", CHART)];
    all.extend(files);
    load_folder(
        &Memory::new(&all),
        Options::default(),
        &mut Warnings::default(),
    )
}

fn loaded(files: &[(&str, &str)]) -> Chart {
    load(files).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(files: &[(&str, &str)]) -> String {
    match load(files) {
        Ok(chart) => panic!("{chart:?}"),
        Err(error) => match error.hint() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        },
    }
}

fn names(files: &[File]) -> Vec<&str> {
    files.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn files_have_their_places() {
    let chart = loaded(&[
        ("values.yaml", "a: 1"),
        ("values.schema.json", "{}"),
        ("templates/b.yaml", "{{ .Files }}"),
        ("templates/a/b.tpl", ""),
        ("crds/a.yaml", ""),
        ("README.md", ""),
        (
            "charts/db/Chart.yaml",
            "{apiVersion: v2, name: db, version: 2.0.0}",
        ),
        ("charts/db/values.yaml", "b: 2"),
        ("charts/_off/Chart.yaml", "nonsense"),
        ("charts/db.tgz.prov", "signature"),
    ]);
    assert_eq!(
        names(&chart.templates),
        ["templates/a/b.tpl", "templates/b.yaml"]
    );
    assert_eq!(
        names(&chart.files),
        ["README.md", "charts/db.tgz.prov", "crds/a.yaml"]
    );
    assert_eq!(chart.values.keys(), ["a"]);
    assert!(chart.schema.is_some());
    assert_eq!(chart.crds().len(), 1);
    let [db] = chart.dependencies.as_slice() else {
        panic!("one subchart");
    };
    assert_eq!((db.name(), db.values.keys()), ("db", vec!["b".into()]));
}

#[test]
fn what_no_template_shows_is_not_read() {
    let memory = Memory::new(&[
        ("Chart.yaml", CHART),
        ("templates/a.yaml", ""),
        (
            "charts/db/Chart.yaml",
            "{apiVersion: v2, name: db, version: 2.0.0}",
        ),
        ("charts/db/README.md", ""),
        ("README.md", ""),
        ("crds/a.yaml", ""),
    ]);
    let options = |crds| Options {
        crds,
        ..Options::default()
    };
    load_folder(&memory, options(false), &mut Warnings::default()).expect("a chart");
    let mut read = memory.read.take();
    read.sort();
    assert_eq!(
        read,
        ["Chart.yaml", "charts/db/Chart.yaml", "templates/a.yaml"]
    );
    load_folder(&memory, options(true), &mut Warnings::default()).expect("a chart");
    assert!(memory.read.take().contains(&"crds/a.yaml".to_owned()));
}

#[test]
fn packed_charts_may_show_the_files_of_those_around_them() {
    let chart = "{apiVersion: v2, name: lib, version: 1.0.0}";
    let archive = |path: &str, text: &str| {
        packed(&[
            entry("lib/Chart.yaml", b'0', chart.as_bytes()),
            entry(path, b'0', text.as_bytes()),
        ])
    };
    let shows = |archive: Vec<u8>| {
        let mut memory = Memory::new(&[
            ("Chart.yaml", CHART),
            ("templates/a.yaml", ""),
            ("x.txt", ""),
            ("charts/db/Chart.yaml", chart),
        ]);
        let path = "charts/db/charts/lib-1.0.0.tgz".to_owned();
        memory.files.insert(path, archive);
        let chart = load_folder(&memory, Options::default(), &mut Warnings::default());
        let shown = names(&chart.expect("a chart").files) == ["x.txt"];
        assert_eq!(memory.read.take().contains(&"x.txt".to_owned()), shown);
        shown
    };
    let text = "{{ .Files.Get \"x.txt\" }}";
    assert!(shows(archive("lib/templates/_a.tpl", text)));
    assert!(shows(archive("lib/values.yaml", "a: '{{ .Files }}'")));
    assert!(!shows(archive("lib/README.md", text)));
    let nested = packed(&[
        entry("lib/Chart.yaml", b'0', chart.as_bytes()),
        entry(
            "lib/charts/a.tgz",
            b'0',
            &archive("lib/templates/a.tpl", text),
        ),
    ]);
    assert!(shows(nested));
}

#[test]
fn ignored_files_are_no_part() {
    let files = [
        (".helmignore", "*.bak\ntemplates/b.yaml\n"),
        ("templates/a.yaml", ""),
        ("templates/a.yaml.bak", ""),
        ("templates/b.yaml", ""),
        ("templates/.hidden", ""),
    ];
    assert_eq!(names(&loaded(&files).templates), ["templates/a.yaml"]);
    let mut all = vec![("Chart.yaml", CHART)];
    all.extend(files);
    let packed = Options {
        packed: true,
        ..Options::default()
    };
    let chart = load_folder(&Memory::new(&all), packed, &mut Warnings::default());
    assert_eq!(chart.expect("a chart").templates.len(), 4);
}

#[test]
fn old_charts_have_their_requirements_in_a_file() {
    let chart = loaded(&[
        ("Chart.yaml", "{name: web, version: 1.0.0}"),
        (
            "requirements.yaml",
            "dependencies: [{name: db, version: '*', alias: store}]",
        ),
        (
            "requirements.lock",
            "dependencies: [{name: db, version: 1.2.3}]",
        ),
        ("templates/a.yaml", "{{ .Files }}"),
    ]);
    assert_eq!(chart.metadata.api_version, "v1");
    assert_eq!(chart.metadata.dependencies[0].alias, "store");
    assert_eq!(
        chart.lock.map(|lock| lock.dependencies[0].version.clone()),
        Some("1.2.3".to_owned())
    );
    assert_eq!(
        names(&chart.files),
        ["requirements.lock", "requirements.yaml"]
    );
}

#[test]
fn malformed_charts_are_refused() {
    let none = load_folder(
        &Memory::new(&[("values.yaml", "")]),
        Options::default(),
        &mut Warnings::default(),
    );
    let none = none.expect_err("no chart").to_string();
    let all = [
        none,
        refused(&[("Chart.yaml", "{apiVersion: v2, version: 1.0.0}")]),
        refused(&[("Chart.yaml", "{apiVersion: v2, name: a/b, version: 1.0.0}")]),
        refused(&[("Chart.yaml", "{apiVersion: v2, name: a, version: one}")]),
        refused(&[("Chart.yaml", "{apiVersion: v2, name: [a], version: 1.0.0}")]),
        refused(&[(
            "Chart.yaml",
            "{apiVersion: v2, name: a, version: 1.0.0, type: b}",
        )]),
        refused(&[(
            "Chart.yaml",
            "{apiVersion: v2, name: a, version: 1.0.0, dependencies: [{name: b}, {name: b}]}",
        )]),
        refused(&[(
            "Chart.yaml",
            "{apiVersion: v2, name: a, version: 1.0.0, dependencies: [null]}",
        )]),
        refused(&[("values.yaml", "[a]")]),
        refused(&[("charts/a/values.yaml", "")]),
        refused(&[("charts/a/Chart.yaml", "{name: a}")]),
        refused(&[("charts/a.tgz", "nothing")]),
        refused(&[("charts/a.tgz/Chart.yaml", "")]),
        refused(&[(".helmignore", "**/a")]),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    cannot load Chart.yaml: Chart.yaml file is missing
    cannot load Chart.yaml: validation: chart.metadata.name is required
    cannot load Chart.yaml: validation: chart.metadata.name "a/b" is invalid
    cannot load Chart.yaml: validation: chart.metadata.version "one" is invalid
    cannot load Chart.yaml: cannot unmarshal a list into field Metadata.name of type string
    cannot load Chart.yaml: validation: chart.metadata.type must be application or library
    cannot load Chart.yaml: validation: more than one dependency with name or alias "b"
    cannot load Chart.yaml: validation: dependencies must not contain empty or null nodes
    cannot load values.yaml: values must be a table, and here is a list
    cannot load charts/a/Chart.yaml: Chart.yaml file is missing (only charts belong in charts/; a name that begins with `_` or `.` is left out, and so is what .helmignore names)
    cannot load charts/a/Chart.yaml: validation: chart.metadata.version is required
    cannot load charts/a.tgz: cannot be unpacked: unexpected end of file
    cannot load charts/a.tgz: a folder has the name of a packed chart
    cannot load .helmignore: double-star (**) syntax is not supported: line 1
    "#);
}

#[test]
fn what_is_vendored() {
    let memory = Memory::new(&[
        ("Chart.yaml", CHART),
        (
            "charts/db/Chart.yaml",
            "{apiVersion: v2, name: store, version: 2.0.0}",
        ),
        ("charts/.hidden/Chart.yaml", "{}"),
        ("charts/README.md", ""),
    ]);
    assert_eq!(
        vendored(&memory),
        Ok(vec![("store".to_owned(), "2.0.0".to_owned())])
    );
    assert_eq!(
        vendored(&Memory::new(&[("Chart.yaml", CHART)])),
        Ok(Vec::new())
    );
}
