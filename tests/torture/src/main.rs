//! Runs schedules: `cargo xtask test torture`.

use std::process::ExitCode;

use clap::Parser;
use pintle_torture::{Options, run};

#[derive(Parser)]
#[command(about = "Random schedules of changes and faults against a real control plane")]
struct Arguments {
    /// The first schedule's seed; by default a random one
    #[arg(long)]
    seed: Option<u64>,
    /// How many schedules, each with a seed that is one more
    #[arg(long, default_value_t = 24)]
    schedules: u64,
    /// How many run at the same time
    #[arg(long, default_value_t = 4)]
    lanes: usize,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a command of developers, and this is what it says"
)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The seed is short enough to be typed again.
    let seed = arguments
        .seed
        .unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let options = Options {
        seed,
        schedules: arguments.schedules,
        lanes: arguments.lanes,
    };
    println!(
        "schedules {seed} to {}",
        seed.wrapping_add(options.schedules.saturating_sub(1))
    );
    match run(&options, &|line| println!("{line}")) {
        Ok(summary) => {
            println!(
                "{} schedules, {} requests to the API server, {} faults, {} restarts, {:.0} s: everything holds",
                summary.schedules,
                summary.requests,
                summary.faults,
                summary.restarts,
                summary.took.as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
