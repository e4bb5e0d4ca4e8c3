//! Log messages of the test's own thread.

use std::cell::RefCell;

use crate::log::Level;

thread_local! {
    static LOGS: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// Returns the messages that this thread has logged since the last call, and forgets them.
pub fn take_logs() -> Vec<(Level, String)> {
    LOGS.take()
}

pub(crate) fn write_log(level: Level, message: &str) {
    LOGS.with_borrow_mut(|logs| logs.push((level, message.to_owned())));
}
