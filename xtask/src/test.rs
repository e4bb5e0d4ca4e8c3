//! `cargo xtask test`

mod upgrade;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use pintle_harness::Program;

use crate::workspace::{self, Workspace};
use crate::{lint, setup, terminal};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    only: Option<Only>,
    /// Leaves out formatting, lint and clippy
    #[arg(long)]
    tests_only: bool,
    /// Goes to `cargo test`, such as a part of a test's name
    #[arg(last = true, value_name = "ARGUMENT")]
    cargo_test: Vec<String>,
}

#[derive(clap::Subcommand)]
enum Only {
    /// Runs random schedules of changes and faults against a real control plane, and checks what must hold after each
    Torture(TortureOptions),
    /// Lets the agent of an earlier commit and this one take turns on one cluster, and checks that nothing is lost
    Upgrade(upgrade::Options),
}

#[derive(clap::Args)]
struct TortureOptions {
    /// Tortures a release build, as for a long run
    #[arg(long)]
    release: bool,
    /// The first schedule's seed; by default a random one, which is printed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How many schedules, each with a seed that is one more
    #[arg(long, value_name = "N", default_value_t = 24)]
    schedules: u64,
    /// How many run at the same time
    #[arg(long, value_name = "N", default_value_t = 4)]
    lanes: u8,
}

/// Builds the tested program and the one that tortures it, and runs the latter.
fn torture(options: &TortureOptions) -> Result<()> {
    let mut build = workspace::cargo();
    build.args([
        "build",
        "--locked",
        "--workspace",
        "--bin",
        "pintle",
        "--bin",
        "torture",
    ]);
    if options.release {
        build.arg("--release");
    }
    workspace::run(&mut build)?;
    let profile = if options.release { "release" } else { "debug" };
    let binaries = Workspace::load()?.target_directory.join(profile);
    let mut command = Command::new(binaries.join("torture"));
    command
        .env("PINTLE_BIN", binaries.join("pintle"))
        .args(["--schedules", &options.schedules.to_string()])
        .args(["--lanes", &options.lanes.to_string()]);
    if let Some(seed) = options.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    workspace::run(&mut command)
}

/// Runs everything, continues after a failure, ends with one line of counts, and returns whether everything passed.
///
/// All Cargo commands select the same packages and targets, so that each dependency is compiled once, with one set of features.
pub(crate) fn run(options: &Options) -> bool {
    let only = match &options.only {
        Some(Only::Torture(options)) => Some(torture(options)),
        Some(Only::Upgrade(options)) => Some(upgrade::run(options)),
        None => None,
    };
    if let Some(result) = only {
        if let Err(error) = &result {
            terminal::error(error);
        }
        return result.is_ok();
    }
    let start = Instant::now();
    let mut tally = Tally::default();
    if prepare(&mut tally) {
        check_and_test(options, &mut tally);
    }
    terminal::line(&format!(
        "\n{} s in all, {} ignored",
        start.elapsed().as_secs(),
        tally.ignored
    ));
    for failure in &tally.failures {
        terminal::line(&format!("failed: {failure}"));
    }
    terminal::line(&tally.to_string());
    tally.failed == 0
}

/// Makes sure that everything else has what it needs. It counts only if it fails.
fn prepare(tally: &mut Tally) -> bool {
    let tools = || {
        setup::tools()
            .and_then(|()| setup::go())
            .and_then(|()| setup::wasm_toolchain())
    };
    let servers = || {
        for program in [Program::Cluster, Program::Servers, Program::Helm] {
            program.build(&terminal::line)?;
        }
        Ok(())
    };
    tally.step("set-up", tools) && tally.step("test servers", servers)
}

fn check_and_test(options: &Options, tally: &mut Tally) {
    if !options.tests_only {
        tally.check("formatting", formatting);
        tally.check("lint", lint::run);
    }
    let built = tally.check("build", || {
        workspace::run(workspace::cargo().args([
            "build",
            "--locked",
            "--workspace",
            "--all-targets",
        ]))
    });
    if !options.tests_only {
        tally.check("clippy", || {
            let mut command = workspace::cargo();
            command.args([
                "clippy",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ]);
            workspace::run(&mut command)
        });
    }
    if built {
        let start = Instant::now();
        terminal::step("tests");
        let mut tests = Tally::default();
        if let Err(error) = run_tests(options, &mut tests) {
            tests.fail("cargo test", &error);
        }
        terminal::done("tests", tests.failed == 0, start.elapsed());
        tally.add(tests);
    }
}

fn formatting() -> Result<()> {
    workspace::run(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    let output = Command::new("gofmt")
        .arg("-l")
        .arg(workspace::root().join("tests"))
        .output()
        .context("run gofmt")?;
    if !output.status.success() || !output.stdout.is_empty() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "not as `gofmt -w` would have it:\n{}",
            String::from_utf8_lossy(&said)
        );
    }
    Ok(())
}

/// Runs `cargo test` with its output on this terminal, and counts from the summary of each test binary.
fn run_tests(options: &Options, tally: &mut Tally) -> Result<()> {
    let binary = Workspace::load()?.target_directory.join("debug/pintle");
    let mut command = workspace::cargo();
    command
        .args(["test", "--locked", "--workspace", "--no-fail-fast"])
        .args(&options.cargo_test);
    // Every test that runs the program runs this build of it, and need not build another.
    command.env("PINTLE_BIN", binary);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("start cargo test")?;
    let stdout = child.stdout.take().context("standard output is a pipe")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("read what cargo test prints")?;
        let line = String::from_utf8_lossy(&line);
        tally.read(&line);
        terminal::line(&line);
    }
    let status = child.wait().context("wait for cargo test")?;
    // A crashed test binary has no summary, and would go uncounted.
    if !status.success() && tally.failed == 0 {
        bail!("cargo test: {status}, and no test that failed");
    }
    Ok(())
}

/// The numbers of passes and failures: of tests, and of checks, each of which counts as one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    failures: Vec<String>,
}

impl Tally {
    /// Runs a check that counts as one, whether it passes or fails.
    fn check(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        let passed = self.step(name, work);
        self.passed += u64::from(passed);
        passed
    }

    /// Runs a step that counts only if it fails.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        let start = Instant::now();
        terminal::step(name);
        let result = work();
        if let Err(error) = &result {
            self.fail(name, error);
        }
        terminal::done(name, result.is_ok(), start.elapsed());
        result.is_ok()
    }

    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        terminal::error(error);
        self.failed += 1;
        self.failures.push(name.to_owned());
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.failures.extend(other.failures);
    }

    /// Parses a line of the standard test runner.
    fn read(&mut self, line: &str) {
        if let Some(summary) = line.strip_prefix("test result: ") {
            let Some((_, counts)) = summary.split_once(". ") else {
                return;
            };
            for count in counts.split("; ") {
                let Some((number, what)) = count.split_once(' ') else {
                    continue;
                };
                let Ok(number) = number.parse::<u64>() else {
                    continue;
                };
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    _ => {}
                }
            }
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_all_test_binaries_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.07s",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 31.48s",
        ] {
            tally.read(line);
        }
        assert_eq!(tally.to_string(), "13 passed, 1 failed");
        assert_eq!(
            (tally.ignored, tally.failures),
            (1, vec!["a::c".to_owned()])
        );
    }
}
