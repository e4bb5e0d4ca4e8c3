//! The output of a renderer for a revision.

mod packed;

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, OnceLock},
};

use sha2::{Digest as _, Sha256};

pub use self::packed::Packed;
use crate::{
    canonical,
    digest::{Digest, Digester},
    hook::Hook,
    object::{Object, ObjectId, conceal},
    problem::{Position, Problem},
    readset::ReadSet,
    seed::Seed,
};

/// An object and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedObject {
    /// The object.
    pub object: Object,
    /// Its position in the source.
    pub source: Option<Position>,
    /// The properties that make it a hook; absent for an object that belongs in the cluster as long as the source has it.
    pub hook: Option<Hook>,
    /// Whether it stays when it leaves the source, until its deletion is explicitly allowed.
    pub keep: bool,
}

/// The error for two different objects with the same identity in one render.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{id} is rendered twice{}: one of them would overwrite the other, so remove or rename one", places(.first.as_ref(), .second.as_ref()))]
pub struct DuplicateObject {
    /// The identity.
    pub id: ObjectId,
    /// The position of the first one.
    pub first: Option<Position>,
    /// The position of the second one.
    pub second: Option<Position>,
}

impl DuplicateObject {
    fn told_of_the_same(&self) -> String {
        let places = places(self.first.as_ref(), self.second.as_ref());
        format!(
            "{} is rendered twice and the same{places}: it is taken once",
            self.id
        )
    }
}

fn places(first: Option<&Position>, second: Option<&Position>) -> String {
    match (first, second) {
        (Some(first), Some(second)) => format!(", at {first} and at {second}"),
        (Some(one), None) | (None, Some(one)) => format!(", once at {one}"),
        (None, None) => String::new(),
    }
}

/// Objects in canonical order, ready for planning.
#[derive(Debug, Clone)]
pub struct Rendered {
    objects: Arc<Vec<RenderedObject>>,
    hooks: Arc<Vec<RenderedObject>>,
    notes: Option<String>,
    warnings: Vec<Problem>,
    seed: Seed,
    /// Computed on first use: code that only shows the objects has no use for it.
    digest: OnceLock<Digest>,
}

impl Rendered {
    /// Sorts objects by identity. Identical duplicates are merged with a warning. If two objects with the same identity differ,
    /// one would overwrite the other, so they are rejected. The seed is used for the digest.
    ///
    /// Hooks may share an identity: the same object may be defined differently for different events.
    pub fn new(
        objects: Vec<RenderedObject>,
        notes: Option<String>,
        mut warnings: Vec<Problem>,
        seed: &Seed,
    ) -> Result<Self, Box<DuplicateObject>> {
        let (mut hooks, objects): (Vec<_>, Vec<_>) = objects
            .into_iter()
            .partition(|object| object.hook.is_some());
        hooks.sort_by_cached_key(hook_order);
        let mut sorted: BTreeMap<ObjectId, RenderedObject> = BTreeMap::new();
        for object in objects {
            let id = object.object.id().clone();
            match sorted.entry(id) {
                Entry::Vacant(place) => {
                    place.insert(object);
                }
                Entry::Occupied(first) => {
                    let (first, id) = (first.get(), first.key().clone());
                    let is_same = first.object == object.object && first.keep == object.keep;
                    let twice = DuplicateObject {
                        id,
                        first: first.source.clone(),
                        second: object.source,
                    };
                    if !is_same {
                        return Err(Box::new(twice));
                    }
                    warnings.push(Problem::new(twice.told_of_the_same()));
                }
            }
        }
        Ok(Self {
            objects: Arc::new(sorted.into_values().collect()),
            hooks: Arc::new(hooks),
            notes,
            warnings,
            seed: seed.clone(),
            digest: OnceLock::new(),
        })
    }

    /// Returns the objects that are not hooks, sorted by identity.
    pub fn objects(&self) -> &[RenderedObject] {
        &self.objects
    }

    /// Returns the hooks, sorted by identity.
    pub fn hooks(&self) -> &[RenderedObject] {
        &self.hooks
    }

    /// Returns the objects and the hooks, each sorted by identity. They are copied only if they are shared.
    pub fn into_parts(self) -> (Vec<RenderedObject>, Vec<RenderedObject>) {
        let (objects, hooks) = (self.objects, self.hooks);
        (Arc::unwrap_or_clone(objects), Arc::unwrap_or_clone(hooks))
    }

    /// Returns the renderer's notes for people.
    pub fn notes(&self) -> Option<&str> {
        self.notes.as_deref()
    }

    /// Returns the renderer's warnings.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Returns the rendered digest.
    ///
    /// It is the SHA-256 of each object's canonical JSON followed by a line feed, in order of identity, with the data of Secrets
    /// concealed by the seed; then of each hook in the same way, followed by the properties that make it one. The order in which
    /// a renderer returns objects never changes it.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| self.compute_digest())
    }

    fn compute_digest(&self) -> Digest {
        let mut digest = Sha256::new();
        // One buffer for all objects, which soon has room for each of them.
        let mut line = String::new();
        let mut add = |value: &serde_json::Value| {
            line.clear();
            canonical::write(value, &mut line);
            line.push('\n');
            digest.update(&line);
        };
        for rendered in self.objects() {
            add(&self.concealed(rendered));
        }
        for hook in self.hooks() {
            add(&self.concealed(hook));
            add(&described(hook));
        }
        Digest::from_bytes(digest.finalize().into())
    }

    fn concealed<'a>(&self, one: &'a RenderedObject) -> Cow<'a, serde_json::Value> {
        conceal(one.object.id().is_secret(), one.object.value(), &self.seed)
    }
}

