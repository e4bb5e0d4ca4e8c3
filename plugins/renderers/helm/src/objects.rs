//! Converts the output of a chart to objects for the host.

use std::collections::{BTreeMap, BTreeSet};

use pintle_gotemplate::{Map, Value};
use pintle_helm_chart::{
    Pattern, Warnings,
    manifest::{Hook, Manifest},
    values::from_json,
};
use pintle_sdk::{
    Failure, HookDeletion, HookEvent, HookOutcome, Manifest as Object, Position, Problem,
    RenderedObject, Rendering,
};

use crate::{
    problem::{self, file},
    release::{Lines, Output},
    settings::Settings,
};

/// The maximum nesting depth of lists of objects.
const MAX_LISTS: usize = 8;

/// Returns the part of the output that the settings ask for.
pub(crate) fn rendering(
    settings: &Settings,
    output: Output,
    mut warnings: Warnings,
) -> Result<Rendering, Failure> {
    let hooks = if settings.no_hooks {
        Vec::new()
    } else {
        output.hooks
    };
    let hooks = hooks
        .into_iter()
        .filter(|hook| !(settings.skip_tests && hook.is_test()));
    let definitions = output.crds.len();
    let plain = output.crds.into_iter().chain(output.manifests);
    let found: Vec<(Manifest, Option<pintle_sdk::Hook>)> = plain
        .map(|manifest| (manifest, None))
        .chain(hooks.map(|hook| {
            let marked = marked(&hook);
            (hook.manifest, Some(marked))
        }))
        .collect();
    let shown = Shown::new(&settings.show_only, &found)?;
    let definitions = found.iter().map(|(manifest, _)| manifest).take(definitions);
    let definitions = definitions.enumerate();
    let left_out = left_out(
        definitions.filter(|(_, manifest)| shown.has(manifest)),
        &mut warnings,
    );
    let mut collected = Collected::default();
    for (index, (manifest, hook)) in found.into_iter().enumerate() {
        if shown.has(&manifest) && !left_out.contains(&index) {
            collected.add(manifest, hook.as_ref(), &output.lines);
        }
    }
    if !collected.problems.is_empty() {
        return Err(collected.problems.into());
    }
    Ok(Rendering {
        objects: collected.objects,
        notes: output.notes.filter(|notes| !notes.trim().is_empty()),
        warnings: problem::of_warnings(warnings),
    })
}

/// Finds the definitions in `crds/` that differ from the first one of the same name. When Helm installs a chart, it creates the
/// first and skips the others because the object already exists. Of identical definitions, the host keeps one.
fn left_out<'a>(
    definitions: impl Iterator<Item = (usize, &'a Manifest)>,
    warnings: &mut Warnings,
) -> BTreeSet<usize> {
    let mut firsts = BTreeMap::new();
    let mut left_out = BTreeSet::new();
    for (index, manifest) in definitions {
        let Value::Map(head) = &manifest.head else {
            continue;
        };
        let Some(identity) = identity(head) else {
            continue;
        };
        let first: &Manifest = firsts.entry(identity).or_insert(manifest);
        if first.json != manifest.json {
            left_out.insert(index);
            warnings.add(format_args!(
                "{} in {} is left out: {} comes first and defines it differently, and Helm creates only the first",
                described(head),
                file(&manifest.path),
                file(&first.path)
            ));
        }
    }
    left_out
}

/// Returns the group, kind, namespace and name; None if this is not an object.
fn identity(head: &Map) -> Option<[String; 4]> {
    let api_version = text_at(head, &["apiVersion"])?;
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let namespace = text_at(head, &["metadata", "namespace"]);
    Some([
        group.to_owned(),
        text_at(head, &["kind"])?,
        namespace.unwrap_or_default(),
        text_at(head, &["metadata", "name"])?,
    ])
}

/// The templates to show.
struct Shown(Vec<Pattern>);

impl Shown {
    fn new(
        patterns: &[String],
        found: &[(Manifest, Option<pintle_sdk::Hook>)],
    ) -> Result<Self, Problem> {
        let parsed = patterns.iter().enumerate().map(|(index, text)| {
            let problem = |message: String| {
                Problem::new(message)
                    .pointer(format!("/showOnly/{index}"))
                    .hint("name a template that gives something: `templates/deployment.yaml`, `charts/*/templates/*.yaml`")
            };
            let pattern = Pattern::parse(text).map_err(|error| problem(error.to_string()))?;
            if found.iter().any(|(one, _)| pattern.matches(file(&one.path))) {
                Ok(pattern)
            } else {
                Err(problem(format!("could not find template {text} in chart")))
            }
        });
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }

    fn has(&self, manifest: &Manifest) -> bool {
        let path = file(&manifest.path);
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(path))
    }
}

