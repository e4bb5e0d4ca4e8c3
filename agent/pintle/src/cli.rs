//! The command line: arguments in, an exit code out.

pub(crate) mod args;
pub(crate) mod board;
pub(crate) mod cache;
pub(crate) mod exit;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod screen;
pub(crate) mod signals;

use std::process::ExitCode;

use clap::Parser;

use self::{args::Cli, exit::Exit};

/// Parses the arguments, runs the command, and turns its result into an exit code.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` also arrive as errors, with code 0. clap chooses the right stream.
            let code = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            output::usage(&error);
            return ended(code).into();
        }
    };
    let is_agent = matches!(cli.command, args::Command::Agent(_));
    output::start_logs(&cli.logs, is_agent);
    // A command does one thing after the other. More threads would cost it more than they gain.
    let mut builder = if is_agent {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(
                &anyhow::Error::new(error).context("the async runtime could not be started"),
            );
            return Exit::Failed.into();
        }
    };
    let result = runtime.block_on(crate::commands::run(cli.command));
    // Abandoned blocking work, such as a fetch that hangs, must not keep the process alive.
    runtime.shutdown_background();
    let exit = match result {
        Ok(exit) => exit,
        Err(error) => {
            output::error(&error);
            exit::of(&error)
        }
    };
    ended(exit).into()
}

/// Reports what could not be printed, and returns the exit code. A truncated result is not a success, but other exit codes stay
/// as they are.
fn ended(exit: Exit) -> Exit {
    let Some(unwritten) = output::unwritten() else {
        return exit;
    };
    output::error(&unwritten.into());
    match exit {
        Exit::Done | Exit::Different => Exit::Failed,
        Exit::Failed | Exit::Usage | Exit::Denied => exit,
    }
}
