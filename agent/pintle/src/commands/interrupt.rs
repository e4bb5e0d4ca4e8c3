//! What a command does when it is asked to end.

use tokio_util::sync::CancellationToken;

use crate::cli::{output, signals};

/// Returns a token that the first signal cancels, for a command that stops at the next point where nothing is half done.
///
/// A command calls this once, however often it starts anew: signals are handled until the process ends.
pub(super) fn cancel_on_interrupt() -> CancellationToken {
    listen(|| {
        output::note("stopping; what is under way is finished first, unless Ctrl-C comes again");
    })
}

/// Returns a token that the first signal cancels, for a command that writes nothing and can be abandoned anywhere.
pub(super) fn end_on_interrupt() -> CancellationToken {
    listen(|| {})
}

fn listen(tell: impl FnOnce() + Send + 'static) -> CancellationToken {
    // Signals that cannot be handled end the process at once, as they do everywhere else.
    signals::listen(tell).unwrap_or_default()
}
