//! The renderer `manifests`: a folder of YAML and JSON files, read as they are.
//!
//! The README of this folder describes what a user sees, settings and rules included. The parts: [`settings`] is what an
//! application may set, `select` finds the files, `objects` opens documents and lists and checks their contents, `substitute`
//! puts in values where they are asked for, and `report` collects every problem of every file, so that one run reports them
//! all.

mod hooks;
mod objects;
mod report;
mod select;
pub mod settings;
mod substitute;

use std::collections::{BTreeMap, btree_map::Entry};

use pintle_sdk::{
    Context, Failure, Hook, HookEvent, ObjectId, Plugin, Position, Problem, RenderedObject,
    Renderer, Rendering, Tree,
};
use pintle_yaml::{Limits, read_json, read_yaml};

use crate::{objects::Object, report::Report, settings::Settings, substitute::Substitution};

/// The renderer `manifests`.
#[derive(Debug)]
pub struct Manifests;

impl Plugin for Manifests {
    const NAME: &'static str = "manifests";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "a folder of YAML and JSON manifests, as they are";
    type Settings = Settings;

    fn validate(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}

impl Renderer for Manifests {
    fn detect(folder: &dyn Tree) -> bool {
        select::detect(folder)
    }

    fn render(
        settings: &Settings,
        folder: &dyn Tree,
        _inputs: &[&dyn Tree],
        _context: &dyn Context,
    ) -> Result<Rendering, Failure> {
        let mut report = Report::default();
        let selected = select::select(settings, folder)?;
        let mut substitution = Substitution::new(&settings.substitute);
        let mut found = Vec::new();
        for file in &selected.files {
            read(file, folder, &mut substitution, &mut found, &mut report);
        }
        tell_duplicates(&found, &mut report);
        if found.is_empty() && report.is_clean() {
            return Err(nothing_in(&selected.files).into());
        }
        report.warnings(selected.ignored.iter().map(|file| select::ignored(file)));
        let nested = selected.nested.iter();
        report.warnings(nested.filter_map(|file| select::misnamed(file, folder)));
        report.warnings(selected.idle);
        report.warnings(substitution.idle(&selected.files));
        report.warnings(substitution.unused());
        let warnings = report.finish()?;
        let objects = found.into_iter().map(rendered).collect();
        Ok(Rendering {
            objects,
            notes: None,
            warnings,
        })
    }
}

pintle_sdk::export_renderer!(Manifests);

/// Reads one file. Its objects are added to `found`, its problems to `report`.
fn read(
    file: &str,
    folder: &dyn Tree,
    substitution: &mut Substitution<'_>,
    found: &mut Vec<Object>,
    report: &mut Report,
) {
    let bytes = match folder.read(file) {
        Ok(bytes) => bytes,
        Err(error) => return report.problem(error.at(file).position(Position::new(file, 1, 1))),
    };
    let limits = Limits::default();
    let stream = match file.rsplit('.').next() {
        Some("json") => read_json(&bytes, &limits),
        _ => read_yaml(&bytes, &limits),
    };
    report.stream(file, &stream);
    for document in stream
        .documents
        .into_iter()
        .filter(|document| !document.is_null())
    {
        for mut object in objects::open(file, document, report) {
            substitution.apply(&mut object, report);
            if objects::check(&object, report) && hooks::check(&object, report) {
                found.push(object);
            }
        }
    }
}

/// What is known about an identity.
struct Known {
    first: Position,
    /// For hooks, the events at which they are run, each with the first place that says so.
    events: Option<BTreeMap<HookEvent, Position>>,
}

/// Reports objects that share an identity. Whichever were applied last would win, so neither is applied. Hooks may share one
/// among themselves: a chart uses one name for what it runs at different events. Even at the same event Helm runs all of them,
/// but more often a file was copied, so that is a warning.
fn tell_duplicates(found: &[Object], report: &mut Report) {
    let mut known: BTreeMap<_, Known> = BTreeMap::new();
    for object in found {
        let Some(id) = object.id() else { continue };
        let position = object.position(object.node.mark);
        let hook = hooks::of(object).ok().flatten();
        // The version is not part of the identity: one object may be written in two versions.
        let identity = (
            id.group().to_owned(),
            id.kind.clone(),
            id.namespace.clone(),
            id.name.clone(),
        );
        let known = match known.entry(identity) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Known {
                    events: hook.map(|hook| events(&hook, &position)),
                    first: position,
                });
                continue;
            }
        };
        if let (Some(others), Some(hook)) = (&mut known.events, &hook) {
            report.warnings(hook_twice(&id, others, hook, &position));
            for (event, position) in events(hook, &position) {
                others.entry(event).or_insert(position);
            }
        } else {
            let message = format!("{} is also defined at {}", name(&id), known.first);
            report.problem(
                Problem::new(message)
                    .position(position)
                    .hint("keep one of the two"),
            );
        }
    }
}

fn events(hook: &Hook, position: &Position) -> BTreeMap<HookEvent, Position> {
    let events = hook.events.iter();
    events.map(|event| (*event, position.clone())).collect()
}

/// Warns of a hook that is run at the same event as another hook with its identity.
fn hook_twice(
    id: &ObjectId,
    others: &BTreeMap<HookEvent, Position>,
    hook: &Hook,
    position: &Position,
) -> Option<Problem> {
    let mut events = hook.events.iter();
    let (event, first) = events.find_map(|event| others.get_key_value(event))?;
    let message = format!(
        "{} is also defined at {first}, and both are hooks of `{event}`",
        name(id)
    );
    let problem = Problem::new(message).position(position.clone());
    Some(problem.hint("keep one of the two, unless both are meant"))
}

/// Formats an identity: `Deployment shop/web`.
fn name(id: &ObjectId) -> String {
    match &id.namespace {
        Some(namespace) => format!("{} {namespace}/{}", id.kind, id.name),
        None => format!("{} {}", id.kind, id.name),
    }
}

fn nothing_in(files: &[String]) -> Problem {
    let message = match files {
        [one] => format!("there is no object in `{one}`, the only file that is read"),
        _ => format!(
            "there is no object in any of the {} files that are read",
            files.len()
        ),
    };
    Problem::new(message)
        .hint("an application without objects would remove everything it has; delete the application if that is meant")
}

fn rendered(object: Object) -> RenderedObject {
    RenderedObject {
        source: Some(object.position(object.node.mark)),
        hook: hooks::of(&object).ok().flatten(),
        keep: hooks::stays(&object),
        manifest: object.node.into_json().into(),
    }
}
