//! A compact text form of a render for storage in memory.

use std::{fmt, sync::Arc};

use super::{Rendered, RenderedObject};
use crate::{
    digest::Digest,
    hook::Hook,
    object::Object,
    problem::{Position, Problem},
    seed::Seed,
};

/// A render in a tenth of the memory. Parsed JSON has a node for each value, and a separate string for each key.
#[derive(Clone)]
pub struct Packed {
    objects: Box<[PackedObject]>,
    hooks: Box<[PackedObject]>,
    notes: Option<String>,
    warnings: Vec<Problem>,
    seed: Seed,
    digest: Digest,
}

#[derive(Clone)]
struct PackedObject {
    /// JSON.
    text: Box<str>,
    source: Option<Position>,
    hook: Option<Box<Hook>>,
    keep: bool,
}

/// Shows none of the objects, since Secrets may be among them.
impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packed")
            .field("objects", &self.objects.len())
            .field("hooks", &self.hooks.len())
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Rendered {
    /// Returns the render in its compact form.
    pub fn pack(&self) -> Packed {
        let pack = |objects: &[RenderedObject]| objects.iter().map(PackedObject::of).collect();
        Packed {
            objects: pack(&self.objects),
            hooks: pack(&self.hooks),
            notes: self.notes.clone(),
            warnings: self.warnings.clone(),
            seed: self.seed.clone(),
            digest: self.digest(),
        }
    }
}

impl Packed {
    /// Returns the rendered digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the render that was packed, or `None` if it is nested too deeply to be parsed and has to be rendered again.
    pub fn unpack(&self) -> Option<Rendered> {
        let unpack = |objects: &[PackedObject]| {
            let objects = objects.iter().map(PackedObject::unpack);
            objects.collect::<Option<Vec<_>>>().map(Arc::new)
        };
        Some(Rendered {
            objects: unpack(&self.objects)?,
            hooks: unpack(&self.hooks)?,
            notes: self.notes.clone(),
            warnings: self.warnings.clone(),
            seed: self.seed.clone(),
            digest: self.digest.into(),
        })
    }
}

impl PackedObject {
    fn of(rendered: &RenderedObject) -> Self {
        Self {
            text: rendered.object.value().to_string().into(),
            source: rendered.source.clone(),
            hook: rendered.hook.clone().map(Box::new),
            keep: rendered.keep,
        }
    }

    fn unpack(&self) -> Option<RenderedObject> {
        let value = serde_json::from_str(&self.text).ok()?;
        Some(RenderedObject {
            object: Object::new(value).ok()?,
            source: self.source.clone(),
            hook: self.hook.as_deref().cloned(),
            keep: self.keep,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::hook::HookEvent;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    fn object(name: &str, data: Value) -> RenderedObject {
        let object =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
        RenderedObject {
            object: Object::new(object).unwrap(),
            source: Some(Position {
                file: "a.yaml".into(),
                line: 3,
                column: 1,
            }),
            hook: None,
            keep: true,
        }
    }

    proptest! {
        #[test]
        fn what_is_unpacked_is_what_was_packed(one in value(), two in value(), notes in prop::option::of(".*")) {
            let hook = RenderedObject {
                hook: Some(Hook { events: [HookEvent::PreUpgrade].into(), ..Hook::default() }),
                ..object("hook", two)
            };
            let seed = Seed::from_text("s");
            let rendered = Rendered::new(vec![object("a", one), hook], notes, Vec::new(), &seed).unwrap();
            let unpacked = rendered.pack().unpack().unwrap();
            prop_assert_eq!(unpacked.objects(), rendered.objects());
            prop_assert_eq!(unpacked.hooks(), rendered.hooks());
            prop_assert_eq!(unpacked.notes(), rendered.notes());
            prop_assert_eq!(unpacked.digest(), rendered.digest());
        }
    }

    #[test]
    fn what_it_shows_of_itself_holds_no_secret() {
        let secret = object("a", json!({"password": "hunter2"}));
        let rendered = Rendered::new(vec![secret], None, Vec::new(), &Seed::from_text("s"));
        let shown = format!("{:?}", rendered.unwrap().pack());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
