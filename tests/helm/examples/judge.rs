//! Judges charts on disk.
//!
//! `cargo run -p pintle-helm-tests --example judge -- DIR...` looks for charts in the folders (or in those of `PINTLE_CHARTS`,
//! separated by `:`). It renders each chart through Helm and through the renderer: with its own values, with each file in its
//! folder `ci/`, with every `enabled` or similar value turned on, with every false value turned on, and with its own values for
//! an upgrade in an older cluster that has many more API versions. It prints the differences, and a summary at the end. `--list
//! FILE` writes a line for each chart: its name and version, and the results of its value sets.
#![expect(clippy::print_stdout, reason = "a report for people")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pintle_helm_tests::compare::Verdict;
use pintle_helm_tests::judge::{Judgement, judge};
use pintle_helm_tests::oracle::{Oracle, Request, Templating};
use pintle_helm_tests::ours::on_large_stack;
use pintle_helm_tests::switches::{Switch, switched_on};

/// How many questions are asked at once.
const BATCH: usize = 40;

/// How often Helm is asked again if there is a difference.
const AGAIN: usize = 12;

/// The API versions that charts look for.
const API_VERSIONS: [&str; 16] = [
    "acme.cert-manager.io/v1",
    "autoscaling.k8s.io/v1",
    "batch/v1beta1",
    "cert-manager.io/v1",
    "cilium.io/v2",
    "gateway.networking.k8s.io/v1",
    "gateway.networking.k8s.io/v1/HTTPRoute",
    "keda.sh/v1alpha1",
    "monitoring.coreos.com/v1",
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1/ServiceMonitor",
    "networking.istio.io/v1beta1",
    "policy/v1beta1",
    "route.openshift.io/v1",
    "security.openshift.io/v1",
];

/// A chart with a set of values.
struct Question {
    /// The chart's name and version.
    chart: String,
    /// Whether the values are the chart's own.
    default: bool,
    asked: Templating,
}

fn main() -> Result<()> {
    let mut folders = Vec::new();
    let mut list = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => list = arguments.next(),
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
    let scratch = tempfile::tempdir()?;
    let mut questions = Vec::new();
    for (index, chart) in charts.iter().enumerate() {
        questions.extend(questions_of(
            chart,
            &scratch.path().join(index.to_string()),
        )?);
    }
    let mut oracle = Oracle::start()?;
    let mut report = Report::default();
    for batch in questions.chunks(BATCH) {
        for (question, judgement) in batch.iter().zip(judged(&mut oracle, batch)?) {
            report.add(question, &judgement);
        }
    }
    println!("{} charts, {} value sets", charts.len(), questions.len());
    report.print();
    match list {
        Some(path) => fs::write(&path, report.list()).with_context(|| format!("write {path}")),
        None => Ok(()),
    }
}

/// Returns the questions about a chart. Files with values are written to the folder.
fn questions_of(chart: &Path, scratch: &Path) -> Result<Vec<Question>> {
    let name = name_and_version(chart);
    let sets = std::iter::once(Vec::new())
        .chain(ci_values(chart).into_iter().map(|file| vec![file]))
        .chain(
            turned_on(chart, scratch)?
                .into_iter()
                .map(|file| vec![file]),
        );
    let questions = sets.map(|values| Question {
        chart: name.clone(),
        default: values.is_empty(),
        asked: Templating {
            chart: chart.to_owned(),
            release: "rel".to_owned(),
            namespace: "ns".to_owned(),
            values,
            include_crds: true,
            ..Templating::default()
        },
    });
    let mut questions: Vec<_> = questions.collect();
    questions.push(Question {
        chart: name,
        default: false,
        asked: Templating {
            chart: chart.to_owned(),
            release: "another-name".to_owned(),
            namespace: "kube-system".to_owned(),
            kube_version: "v1.24.17-eks-1".to_owned(),
            api_versions: API_VERSIONS.map(str::to_owned).to_vec(),
            is_upgrade: true,
            sub_notes: true,
            skip_schema: true,
            ..Templating::default()
        },
    });
    Ok(questions)
}