/// The objects, and the problems with others.
#[derive(Default)]
struct Collected {
    objects: Vec<RenderedObject>,
    problems: Vec<Problem>,
}

impl Collected {
    fn add(&mut self, manifest: Manifest, hook: Option<&pintle_sdk::Hook>, lines: &Lines) {
        let Value::Map(head) = &manifest.head else {
            return;
        };
        let line = lines.of(&manifest);
        let (head, place) = (head.clone(), problem::position(&manifest.path, line, 1));
        if is_list(&head) {
            let object = serde_json::from_str(&manifest.json).unwrap_or_default();
            return self.open(object, &place, hook, MAX_LISTS);
        }
        self.push(
            &head,
            Object::from_text_unverified(manifest.json),
            &place,
            hook,
        );
    }

    /// Takes lists apart, because the host accepts only single objects.
    fn open(
        &mut self,
        mut object: serde_json::Value,
        place: &Position,
        hook: Option<&pintle_sdk::Hook>,
        depth: usize,
    ) {
        let head = match from_json(&object) {
            Value::Map(head) => head,
            _ => Map::new(),
        };
        if is_list(&head)
            && let Some(serde_json::Value::Array(items)) = object.get_mut("items")
        {
            let Some(depth) = depth.checked_sub(1) else {
                return self.problem(place, "lists of objects are nested too deeply");
            };
            for item in std::mem::take(items) {
                self.open(item, place, hook, depth);
            }
            return;
        }
        self.push(&head, Object::from(object), place, hook);
    }

    /// Adds an object that `head` describes.
    fn push(
        &mut self,
        head: &Map,
        object: Object,
        place: &Position,
        hook: Option<&pintle_sdk::Hook>,
    ) {
        let has = |path: &[&str]| text_at(head, path).is_some_and(|text| !text.is_empty());
        let fields: [&[&str]; 3] = [&["apiVersion"], &["kind"], &["metadata", "name"]];
        if let Some(missing) = fields.into_iter().find(|field| !has(field)) {
            let field = missing.join(".");
            let object = described(head);
            return self.problem(
                place,
                &format!("{object} has no {field}, or none that is a string"),
            );
        }
        let keep = text_at(
            head,
            &["metadata", "annotations", "helm.sh/resource-policy"],
        )
        .is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"));
        let mut rendered = RenderedObject::new(object).source(place.clone());
        rendered.hook = hook.cloned();
        rendered.keep = keep;
        self.objects.push(rendered);
    }

    fn problem(&mut self, place: &Position, message: &str) {
        let problem = Problem::new(message).position(place.clone());
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// Returns whether the object is a list of other objects.
fn is_list(head: &Map) -> bool {
    text_at(head, &["kind"]).is_some_and(|kind| kind.ends_with("List"))
}

/// Returns the string at a path of fields.
fn text_at(head: &Map, path: &[&str]) -> Option<String> {
    let (last, above) = path.split_last()?;
    let mut table = head.clone();
    for field in above {
        table = match table.get(field.as_bytes()) {
            Some(Value::Map(inner)) => inner,
            _ => return None,
        };
    }
    match table.get(last.as_bytes()) {
        Some(Value::String(text)) => Some(text.to_str_lossy().into_owned()),
        _ => None,
    }
}

/// Describes an object as `the ConfigMap "a"`, as far as its kind and name are known.
fn described(head: &Map) -> String {
    let kind = text_at(head, &["kind"]).unwrap_or_else(|| "object".to_owned());
    match text_at(head, &["metadata", "name"]) {
        Some(name) => format!("the {kind} {name:?}"),
        None => format!("the {kind}"),
    }
}

/// Converts the annotations of a hook to the host's terms.
fn marked(hook: &Hook) -> pintle_sdk::Hook {
    let events = hook.events.iter();
    let events = events.filter_map(|event| HookEvent::named(event.name()));
    let weight = hook.weight.clamp(i32::MIN.into(), i32::MAX.into());
    let deletion = hook
        .delete_policies
        .iter()
        .filter_map(|policy| match policy.as_str() {
            "before-hook-creation" => Some(HookDeletion::BeforeCreation),
            "hook-succeeded" => Some(HookDeletion::Succeeded),
            "hook-failed" => Some(HookDeletion::Failed),
            _ => None,
        });
    let logs = hook
        .output_log_policies
        .iter()
        .filter_map(|policy| match policy.as_str() {
            "hook-succeeded" => Some(HookOutcome::Succeeded),
            "hook-failed" => Some(HookOutcome::Failed),
            _ => None,
        });
    pintle_sdk::Hook::new(events)
        .weight(i32::try_from(weight).unwrap_or_default())
        .deletion(deletion)
        .logs(logs)
}
