//! The page with all measured sizes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::course::PUSH;
use super::plot;
use super::results::{
    CPU_TARGET, DRIFT_TARGET, IDLE_CPU_TARGET, MEMORY_TARGET, REQUEST_TARGET, Ratios, Run, SHOWN,
    WALL_TARGET, Walked, requests, seconds,
};
use crate::bench::applications::OBJECTS;

const PAGE: &str = "flux.md";
const PLOT: &str = "flux.svg";

/// The benchmark writes what is between these two marks. Everything else on the page is written by people.
const BEGIN: &str = "<!-- cargo xtask bench flux writes what follows -->";
const END: &str = "<!-- cargo xtask bench flux wrote this -->";

/// The page before anybody has written on it.
const TEMPLATE: &str = "# Pintle beside Flux\n\n<!-- cargo xtask bench flux writes what follows -->\n<!-- cargo xtask bench flux wrote this -->\n";

/// Writes the page and the plot from the figures in the folder, and returns the page's path.
pub(super) fn write(out: &Path) -> Result<PathBuf> {
    let runs = Run::load_all(out)?;
    let file = out.join(PLOT);
    fs::write(&file, plot::svg(&runs)).with_context(|| format!("write {}", file.display()))?;
    let page = out.join(PAGE);
    let before = match fs::read_to_string(&page) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => TEMPLATE.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("read {}", page.display())),
    };
    let text = replaced(&before, &figures(&runs))
        .with_context(|| format!("{} has no lines {BEGIN:?} and {END:?}", page.display()))?;
    fs::write(&page, text).with_context(|| format!("write {}", page.display()))?;
    Ok(page)
}

/// Puts the figures between the two marks.
fn replaced(page: &str, figures: &str) -> Option<String> {
    let (head, rest) = page.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n\n{figures}\n{END}{tail}"))
}

fn figures(runs: &[Run]) -> String {
    let mut text = format!(
        "![Wall time, CPU time, requests and memory of both, by number of applications]({PLOT})\n\n"
    );
    text += &targets(runs);
    for run in runs {
        text += &section(run);
    }
    text
}

/// Returns the table of targets, with what was reached at each size.
fn targets(runs: &[Run]) -> String {
    let ratios: Vec<Ratios> = runs.iter().map(Run::ratios).collect();
    let row = |what: &str, target: String, cell: &dyn Fn(&Ratios) -> String| {
        let mut row = vec![what.to_owned(), target];
        row.extend(ratios.iter().map(cell));
        row
    };
    let mark = |reached: bool, text: String| {
        if reached { text } else { format!("**{text}**") }
    };
    let at_most = |target: f64| move |value: f64| mark(value <= target, format!("{value:.3}"));
    let mut head = vec![
        "Pintle's figure divided by Flux's".to_owned(),
        "target".to_owned(),
    ];
    head.extend(ratios.iter().map(|ratios| ratios.apps.to_string()));
    let rows = vec![
        head,
        row(
            "wall time until all are Ready",
            format!("≤ {WALL_TARGET}"),
            &|ratios| at_most(WALL_TARGET)(ratios.wall_ratio),
        ),
        row("CPU time", format!("≤ {CPU_TARGET}"), &|ratios| {
            at_most(CPU_TARGET)(ratios.cpu_ratio)
        }),
        row("API requests", format!("≤ {REQUEST_TARGET}"), &|ratios| {
            at_most(REQUEST_TARGET)(ratios.request_ratio)
        }),
        row("peak memory", format!("≤ {MEMORY_TARGET}"), &|ratios| {
            at_most(MEMORY_TARGET)(ratios.memory_ratio)
        }),
        row(
            "Pintle: repair of a hand edit, p99",
            format!("< {DRIFT_TARGET} ms"),
            &|ratios| match ratios.drift_p99_ms {
                Some(p99) => mark(p99 < DRIFT_TARGET, format!("{p99:.0} ms")),
                None => mark(false, "not all".to_owned()),
            },
        ),
        row(
            "Pintle: CPU while idle",
            format!("< {IDLE_CPU_TARGET} % of a core"),
            &|ratios| {
                let percent = ratios.idle_cpu_percent;
                mark(percent < IDLE_CPU_TARGET, format!("{percent:.2} %"))
            },
        ),
    ];
    format!(
        "{}\nThe columns are numbers of applications. Ratios are the worse one of the first push and of the change in all \
         applications; memory is the peak over all stages. What is bold missed its target.\n",
        markdown(&rows)
    )
}

