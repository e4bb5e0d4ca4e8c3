//! The charts that Helm's own tests use.

use std::path::{Path, PathBuf};
use std::{fs, io};

use pintle_helm_tests::oracle::Templating;
use pintle_programs::Program;

use crate::comparing::none_differs;

#[test]
fn give_what_helm_gives() {
    let mut charts = Vec::new();
    find(&Program::Helm.module().unwrap(), &mut charts).unwrap();
    assert!(charts.len() > 100, "only {} charts", charts.len());
    let asked: Vec<Templating> = charts
        .iter()
        .map(|chart| Templating {
            chart: chart.clone(),
            release: "rel".to_owned(),
            namespace: "ns".to_owned(),
            include_crds: true,
            ..Templating::default()
        })
        .collect();
    let paths = charts.iter().map(|chart| chart.display().to_string());
    none_differs(&paths.collect::<Vec<_>>(), &asked);
}

/// Finds all charts in the library's tests, including those inside other charts and inside archives.
fn find(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if folder.join("Chart.yaml").exists() {
        found.push(folder.to_owned());
    }
    let mut inside = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    inside.sort();
    for path in inside {
        let is_archive = path
            .extension()
            .is_some_and(|extension| extension == "tgz" || extension == "gz");
        if path.is_dir() {
            find(&path, found)?;
        } else if is_archive {
            found.push(path);
        }
    }
    Ok(())
}
