//! The result of a renderer, checked at the boundary.

use pintle_core::{
    hook::{Hook, HookDeletion, HookOutcome},
    object::Object,
    plugin::{Fault, Limit},
    problem::{Position, Problem},
    readset::ReadSet,
    rendered::RenderedObject,
};
use serde_json::Value;

use super::{Rendering, Source, bindings::renderer, weight};
use crate::{state::MemoryLimiter, wire};

/// The maximum number of bytes of notes that are kept.
const NOTES: usize = 64 << 10;

/// The maximum length of a source in bytes. A path has half as many, and a reference fewer.
const SOURCE: usize = 8 << 10;

/// Converts the sources that have to be fetched. They are looked up as written, and stay in the read set.
pub(super) fn sources(sources: Vec<renderer::Source>) -> Result<Vec<Source>, Fault> {
    let taken = sources.into_iter().map(source).enumerate();
    let checked = taken.map(|(index, source)| {
        let size = source.to_string().len();
        if size > SOURCE {
            return Err(Fault::Contract(format!(
                "source {index} of its inputs has {size} bytes, and the limit is {SOURCE}"
            )));
        }
        Ok(source)
    });
    checked.collect()
}

fn source(source: renderer::Source) -> Source {
    match source {
        renderer::Source::Oci(remote) => Source::Oci {
            reference: remote.reference,
            digest: remote.digest,
        },
        renderer::Source::Chart(chart) => Source::Chart {
            repository: chart.repository,
            name: chart.name,
            version: chart.version,
            digest: chart.digest,
        },
        renderer::Source::Folder(path) => Source::Folder(path),
    }
}

/// Checks every object and reports all invalid ones at once, up to the limit for any answer.
///
/// A manifest that is not JSON is the renderer's fault. One that is JSON but not a Kubernetes object is nearly always the fault
/// of the file that it was rendered from, so it is a refusal with that position. The memory that a parsed manifest needs is taken
/// from `memory` first: `[0,0,…]` takes sixteen times its text and more.
pub(super) fn rendering(
    rendering: renderer::Rendering,
    reads: ReadSet,
    limit: u64,
    memory: &mut MemoryLimiter,
) -> Result<Rendering, Fault> {
    let size: usize = rendering
        .objects
        .iter()
        .map(|object| object.manifest.len())
        .sum();
    if size as u64 > limit {
        return Err(Fault::Limit(Limit::Output(limit)));
    }
    let mut objects = Vec::with_capacity(rendering.objects.len());
    let mut problems = Vec::new();
    for (index, object) in rendering.objects.into_iter().enumerate() {
        memory.take_for_result(weight::of(&object.manifest))?;
        match self::object(index, object)? {
            Ok(object) => objects.push(object),
            Err(problem) => problems.push(problem),
        }
        if problems.len() == wire::PROBLEMS {
            break;
        }
    }
    if !problems.is_empty() {
        return Err(Fault::Refused(problems));
    }
    let notes = rendering.notes.map(|mut notes| {
        notes.truncate(notes.floor_char_boundary(NOTES));
        notes.shrink_to_fit();
        notes
    });
    Ok(Rendering {
        objects,
        notes,
        warnings: wire::from_problems(rendering.warnings),
        reads,
    })
}

fn object(
    index: usize,
    object: renderer::RenderedObject,
) -> Result<Result<RenderedObject, Problem>, Fault> {
    let source = object.source.map(wire::from_position);
    let value: Value = serde_json::from_str(&object.manifest).map_err(|error| {
        let place = source
            .as_ref()
            .map_or(String::new(), |position| format!(", from {position},"));
        Fault::Contract(format!(
            "object {index} of its result{place} is not JSON: {error}"
        ))
    })?;
    let checked = Object::new(value)
        .map_err(|error| malformed(index, &object.manifest, error, source.clone()));
    Ok(checked.map(|checked| RenderedObject {
        object: checked,
        source,
        hook: object.hook.map(hook),
        keep: object.keep,
    }))
}

fn hook(hook: renderer::Hook) -> Hook {
    let outcomes = [
        (renderer::HookOutcomes::SUCCEEDED, HookOutcome::Succeeded),
        (renderer::HookOutcomes::FAILED, HookOutcome::Failed),
    ];
    let deletions = [
        (
            renderer::HookDeletion::BEFORE_CREATION,
            HookDeletion::BeforeCreation,
        ),
        (renderer::HookDeletion::SUCCEEDED, HookDeletion::Succeeded),
        (renderer::HookDeletion::FAILED, HookDeletion::Failed),
    ];
    Hook {
        events: wire::from_hook_events(hook.events),
        weight: hook.weight,
        deletion: deletions
            .into_iter()
            .filter(|(flag, _)| hook.deletion.contains(*flag))
            .map(|(_, deletion)| deletion)
            .collect(),
        logs: outcomes
            .into_iter()
            .filter(|(flag, _)| hook.logs.contains(*flag))
            .map(|(_, outcome)| outcome)
            .collect(),
    }
}

