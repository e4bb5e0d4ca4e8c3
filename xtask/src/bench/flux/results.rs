//! The results, as data.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::course::{ALL, DRIFT, IDLE, NONE, ONE, PUSH};
use super::drift::Drift;
use crate::bench::measure::Phase;
use crate::bench::report::{Machine, table};

/// The targets of the project's design: the agent's figure divided by Flux's.
pub(super) const WALL_TARGET: f64 = 0.2;
pub(super) const CPU_TARGET: f64 = 0.05;
pub(super) const REQUEST_TARGET: f64 = 0.2;
pub(super) const MEMORY_TARGET: f64 = 0.25;
/// The targets for the agent alone: milliseconds, and percent of a core.
pub(super) const DRIFT_TARGET: f64 = 500.0;
pub(super) const IDLE_CPU_TARGET: f64 = 0.5;

/// The phases in which every application changes. The two are compared by these.
pub(super) const COMPARED: [&str; 2] = [PUSH, ALL];
/// The phases in which something happens, in order.
pub(super) const SHOWN: [&str; 6] = [PUSH, ONE, NONE, IDLE, ALL, DRIFT];

/// The results of one contender.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Walked {
    pub(super) phases: Vec<Phase>,
    pub(super) drift: Drift,
}

impl Walked {
    pub(super) fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == name)
    }

    /// Returns the highest memory usage in any phase, the start included.
    pub(super) fn peak_memory(&self) -> u64 {
        let peaks = self.phases.iter().map(|phase| phase.peak_memory_bytes);
        peaks.max().unwrap_or(0)
    }
}

/// The results of both contenders, at one size.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Run {
    pub(super) apps: usize,
    /// The day of the measurement, `2026-11-21`.
    pub(super) day: String,
    /// `release` or `debug`.
    pub(super) build: String,
    pub(super) machine: Machine,
    /// The version of kustomize-controller.
    pub(super) flux: String,
    /// How busy the machine was beforehand.
    pub(super) load: f64,
    pub(super) idle_seconds: u64,
    /// The interval of the applications, for both.
    pub(super) interval_seconds: u64,
    pub(super) pintle_figures: Walked,
    pub(super) flux_figures: Walked,
}

/// The comparison in brief. The names are an interface: see `cargo xtask bench flux --help`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Ratios {
    pub(super) apps: usize,
    pub(super) wall_ratio: f64,
    pub(super) cpu_ratio: f64,
    pub(super) request_ratio: f64,
    pub(super) memory_ratio: f64,
    pub(super) drift_p99_ms: Option<f64>,
    pub(super) idle_cpu_percent: f64,
}

impl Run {
    pub(super) fn ratios(&self) -> Ratios {
        let worst = |figure: fn(&Phase) -> f64| {
            let ratios = COMPARED.iter().filter_map(|name| {
                let ours = figure(self.pintle_figures.phase(name)?);
                Some(ours / figure(self.flux_figures.phase(name)?))
            });
            rounded(ratios.fold(0.0, f64::max))
        };
        let idle = self.pintle_figures.phase(IDLE);
        Ratios {
            apps: self.apps,
            wall_ratio: worst(|phase| phase.wall_seconds),
            cpu_ratio: worst(|phase| phase.cpu_seconds),
            request_ratio: worst(requests),
            memory_ratio: rounded(
                mib(self.pintle_figures.peak_memory()) / mib(self.flux_figures.peak_memory()),
            ),
            drift_p99_ms: self.pintle_figures.drift.p99_ms,
            idle_cpu_percent: idle.map_or(0.0, |idle| {
                rounded(100.0 * idle.cpu_seconds / idle.wall_seconds)
            }),
        }
    }

    /// Returns the targets that were not reached.
    pub(super) fn missed(&self) -> Vec<String> {
        let ratios = self.ratios();
        let targets = [
            ("wall time", ratios.wall_ratio, WALL_TARGET),
            ("CPU", ratios.cpu_ratio, CPU_TARGET),
            ("requests", ratios.request_ratio, REQUEST_TARGET),
            ("memory", ratios.memory_ratio, MEMORY_TARGET),
        ];
        let missed = targets.iter().filter(|(_, ratio, target)| ratio > target);
        let mut missed: Vec<String> = missed
            .map(|(what, ratio, target)| format!("{what} is {ratio} of Flux's, and not {target}"))
            .collect();
        match ratios.drift_p99_ms {
            Some(p99) if p99 < DRIFT_TARGET => {}
            Some(p99) => missed.push(format!(
                "drift repair takes {p99} ms (p99), and not {DRIFT_TARGET}"
            )),
            None => missed.push("not all hand edits were repaired".to_owned()),
        }
        if ratios.idle_cpu_percent >= IDLE_CPU_TARGET {
            missed.push(format!(
                "idle takes {} % of a core, and not {IDLE_CPU_TARGET}",
                ratios.idle_cpu_percent
            ));
        }
        if let Some(idle) = self.pintle_figures.phase(IDLE)
            && idle.total() > 0
        {
            missed.push(format!("idle, {} requests were made", idle.total()));
        }
        missed
    }

    /// Returns the file for a size.
    pub(super) fn file(out: &Path, apps: usize) -> PathBuf {
        out.join("data").join(format!("flux-{apps}.json"))
    }

