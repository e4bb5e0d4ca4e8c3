//! The charts in `tests/helm/charts`, each for one feature.

use std::fs;
use std::path::Path;

use pintle_helm_tests::chartfile::ChartFile;

use crate::comparing::none_differs;

#[test]
fn each_gives_what_helm_gives() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts");
    let scratch = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    let mut asked = Vec::new();
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let chart = ChartFile::parse(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let folder = scratch.path().join(name);
        chart.write(&folder).unwrap();
        for flags in &chart.runs {
            names.push(format!("{name} {flags}"));
            asked.push(ChartFile::templating(flags, &folder).unwrap());
        }
    }
    none_differs(&names, &asked);
}