fn malformed(
    index: usize,
    manifest: &str,
    error: pintle_core::object::ObjectError,
    source: Option<Position>,
) -> Problem {
    let value: Value = serde_json::from_str(manifest).unwrap_or_default();
    // Any part of a name helps to find the object if there is no position.
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let name = match (text("/kind"), text("/metadata/name")) {
        (Some(kind), Some(name)) => format!("{kind} {name}"),
        (Some(kind), None) => format!("{kind} without a name"),
        (None, Some(name)) => format!("object {name}"),
        (None, None) => format!("object {index} of the render"),
    };
    let mut problem = Problem::new(format!(
        "{} is no Kubernetes object: {error}",
        wire::text(name)
    ));
    problem.position = source;
    problem
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{limits::Limits, state::Together};

    fn rendered(manifest: &str, line: Option<u32>) -> renderer::RenderedObject {
        renderer::RenderedObject {
            manifest: manifest.to_owned(),
            source: line.map(|line| crate::bindings::wit::types::Position {
                file: "app/web.yaml".into(),
                line,
                column: 1,
            }),
            hook: None,
            keep: false,
        }
    }

    fn within(
        objects: Vec<renderer::RenderedObject>,
        limit: u64,
        memory: u64,
    ) -> Result<Rendering, Fault> {
        let made = renderer::Rendering {
            objects,
            notes: None,
            warnings: Vec::new(),
        };
        let together = Arc::new(Together::new(memory));
        let mut memory = MemoryLimiter::new(&Limits::default(), together);
        rendering(made, ReadSet::default(), limit, &mut memory)
    }

    fn fault(objects: Vec<renderer::RenderedObject>, limit: u64) -> Fault {
        within(objects, limit, 1 << 30).unwrap_err()
    }

    #[test]
    fn what_takes_too_much_memory_is_not_read() {
        let bomb = |items: usize| {
            let zeros = vec!["0"; items].join(",");
            let manifest = format!(
                r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"a"}},"a":[{zeros}]}}"#
            );
            vec![rendered(&manifest, None)]
        };
        assert!(within(bomb(1_000), 1 << 20, 1 << 20).is_ok());
        let error = within(bomb(100_000), 1 << 20, 1 << 20).unwrap_err();
        insta::assert_snapshot!(error, @"it broke the contract: its result takes more than 1048576 bytes of memory to read, which is what all plugins together have");
        // All manifests of a result are counted together.
        let many = (0..20).flat_map(|_| bomb(1_000)).collect();
        assert!(within(many, 1 << 20, 1 << 20).is_err());
    }

    #[test]
    fn every_object_that_is_none_is_told_with_its_place() {
        let objects = vec![
            rendered(r#"{"apiVersion":"v1","metadata":{"name":"web"}}"#, Some(7)),
            rendered(r#"{"apiVersion":"v1","kind":"ConfigMap"}"#, Some(12)),
            rendered("[]", None),
            rendered(
                r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"good"}}"#,
                None,
            ),
        ];
        insta::assert_snapshot!(fault(objects, 1 << 20), @r"
        app/web.yaml:7:1: object web is no Kubernetes object: /kind is missing: every object needs it
        app/web.yaml:12:1: ConfigMap without a name is no Kubernetes object: /metadata/name is missing: every object needs it
        object 2 of the render is no Kubernetes object: expected an object, found a list
        ");
    }

    #[test]
    fn no_more_problems_are_told_than_anybody_reads() {
        let objects = (0..2 * wire::PROBLEMS).map(|_| rendered("[]", None));
        let Fault::Refused(problems) = fault(objects.collect(), 1 << 20) else {
            panic!("expected a refusal");
        };
        assert_eq!(problems.len(), wire::PROBLEMS);
    }

    #[test]
    fn a_source_that_is_too_long_breaks_the_contract() {
        let folder = |size: usize| renderer::Source::Folder("a".repeat(size));
        let taken = sources(vec![folder(1), folder(4 << 10)]).unwrap();
        assert_eq!(taken[0], Source::Folder("a".to_owned()));
        let fault = sources(vec![folder(1), folder(SOURCE)]).unwrap_err();
        insta::assert_snapshot!(fault, @"it broke the contract: source 1 of its inputs has 8199 bytes, and the limit is 8192");
    }

    #[test]
    fn what_is_no_json_is_the_renderers_fault() {
        insta::assert_snapshot!(fault(vec![rendered("{oops", Some(3))], 1 << 20), @"it broke the contract: object 0 of its result, from app/web.yaml:3:1, is not JSON: key must be a string at line 1 column 2");
    }

    #[test]
    fn manifests_are_bounded_together() {
        let objects = vec![
            rendered(&"x".repeat(600), None),
            rendered(&"x".repeat(600), None),
        ];
        insta::assert_snapshot!(fault(objects, 1_000), @"its result is larger than 1000 bytes; raise `limits` of the Plugin if this is expected");
    }
}
