//! Problems that are not serious enough to refuse a chart.

use std::fmt::Display;

/// Messages about what Helm would only log, as lowercase fragments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(Vec<String>);

impl Warnings {
    /// Adds a message, once.
    pub fn add(&mut self, message: impl Display) {
        let message = message.to_string();
        if !self.0.contains(&message) {
            self.0.push(message);
        }
    }

    /// Returns the messages in the order in which they were added.
    pub fn into_messages(self) -> Vec<String> {
        self.0
    }

    /// Returns the messages so far.
    pub fn messages(&self) -> &[String] {
        &self.0
    }
}
