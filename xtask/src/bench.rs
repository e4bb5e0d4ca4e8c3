//! `cargo xtask bench`: the agent's costs, on a real control plane with many Applications.

mod applications;
mod flux;
mod measure;
mod rebuild;
mod render;
mod report;
mod stage;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pintle_harness::ApiRequest;

use crate::{shipped, terminal, workspace};
use applications::Names;
use measure::{Meter, Phase};
use report::Report;
use stage::{Source, Stage};

/// Names the `pintle` to measure, both here and in the harness.
const BINARY: &str = "PINTLE_BIN";

/// How the benchmark runs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With PINTLE_BIN set, that program is measured and nothing is built.",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    beside: Option<Beside>,
    #[command(flatten)]
    alone: Alone,
}

/// Who else is measured.
#[derive(Debug, clap::Subcommand)]
enum Beside {
    /// Measures the agent and Flux's kustomize-controller one after the other, doing the same
    Flux(flux::FluxArgs),
    /// Loses a cluster, and measures how long it takes until a new one has all that is in git
    Rebuild(Alone),
    /// Measures `pintle render` and `helm template` with the same charts, and a renderer that stays loaded
    Render(render::RenderArgs),
}

/// How the agent is measured by itself.
#[derive(Debug, clap::Args)]
struct Alone {
    /// How many Applications
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=5000))]
    apps: u16,
    /// How long the agent is watched with nothing to do, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle: u64,
    /// Prints one JSON object as the last line
    #[arg(long)]
    json: bool,
    /// Measures a debug build: quick to try, but its numbers are not for quoting
    #[arg(long)]
    debug_build: bool,
}

/// Builds `pintle` unless a program is named, and measures it.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let debug_build = match &args.beside {
        None => args.alone.debug_build,
        Some(Beside::Flux(args)) => args.debug_build,
        Some(Beside::Rebuild(args)) => args.debug_build,
        Some(Beside::Render(args)) => args.debug_build,
    };
    let Some(binary) = std::env::var_os(BINARY) else {
        return build_and_start_again(debug_build);
    };
    let binary = PathBuf::from(binary);
    match &args.beside {
        None => alone(&args.alone, binary),
        Some(Beside::Flux(args)) => flux::run(args, &binary),
        Some(Beside::Rebuild(args)) => rebuild::run(args, binary),
        Some(Beside::Render(args)) => render::run(args, &binary),
    }
}

fn alone(args: &Alone, binary: PathBuf) -> Result<()> {
    let mut stage = Stage::set(Source::new(args.apps)?)?;
    let report = measure(args, &mut stage, binary);
    let report = kept_on_failure(&mut stage, report)?;
    stage.strike()?;
    report.conclude(args.json)
}

/// Keeps the logs of a run that ended early, and says where they are.
fn kept_on_failure<T>(stage: &mut Stage, result: Result<T>) -> Result<T> {
    result.map_err(|error| {
        let dir = stage.keep();
        error.context(format!(
            "the benchmark ended early; the agent's log is {}",
            dir.join("agent/agent.log").display()
        ))
    })
}

/// Replaces this process with itself, with the built program named in its environment, where the harness looks for it. Changing
/// the environment of a running process is not safe.
fn build_and_start_again(debug_build: bool) -> Result<()> {
    let binary = if debug_build {
        workspace::run(workspace::cargo().args(["build", "--locked", "--package", "pintle"]))?;
        let targets = workspace::Workspace::load()?.target_directory;
        targets.join("debug/pintle")
    } else {
        shipped::build()?
    };
    let own = std::env::current_exe().context("find this executable")?;
    let error = Command::new(own)
        .args(std::env::args_os().skip(1))
        .env(BINARY, binary)
        .exec();
    Err(error).context("start this program again")
}

fn measure(args: &Alone, stage: &mut Stage, binary: PathBuf) -> Result<Report> {
    let mut failures = Vec::new();
    let names = stage.source.names;

    terminal::step(&format!(
        "first convergence of {} Applications",
        names.count()
    ));
    let meter = Meter::start("first convergence", stage.subject(), &stage.control_plane)?;
    let start = Instant::now();
    stage.create_applications()?;
    terminal::line(&format!(
        "kubectl had created them after {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    let commit = stage.source.commit.clone();
    stage.wait_ready(|_| true, &commit)?;
    let first = end_when_quiet(meter, start.elapsed(), stage)?;

    terminal::step(&format!("a commit that concerns {} only", names.chosen()));
    let commit = stage.commit_to_one()?;
    let meter = Meter::start("one commit", stage.subject(), &stage.control_plane)?;
    let start = Instant::now();
    stage.push_and_request(&commit)?;
    stage.wait_ready(|name| name == names.chosen(), &commit)?;
    let second = end_when_quiet(meter, start.elapsed(), stage)?;
    failures.extend(foreign_writes(names, &second.writes));

    terminal::step(&format!("{} s with nothing to do", args.idle));
    let idle = Duration::from_secs(args.idle);
    let meter = Meter::start(report::IDLE, stage.subject(), &stage.control_plane)?;
    std::thread::sleep(idle);
    let third = meter.end(idle, stage.subject(), &stage.control_plane)?;

    // Whatever has happened in the meantime, everything must still be as it was.
    failures.extend(stage.not_ready()?);
    failures.extend(stage.missing()?);
    Report::new(stage, binary, vec![first, second, third], failures)
}

/// Ends a phase, whose wall time is known, when the agent has done all the work that the phase caused: what follows after the
/// last Application is Ready is part of the cost.
fn end_when_quiet(meter: Meter, wall: Duration, stage: &Stage) -> Result<Phase> {
    terminal::line(&format!("Ready after {:.2} s", wall.as_secs_f64()));
    let quiet = measure::wait_quiet(stage.subject(), &stage.control_plane)?;
    if !quiet {
        terminal::line("note: the agent has not come to rest; the next phase includes that work");
    }
    meter.end(wall, stage.subject(), &stage.control_plane)
}

/// Returns a description of the writes to objects of Applications that the commit does not concern, if there are any.
fn foreign_writes(names: Names, writes: &[ApiRequest]) -> Option<String> {
    let foreign: Vec<String> = writes
        .iter()
        .filter(|write| write.name != names.chosen() && names.contains(&write.name))
        .map(|write| format!("{} {} {}", write.verb, write.resource, write.name))
        .collect();
    let first = foreign.first()?;
    Some(format!(
        "a commit to {} made {} writes to other Applications and their objects, the first of them: {first}",
        names.chosen(),
        foreign.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_to_another_application_is_a_failure() {
        let write = |name: &str| ApiRequest {
            verb: "patch".to_owned(),
            user: String::new(),
            impersonated: None,
            user_agent: String::new(),
            uri: String::new(),
            resource: "services".to_owned(),
            subresource: String::new(),
            namespace: applications::NAMESPACE.to_owned(),
            name: name.to_owned(),
            code: 200,
        };
        let names = Names::new(3);
        let own = [write("app-0002"), write("app-0002.18a")];
        assert_eq!(foreign_writes(names, &own), None);
        let failure = foreign_writes(names, &[write("app-0002"), write("app-0003")]).unwrap();
        assert!(
            failure.ends_with("1 writes to other Applications and their objects, the first of them: patch services app-0003"),
            "{failure}"
        );
    }
}
