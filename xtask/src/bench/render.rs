//! `cargo xtask bench render`: the same charts through `helm template` and `pintle render`.
//!
//! Both run as processes, in turn, on the same folder, and the output of both is discarded. A run counts only if both produce the
//! same number of objects. After that, `pintle plugin bench` reports the cost of a render when the renderer stays loaded.

mod charts;
mod page;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use pintle_harness::{Program, RunDir, to_stderr};
use serde::{Deserialize, Serialize};

use super::report::{self, Machine};
use crate::{terminal, workspace};
use charts::Subject;

/// The name of every release.
const RELEASE: &str = "bench";
/// The arguments of `pintle render`. A repository around the folder is not part of the measurement, but definitions are.
const ARGUMENTS: [&str; 8] = [
    "--dev",
    "--name",
    RELEASE,
    "--namespace",
    "bench",
    "--renderer",
    "helm",
    "--include-crds",
];
/// The minimum that the figures should reach: Pintle's speed divided by Helm's, as a process and warm.
const PROCESS_TARGET: f64 = 10.0;
const WARM_TARGET: f64 = 30.0;

/// How the benchmark beside Helm runs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With PINTLE_BIN set, that program is measured and nothing is built.\n\n\
                  With --json the last line is {\"slowest_process_ratio\",\"slowest_warm_ratio\",\"charts\":[...]}; a ratio \
                  says how many times faster Pintle is."
)]
pub(super) struct RenderArgs {
    /// Folders of more charts; without any, only the charts that Helm makes are measured
    charts: Vec<PathBuf>,
    /// How often each program runs with each chart
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Prints one JSON object as the last line
    #[arg(long)]
    json: bool,
    /// Measures a debug build: quick to try, but its numbers are not for quoting
    #[arg(long)]
    pub(super) debug_build: bool,
    /// Where the page goes [default: docs/benchmarks, or with --debug-build target/benchmarks]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The costs of one chart for both programs.
#[derive(Debug, Serialize)]
struct Measured {
    chart: String,
    objects: usize,
    bytes: usize,
    helm: Times,
    pintle: Times,
    warm: Times,
}

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Times {
    fastest: f64,
    median: f64,
}

/// Properties of the renderer, which are the same for all charts.
#[derive(Clone, Copy, Debug, Serialize)]
struct Component {
    bytes: u64,
    compile_ms: f64,
    load_ms: f64,
}

/// The output of `pintle plugin bench`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bench {
    component_bytes: u64,
    compile_micros: u64,
    load_micros: u64,
    median_micros: u64,
    fastest_micros: u64,
}

#[derive(Debug, Serialize)]
struct Results {
    slowest_process_ratio: f64,
    slowest_warm_ratio: f64,
    component: Component,
    charts: Vec<Measured>,
}

impl Measured {
    fn process_ratio(&self) -> f64 {
        self.helm.median / self.pintle.median
    }

    fn warm_ratio(&self) -> f64 {
        self.helm.median / self.warm.median
    }
}

/// Measures each chart, and writes the page.
pub(super) fn run(args: &RenderArgs, binary: &Path) -> Result<()> {
    let helm = Program::Helm.build(&to_stderr)?;
    let machine = Machine::look(binary, Program::Helm.version()?)?;
    let dir = RunDir::new("bench-render")?;
    let programs = Programs {
        helm,
        pintle: binary.to_owned(),
        home: dir.path().join("home"),
    };
    std::fs::create_dir_all(&programs.home).context("make a home folder")?;
    let mut measured = Vec::new();
    let mut component = None;
    for subject in charts::subjects(&programs, dir.path(), &args.charts)? {
        terminal::step(&subject.name);
        let (one, of_component) = programs.measure(&subject, args.runs)?;
        terminal::line(&format!(
            "helm template {:.1} ms, pintle render {:.1} ms ({:.1}×), warm {:.2} ms ({:.0}×)",
            one.helm.median,
            one.pintle.median,
            one.process_ratio(),
            one.warm.median,
            one.warm_ratio()
        ));
        measured.push(one);
        component.get_or_insert(of_component);
    }
    let slowest = |ratio: fn(&Measured) -> f64| measured.iter().map(ratio).fold(f64::MAX, f64::min);
    let results = Results {
        slowest_process_ratio: slowest(Measured::process_ratio),
        slowest_warm_ratio: slowest(Measured::warm_ratio),
        component: component.context("there is a chart")?,
        charts: measured,
    };
    let out = out(args)?;
    std::fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    let page = page::write(&out, &results, &machine, args)?;
    terminal::line(&format!("written to {}", page.display()));
    report::table(&page::rows(&results))
        .lines()
        .for_each(terminal::line);
    if args.json {
        terminal::line(&serde_json::to_string(&results).context("write the results")?);
    }
    Ok(())
}

