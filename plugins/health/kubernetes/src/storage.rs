//! Persistent volumes, claims and snapshots.

use pintle_sdk::Assessment;

use crate::generic;
use crate::object::Object;
use crate::settings::Settings;
use crate::verdict::{Now, Verdict, degraded, healthy, progressing, unknown};

/// Judges a `PersistentVolumeClaim`: its binding first, then a resize.
///
/// <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#lifecycle-of-a-volume-and-claim>
pub(crate) fn claim(object: Object, settings: &Settings, now: Now) -> Verdict {
    match object.text("/status/phase").unwrap_or_default() {
        "Bound" => bound(object, now),
        "Lost" => {
            let volume = object.text("/spec/volumeName").unwrap_or("it was bound to");
            Ok(degraded(format!(
                "the volume {volume} no longer exists, and its data is lost to this claim"
            )))
        }
        _ if !settings.wait_for_claim_binding => {
            Ok(healthy("is not bound, which the settings do not wait for"))
        }
        "" => Ok(progressing("has no phase yet")),
        phase => {
            let node = object
                .at("/metadata/annotations")
                .and_then(|annotations| annotations.get("volume.kubernetes.io/selected-node"))
                .and_then(|node| node.as_str());
            let why = match node {
                Some(node) => format!("its volume is being made for node {node}"),
                None => "it waits for a volume, or for a pod that uses it".to_owned(),
            };
            Ok(progressing(format!("is not bound (phase {phase}): {why}")))
        }
    }
}

fn bound(object: Object, now: Now) -> Verdict {
    let conditions = object.conditions()?;
    let capacity = object
        .text("/status/capacity/storage")
        .unwrap_or("unknown size");
    let wanted = object
        .text("/spec/resources/requests/storage")
        .unwrap_or("unknown size");
    let failed = |what: &str, kind: &str| {
        let failure = conditions.truth(kind);
        let why = failure.map_or_else(String::new, |failure| format!(": {}", failure.why()));
        let since = failure.and_then(|failure| failure.changed);
        generic::failed(object, since, now, &format!("{what}{why}"))
    };
    let resize = format!("cannot be resized from {capacity} to {wanted}");
    match object.text("/status/allocatedResourceStatuses/storage") {
        Some("ControllerResizeInfeasible") => {
            return Ok(failed(&resize, "ControllerResizeError"));
        }
        Some("NodeResizeInfeasible") => return Ok(failed(&resize, "NodeResizeError")),
        _ => {}
    }
    if object.text("/status/modifyVolumeStatus/status") == Some("Infeasible") {
        let what = "cannot take its volume attributes class";
        return Ok(failed(what, "ModifyVolumeError"));
    }
    if conditions.truth("Resizing").is_some() {
        return Ok(progressing(format!(
            "is being resized from {capacity} to {wanted}"
        )));
    }
    if conditions.truth("FileSystemResizePending").is_some() {
        // Offline expansion ends only when a pod mounts the volume again, which nobody should wait for.
        return Ok(healthy(format!(
            "is bound; its file system grows from {capacity} to {wanted} when it is next mounted"
        )));
    }
    Ok(healthy(format!("is bound, {capacity}")))
}

/// Judges a `PersistentVolume`.
pub(crate) fn volume(object: Object) -> Assessment {
    let words = object
        .text("/status/message")
        .or_else(|| object.text("/status/reason"));
    match object.text("/status/phase").unwrap_or_default() {
        "" => progressing("has no phase yet"),
        "Pending" => progressing("is not available yet"),
        "Available" => healthy("is available"),
        "Bound" => {
            let claim = [
                object.text("/spec/claimRef/namespace"),
                object.text("/spec/claimRef/name"),
            ];
            match claim {
                [Some(namespace), Some(name)] => healthy(format!("is bound to {namespace}/{name}")),
                _ => healthy("is bound"),
            }
        }
        "Released" => healthy("is released by its claim and not reclaimed"),
        "Failed" => degraded(match words {
            Some(words) => format!("could not be reclaimed: {words}"),
            None => "could not be reclaimed".to_owned(),
        }),
        other => unknown(format!(
            "phase `{other}` is none of Pending, Available, Bound, Released, Failed"
        )),
    }
}

/// Judges a `VolumeSnapshot`, which has no conditions.
pub(crate) fn snapshot(object: Object) -> Assessment {
    if object.flag("/status/readyToUse") {
        return healthy("is ready to use");
    }
    // The snapshotter tries again and clears the error when it succeeds.
    progressing(match object.text("/status/error/message") {
        Some(error) => format!("is not ready to use: {error}"),
        None => "is not ready to use".to_owned(),
    })
}
