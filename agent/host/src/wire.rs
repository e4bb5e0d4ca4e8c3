//! Conversions between the contract's shared types and the core's.

use std::{collections::BTreeSet, time::Duration};

use pintle_core::{
    hook::HookEvent,
    object::ObjectId,
    plugin::Fault,
    problem::{Position, Problem},
};

use crate::bindings::wit::types;

/// The maximum number of problems kept from one answer. Nobody reads more, and a plugin must not fill a status.
pub(crate) const PROBLEMS: usize = 1_000;

/// The maximum number of characters kept of one text for people.
const TEXT: usize = 4_096;

pub(crate) fn object_id(id: &ObjectId, version: &str) -> types::ObjectId {
    types::ObjectId {
        api_version: id.api_version(version),
        kind: id.kind.clone(),
        namespace: id.namespace.clone(),
        name: id.name.clone(),
    }
}

pub(crate) fn from_object_id(id: types::ObjectId) -> ObjectId {
    let group = id
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    let namespace = id.namespace.filter(|namespace| !namespace.is_empty());
    ObjectId {
        group: text(group.to_owned()),
        kind: text(id.kind),
        namespace: namespace.map(text),
        name: text(id.name),
    }
}

const EVENTS: [(types::HookEvents, HookEvent); 9] = [
    (types::HookEvents::PRE_INSTALL, HookEvent::PreInstall),
    (types::HookEvents::POST_INSTALL, HookEvent::PostInstall),
    (types::HookEvents::PRE_UPGRADE, HookEvent::PreUpgrade),
    (types::HookEvents::POST_UPGRADE, HookEvent::PostUpgrade),
    (types::HookEvents::PRE_ROLLBACK, HookEvent::PreRollback),
    (types::HookEvents::POST_ROLLBACK, HookEvent::PostRollback),
    (types::HookEvents::PRE_DELETE, HookEvent::PreDelete),
    (types::HookEvents::POST_DELETE, HookEvent::PostDelete),
    (types::HookEvents::TEST, HookEvent::Test),
];

pub(crate) fn hook_events(events: &BTreeSet<HookEvent>) -> types::HookEvents {
    EVENTS
        .into_iter()
        .filter(|(_, event)| events.contains(event))
        .fold(types::HookEvents::empty(), |all, (flag, _)| all | flag)
}

pub(crate) fn from_hook_events(events: types::HookEvents) -> BTreeSet<HookEvent> {
    EVENTS
        .into_iter()
        .filter(|(flag, _)| events.contains(*flag))
        .map(|(_, event)| event)
        .collect()
}

pub(crate) fn position(position: Position) -> types::Position {
    types::Position {
        file: position.file,
        line: position.line,
        column: position.column,
    }
}

pub(crate) fn from_position(position: types::Position) -> Position {
    Position {
        file: text(position.file),
        line: position.line,
        column: position.column,
    }
}

pub(crate) fn from_problem(problem: types::Problem) -> Problem {
    Problem {
        message: text(problem.message),
        pointer: problem.pointer.map(text),
        position: problem.position.map(from_position),
        hint: problem.hint.map(text),
    }
}

pub(crate) fn from_problems(mut problems: Vec<types::Problem>) -> Vec<Problem> {
    problems.truncate(PROBLEMS);
    // `collect` may reuse the allocation of the problems, and so keep the room of all of them.
    problems.shrink_to_fit();
    problems.into_iter().map(from_problem).collect()
}

pub(crate) fn from_failure(failure: types::Failure) -> Fault {
    match failure {
        types::Failure::Refused(problems) if problems.is_empty() => {
            Fault::Contract("it refused its input without saying why".to_owned())
        }
        types::Failure::Refused(problems) => Fault::Refused(from_problems(problems)),
        types::Failure::Unavailable(outage) => Fault::Unavailable {
            reason: text(outage.reason),
            retry_after: outage.retry_after_ms.map(Duration::from_millis),
        },
    }
}

/// Limits the length of a text for people, which ends up in a status, an event or a log, and releases the memory of what is cut
/// off.
pub(crate) fn text(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT) {
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_needs_a_problem() {
        let fault = from_failure(types::Failure::Refused(Vec::new()));
        insta::assert_snapshot!(fault, @"it broke the contract: it refused its input without saying why");
    }

    #[test]
    fn texts_are_bounded_at_characters() {
        assert_eq!(text("é".repeat(TEXT)), "é".repeat(TEXT));
        assert_eq!(text("é".repeat(TEXT + 1)), "é".repeat(TEXT) + "…");
    }

    #[test]
    fn what_is_cut_off_takes_no_memory() {
        let kept = text("x".repeat(1 << 20));
        assert!(kept.capacity() < 2 * TEXT, "{}", kept.capacity());
        let problem = types::Problem {
            message: "x".to_owned(),
            pointer: None,
            position: None,
            hint: None,
        };
        let kept = from_problems(vec![problem; 10 * PROBLEMS]);
        assert_eq!(kept.len(), PROBLEMS);
        assert!(kept.capacity() < 2 * PROBLEMS, "{}", kept.capacity());
    }

    #[test]
    fn every_event_crosses_and_comes_back() {
        let all: BTreeSet<HookEvent> = EVENTS.into_iter().map(|(_, event)| event).collect();
        assert_eq!(hook_events(&all), types::HookEvents::all());
        assert_eq!(from_hook_events(types::HookEvents::all()), all);
        for event in all {
            assert_eq!(
                from_hook_events(hook_events(&[event].into())),
                [event].into()
            );
        }
    }

    #[test]
    fn an_identity_is_bounded_as_texts_are() {
        let long = "x".repeat(TEXT + 1);
        let id = from_object_id(types::ObjectId {
            api_version: format!("{long}/v1"),
            kind: long.clone(),
            namespace: Some(long.clone()),
            name: long.clone(),
        });
        let bounded = text(long);
        assert_eq!(id.group, bounded);
        assert_eq!(id.kind, bounded);
        assert_eq!(id.namespace.as_ref(), Some(&bounded));
        assert_eq!(id.name, bounded);
    }

    #[test]
    fn an_identity_has_no_version() {
        let id = |api_version: &str| {
            from_object_id(types::ObjectId {
                api_version: api_version.into(),
                kind: "Deployment".into(),
                namespace: Some("shop".into()),
                name: "web".into(),
            })
        };
        assert_eq!(id("apps/v1").to_string(), "Deployment.apps shop/web");
        assert_eq!(id("v1").group, "");
    }
}
