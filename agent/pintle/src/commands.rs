//! One module for each command.

mod act;
mod adopt;
mod bench;
mod compile;
mod converge;
mod dismiss;
mod doctor;
mod follow;
mod get;
mod helm_flags;
mod history;
mod input;
mod interrupt;
mod plan;
mod plugin;
mod render;
mod rollback;
mod session;
mod status;
mod target;
mod test;

use clap::CommandFactory as _;

use crate::cli::{
    args::{Cli, Command},
    exit::Exit,
    output,
};

/// Runs a command.
pub(crate) async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Render(args) => render::run(&args).await,
        Command::Diff(args) => plan::run(&args, plan::Show::Differences).await,
        Command::Plan(args) => plan::run(&args, plan::Show::Plan).await,
        Command::Converge(args) => converge::run(&args).await,
        Command::Dismiss(args) => dismiss::run(&args).await,
        Command::Adopt(args) => adopt::run(&args).await,
        Command::Test(args) => test::run(&args).await,
        Command::Get(args) => get::run(&args).await,
        Command::Suspend(args) => act::suspend(&args).await,
        Command::Resume(args) => act::resume(&args).await,
        Command::History(args) => history::run(&args).await,
        Command::Rollback(args) => rollback::run(&args).await,
        Command::Reconcile(args) => act::reconcile(&args).await,
        Command::Status(args) => status::run(&args).await,
        Command::Plugin(args) => plugin::run(args).await,
        Command::Agent(args) => crate::agent::run(args).await,
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pintle", &mut script);
            output::text(&String::from_utf8_lossy(&script));
            Ok(Exit::Done)
        }
        Command::Version(args) => version(args.output),
        Command::Compile {
            cache,
            cache_bytes,
            memory,
        } => compile::run(&cache, cache_bytes, memory),
    }
}

fn version(format: Option<crate::cli::args::Format>) -> anyhow::Result<Exit> {
    let plugins: Vec<_> = pintle_builtin::components()
        .iter()
        .map(|component| {
            serde_json::json!({ "name": component.name, "kind": component.kind, "digest": component.digest })
        })
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    match format {
        None => output::text(&format!("pintle {version}")),
        Some(format) => output::machine(
            format,
            &serde_json::json!({ "version": version, "plugins": plugins }),
        )?,
    }
    Ok(Exit::Done)
}
