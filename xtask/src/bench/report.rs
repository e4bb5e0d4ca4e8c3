//! The report that is printed at the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::applications::OBJECTS;
use super::measure::Phase;
use super::stage::Stage;
use crate::terminal;

/// The phase in which there is nothing to do.
pub(super) const IDLE: &str = "idle";

/// The result of a benchmark.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    applications: usize,
    build: String,
    machine: Machine,
    phases: Vec<Phase>,
    /// Differences from what the agent should do.
    failures: Vec<String>,
}

/// What was measured, and on which machine.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) processor: String,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    pub(super) pintle: String,
    pub(super) kubernetes: String,
}

impl Machine {
    /// Inspects the machine, and asks the program for its version.
    pub(super) fn look(binary: &Path, kubernetes: String) -> Result<Self> {
        Ok(Self {
            cores: std::thread::available_parallelism()
                .context("count the cores")?
                .get(),
            processor: processor(),
            memory_bytes: memory()?,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            pintle: version(binary)?,
            kubernetes,
        })
    }
}

impl Report {
    pub(super) fn new(
        stage: &Stage,
        binary: PathBuf,
        phases: Vec<Phase>,
        failures: Vec<String>,
    ) -> Result<Self> {
        Ok(Self {
            applications: stage.source.names.count(),
            build: build(&binary),
            machine: Machine::look(&binary, stage.kubernetes()?)?,
            phases,
            failures,
        })
    }

    /// Prints the table, and on request the same as JSON in one line.
    fn print(&self, json: bool) -> Result<()> {
        terminal::step("result");
        terminal::line(&table(&self.rows()));
        terminal::line(
            "Wall time is until Ready; all else is counted until the agent is at rest again.",
        );
        for phase in &self.phases {
            for (what, count) in &phase.refused {
                terminal::line(&format!("{}, refused: {count} x {what}", phase.name));
            }
        }
        for idle in self.phases.iter().filter(|phase| phase.name == IDLE) {
            for (what, count) in &idle.resources {
                terminal::line(&format!("idle, and yet asked: {count} x {what}"));
            }
        }
        let machine = &self.machine;
        terminal::line(&format!(
            "{} Applications of {OBJECTS} objects in 1 repository; {} build of {}; Kubernetes {}; {} cores of {}, shared with the control plane; Linux {}",
            self.applications,
            self.build,
            machine.pintle,
            machine.kubernetes,
            machine.cores,
            machine.processor,
            machine.kernel
        ));
        if self.build == "debug" {
            terminal::line(
                "A debug build is slower: measure without --debug-build for numbers to quote.",
            );
        }
        if json {
            terminal::line(&serde_json::to_string(self).context("write the result as JSON")?);
        }
        Ok(())
    }

    /// Prints the report, and fails if the agent did not do what it should.
    pub(super) fn conclude(&self, json: bool) -> Result<()> {
        self.print(json)?;
        if !self.failures.is_empty() {
            bail!(
                "the agent did not do what it should: {}",
                self.failures.join("; ")
            );
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let row = |head: &str, cell: &dyn Fn(&Phase) -> String| {
            let mut row = vec![head.to_owned()];
            row.extend(self.phases.iter().map(cell));
            row
        };
        let mut rows = vec![
            row("", &|phase| phase.name.clone()),
            row("wall time", &|phase| format!("{:.2} s", phase.wall_seconds)),
            row("CPU time", &|phase| format!("{:.2} s", phase.cpu_seconds)),
            row("peak memory", &|phase| {
                format!("{} MiB", phase.peak_memory_bytes >> 20)
            }),
            row("API requests", &|phase| phase.total().to_string()),
        ];
        let verbs: BTreeSet<&String> = self
            .phases
            .iter()
            .flat_map(|phase| phase.requests.keys())
            .collect();
        for verb in verbs {
            rows.push(row(&format!("  {verb}"), &|phase| {
                phase.requests.get(verb).copied().unwrap_or(0).to_string()
            }));
        }
        rows.push(row("watches begun", &|phase| phase.watches.to_string()));
        rows.push(row("lease requests", &|phase| phase.leases.to_string()));
        rows
    }
}

/// Formats a table: the first column is aligned to the left, and the others, which hold numbers, to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| {
            if column == 0 {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns `release` or `debug` for a program that Cargo built, or else the program's path.
pub(super) fn build(binary: &Path) -> String {
    let folder = binary.parent().and_then(Path::file_name);
    match folder.and_then(|folder| folder.to_str()) {
        Some(profile @ ("release" | "debug")) => profile.to_owned(),
        _ => binary.display().to_string(),
    }
}

fn version(binary: &Path) -> Result<String> {
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .with_context(|| format!("run {}", binary.display()))?;
    if !output.status.success() {
        bail!("{} --version: {}", binary.display(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the processor's name. Not every architecture's kernel reports one.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    match name {
        Some((_, name)) => name.trim().to_owned(),
        None => std::env::consts::ARCH.to_owned(),
    }
}

/// Returns the size of the machine's memory, from `proc_meminfo(5)`.
fn memory() -> Result<u64> {
    let text = read("/proc/meminfo")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let kib: u64 = kib
        .context("/proc/meminfo names no MemTotal")?
        .parse()
        .context("read MemTotal")?;
    Ok(kib * 1024)
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("read {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_below_their_heads() {
        let rows = [["", "first", "idle"], ["CPU time", "12.50 s", "0"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            table(&rows),
            "            first  idle\nCPU time  12.50 s     0"
        );
    }

    #[test]
    fn the_build_is_known_by_its_folder() {
        assert_eq!(build(Path::new("target/release/pintle")), "release");
        assert_eq!(build(Path::new("/usr/bin/pintle")), "/usr/bin/pintle");
    }
}
