//! `cargo xtask demo`: a story on a real control plane, which fails if anything differs from what it tells.

mod stage;
mod story;
mod tell;

use anyhow::Result;

use crate::terminal;

/// How the demo runs.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Leaves everything running and prints what to try
    #[arg(long)]
    keep: bool,
    /// Tells the story in fresh namespaces of this kubeconfig context, and builds no control plane
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Sets the stage and tells the story.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    let mut stage = stage::Stage::set(args.context.as_deref(), args.keep)?;
    let told = stage.furnish().and_then(|()| story::tell(&stage));
    match told {
        Ok(()) if args.keep => {
            stage.leave();
            Ok(())
        }
        Ok(()) => {
            stage.clear()?;
            tell::line("\nThat was all true: each step was checked against the cluster.");
            Ok(())
        }
        Err(error) => {
            stage.keep_log();
            tell::line(&format!(
                "\nThe agent's log: {}",
                stage.agent_log().display()
            ));
            // What is left running can be used to find out what went wrong.
            if args.keep {
                stage.leave();
            } else if let Err(also) = stage.clear() {
                terminal::error(&also);
            }
            Err(error)
        }
    }
}
