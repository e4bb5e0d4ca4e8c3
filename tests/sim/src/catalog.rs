//! The objects that schedules use, each in a few versions, with their digests. They are created once and used by millions of
//! schedules.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use anyhow::{Context as _, Result};
use pintle_core::digest::Digest;
use pintle_core::names::ApplicationName;
use pintle_core::object::{Object, ObjectId};
use pintle_core::plan::{Action, Change};
use pintle_core::seed::Seed;
use serde_json::{Value, json};

/// The number of applications in one schedule.
pub(crate) const APPLICATIONS: usize = 3;
/// The number of objects that one application may have.
pub(crate) const OBJECTS: usize = 5;
/// The number of contents that one object may have. Later ones repeat.
pub(crate) const VERSIONS: usize = 4;

/// One object of one application.
pub(crate) type Slot = usize;

/// The state of an object's owned fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Content {
    /// As in one version in git.
    Version(u8),
    /// As edited by hand.
    Edited,
}

pub(crate) struct Catalog {
    pub(crate) names: Vec<ApplicationName>,
    pub(crate) seed: Seed,
    ids: Vec<ObjectId>,
    slots: HashMap<ObjectId, Slot>,
    objects: Vec<Vec<Object>>,
    desired: Vec<Vec<Digest>>,
    edited: Digest,
}

/// The kinds of the objects. Each is in a wave of its own, except for two that share one.
const KINDS: [(&str, &str); OBJECTS] = [
    ("v1", "Namespace"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
    ),
];

impl Catalog {
    pub(crate) fn new() -> Result<Self> {
        let seed = Seed::from_text("simulation");
        let mut catalog = Self {
            names: Vec::new(),
            ids: Vec::new(),
            slots: HashMap::new(),
            objects: Vec::new(),
            desired: Vec::new(),
            edited: Digest::of("edited by hand"),
            seed,
        };
        for application in 0..APPLICATIONS {
            let name = format!("app-{application}");
            catalog.names.push(ApplicationName::new("fleet", &name));
            for (api_version, kind) in KINDS {
                let versions = (0..VERSIONS)
                    .map(|version| object(api_version, kind, &name, version))
                    .collect::<Result<Vec<_>>>()?;
                let id = versions.first().context("an object has versions")?.id();
                catalog.slots.insert(id.clone(), catalog.ids.len());
                catalog.ids.push(id.clone());
                let digests = versions.iter().map(|one| one.digest(&catalog.seed));
                catalog.desired.push(digests.collect());
                catalog.objects.push(versions);
            }
        }
        Ok(catalog)
    }

    pub(crate) fn slots(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn application_of(slot: Slot) -> usize {
        slot / OBJECTS
    }

    pub(crate) fn slots_of(application: usize) -> Range<Slot> {
        application * OBJECTS..(application + 1) * OBJECTS
    }

    /// Returns whether deleting an object of this kind takes data or other objects with it.
    pub(crate) fn is_protected(slot: Slot) -> bool {
        slot.is_multiple_of(OBJECTS)
    }

    pub(crate) fn id(&self, slot: Slot) -> &ObjectId {
        &self.ids[slot]
    }

    pub(crate) fn slot(&self, id: &ObjectId) -> Slot {
        self.slots[id]
    }

    pub(crate) fn desired(&self, slot: Slot, version: u8) -> Digest {
        self.desired[slot][usize::from(version)]
    }

    /// Returns the digest over the owned fields as the server stored them. The server sets no defaults here, so it stores exactly
    /// what was desired.
    pub(crate) fn stored(&self, slot: Slot, content: Content) -> Digest {
        match content {
            Content::Version(version) => self.desired(slot, version),
            Content::Edited => self.edited,
        }
    }

    pub(crate) fn change(&self, slot: Slot, action: Action, version: Option<u8>) -> Change {
        let id = self.ids[slot].clone();
        let desired = version.map(|version| &self.objects[slot][usize::from(version)]);
        Change {
            version: self.objects[slot][0].version().to_owned(),
            id,
            action,
            // What is written is looked up by slot and version. A copy for each plan would cost more than everything else.
            desired: None,
            live: None,
            before: Value::Null,
            after: desired.map_or(Value::Null, |_| Value::from(version)),
            source: None,
            hook: BTreeSet::new(),
            for_removal: None,
            conflicts: Vec::new(),
        }
    }
}

fn object(api_version: &str, kind: &str, name: &str, version: usize) -> Result<Object> {
    let namespaced = !matches!(kind, "Namespace" | "ValidatingWebhookConfiguration");
    let mut value = json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": format!("{name}-{}", kind.to_lowercase())},
        "data": {"version": version.to_string()},
    });
    if namespaced {
        value["metadata"]["namespace"] = "fleet".into();
    }
    Object::new(value).with_context(|| format!("make {kind} {name}"))
}
