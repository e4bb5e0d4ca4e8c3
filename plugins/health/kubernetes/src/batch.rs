//! Jobs and `CronJobs`.

use pintle_sdk::Assessment;

use crate::object::Object;
use crate::settings::Settings;
use crate::verdict::{Verdict, counted, degraded, healthy, progressing, suspended};

/// Judges a Job.
///
/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions>
pub(crate) fn job(object: Object, settings: &Settings) -> Verdict {
    let conditions = object.conditions()?;
    if conditions.truth("Complete").is_some() {
        return Ok(healthy(format!("is complete: {}", progress(object))));
    }
    if let Some(failed) = conditions.truth("Failed") {
        return Ok(degraded(format!(
            "has failed: {}; {}",
            failed.why(),
            progress(object)
        )));
    }
    // The controller has given up, and only waits for the pods to end before it sets Failed.
    if let Some(failing) = conditions.truth("FailureTarget") {
        return Ok(degraded(format!(
            "is failing: {}; {}",
            failing.why(),
            progress(object)
        )));
    }
    if object.flag("/spec/suspend") {
        return Ok(suspended(format!("is suspended: {}", progress(object))));
    }
    if object
        .text("/status/startTime")
        .unwrap_or_default()
        .is_empty()
    {
        return Ok(progressing("has not started yet"));
    }
    if conditions.truth("SuccessCriteriaMet").is_some() {
        return Ok(progressing(format!(
            "has succeeded and waits for its pods to end: {}",
            progress(object)
        )));
    }
    let text = format!("runs: {}", progress(object));
    Ok(if settings.wait_for_job_completion {
        progressing(text)
    } else {
        healthy(text)
    })
}

/// Formats the progress of a Job: `2 of 5 completions, 3 pods active, 1 failed`.
fn progress(object: Object) -> String {
    let succeeded = object.count("/status/succeeded");
    let mut parts = vec![match object.int("/spec/completions") {
        Some(wanted) => format!("{succeeded} of {wanted} completions"),
        // A work queue: once any pod succeeds, the work is done.
        None => format!("{} succeeded", counted(succeeded, "pod")),
    }];
    let active = object.count("/status/active");
    if active > 0 {
        parts.push(format!("{} active", counted(active, "pod")));
    }
    let failed = object.count("/status/failed");
    if failed > 0 {
        parts.push(format!("{} failed", counted(failed, "pod")));
    }
    if let Some(indexes) = object
        .text("/status/failedIndexes")
        .filter(|indexes| !indexes.is_empty())
    {
        parts.push(format!("failed indexes {indexes}"));
    }
    parts.join(", ")
}

/// Judges a `CronJob`. It is healthy when it may run, whatever becomes of its Jobs.
pub(crate) fn cron_job(object: Object) -> Assessment {
    if object.flag("/spec/suspend") {
        return suspended("is suspended");
    }
    let active = object.items("/status/active").count();
    let last = match object.text("/status/lastScheduleTime") {
        Some(time) => format!("last scheduled at {time}"),
        None => "not scheduled yet".to_owned(),
    };
    healthy(if active > 0 {
        format!("{last}, {active} active")
    } else {
        last
    })
}
