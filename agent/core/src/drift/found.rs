//! Drift as it is reported to people: what changed, who changed it and when.

use std::{collections::BTreeSet, fmt};

use super::FieldPointer;
use crate::object::ObjectId;

/// An object that others have changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftedObject {
    /// The object.
    pub id: ObjectId,
    /// Whether it was deleted.
    pub is_gone: bool,
    /// The fields that differ from what was applied; none if the object is gone.
    pub fields: Vec<DriftedField>,
    /// Whether it is left as it is, because drift is only reported or because the repair waits.
    pub is_left: bool,
}

/// A field that someone else has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftedField {
    /// The field, in a form in which it could be ignored.
    pub pointer: FieldPointer,
    /// The manager that changed it, as far as the server knows.
    pub by: Option<Opponent>,
}

/// A field manager that has changed a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opponent {
    /// Its name.
    pub manager: String,
    /// When it last changed any of its fields, in RFC 3339; empty if the server does not say.
    pub time: String,
}

/// The number of fields that a line for people names.
const NAMED: usize = 3;

impl DriftedObject {
    /// Returns the managers that have changed the object, each once, in the order of its fields.
    pub fn managers(&self) -> Vec<&str> {
        let opponents = self.fields.iter().filter_map(|field| field.by.as_ref());
        let managers = opponents.map(|by| by.manager.as_str());
        let mut seen = BTreeSet::new();
        managers.filter(|manager| seen.insert(*manager)).collect()
    }

    /// Returns when the object was last changed, in RFC 3339, or `None` if that is not known.
    pub fn time(&self) -> Option<&str> {
        let opponents = self.fields.iter().filter_map(|field| field.by.as_ref());
        let times = opponents.map(|by| by.time.as_str());
        times.filter(|time| !time.is_empty()).max()
    }

    /// Returns who changed what, as in `by kubectl-edit of /spec/replicas`. Empty for an object that is gone.
    pub fn by_and_fields(&self) -> impl fmt::Display {
        let managers = self.managers();
        let mut text = match managers[..] {
            [] => String::new(),
            _ => format!(" by {}", managers.join(" and ")),
        };
        let named: Vec<String> = self
            .fields
            .iter()
            .take(NAMED)
            .map(|field| field.pointer.to_string())
            .collect();
        if !named.is_empty() {
            text = format!("{text} of {}", named.join(", "));
        }
        if self.fields.len() > NAMED {
            text = format!("{text} and {} more", self.fields.len() - NAMED);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_who_and_what_in_one_line() {
        let field = |pointer: &str, manager: Option<&str>| DriftedField {
            pointer: pointer.parse().unwrap(),
            by: manager.map(|manager| Opponent {
                manager: manager.into(),
                time: String::new(),
            }),
        };
        let object = |fields| DriftedObject {
            id: ObjectId {
                group: String::new(),
                kind: "Service".into(),
                namespace: None,
                name: "a".into(),
            },
            is_gone: false,
            fields,
            is_left: false,
        };
        let text = |fields| object(fields).by_and_fields().to_string();
        assert_eq!(text(vec![]), "");
        assert_eq!(
            text(vec![
                field("/a", Some("eve")),
                field("/b", Some("bob")),
                field("/c", Some("eve")),
                field("/d", None)
            ]),
            " by eve and bob of /a, /b, /c and 1 more"
        );
    }
}
