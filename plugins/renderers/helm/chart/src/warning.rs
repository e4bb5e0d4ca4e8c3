//! What is not wrong enough to refuse.

use std::fmt::Display;

/// Messages about what Helm would only log: lowercase fragments.
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

    /// The messages, in the order in which they came up.
    pub fn into_messages(self) -> Vec<String> {
        self.0
    }

    /// The messages so far.
    pub fn messages(&self) -> &[String] {
        &self.0
    }
}
