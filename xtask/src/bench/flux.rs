//! `cargo xtask bench flux`: the agent and Flux's kustomize-controller, one after the other, with the same tasks.
//!
//! Each gets a fresh control plane of its own, of the same program, and the same repository with the same objects, and goes
//! through the same [`course`]. Which applications are Ready comes from a watch, resource usage from `/proc`, and the requests to
//! the API server from its audit log: nothing relies on a controller's own account. Flux's source-controller does not run: the
//! benchmark serves the artifact and writes the status of the `GitRepository`, which costs Flux nothing, while the agent's
//! figures include its fetches from a git server.

mod arena;
mod artifact;
mod contender;
mod course;
mod drift;
mod observer;
mod page;
mod plot;
mod results;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use pintle_harness::Program;

use self::contender::Side;
use self::course::Size;
use self::results::{Run, Walked};
use super::applications::Names;
use super::report::{self, Machine};
use crate::{terminal, workspace};

/// How the benchmark beside Flux runs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With PINTLE_BIN set, that program is measured and nothing is built.\n\n\
                  100 applications take about 5 minutes and twice --idle, 1000 about half an hour and twice --idle. Sizes can be \
                  measured in several calls: the page shows the newest result of each.\n\n\
                  With --json the last line is {\"apps\",\"wall_ratio\",\"cpu_ratio\",\"request_ratio\",\"memory_ratio\",\
                  \"drift_p99_ms\",\"idle_cpu_percent\"}. A ratio is the agent's figure divided by Flux's, the worse one of \
                  the first push and of the change in all applications; for memory, of the peaks over all stages. The \
                  last two are the agent's own; idle_cpu_percent is of one core."
)]
pub(super) struct FluxArgs {
    /// How many applications; several numbers are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "100", value_parser = clap::value_parser!(u16).range(1..=5000))]
    apps: Vec<u16>,
    /// How long each is watched with nothing to do, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    idle: u64,
    /// How often both look after an application in which nothing has happened, in seconds [default: 60, and from 100
    /// applications on 0.6 for each, so that Flux can come around on two cores]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: Option<u64>,
    /// Prints one JSON object for each size, the last one as the last line
    #[arg(long)]
    json: bool,
    /// Measures a debug build: quick to try, but its numbers are not for quoting
    #[arg(long)]
    pub(super) debug_build: bool,
    /// Where the page, the plot and the data go [default: docs/benchmarks, or with --debug-build target/benchmarks]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Measures each size, and writes the page.
pub(super) fn run(args: &FluxArgs, binary: &Path) -> Result<()> {
    // The other programs are built when they start. This one is all of Flux that runs.
    Program::KustomizeController.build(&|line| terminal::line(line))?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None if args.debug_build => workspace::Workspace::load()?
            .target_directory
            .join("benchmarks"),
        None => workspace::root().join("docs/benchmarks"),
    };
    for count in &args.apps {
        let run = measure(args, Names::new(*count), binary)?;
        run.save(&out)?;
        // The page is written after each size, because a larger size may be aborted before it is finished.
        let written = page::write(&out)?;
        terminal::step(&format!("result for {count} applications"));
        terminal::line(&run.table());
        for missed in run.missed() {
            terminal::line(&format!("missed: {missed}"));
        }
        // The last line of standard output is the JSON, if it was requested.
        terminal::line(&format!("written: {}", written.display()));
        if args.json {
            terminal::line(&serde_json::to_string(&run.ratios()).context("write the ratios")?);
        }
    }
    Ok(())
}

/// Returns an interval in which kustomize-controller can go around once on two cores and has as much time again for what is
/// pushed: without a break, it looks at some three and a half applications per second.
fn interval(names: Names) -> u64 {
    let count = u64::try_from(names.count()).unwrap_or(u64::MAX);
    (count.saturating_mul(6) / 10).max(60)
}

fn measure(args: &FluxArgs, names: Names, binary: &Path) -> Result<Run> {
    let load = load()?;
    if load > 0.5 {
        terminal::line(&format!(
            "note: this machine is busy with other things (load {load:.1}): wall times are not for quoting"
        ));
    }
    let machine = Machine::look(binary, Program::Cluster.version()?)?;
    let idle = Duration::from_secs(args.idle);
    let size = Size {
        names,
        interval: args.interval.unwrap_or_else(|| interval(names)),
    };
    let walk = |side: Side| -> Result<Walked> {
        course::walk(side, size, idle)
            .with_context(|| format!("{} with {} applications", side.name(), names.count()))
    };
    Ok(Run {
        apps: names.count(),
        day: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        build: report::build(binary),
        machine,
        flux: Program::KustomizeController.version()?,
        load,
        idle_seconds: args.idle,
        interval_seconds: size.interval,
        pintle_figures: walk(Side::Pintle)?,
        flux_figures: walk(Side::Flux)?,
    })
}

/// Returns how many processes were running or waiting to run on average in the last minute.
fn load() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().context("read /proc/loadavg")
}
