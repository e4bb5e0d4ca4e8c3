//! Rules for objects of every kind.

use pintle_sdk::Assessment;

use crate::object::{Malformed, Object};
use crate::time;
use crate::verdict::{Now, degraded, progressing};

/// The seconds that a controller may take to look at a new spec and show its answer. The autoscaler's controller comes by every
/// 15 s; those of volumes and load balancers have to ask somebody else first.
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

/// Judges an object that its controller has never looked at, for kinds whose controllers always report that they have.
pub(crate) fn unobserved(object: Object) -> Option<Assessment> {
    object
        .at("/status/observedGeneration")
        .is_none()
        .then(|| progressing("has not been observed by its controller yet"))
}

/// Returns the assessment of a failed object whose kind counts no generations: degraded from the time given by [`counts_from`],
/// and progressing before.
pub(crate) fn failed(object: Object, since: Option<u64>, now: Now, message: &str) -> Assessment {
    now.until(
        counts_from(object, since),
        || progressing(message),
        || degraded(message),
    )
}

/// Returns from when on a failure counts for an object whose kind counts no generations, in milliseconds since the epoch. If
/// the status reported the failure before the spec was last written, it may be about the previous spec, and the current one may
/// be the fix, so the controller gets some time to look at it. `since` is when the failure was first reported, if known.
pub(crate) fn counts_from(object: Object, since: Option<u64>) -> u64 {
    object
        .spec_written()
        .filter(|written| since.is_none_or(|since| since <= *written))
        .map_or(0, |written| time::after(written, NOTICE_SECONDS))
}

/// Judges an object by the two conditions that kstatus defines for all kinds. One about an older generation says only that the
/// controller has yet to look at the current one, which may be the fix.
pub(crate) fn stalled_or_reconciling(object: Object) -> Result<Option<Assessment>, Malformed> {
    let (conditions, generation) = (object.conditions()?, object.generation());
    let stalled = conditions.truth("Stalled");
    if let Some(stalled) = stalled.filter(|it| it.outdated(generation).is_none()) {
        return Ok(Some(degraded(stalled.why())));
    }
    let moving = conditions.truth("Reconciling").or(stalled);
    Ok(moving.map(|it| progressing(it.outdated(generation).unwrap_or_else(|| it.why()))))
}
