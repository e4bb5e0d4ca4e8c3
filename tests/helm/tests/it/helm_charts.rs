//! The charts that Helm tests itself with.

use std::path::{Path, PathBuf};
use std::{fs, io};

use pintle_helm_tests::judge::judge;
use pintle_helm_tests::oracle::{Oracle, Request, Templating};
use pintle_helm_tests::ours::on_large_stack;
use pintle_programs::Program;

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
    let requests: Vec<Request> = asked
        .iter()
        .map(|one| Request::Template(Box::new(one.clone())))
        .collect();
    let answers = Oracle::start().unwrap().ask(&requests).unwrap();
    let different = on_large_stack(|| {
        let judged = asked.iter().zip(&answers).map(|(asked, helm)| {
            let judgement = judge(asked, helm);
            let text = format!("{}: {judgement}\n", asked.chart.display());
            judgement.differs().then_some(text)
        });
        judged.flatten().collect::<String>()
    });
    assert!(different.is_empty(), "{different}");
}

/// All charts in the tests of the library, those in other charts and archives included.
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
