//! Messages for the operator.
//!
//! The host adds the time and the plugin to each message, and cuts messages off at its limit. In native tests, messages
//! are kept for [`testing::take_logs`](crate::testing::take_logs).

/// The severity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Somebody should look soon.
    Warn,
    /// Something has failed.
    Error,
}

/// Logs a message for the plugin's author.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref());
}

/// Logs a message that is worth knowing.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref());
}

/// Logs a message that somebody should look at soon.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref());
}

/// Logs a message about something that has failed.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref());
}

#[cfg(target_arch = "wasm32")]
use crate::glue::write_log as write;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::write_log as write;
