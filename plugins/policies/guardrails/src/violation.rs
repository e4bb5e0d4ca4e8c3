//! One rule broken at one place.

use crate::rules::Rule;

/// One rule broken at one place of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The rule.
    pub(crate) rule: Rule,
    /// RFC 6901 pointer into the object.
    pub(crate) pointer: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: String,
    /// The container, if it is about one.
    pub(crate) container: Option<String>,
    /// What exactly breaks the rule, whatever its place in a list: an image, a path, a label.
    pub(crate) subject: String,
}

impl Violation {
    /// Whether another version of the object breaks the rule in the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.rule, &self.container, &self.subject)
            == (other.rule, &other.container, &other.subject)
    }
}

/// Adds a key or an index to an RFC 6901 pointer, escaped.
pub(crate) fn pointer(parent: &str, segment: &str) -> String {
    format!("{parent}/{}", segment.replace('~', "~0").replace('/', "~1"))
}
