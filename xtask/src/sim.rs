//! `cargo xtask sim`: a fleet in virtual time.

use anyhow::Result;

use crate::workspace;

/// What goes to the simulation itself, which is built only when it is wanted.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct SimArgs {
    /// `schedules`, `scale` or `memory`, and their options; `--help` tells more
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENT"
    )]
    arguments: Vec<String>,
}

/// Builds the simulation with optimisations: a search of a million schedules is then a matter of minutes. It depends on the core
/// only, so it builds in less than one.
pub(crate) fn run(args: &SimArgs) -> Result<()> {
    let mut command = workspace::cargo();
    command
        .args([
            "run",
            "--locked",
            "--quiet",
            "--release",
            "--package",
            "pintle-sim",
            "--",
        ])
        .args(&args.arguments);
    workspace::run(&mut command)
}
