//! Variations that a recorded object could have.

use serde_json::{Value, json};

/// Statuses of a condition.
const CONDITION_STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// Reasons of conditions that have a meaning for some kind.
const REASONS: [&str; 6] = [
    "NewReplicaSetAvailable",
    "ProgressDeadlineExceeded",
    "Unschedulable",
    "Installing",
    "SyncFailed",
    "AsExpected",
];

/// Reasons for which a container waits.
const WAITING: [&str; 3] = ["CrashLoopBackOff", "ImagePullBackOff", "ContainerCreating"];

/// Phases of pods, claims and volumes.
const PHASES: [&str; 8] = [
    "Pending",
    "Running",
    "Succeeded",
    "Failed",
    "Unknown",
    "Bound",
    "Lost",
    "Available",
];

/// Conditions that mean the same on objects of all kinds.
const COMMON: [&str; 5] = ["Reconciling", "Stalled", "Ready", "Failed", "Available"];

/// Returns all variations of an object that differ in one place that a judge may look at.
pub(crate) fn of(object: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for pointer in places(object) {
        let Some(old) = object.pointer(&pointer) else {
            continue;
        };
        let mut with = |new: Value| {
            if new != *old {
                let mut changed = object.clone();
                *changed.pointer_mut(&pointer).expect("it is there") = new;
                all.push(changed);
            }
        };
        match old {
            Value::Number(number) => {
                let number = number.as_i64().expect("recorded numbers are integers");
                // The API server accepts no number in these kinds that is negative or beyond an int32.
                let numbers = [0, number - 1, number + 1]
                    .into_iter()
                    .filter(|new| (0..=i64::from(i32::MAX)).contains(new));
                numbers.for_each(|new| with(json!(new)));
            }
            Value::Bool(flag) => with(json!(!flag)),
            Value::String(_) => alternatives(&pointer)
                .iter()
                .for_each(|new| with(json!(new))),
            Value::Array(list) if pointer.ends_with("/conditions") => {
                with(list.iter().rev().cloned().collect());
                for (kind, status) in COMMON
                    .iter()
                    .flat_map(|kind| [(kind, "True"), (kind, "False")])
                {
                    let added = json!({"type": kind, "status": status, "reason": "Because", "message": "of it"});
                    with(list.iter().cloned().chain([added]).collect());
                }
            }
            _ => {}
        }
        all.extend(without(object, &pointer));
    }
    let mut deleted = object.clone();
    deleted["metadata"]["deletionTimestamp"] = json!("2026-06-01T11:00:00Z");
    all.push(deleted);
    all
}

/// Returns all variations of an object that have something in one place that does not belong there.
pub(crate) fn garbage(object: &Value) -> Vec<Value> {
    let junk = [
        json!(null),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(1.5),
        json!("é"),
        json!([null, {}]),
        json!({"a": 1}),
    ];
    let mut all = Vec::new();
    for pointer in
        places(object)
            .into_iter()
            .chain(["/metadata".into(), "/apiVersion".into(), "/kind".into()])
    {
        for new in &junk {
            let mut changed = object.clone();
            if let Some(old) = changed.pointer_mut(&pointer) {
                *old = new.clone();
                all.push(changed);
            }
        }
    }
    all
}

/// Returns pointers to everything that a judge may look at: the status, the spec without templates, and the generation.
fn places(object: &Value) -> Vec<String> {
    let mut places = vec![
        "/metadata/generation".to_owned(),
        "/metadata/creationTimestamp".to_owned(),
    ];
    for part in ["/spec", "/status"] {
        if let Some(value) = object.pointer(part) {
            walk(value, part.to_owned(), &mut places);
        }
    }
    places
}

fn walk(value: &Value, pointer: String, places: &mut Vec<String>) {
    if pointer.ends_with("emplate") || pointer.ends_with("Time") {
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                walk(
                    value,
                    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
                    places,
                );
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                walk(value, format!("{pointer}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(pointer);
}

fn alternatives(pointer: &str) -> &'static [&'static str] {
    if pointer.contains("/conditions/") && pointer.ends_with("/status") {
        &CONDITION_STATUSES
    } else if pointer.contains("/conditions/") && pointer.ends_with("/reason") {
        &REASONS
    } else if pointer.ends_with("/waiting/reason") {
        &WAITING
    } else if pointer.ends_with("/phase") {
        &PHASES
    } else if pointer == "/spec/type" {
        &["ClusterIP", "LoadBalancer", "NodePort"]
    } else if pointer == "/spec/updateStrategy/type" {
        &["RollingUpdate", "OnDelete"]
    } else {
        &[]
    }
}

/// Returns the object without what the pointer leads to.
fn without(object: &Value, pointer: &str) -> Option<Value> {
    let (parent, key) = pointer.rsplit_once('/')?;
    let mut changed = object.clone();
    match changed.pointer_mut(parent)? {
        Value::Object(map) => {
            map.remove(&key.replace("~1", "/").replace("~0", "~"))?;
        }
        Value::Array(list) => {
            list.remove(key.parse().ok()?);
        }
        _ => return None,
    }
    Some(changed)
}