/// Returns the properties that make an object a hook, as JSON.
fn described(hook: &RenderedObject) -> serde_json::Value {
    serde_json::to_value(&hook.hook).expect("a hook is plain data")
}

/// Returns the sort key of a hook: its identity and, for hooks that share one, their content.
fn hook_order(hook: &RenderedObject) -> (ObjectId, String, String) {
    (
        hook.object.id().clone(),
        canonical::to_string(&described(hook)),
        canonical::to_string(hook.object.value()),
    )
}

/// Returns the key of a render: equal keys mean equal objects.
///
/// `settings` is the canonical JSON of the renderer's settings. The context is covered by the read set, as far as it was read.
pub fn render_key(component: Digest, settings: &serde_json::Value, reads: &ReadSet) -> Digest {
    Digester::new("render-key/v1")
        .part(component.as_bytes())
        .part(canonical::to_string(settings))
        .part(reads.digest().as_bytes())
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::HookEvent;
    use proptest::prelude::*;
    use serde_json::json;

    fn object(name: &str, value: &str) -> RenderedObject {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": value}});
        RenderedObject {
            object: Object::new(object).unwrap(),
            source: None,
            hook: None,
            keep: false,
        }
    }

    fn digest(objects: Vec<RenderedObject>) -> Digest {
        Rendered::new(objects, None, Vec::new(), &Seed::from_text("s"))
            .unwrap()
            .digest()
    }

    #[test]
    fn known_answer_that_sha256sum_gives_too() {
        let text = concat!(
            r#"{"apiVersion":"v1","data":{"k":"1"},"kind":"ConfigMap","metadata":{"name":"a"}}"#,
            "\n",
            r#"{"apiVersion":"v1","data":{"k":"2"},"kind":"ConfigMap","metadata":{"name":"b"}}"#,
            "\n"
        );
        assert_eq!(
            digest(vec![object("b", "2"), object("a", "1")]),
            Digest::of(text)
        );
        assert_eq!(
            Digest::of(text).to_string(),
            "sha256:2f9a77176008b95c84f1b741d6c078dc759dd7e3d107685e813a6dcf44419959"
        );
    }

    #[test]
    fn the_same_object_twice_is_taken_once_with_a_warning() {
        let mut kept = object("a", "x");
        kept.keep = true;
        let rendered = |objects| Rendered::new(objects, None, Vec::new(), &Seed::from_text("s"));
        let found = rendered(vec![object("a", "x"), object("b", ""), object("a", "x")]).unwrap();
        assert_eq!(found.objects().len(), 2);
        let warnings: Vec<_> = found.warnings().iter().map(|one| &one.message).collect();
        assert_eq!(
            warnings,
            ["ConfigMap a is rendered twice and the same: it is taken once"]
        );
        assert!(rendered(vec![object("a", "x"), kept]).is_err());
    }

    #[test]
    fn one_identity_twice_is_refused_with_both_places() {
        let at = |line| {
            Some(Position {
                file: "a.yaml".into(),
                line,
                column: 1,
            })
        };
        let (mut one, mut two) = (object("a", "1"), object("a", "2"));
        (one.source, two.source) = (at(1), at(9));
        let error =
            Rendered::new(vec![one, two], None, Vec::new(), &Seed::from_text("s")).unwrap_err();
        insta::assert_snapshot!(error, @"ConfigMap a is rendered twice, at a.yaml:1:1 and at a.yaml:9:1: one of them would overwrite the other, so remove or rename one");
    }

    fn hook(name: &str, value: &str, event: HookEvent) -> RenderedObject {
        RenderedObject {
            hook: Some(Hook {
                events: [event].into(),
                ..Hook::default()
            }),
            ..object(name, value)
        }
    }

    #[test]
    fn hooks_are_apart_and_part_of_the_digest() {
        let both = [
            hook("a", "1", HookEvent::PreUpgrade),
            hook("a", "2", HookEvent::PreInstall),
        ];
        let with = |hooks: &[RenderedObject]| {
            let objects = [&[object("b", "1")], hooks].concat();
            Rendered::new(objects, None, Vec::new(), &Seed::from_text("s")).unwrap()
        };
        let rendered = with(&both);
        assert_eq!((rendered.objects().len(), rendered.hooks().len()), (1, 2));
        let turned = [both[1].clone(), both[0].clone()];
        assert_eq!(with(&turned).digest(), rendered.digest());
        assert_ne!(with(&both[..1]).digest(), rendered.digest());
        let later = [hook("a", "1", HookEvent::PostUpgrade), both[1].clone()];
        assert_ne!(with(&later).digest(), rendered.digest());
    }

    proptest! {
        #[test]
        fn order_never_changes_the_digest(names in prop::collection::btree_set("[a-z]{1,5}", 1..10), turn in 0usize..10) {
            let mut objects: Vec<_> = names.iter().map(|name| object(name, name)).collect();
            let before = digest(objects.clone());
            let turn = turn % objects.len();
            objects.rotate_left(turn);
            prop_assert_eq!(digest(objects), before);
        }

        #[test]
        fn any_changed_value_changes_the_digest(one in ".*", two in ".*") {
            prop_assert_eq!(digest(vec![object("a", &one)]) == digest(vec![object("a", &two)]), one == two);
        }
    }
}
