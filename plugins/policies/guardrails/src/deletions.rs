//! Rules about what is deleted.

use pintle_sdk::{Action, Change, ObjectId, Problem};

use crate::{
    rules::Rule,
    settings::{Deletions, matches_kind},
    violation::Violation,
};

/// Finds the deletion or replacement of a kind that must not be deleted.
pub(crate) fn of_kind(settings: &Deletions, change: &Change) -> Option<Violation> {
    // What the hook did is done, and it cannot be run again in place.
    if is_hook(change) && is_run(&change.id) {
        return None;
    }
    let (what, hint) = match change.action {
        Action::Delete => (
            "is deleted",
            "keep it in the sources, or except it if its loss is meant",
        ),
        Action::Replace if is_hook(change) => (
            "is deleted before it is made again as a hook",
            "let it be no hook, so that it stays from one release to the next, or except it",
        ),
        Action::Replace => (
            "is deleted and made again",
            "undo the change of the field that cannot be changed in place, or except it",
        ),
        Action::Create | Action::Update | Action::Unchanged => return None,
    };
    matches_kind(&settings.kinds, &change.id).then(|| {
        let message = format!("a {} {what}, with all that it holds", change.id.kind);
        Violation::new(Rule::DeletionOfKind, "", message, hint)
    })
}

fn is_hook(change: &Change) -> bool {
    !change.hook.is_empty()
}

fn is_run(id: &ObjectId) -> bool {
    matches!(
        (id.group(), id.kind.as_str()),
        ("batch", "Job") | ("", "Pod")
    )
}

/// Finds that the plan deletes too much. What the last run of a hook left behind goes with every release, and is not part of
/// what the application keeps.
pub(crate) fn too_many(settings: &Deletions, changes: &[Change]) -> Option<Problem> {
    let count = |action: Action| {
        changes
            .iter()
            .filter(|change| change.action == action && !is_hook(change))
            .count()
    };
    let (deleted, replaced) = (count(Action::Delete), count(Action::Replace));
    let limit = usize::try_from(settings.limit).unwrap_or(usize::MAX);
    (deleted + replaced > limit).then(|| {
        let replaced = if replaced == 0 {
            String::new()
        } else {
            format!(" and replaces {replaced}")
        };
        Problem::new(format!(
            "the plan deletes {deleted} objects{replaced}, more than the limit of {limit}"
        ))
        .hint("if that is meant, raise `deletions.limit` for this change, or make it in several")
    })
}
