//! One violation of a rule.

use crate::rules::Rule;

/// One rule broken at one place of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The rule.
    pub(crate) rule: Rule,
    /// The RFC 6901 pointer into the object.
    pub(crate) pointer: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: String,
    /// The pointer at which objects of the kind have the pod template that it is in, with `*` for every item. Empty for a pod
    /// itself, and outside of pods.
    pub(crate) template: String,
    /// The container, if the violation is about one.
    pub(crate) container: Option<String>,
    /// What exactly breaks the rule, whatever its place in a list: an image, a path, a label.
    pub(crate) subject: String,
}

impl Violation {
    /// Returns a violation by the object as a whole, with no particular subject.
    pub(crate) fn new(
        rule: Rule,
        pointer: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            pointer: pointer.into(),
            message: message.into(),
            hint: hint.into(),
            template: String::new(),
            container: None,
            subject: String::new(),
        }
    }

    /// Returns whether another version of the object breaks the rule in the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.rule, &self.template, &self.container, &self.subject)
            == (
                other.rule,
                &other.template,
                &other.container,
                &other.subject,
            )
    }
}

/// Adds a key or an index to an RFC 6901 pointer, escaped.
pub(crate) fn pointer(parent: &str, segment: &str) -> String {
    format!("{parent}/{}", segment.replace('~', "~0").replace('/', "~1"))
}