fn out(args: &RenderArgs) -> Result<PathBuf> {
    match &args.out {
        Some(out) => Ok(out.clone()),
        None if args.debug_build => {
            let workspace = workspace::Workspace::load()?;
            Ok(workspace.target_directory.join("benchmarks"))
        }
        None => Ok(workspace::root().join("docs/benchmarks")),
    }
}

/// The two programs, and a home folder in which neither has any settings.
struct Programs {
    helm: PathBuf,
    pintle: PathBuf,
    home: PathBuf,
}

impl Programs {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // The settings of the user who runs this do not apply.
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null());
        command
    }

    fn helm_template(&self, subject: &Subject) -> Command {
        let mut command = self.command(&self.helm);
        command
            .args(["template", RELEASE])
            .arg(&subject.folder)
            .args(["--namespace", "bench", "--include-crds"]);
        command
    }

    fn pintle_render(&self, subject: &Subject) -> Command {
        let mut command = self.command(&self.pintle);
        command.arg("render").arg(&subject.folder);
        command.args(ARGUMENTS);
        command
    }

    fn measure(&self, subject: &Subject, runs: u16) -> Result<(Measured, Component)> {
        let expected = output(self.helm_template(subject))?;
        let objects = objects(&expected);
        // This also compiles the renderer, which is then cached.
        let got = output(self.pintle_render(subject))?;
        ensure!(
            objects == self::objects(&got),
            "{}: helm template makes {objects} objects, and pintle render {}",
            subject.name,
            self::objects(&got)
        );
        let (mut helm, mut pintle) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            helm.push(time(self.helm_template(subject))?);
            pintle.push(time(self.pintle_render(subject))?);
        }
        let bench = self.bench(subject, runs)?;
        let ms = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1e3;
        let measured = Measured {
            chart: subject.name.clone(),
            objects,
            bytes: expected.len(),
            helm: Times::of(helm),
            pintle: Times::of(pintle),
            warm: Times {
                fastest: ms(bench.fastest_micros),
                median: ms(bench.median_micros),
            },
        };
        let component = Component {
            bytes: bench.component_bytes,
            compile_ms: ms(bench.compile_micros),
            load_ms: ms(bench.load_micros),
        };
        Ok((measured, component))
    }

    fn bench(&self, subject: &Subject, runs: u16) -> Result<Bench> {
        let mut command = self.command(&self.pintle);
        command.args(["plugin", "bench"]).arg(&subject.folder);
        command.args(ARGUMENTS);
        command.args(["--output", "json", "--runs", &runs.to_string()]);
        let text = output(command)?;
        serde_json::from_slice(&text).context("read what `pintle plugin bench` says")
    }
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let ms = |index: usize| times.get(index).map_or(0.0, Duration::as_secs_f64) * 1e3;
        Self {
            fastest: ms(0),
            median: ms(times.len() / 2),
        }
    }
}

/// Runs a program that must succeed, and returns its output.
fn output(mut command: Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .with_context(|| workspace::show(&command))?;
    if !output.status.success() {
        bail!(
            "{}: {}\n{}",
            workspace::show(&command),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output.stdout)
}

/// Runs a program, discards its output, and returns how long it took.
fn time(mut command: Command) -> Result<Duration> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command
        .status()
        .with_context(|| workspace::show(&command))?;
    let took = start.elapsed();
    ensure!(status.success(), "{}: {status}", workspace::show(&command));
    Ok(took)
}

/// Counts objects in YAML: each has its kind at the start of a line, once.
fn objects(yaml: &[u8]) -> usize {
    let lines = yaml.split(|byte| *byte == b'\n');
    lines.filter(|line| line.starts_with(b"kind:")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_counted_by_their_kinds() {
        let yaml =
            b"---\nkind: A\nspec:\n  kind: inner\n---\napiVersion: v1\nkind: B\n# kind: none\n";
        assert_eq!(objects(yaml), 2);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let times = Times::of([30, 10, 20].map(Duration::from_millis).to_vec());
        assert!((times.fastest - 10.0).abs() < 1e-9 && (times.median - 20.0).abs() < 1e-9);
    }
}
