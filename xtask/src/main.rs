//! Developer commands: the one list of everything that is done to this workspace. `cargo xtask --help` shows it.

mod bench;
mod demo;
mod install;
mod lint;
mod record;
mod setup;
mod shipped;
mod sim;
mod terminal;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Developer commands of Pintle.",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks that this machine has what builds and tests need, and installs what it can
    Setup,
    /// Runs every check and every test, from unit to end to end
    Test(test::Options),
    /// Tells a story on a real control plane: first push, drift, refusal, failure, removal
    Demo(demo::DemoArgs),
    /// Measures what the agent costs: time, memory, and requests to the API server
    Bench(bench::BenchArgs),
    /// Plays a fleet in virtual time: looks for what must never be, and says what size costs
    Sim(sim::SimArgs),
    /// Makes the recordings of the terminal in docs/recordings anew
    Record,
    /// Builds `pintle` and installs it for the current user
    Install,
    /// Checks what the compiler cannot: crate edges, file lengths, files that nothing declares
    Lint,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup => setup::run(),
        Command::Test(options) => {
            return if test::run(&options) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Record => record::run(),
        Command::Install => install::run(),
        Command::Lint => lint::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&error);
            ExitCode::FAILURE
        }
    }
}