fn section(run: &Run) -> String {
    let machine = &run.machine;
    let mut text = format!(
        "\n## {} applications\n\n`cargo xtask bench flux --apps {} --idle {}`, {}: {} ({} build) and kustomize-controller {}, each with \
         a fresh Kubernetes {} on the same {} cores ({}, {:.0} GiB, Linux {}; load before: {:.1}). {} objects; \
         an interval of {} s.\n\n",
        run.apps,
        run.apps,
        run.idle_seconds,
        run.day,
        machine.pintle,
        run.build,
        run.flux,
        machine.kubernetes,
        machine.cores,
        machine.processor,
        super::results::mib(machine.memory_bytes) / 1024.0,
        machine.kernel,
        run.load,
        run.apps * OBJECTS,
        run.interval_seconds,
    );
    text += &markdown(&run.rows());
    text += "\nHand edits, from the edit to its repair:\n\n";
    text += &markdown(&drift(run));
    text += "\nRequests by verb, without watches and leases:\n\n";
    text += &markdown(&verbs(run));
    let start = |walked: &Walked| match walked.phase("start") {
        Some(phase) => format!(
            "{} CPU time and {:.0} MiB",
            seconds(phase.cpu_seconds),
            super::results::mib(phase.peak_memory_bytes)
        ),
        None => "nothing".to_owned(),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\nTo start with an empty disk took Pintle {}, and Flux {}. Pintle made {:.1} requests for each application at the \
         first push, and Flux {:.1}.",
        start(&run.pintle_figures),
        start(&run.flux_figures),
        each(run, &run.pintle_figures),
        each(run, &run.flux_figures),
    );
    text
}

fn each(run: &Run, walked: &Walked) -> f64 {
    let apps = u32::try_from(run.apps).map_or(f64::NAN, f64::from);
    walked.phase(PUSH).map_or(0.0, requests) / apps
}

fn drift(run: &Run) -> Vec<Vec<String>> {
    let head = ["", "edits", "repaired", "p50", "p99", "longest"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (name, walked) in [("Pintle", &run.pintle_figures), ("Flux", &run.flux_figures)] {
        let drift = &walked.drift;
        let latency = |milliseconds: Option<f64>| match milliseconds {
            None => "–".to_owned(),
            Some(long) if long >= 10_000.0 => seconds(long / 1000.0),
            Some(short) => format!("{short:.0} ms"),
        };
        rows.push(vec![
            name.to_owned(),
            drift.edits.to_string(),
            drift.repaired.to_string(),
            latency(drift.p50_ms),
            latency(drift.p99_ms),
            latency(drift.longest_ms),
        ]);
    }
    rows
}

fn verbs(run: &Run) -> Vec<Vec<String>> {
    let sides = [&run.pintle_figures, &run.flux_figures];
    let used: BTreeSet<&String> = sides
        .iter()
        .flat_map(|walked| &walked.phases)
        .filter(|phase| SHOWN.contains(&phase.name.as_str()))
        .flat_map(|phase| phase.requests.keys())
        .collect();
    let mut head = vec![String::new(), String::new()];
    head.extend(used.iter().map(|verb| (*verb).clone()));
    let mut rows = vec![head];
    for name in SHOWN {
        for (index, (side, walked)) in [("Pintle", sides[0]), ("Flux", sides[1])]
            .into_iter()
            .enumerate()
        {
            let Some(phase) = walked.phase(name) else {
                continue;
            };
            let mut row = vec![
                if index == 0 { name } else { "" }.to_owned(),
                side.to_owned(),
            ];
            row.extend(used.iter().map(|verb| {
                let count = phase.requests.get(*verb).copied().unwrap_or(0);
                count.to_string()
            }));
            rows.push(row);
        }
    }
    rows
}

/// Returns a table in Markdown. The first two columns are names, the others are numbers.
fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if index == 0 {
            let rule: Vec<&str> = (0..row.len())
                .map(|column| if column < 2 { "---" } else { "---:" })
                .collect();
            let _ = writeln!(text, "| {} |", rule.join(" | "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::run;
    use super::*;

    #[test]
    fn what_people_wrote_stays() {
        let dir = tempfile::tempdir().unwrap();
        run(100).save(dir.path()).unwrap();
        let page = write(dir.path()).unwrap();
        let first = fs::read_to_string(&page).unwrap();
        assert!(first.contains("## 100 applications"), "{first}");
        fs::write(&page, format!("{first}\n## What limits it\n\nThe cores.\n")).unwrap();
        run(500).save(dir.path()).unwrap();
        write(dir.path()).unwrap();
        let second = fs::read_to_string(&page).unwrap();
        assert!(second.contains("## 500 applications"), "{second}");
        assert!(
            second.ends_with("## What limits it\n\nThe cores.\n"),
            "{second}"
        );
        assert_eq!(second.matches("## 100 applications").count(), 1);
    }

    #[test]
    fn a_page_without_marks_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        run(100).save(dir.path()).unwrap();
        fs::write(dir.path().join(PAGE), "# Mine\n").unwrap();
        let error = write(dir.path()).unwrap_err().to_string();
        assert!(error.contains("has no lines"), "{error}");
    }

    #[test]
    fn what_is_missed_is_bold() {
        let text = targets(&[run(100)]);
        assert!(text.contains("| CPU time | ≤ 0.05 | **0.100** |"), "{text}");
        assert!(
            text.contains("| wall time until all are Ready | ≤ 0.2 | 0.100 |"),
            "{text}"
        );
    }
}
