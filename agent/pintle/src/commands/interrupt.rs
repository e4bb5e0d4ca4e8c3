//! Ctrl-C and SIGTERM, with which a CI job or a pod is stopped: the first one asks a command to end, the second one ends it.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::output;

/// What a shell says of a program that Ctrl-C has ended: 128, and the number of the signal.
const INTERRUPTED: i32 = 130;
/// The same of SIGTERM.
const TERMINATED: i32 = 143;

/// Returns what the first signal cancels, for a command that stops at the next point where nothing is half done.
///
/// A command calls this once, however often it begins anew: it is listened for until the process ends.
pub(super) fn cancel_on_interrupt() -> CancellationToken {
    listen(Some(
        "stopping; what is under way is finished first, unless Ctrl-C comes again",
    ))
}

/// Returns what the first signal cancels, for a command that writes nothing and is given up wherever it is.
pub(super) fn end_on_interrupt() -> CancellationToken {
    listen(None)
}

fn listen(told: Option<&'static str>) -> CancellationToken {
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    // What cannot be listened for ends the process at once, as it does everywhere else.
    let mut signals = Signals {
        interrupts: signal(SignalKind::interrupt()).ok(),
        terminations: signal(SignalKind::terminate()).ok(),
    };
    tokio::spawn(async move {
        signals.next().await;
        if let Some(told) = told {
            output::note(told);
        }
        token.cancel();
        let code = signals.next().await;
        std::process::exit(code);
    });
    cancel
}

/// The signals that ask a command to end, as far as they can be listened for.
struct Signals {
    interrupts: Option<Signal>,
    terminations: Option<Signal>,
}

impl Signals {
    /// Waits for the next one, and returns the exit code of a program that it ends.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            () = came(self.interrupts.as_mut()) => INTERRUPTED,
            () = came(self.terminations.as_mut()) => TERMINATED,
        }
    }
}

/// Waits for a signal; for ever where none can come.
async fn came(signals: Option<&mut Signal>) {
    if let Some(signals) = signals
        && signals.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}
