//! The memory that a managed object costs: the core's own types, filled as an agent fills them, measured by the size of this
//! process.

use std::fs;

use anyhow::{Context as _, Result};
use pintle_core::digest::Digest;
use pintle_core::inventory::{Entry, Inventory, StoredInventory};
use pintle_core::object::Object;
use pintle_core::rendered::{Packed, Rendered, RenderedObject};
use pintle_core::seed::Seed;
use serde_json::{Value, json};

/// The number of objects of one application.
const OBJECTS: usize = 4;

/// One thing that is kept for each object.
#[derive(Clone, Debug)]
pub struct Held {
    /// What is kept.
    pub what: &'static str,
    /// Who keeps it, and why.
    pub why: &'static str,
    /// Resident bytes per object, including the allocator's overhead.
    pub bytes: u64,
}

/// Measures what an agent keeps for `objects` objects, in applications of four.
pub fn measure(objects: usize) -> Result<Vec<Held>> {
    let applications = objects / OBJECTS;
    let seed = Seed::from_text("memory");
    let mut held = Vec::new();
    // Nothing is freed before the end: freed memory would be reused, and what reuses it would not be seen.
    let inventories = keep(
        &mut held,
        objects,
        "inventory",
        "the application's, to compare with what is",
        || {
            (0..applications)
                .map(|one| inventory(one, &seed))
                .collect::<Result<Vec<_>>>()
        },
    )?;
    let stored = keep(
        &mut held,
        objects,
        "stored inventory",
        "the Application resource as the watch told it last, with its status",
        || {
            Ok(inventories
                .iter()
                .map(Inventory::store)
                .collect::<Vec<StoredInventory>>())
        },
    )?;
    let rendered = keep(
        &mut held,
        objects,
        "rendered object",
        "the last render, so that a commit which changes nothing that was read costs no render",
        || {
            (0..applications)
                .map(|one| rendered(one, &seed))
                .collect::<Result<Vec<_>>>()
        },
    )?;
    anyhow::ensure!(
        inventories.len() == stored.len() && stored.len() == rendered.len(),
        "all of it was there at the same time"
    );
    Ok(held)
}

fn keep<T>(
    held: &mut Vec<Held>,
    objects: usize,
    what: &'static str,
    why: &'static str,
    make: impl FnOnce() -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    let before = resident()?;
    let all = make()?;
    let grown = resident()?.saturating_sub(before);
    let objects = u64::try_from(objects).context("count objects")?;
    held.push(Held {
        what,
        why,
        bytes: grown / objects.max(1),
    });
    Ok(all)
}

/// Returns the number of resident bytes of this process.
fn resident() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    Ok(kib.context("/proc/self/status says no VmRSS")? * 1024)
}

/// Returns the objects of one of the benchmark's applications.
fn objects(application: usize) -> Result<Vec<Object>> {
    let name = format!("app-{application}");
    let labels = json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "fleet"});
    let metadata = json!({"name": name, "namespace": "fleet", "labels": labels});
    let all: [Value; OBJECTS] = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "selector": {"app.kubernetes.io/name": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        }}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": {"metadata": {"labels": labels}, "spec": {
                "serviceAccountName": name,
                "containers": [{
                    "name": "main", "image": "registry.k8s.io/pause:3.10",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                }],
            }},
        }}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": {"rules": [{
            "host": format!("{name}.example.com"),
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {
                "service": {"name": name, "port": {"name": "http"}},
            }}]},
        }]}}),
    ];
    let all = all
        .into_iter()
        .map(|value| Object::new(value).context("make an object"));
    all.collect()
}

fn inventory(application: usize, seed: &Seed) -> Result<Inventory> {
    let mut inventory = Inventory::default();
    for (number, object) in objects(application)?.iter().enumerate() {
        inventory.insert(Entry {
            uid: Some(format!("{application:08x}-0000-4000-8000-{number:012x}")),
            desired: Some(object.digest(seed)),
            stored: Some(Digest::of(format!("{application} {number}"))),
            ..Entry::intended(object.id(), object.version())
        });
    }
    Ok(inventory)
}

fn rendered(application: usize, seed: &Seed) -> Result<Packed> {
    let objects = objects(application)?
        .into_iter()
        .map(|object| RenderedObject {
            object,
            source: None,
            hook: None,
            keep: false,
        });
    let rendered = Rendered::new(objects.collect(), None, Vec::new(), seed).context("render")?;
    Ok(rendered.pack())
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_of_many_objects_costs_something_and_not_too_much() {
        let held = super::measure(40_000).unwrap();
        assert_eq!(held.len(), 3);
        for one in held {
            assert!((50..20_000).contains(&one.bytes), "{one:?}");
        }
    }
}
