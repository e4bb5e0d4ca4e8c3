//! Ctrl-C, and SIGTERM, which stops a CI job or a pod. The first signal asks the process to end, and the second one ends it.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code that a shell reports for a program that Ctrl-C has ended: 128 plus the number of the signal.
const INTERRUPTED: i32 = 130;
/// The same for SIGTERM.
const TERMINATED: i32 = 143;

/// Returns a token that the first signal cancels, after `tell` was called. Signals are handled until the process ends.
pub(crate) fn listen(tell: impl FnOnce() + Send + 'static) -> std::io::Result<CancellationToken> {
    let mut signals = Signals {
        interrupts: signal(SignalKind::interrupt())?,
        terminations: signal(SignalKind::terminate())?,
    };
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    tokio::spawn(async move {
        signals.next().await;
        tell();
        token.cancel();
        let code = signals.next().await;
        std::process::exit(code);
    });
    Ok(cancel)
}

/// The signals that ask a process to end.
struct Signals {
    interrupts: Signal,
    terminations: Signal,
}

impl Signals {
    /// Waits for the next signal, and returns the exit code of a program that it ends.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupts.recv() => INTERRUPTED,
            _ = self.terminations.recv() => TERMINATED,
        }
    }
}
