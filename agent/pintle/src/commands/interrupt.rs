//! Ctrl-C: the first one asks a command to end, the second one ends it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::output;

/// What a shell says of a program that Ctrl-C has ended: 128, and the number of the signal.
const INTERRUPTED: i32 = 130;

/// Returns what the first Ctrl-C cancels, for a command that stops at the next point where nothing is half done.
///
/// A command calls this once, however often it begins anew: it is listened for until the process ends.
pub(super) fn cancel_on_interrupt() -> CancellationToken {
    listen(Some(
        "stopping; what is under way is finished first, unless Ctrl-C comes again",
    ))
}

/// Returns what the first Ctrl-C cancels, for a command that writes nothing and is given up wherever it is.
pub(super) fn end_on_interrupt() -> CancellationToken {
    listen(None)
}

fn listen(told: Option<&'static str>) -> CancellationToken {
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    // Where it cannot be listened for it ends the process at once, as it does everywhere else.
    let Ok(mut interrupts) = signal(SignalKind::interrupt()) else {
        return cancel;
    };
    tokio::spawn(async move {
        if interrupts.recv().await.is_none() {
            return;
        }
        if let Some(told) = told {
            output::note(told);
        }
        token.cancel();
        if interrupts.recv().await.is_some() {
            std::process::exit(INTERRUPTED);
        }
    });
    cancel
}