fn judged(oracle: &mut Oracle, batch: &[Question]) -> Result<Vec<Judgement>> {
    let request = |question: &Question| Request::Template(Box::new(question.asked.clone()));
    let answers = oracle.ask(&batch.iter().map(request).collect::<Vec<_>>())?;
    let mut judged = on_large_stack(|| {
        let pairs = batch.iter().zip(&answers);
        pairs
            .map(|(question, helm)| judge(&question.asked, helm))
            .collect::<Vec<_>>()
    });
    for (question, judgement) in batch.iter().zip(&mut judged) {
        // Helm iterates over Go maps in any order, so another answer may be equal to ours.
        if judgement.differs() {
            let again = oracle.ask(&vec![request(question); AGAIN])?;
            let again = on_large_stack(|| {
                let mut judged = again.iter().map(|helm| judge(&question.asked, helm));
                judged.any(|judgement| !judgement.differs())
            });
            if again {
                *judgement = Judgement::EqualButRandom;
            }
        }
    }
    Ok(judged)
}

/// The totals.
#[derive(Default)]
struct Report {
    default: BTreeMap<&'static str, usize>,
    other: BTreeMap<&'static str, usize>,
    refusals: BTreeMap<String, usize>,
    charts: BTreeMap<String, (&'static str, BTreeMap<&'static str, usize>)>,
}

impl Report {
    fn add(&mut self, question: &Question, judgement: &Judgement) {
        let name = name(judgement);
        let chart = self.charts.entry(question.chart.clone()).or_default();
        if question.default {
            *self.default.entry(name).or_default() += 1;
            chart.0 = name;
        } else {
            *self.other.entry(name).or_default() += 1;
            *chart.1.entry(name).or_default() += 1;
        }
        if let Judgement::BothRefuse { helm, .. } = judgement {
            *self.refusals.entry(beginning(helm)).or_default() += 1;
        }
        if is_shown(judgement) {
            let values = question.asked.values.iter();
            let values = values.map(|path| path.display().to_string());
            let values = values.collect::<Vec<_>>().join(" ");
            println!("{} {values}: {judgement}", question.asked.chart.display());
        }
    }

    fn print(&self) {
        for (beginning, count) in &self.refusals {
            println!("  both refuse: {count} {beginning}");
        }
        println!("default values: {:?}", self.default);
        println!("other values: {:?}", self.other);
    }

    /// Returns a line for each chart.
    fn list(&self) -> String {
        let mut text = String::new();
        for (chart, (default, other)) in &self.charts {
            let other = other.iter().map(|(name, count)| format!("{count} {name}"));
            let other = other.collect::<Vec<_>>().join(", ");
            let more = if other.is_empty() {
                String::new()
            } else {
                format!("; other values: {other}")
            };
            let _ = writeln!(text, "{chart}: {default}{more}");
        }
        text
    }
}

fn is_shown(judgement: &Judgement) -> bool {
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

/// Returns the beginning of an error, which several charts have in common.
fn beginning(error: &str) -> String {
    error.chars().take_while(|c| *c != ':').take(60).collect()
}

fn name_and_version(chart: &Path) -> String {
    let metadata = fs::read(chart.join("Chart.yaml")).unwrap_or_default();
    let metadata = pintle_helm_chart::read_values(&metadata).unwrap_or_default();
    let field = |name: &str| {
        let value = metadata.get(name.as_bytes());
        value.and_then(|value| value.as_text().map(ToString::to_string))
    };
    if let (Some(name), Some(version)) = (field("name"), field("version")) {
        return format!("{name} {version}");
    }
    let name = chart.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Finds the charts below a folder that are not inside another chart.
fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("Chart.yaml").exists() {
        found.push(folder.to_owned());
        return;
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut inside: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
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

/// Returns the values files that a chart's authors test it with.
fn ci_values(chart: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(chart.join("ci"));
    let entries = entries.into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("yaml" | "yml"))
        })
        .collect();
    files.sort();
    files
}

/// Writes files with the values that turn on what a chart leaves off, and returns their paths.
fn turned_on(chart: &Path, scratch: &Path) -> Result<Vec<PathBuf>> {
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
