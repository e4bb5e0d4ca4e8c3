//! What holds for objects of every kind.

use pintle_sdk::Assessment;

use crate::object::{Malformed, Object};
use crate::time;
use crate::verdict::{Now, degraded, progressing};

/// How long a controller may take to look at a new spec, and for its answer to show: that of autoscalers comes by every 15 s, those
/// of volumes and load balancers ask somebody else first.
const NOTICE_SECONDS: u64 = 60;

/// Judges an object that is being deleted.
pub(crate) fn deletion(object: Object) -> Option<Assessment> {
    let since = object
        .text("/metadata/deletionTimestamp")
        .filter(|since| !since.is_empty())?;
    let finalizers: Vec<&str> = object
        .at("/metadata/finalizers")
        .and_then(|list| list.as_array())
        .into_iter()
        .flatten()
        .filter_map(|finalizer| finalizer.as_str())
        .collect();
    let waits = match finalizers.as_slice() {
        [] => String::new(),
        [one] => format!("; waits for finalizer {one}"),
        many => format!("; waits for finalizers {}", many.join(", ")),
    };
    Some(progressing(format!(
        "is being deleted since {since}{waits}"
    )))
}

/// Judges an object whose status is about an older generation.
pub(crate) fn outdated(object: Object) -> Option<Assessment> {
    let (generation, observed) = (object.generation()?, object.observed_generation()?);
    (observed != generation).then(|| {
        progressing(format!("generation {generation} has not been observed by its controller, which is at {observed}"))
    })
}

/// Judges an object that its controller has never looked at, for kinds whose controllers always say that they have.
pub(crate) fn unobserved(object: Object) -> Option<Assessment> {
    object
        .at("/status/observedGeneration")
        .is_none()
        .then(|| progressing("has not been observed by its controller yet"))
}

/// Says that an object has failed whose kind counts no generations, once that counts by [`counts_from`].
pub(crate) fn failed(object: Object, since: Option<u64>, now: Now, message: &str) -> Assessment {
    now.until(
        counts_from(object, since),
        || progressing(message),
        || degraded(message),
    )
}

/// From when on a failure counts of an object whose kind counts no generations, in milliseconds since the epoch. What its status says
/// since before its spec was written may be about the spec before, and this one be what mends it: its controller gets some time to
/// look at it. `since` is when that was said first, if it is known.
pub(crate) fn counts_from(object: Object, since: Option<u64>) -> u64 {
    object
        .spec_written()
        .filter(|written| since.is_none_or(|since| since <= *written))
        .map_or(0, |written| time::after(written, NOTICE_SECONDS))
}

/// Judges by the two conditions that kstatus defines for all kinds. One that is about an older generation says only that
/// its controller has yet to look at this one, which may be what mends it.
pub(crate) fn stalled_or_reconciling(object: Object) -> Result<Option<Assessment>, Malformed> {
    let (conditions, generation) = (object.conditions()?, object.generation());
    let stalled = conditions.truth("Stalled");
    if let Some(stalled) = stalled.filter(|it| it.outdated(generation).is_none()) {
        return Ok(Some(degraded(stalled.why())));
    }
    let moving = conditions.truth("Reconciling").or(stalled);
    Ok(moving.map(|it| progressing(it.outdated(generation).unwrap_or_else(|| it.why()))))
}
