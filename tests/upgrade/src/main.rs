//! Two builds of the agent alternate on one cluster while commits arrive: `cargo xtask test upgrade`.
//!
//! One build is from this checkout, the other from an earlier commit, each with its own `deploy/`. In each round the running
//! build is replaced by the other one, up or down, in one of the ways of [`Switch`]. Then a commit arrives. [`checks`] has what
//! must hold after each round: the inventory, the history and the objects survive, what a commit changes is written once, and
//! nothing else is written.

mod checks;
mod scene;
mod shop;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

use scene::{Build, Scene};

/// How one build replaces the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    /// The running build stops, and then the other one starts. In between, somebody edits one object and deletes another.
    Stop,
    /// The running build is killed when there is nothing to do, and the other one waits for its lease to expire.
    Kill,
    /// The running build is killed while it applies a commit, and the other one completes it.
    KillAtWork,
    /// Both run while a commit arrives, and then the first one stops: a rolling update.
    Overlap,
}

const SWITCHES: [Switch; 4] = [
    Switch::Stop,
    Switch::Kill,
    Switch::KillAtWork,
    Switch::Overlap,
];

#[derive(Parser)]
#[command(about = "Two builds of the agent alternate on one cluster while commits arrive")]
struct Arguments {
    /// The other build's `pintle`
    #[arg(long)]
    other: PathBuf,
    /// The other build's `deploy/`
    #[arg(long)]
    other_deploy: PathBuf,
    /// What the other build is called in what is printed
    #[arg(long, default_value = "the other build")]
    other_name: String,
    /// Rounds: each is one way to replace one build by the other, up and down in turn
    #[arg(long, default_value_t = 8)]
    rounds: u32,
    /// Leaves out the rolling update: builds that cannot run side by side
    #[arg(long)]
    no_overlap: bool,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a command of developers, and this is what it says"
)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments, &|line| println!("{line}")) {
        Ok(()) => {
            println!(
                "{} rounds between {} and this build: everything holds",
                arguments.rounds, arguments.other_name
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, tell: &dyn Fn(&str)) -> Result<()> {
    let other = Build {
        name: arguments.other_name.clone(),
        executable: arguments.other.clone(),
        deploy: arguments.other_deploy.clone(),
    };
    let this = Build::this()?;
    let switches: Vec<Switch> = SWITCHES
        .into_iter()
        .filter(|switch| !(arguments.no_overlap && *switch == Switch::Overlap))
        .collect();
    let mut scene = Scene::open(&other)?;
    let (mut from, mut to) = (&other, &this);
    // Each way is tried in both directions before the next one.
    let ways = switches.iter().flat_map(|switch| [*switch; 2]).cycle();
    for (round, switch) in (1..=arguments.rounds).zip(ways) {
        let what = format!("round {round}, {switch:?}: {} to {}", from.name, to.name);
        tell(&what);
        if let Err(error) = scene.round(switch, to).context(what) {
            scene.keep();
            return Err(error);
        }
        (from, to) = (to, from);
    }
    scene.remove_all()
}
