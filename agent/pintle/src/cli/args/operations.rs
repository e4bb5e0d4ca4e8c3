//! Arguments of the commands by which an operator inspects applications in a cluster, and acts on them.

use clap::Args;
use pintle_core::duration::Span;

use super::{ConnectionArgs, OutputArgs};

#[derive(Debug, Args)]
pub(crate) struct StatusCommand {
    /// Name of an Application; by default, all are shown, one per line
    #[arg(value_name = "APPLICATION")]
    pub(crate) name: Option<String>,
    /// Namespace; by default, the current one with a name, and all without
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Keep running until Ctrl-C: update a table in place on a terminal, or print a line for each change elsewhere
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

// The choice of an Application.
#[derive(Debug, Args)]
pub(crate) struct OneApplication {
    /// Name of the Application
    #[arg(value_name = "APPLICATION")]
    pub(crate) name: String,
    /// Namespace of the Application
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

// The reason for a request.
#[derive(Debug, Args)]
pub(crate) struct ReasonArgs {
    /// Reason for the request, shown with your name to everybody who looks
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

// Options for waiting.
#[derive(Debug, Args)]
pub(crate) struct AwaitArgs {
    /// Do not wait for the result
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Time to wait: `5m`, `1h30m`
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub(crate) timeout: Span,
}

#[derive(Debug, Args)]
pub(crate) struct SuspendCommand {
    #[command(flatten)]
    pub(crate) application: OneApplication,
    #[command(flatten)]
    pub(crate) reason: ReasonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReconcileCommand {
    #[command(flatten)]
    pub(crate) application: OneApplication,
    #[command(flatten)]
    pub(crate) reason: ReasonArgs,
    #[command(flatten)]
    pub(crate) wait: AwaitArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackCommand {
    #[command(flatten)]
    pub(crate) application: OneApplication,
    /// Number of the revision in `pintle history`, or a prefix of its commit; by default, the last healthy revision before the
    /// one that runs
    #[arg(long, value_name = "REVISION")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) reason: ReasonArgs,
    #[command(flatten)]
    pub(crate) wait: AwaitArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryCommand {
    #[command(flatten)]
    pub(crate) application: OneApplication,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
