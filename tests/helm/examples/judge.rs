//! Judges charts on disk.
//!
//! `cargo run -p pintle-helm-tests --example judge -- DIR...` looks for charts in the folders (or in those that
//! `PINTLE_CHARTS` names, with `:` between them) and renders each with its own values, with each file in its folder
//! `ci/`, with everything turned on that is called `enabled` or the like, and with everything turned on that is false;
//! through Helm and through the renderer. It prints what differs, and the numbers at the end.
//! `--equal` lists the equal ones too; `--only N` stops after N charts.
#![expect(clippy::print_stdout, reason = "a report for people")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pintle_helm_tests::compare::Verdict;
use pintle_helm_tests::judge::{Judgement, judge};
use pintle_helm_tests::oracle::{Oracle, Request, Templating};
use pintle_helm_tests::ours::on_large_stack;
use pintle_helm_tests::switches::{Switch, switched_on};

/// How many questions are asked at once: Helm works on the next ones while we do.
const BATCH: usize = 40;

fn main() -> anyhow::Result<()> {
    let mut folders = Vec::new();
    let mut only = usize::MAX;
    let mut list_equal = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--equal" => list_equal = true,
            "--only" => {
                let number = arguments.next().context("--only needs a number")?;
                only = number.parse().context("--only needs a number")?;
            }
            _ => folders.push(PathBuf::from(argument)),
        }
    }
    if folders.is_empty() {
        let listed = std::env::var("PINTLE_CHARTS").unwrap_or_default();
        folders.extend(std::env::split_paths(&listed));
    }
    let mut charts = Vec::new();
    for folder in &folders {
        find(folder, &mut charts);
    }
    charts.truncate(only);
    let scratch = tempfile::tempdir()?;
    let mut questions = Vec::new();
    for (index, chart) in charts.iter().enumerate() {
        let turned_on = turned_on(chart, &scratch.path().join(index.to_string()))?;
        let sets = std::iter::once(Vec::new())
            .chain(ci_values(chart).into_iter().map(|file| vec![file]))
            .chain(turned_on.into_iter().map(|file| vec![file]));
        questions.extend(sets.map(|values| Templating {
            chart: chart.clone(),
            release: "rel".to_owned(),
            namespace: "ns".to_owned(),
            values,
            include_crds: true,
            ..Templating::default()
        }));
    }
    let mut oracle = Oracle::start()?;
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut causes = BTreeMap::<String, usize>::new();
    for batch in questions.chunks(BATCH) {
        let requests: Vec<Request> = batch
            .iter()
            .map(|asked| Request::Template(Box::new(asked.clone())))
            .collect();
        let answers = oracle.ask(&requests)?;
        let judged = on_large_stack(|| {
            let pairs = batch.iter().zip(&answers);
            pairs
                .map(|(asked, helm)| judge(asked, helm))
                .collect::<Vec<_>>()
        });
        for (asked, mut judgement) in batch.iter().zip(judged) {
            if judgement.differs() {
                judgement = ask_again(&mut oracle, asked, judgement)?;
            }
            *counts.entry(name(&judgement)).or_default() += 1;
            if let Judgement::BothRefuse { helm, .. } = &judgement {
                *causes.entry(cause(helm)).or_default() += 1;
            }
            if list_equal || shown(&judgement) {
                let values = asked.values.iter().map(|path| path.display().to_string());
                let values = values.collect::<Vec<_>>().join(" ");
                println!("{} {values}: {judgement}", asked.chart.display());
            }
        }
    }
    println!("{} charts, {} value sets", charts.len(), questions.len());
    for (cause, count) in causes {
        println!("  both refuse: {count} {cause}");
    }
    println!("{counts:?}");
    Ok(())
}

/// Judges once more by other answers: what Helm takes from a Go map comes in any order.
fn ask_again(
    oracle: &mut Oracle,
    asked: &Templating,
    first: Judgement,
) -> anyhow::Result<Judgement> {
    let requests = vec![Request::Template(Box::new(asked.clone())); 4];
    let answers = oracle.ask(&requests)?;
    let again = on_large_stack(|| {
        let mut judged = answers.iter().map(|helm| judge(asked, helm));
        judged.find(|judgement| !judgement.differs())
    });
    Ok(again.map_or(first, |_| Judgement::EqualButRandom))
}

fn shown(judgement: &Judgement) -> bool {
    match judgement {
        Judgement::Equal | Judgement::EqualButRandom | Judgement::NeedsInternet => false,
        Judgement::BothRefuse { verdict, .. } => *verdict == Verdict::OtherPlace,
        Judgement::Different { .. } => true,
    }
}

fn name(judgement: &Judgement) -> &'static str {
    match judgement {
        Judgement::Equal => "equal",
        Judgement::EqualButRandom => "equal but for what is random",
        Judgement::BothRefuse { .. } => "both refuse",
        Judgement::NeedsInternet => "Helm needs the internet",
        Judgement::Different { part, .. } => part,
    }
}

/// The beginning of an error, which is what several charts share.
fn cause(error: &str) -> String {
    error.chars().take_while(|c| *c != ':').take(60).collect()
}

/// The charts below a folder that are in no other chart.
fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("Chart.yaml").exists() {
        found.push(folder.to_owned());
        return;
    }
    let mut inside: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    inside.sort();
    for path in inside {
        let is_archive = path.extension().is_some_and(|extension| extension == "tgz");
        if path.is_dir() {
            find(&path, found);
        } else if is_archive {
            found.push(path);
        }
    }
}

/// The values files that a chart is tested with by its authors.
fn ci_values(chart: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(chart.join("ci"))
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<PathBuf> = files
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("yaml" | "yml"))
        })
        .collect();
    files.sort();
    files
}

/// Files with the values that turn on what a chart leaves off.
fn turned_on(chart: &Path, scratch: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let Ok(values) = fs::read(chart.join("values.yaml")) else {
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    let mut before = None;
    for (name, switch) in [
        ("features.json", Switch::Features),
        ("all.json", Switch::All),
    ] {
        let on = switched_on(&values, switch);
        if let Some(on) = on.as_ref().filter(|_| on != before) {
            fs::create_dir_all(scratch)?;
            let path = scratch.join(name);
            fs::write(&path, on.to_string())?;
            files.push(path);
        }
        before = on;
    }
    Ok(files)
}