    /// Writes the figures from which the page is generated.
    pub(super) fn save(&self, out: &Path) -> Result<()> {
        let file = Self::file(out, self.apps);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let mut text = serde_json::to_string_pretty(self).context("write the figures as JSON")?;
        text.push('\n');
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))
    }

    /// Reads the figures of all sizes, the smallest first.
    pub(super) fn load_all(out: &Path) -> Result<Vec<Self>> {
        let folder = out.join("data");
        let mut runs = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let file = entry
                .with_context(|| format!("read {}", folder.display()))?
                .path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with("flux-") || !name.ends_with(".json") {
                continue;
            }
            let text =
                fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            let run: Self = serde_json::from_str(&text).with_context(|| {
                format!(
                    "{} is of another version: measure that size again",
                    file.display()
                )
            })?;
            runs.push(run);
        }
        runs.sort_by_key(|run| run.apps);
        Ok(runs)
    }

    /// Returns the comparison as a table for the terminal.
    pub(super) fn table(&self) -> String {
        table(&self.rows())
    }

    /// Returns the comparison by phase, with headings.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![
            [
                "",
                "",
                "wall",
                "CPU",
                "memory",
                "requests",
                "a minute",
                "watches",
                "leases",
                "server's CPU",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        for name in SHOWN {
            let sides = [
                ("Pintle", &self.pintle_figures),
                ("Flux", &self.flux_figures),
            ];
            for (index, (side, walked)) in sides.into_iter().enumerate() {
                let Some(phase) = walked.phase(name) else {
                    continue;
                };
                let minute = 60.0 * requests(phase) / phase.wall_seconds;
                rows.push(vec![
                    if index == 0 { name } else { "" }.to_owned(),
                    side.to_owned(),
                    seconds(phase.wall_seconds),
                    seconds(phase.cpu_seconds),
                    format!("{:.0} MiB", mib(phase.peak_memory_bytes)),
                    phase.total().to_string(),
                    if name == IDLE {
                        format!("{minute:.0}")
                    } else {
                        String::new()
                    },
                    phase.watches.to_string(),
                    phase.leases.to_string(),
                    seconds(phase.control_plane_cpu_seconds),
                ]);
            }
        }
        rows
    }
}

/// Formats seconds with as many digits as are useful.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else {
        format!("{seconds:.1} s")
    }
}

#[expect(clippy::cast_precision_loss, reason = "no run makes 2^52 requests")]
pub(super) fn requests(phase: &Phase) -> f64 {
    phase.total() as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no process has 2^52 bytes resident"
)]
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Rounds to three decimals: more would not be the same in two runs.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::super::course::{CREATED, ONE};
    use super::*;

    fn walked(scale: f64) -> Walked {
        let phase = |name: &str, wall: f64| Phase {
            name: name.to_owned(),
            wall_seconds: wall * scale,
            cpu_seconds: 10.0 * scale,
            peak_memory_bytes: 200 << 20,
            requests: BTreeMap::from([("patch".to_owned(), 400)]),
            ..Phase::default()
        };
        let idle = Phase {
            name: IDLE.to_owned(),
            wall_seconds: 60.0,
            cpu_seconds: 0.06,
            ..Phase::default()
        };
        Walked {
            phases: vec![
                phase(CREATED, 1.0),
                phase(PUSH, 20.0),
                phase(ONE, 1.0),
                idle,
                phase(ALL, 10.0),
            ],
            drift: Drift {
                edits: 100,
                repaired: 100,
                p50_ms: Some(40.0),
                p99_ms: Some(90.0),
                longest_ms: Some(120.0),
            },
        }
    }

    pub(in super::super) fn run(apps: usize) -> Run {
        Run {
            apps,
            day: "2026-11-21".to_owned(),
            build: "release".to_owned(),
            machine: Machine {
                cores: 2,
                processor: "a processor".to_owned(),
                memory_bytes: 8 << 30,
                kernel: "6.1".to_owned(),
                pintle: "pintle 0.1.0".to_owned(),
                kubernetes: "v1.36.3".to_owned(),
            },
            flux: "v1.9.5".to_owned(),
            load: 0.1,
            idle_seconds: 60,
            interval_seconds: 60,
            pintle_figures: walked(0.1),
            flux_figures: walked(1.0),
        }
    }

    #[test]
    fn the_worse_phase_counts() {
        let mut run = run(100);
        run.pintle_figures.phases[4].wall_seconds = 5.0;
        let ratios = run.ratios();
        let text = serde_json::to_string(&ratios).unwrap();
        assert_eq!(
            text,
            r#"{"apps":100,"wall_ratio":0.5,"cpu_ratio":0.1,"request_ratio":1.0,"memory_ratio":1.0,"drift_p99_ms":90.0,"idle_cpu_percent":0.1}"#
        );
    }

    #[test]
    fn what_is_missed_is_told() {
        let mut run = run(100);
        run.pintle_figures.drift.p99_ms = None;
        assert_eq!(
            run.missed(),
            [
                "CPU is 0.1 of Flux's, and not 0.05",
                "requests is 1 of Flux's, and not 0.2",
                "memory is 1 of Flux's, and not 0.25",
                "not all hand edits were repaired"
            ]
        );
    }

    #[test]
    fn figures_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        for apps in [500, 100] {
            run(apps).save(dir.path()).unwrap();
        }
        let read = Run::load_all(dir.path()).unwrap();
        let sizes: Vec<_> = read.iter().map(|run| run.apps).collect();
        assert_eq!(sizes, [100, 500]);
        assert_eq!(read[0].ratios(), run(100).ratios());
    }
}
