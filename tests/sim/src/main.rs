//! `cargo xtask sim`

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask sim",
    about = "A fleet in virtual time: the real state machines, and a model of what is around them"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays random schedules and looks for what must never be
    Schedules {
        /// The first schedule's seed; each further one's is one more
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many schedules
        #[arg(long, default_value_t = 100_000)]
        schedules: u64,
    },
    /// Plays whole fleets with costs that were measured, and writes docs/scale.md and its plots
    Scale {
        /// How many applications the largest fleet has, each of 100 objects
        #[arg(long, default_value_t = 100_000)]
        apps: u32,
    },
    /// Measures what a managed object costs in memory
    Memory {
        /// How many objects are held at the same time
        #[arg(long, default_value_t = 1_000_000)]
        objects: usize,
    },
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a command of developers, and this is what it says"
)]
fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Schedules { seed, schedules } => {
            let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            pintle_sim::search(seed, schedules, threads).map(|searched| {
                let seconds = searched.took.as_secs_f64();
                println!(
                    "seeds {seed} to {}: {} schedules, {} events, {} writes, {} faults in {seconds:.1} s ({:.0} \
                     schedules a second); the slowest settled {:.0} s after its last fault; everything holds",
                    seed + schedules.saturating_sub(1),
                    searched.schedules,
                    searched.events,
                    searched.writes,
                    searched.faults,
                    f64::from(u32::try_from(searched.schedules).unwrap_or(u32::MAX)) / seconds,
                    f64::from(u32::try_from(searched.longest).unwrap_or(u32::MAX)) / 1000.0,
                );
            })
        }
        Command::Scale { apps } => {
            let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
            pintle_sim::scale::write(apps, &docs, &|line| println!("{line}"))
        }
        Command::Memory { objects } => pintle_sim::memory::measure(objects).map(|held| {
            for one in &held {
                println!(
                    "{:>6} bytes an object: {}: {}",
                    one.bytes, one.what, one.why
                );
            }
            let all: u64 = held.iter().map(|one| one.bytes).sum();
            println!("{all:>6} bytes an object in all");
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
