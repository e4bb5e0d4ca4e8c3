//! What was put right after others changed it.

use std::collections::BTreeSet;

use pintle_cluster::{Drift, Planned};
use pintle_core::{object::ObjectId, plan::Action};
use serde_json::{Value, json};

use crate::agent::report::object_document;

/// Returns the drift that a plan repairs. An object that git changed as well is simply updated.
pub(super) fn repaired(drift: Vec<Drift>, planned: &Planned) -> Vec<Drift> {
    let is_write = |action| matches!(action, Action::Create | Action::Update | Action::Replace);
    let changes = planned
        .plan
        .changes()
        .iter()
        .filter(|change| is_write(change.action));
    let written: BTreeSet<&ObjectId> = changes.map(|change| &change.id).collect();
    drift
        .into_iter()
        .filter(|one| written.contains(&one.id))
        .collect()
}

/// Tells repairs in one line and in detail; nothing if there was none.
pub(super) fn tell_repairs(repaired: &[Drift]) -> Option<(String, Value)> {
    let first = repaired.first()?;
    let what = match (first.is_gone, first.managers.first()) {
        (true, _) => "had been deleted and was made again".to_owned(),
        (false, Some(manager)) => format!("was put right after a change by {manager}"),
        (false, None) => "was put right after a change".to_owned(),
    };
    let more = match repaired.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let objects: Vec<Value> = repaired
        .iter()
        .map(|one| {
            let mut document = object_document(&one.id, None);
            document["managers"] = json!(one.managers);
            document["deleted"] = json!(one.is_gone);
            document
        })
        .collect();
    Some((
        format!("{} {what}{more}", first.id),
        json!({ "objects": objects }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_who_did_it() {
        let id = |name: &str| ObjectId {
            group: String::new(),
            kind: "Service".into(),
            namespace: None,
            name: name.into(),
        };
        let edit = Drift {
            id: id("a"),
            managers: vec!["kubectl-edit".into()],
            is_gone: false,
        };
        let gone = Drift {
            id: id("b"),
            managers: Vec::new(),
            is_gone: true,
        };
        let (text, details) = tell_repairs(&[edit, gone.clone()]).unwrap();
        assert_eq!(
            text,
            "Service a was put right after a change by kubectl-edit, and 1 more"
        );
        assert_eq!(details["objects"][1]["deleted"], true);
        assert_eq!(
            tell_repairs(&[gone]).unwrap().0,
            "Service b had been deleted and was made again"
        );
        assert!(tell_repairs(&[]).is_none());
    }
}
