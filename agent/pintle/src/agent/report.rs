//! The result of a run, as it appears in the status, in events and to notifiers.

use pintle_cluster::Unsettled;
use pintle_core::{
    application::{
        ApplicationStatus, Condition, ConditionStatus, ObjectDrift, ObjectProblem, PROBLEM_LIMIT,
        Standing, TestResult,
    },
    brief,
    check::Finding,
    digest::Digest,
    event::{Event, Reason},
    health::Status,
    machine::Millis,
    names::ApplicationName,
    object::ObjectId,
    plan::Summary,
    rollback::Rollback,
};
use serde_json::{Value, json};

use super::{
    chronicle::{self, Tried},
    job::RollbackAnswer,
};
use crate::pipeline::now_text;

/// Formats a time as RFC 3339 in UTC, with seconds.
pub(crate) fn time_text(time: Millis) -> String {
    let time = i64::try_from(time).ok();
    let time = time.and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    let seconds = |time: jiff::Timestamp| time.round(jiff::Unit::Second).unwrap_or(time);
    time.map(|time| seconds(time).to_string())
        .unwrap_or_default()
}

/// The standing of an application after a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) standing: Standing,
    /// The reason in the conditions.
    pub(crate) reason: String,
    /// The message for people.
    pub(crate) message: String,
    /// The event for notifiers, if there is one.
    pub(crate) event: Option<Reason>,
    /// The details of the event: findings, objects or differences, depending on its reason.
    pub(crate) details: Value,
}

impl Verdict {
    /// Creates the verdict for a failure that is reported under its reason's own name.
    pub(crate) fn failed(standing: Standing, reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        let details = json!({ "error": message });
        Self {
            standing,
            reason: reason.camel(),
            message,
            event: Some(reason),
            details,
        }
    }

    /// Returns the verdict that a status already shows, for a run that does not change it.
    pub(crate) fn as_told(conditions: &[Condition]) -> Option<Self> {
        let ready = Condition::ready(conditions)?;
        let is_stalled = || conditions.iter().any(|one| one.kind == "Stalled");
        let standing = match ready.status {
            ConditionStatus::True => Standing::Ready,
            ConditionStatus::Unknown => Standing::Working,
            ConditionStatus::False if is_stalled() => Standing::Stalled,
            ConditionStatus::False => Standing::Retrying,
        };
        Some(Self {
            standing,
            reason: ready.reason.clone(),
            message: ready.message.clone(),
            event: None,
            details: Value::Null,
        })
    }

    /// Creates the verdict for an obstacle that is reported in the status only.
    pub(crate) fn blocked(reason: &str, message: impl Into<String>) -> Self {
        let (reason, message) = (reason.to_owned(), message.into());
        Self {
            standing: Standing::Stalled,
            reason,
            message,
            event: None,
            details: Value::Null,
        }
    }
}

/// What the status keeps saying while a run does something else.
#[derive(Debug, Clone)]
pub(crate) enum Stands {
    /// The source does not answer. Other problems are reported together with that.
    Away(Verdict),
    /// Why the wanted revision waits for a change. The run is about what was there before.
    Waits(Verdict),
}

impl Stands {
    fn over(&self, verdict: &Verdict) -> Verdict {
        let goes_well = matches!(verdict.standing, Standing::Ready | Standing::Working)
            || verdict.event == Some(Reason::RolledBack);
        match self {
            Self::Waits(stands) => stands.clone(),
            Self::Away(stands) if goes_well => stands.clone(),
            Self::Away(stands) => Verdict {
                message: brief::cut_before(
                    &verdict.message,
                    &format!(" (and its source does not answer: {})", stands.message),
                ),
                ..verdict.clone()
            },
        }
    }
}

/// Creates the event for notifiers: a message of one line, and details with the application and everything else. Long texts are
/// cut.
pub(crate) fn event(
    application: &ApplicationName,
    reason: Reason,
    message: &str,
    details: &Value,
    learned: &Learned,
    time: Millis,
) -> Event {
    let mut full = json!({
        "application": application,
        "revision": learned.attempted,
        "digests": {
            "rendered": learned.rendered,
            "plan": learned.plan.map(|(digest, _)| digest),
        },
    });
    if let (Some(full), Some(details)) = (full.as_object_mut(), details.as_object()) {
        full.extend(details.clone());
    }
    if let Some(Value::String(error)) = full.get_mut("error") {
        *error = brief::cut(error).into_owned();
    }
    let message = brief::cut(message.trim());
    let Some((first, _)) = message.split_once('\n') else {
        return Event::new(reason, &*message, time, full);
    };
    // The findings of policies already are the whole text, in parts.
    if full.get("findings").is_none() {
        full["error"] = json!(message);
    }
    let line = format!("{}…", first.trim_end().trim_end_matches(':'));
    Event::new(reason, line, time, full)
}

/// Returns an object in the form that the notifiers' documentation describes for an event's details.
pub(crate) fn object_document(id: &ObjectId, version: Option<&str>) -> Value {
    let mut document = json!({ "kind": id.kind, "name": id.name });
    if let Some(version) = version {
        document["apiVersion"] = json!(id.api_version(version));
    }
    if let Some(namespace) = &id.namespace {
        document["namespace"] = json!(namespace);
    }
    document
}

/// Returns a finding in the form for an event's details.
pub(crate) fn finding_document(finding: &Finding, version: Option<&str>) -> Value {
    json!({
        "rule": format!("{}/{}", finding.policy, finding.rule),
        "severity": finding.severity,
        "object": finding.object.as_ref().map(|id| object_document(id, version)),
        "message": finding.problem.message,
        "hint": finding.problem.hint,
    })
}

/// What a run learned, for the status.
#[derive(Debug, Clone, Default)]
pub(crate) struct Learned {
    /// The revision that is being worked on, for the history.
    pub(crate) tried: Option<Tried>,
    pub(crate) attempted: Option<String>,
    pub(crate) applied: Option<String>,
    pub(crate) rendered: Option<Digest>,
    pub(crate) plan: Option<(Digest, Summary)>,
    pub(crate) unsettled: Option<Vec<Unsettled>>,
    /// Drift that is left as it is, and fights.
    pub(crate) drift: Option<Vec<ObjectDrift>>,
    pub(crate) requested: Option<String>,
    /// The earlier revision that is to run instead of the one that the source gives.
    pub(crate) rollback: Option<Rollback>,
    /// The answer to the newest rollback request that has one.
    pub(crate) rollback_answer: Option<RollbackAnswer>,
    /// The Helm release that was taken over.
    pub(crate) adopted: Option<String>,
    /// The request for which tests were run, and their results.
    pub(crate) tests: Option<(String, Vec<TestResult>)>,
    /// What is reported whatever the result of the run is. The history shows that result.
    pub(crate) stands: Option<Stands>,
}

impl Learned {
    /// Returns the verdict to show for a run that came to `verdict`.
    pub(crate) fn shown(&self, verdict: &Verdict) -> Verdict {
        let stands = self.stands.as_ref();
        stands.map_or_else(|| verdict.clone(), |stands| stands.over(verdict))
    }

    /// Returns the generation of the spec that a status is about. A verdict that is repeated keeps its own generation.
    fn generation(&self, before: &ApplicationStatus, newest: i64) -> Option<i64> {
        if matches!(self.stands, Some(Stands::Waits(_))) {
            before.observed_generation
        } else {
            Some(newest)
        }
    }
}

/// Returns the status after a run, based on the one before. The store fills in the inventory.
pub(crate) fn status(
    before: &ApplicationStatus,
    generation: i64,
    learned: &Learned,
    verdict: &Verdict,
) -> ApplicationStatus {
    let mut status = before.clone();
    let generation = learned.generation(before, generation);
    status.observed_generation = generation;
    status.attempted_revision = learned.attempted.clone().or(status.attempted_revision);
    status.revision = learned.applied.clone().or(status.revision);
    status.rendered_digest = learned.rendered.or(status.rendered_digest);
    if let Some((digest, summary)) = learned.plan {
        (status.plan_digest, status.plan) = (Some(digest), Some(summary));
    }
    if let Some(unsettled) = &learned.unsettled {
        status.health = Some(pintle_core::health::overall(
            unsettled.iter().map(|object| object.assessment.status),
        ));
        status.problems = problems(unsettled);
    }
    status.last_handled_reconcile = learned.requested.clone().or(status.last_handled_reconcile);
    status.rollback.clone_from(&learned.rollback);
    if let Some(answer) = &learned.rollback_answer {
        status.last_handled_rollback = Some(answer.request.clone());
        status.rollback_refused.clone_from(&answer.refusal);
    }
    status.adopted_helm_release = learned.adopted.clone().or(status.adopted_helm_release);
    if let Some((request, results)) = &learned.tests {
        status.last_handled_test = Some(request.clone());
        status.tests.clone_from(results);
    }
    let now = now_text();
    chronicle::write(&mut status.history, learned, verdict);
    let shown = learned.shown(verdict);
    status.conditions = Condition::of(
        shown.standing,
        &shown.reason,
        &shown.message,
        generation,
        &now,
        &before.conditions,
    );
    let drift = learned.drift.as_ref().unwrap_or(&before.drift);
    let drifted = Condition::drifted(drift, generation, &now, &before.conditions);
    status.conditions.extend(drifted);
    status.drift = drift.iter().take(PROBLEM_LIMIT).cloned().collect();
    status
}

fn problems(unsettled: &[Unsettled]) -> Vec<ObjectProblem> {
    let problem = |object: &Unsettled| ObjectProblem {
        object: object.id.to_string(),
        message: brief::cut(&format!(
            "{}: {}",
            object.assessment.status, object.assessment.message
        ))
        .into_owned(),
        explanation: object.explanation.as_deref().cloned(),
    };
    unsettled.iter().take(PROBLEM_LIMIT).map(problem).collect()
}

/// Sums up objects that are not settled: the worst come first, with the number of the rest.
pub(crate) fn sum_up(unsettled: &[Unsettled]) -> String {
    let failed = unsettled
        .iter()
        .filter(|object| object.assessment.status == Status::Degraded);
    let chosen: Vec<&Unsettled> = if failed.clone().next().is_some() {
        failed.collect()
    } else {
        unsettled.iter().collect()
    };
    let Some(first) = chosen.first() else {
        return "all is healthy".to_owned();
    };
    let more = match chosen.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let gist = first.explanation.as_ref().and_then(|why| why.gist());
    let gist = gist.map_or_else(String::new, |gist| format!(": {gist}"));
    format!("{}: {}{gist}{more}", first.id, first.assessment.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pintle_core::health::Assessment;

    fn unsettled(name: &str, status: Status) -> Unsettled {
        let id = ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: Some("n".into()),
            name: name.into(),
        };
        Unsettled {
            id,
            assessment: Assessment::new(status, "0 of 1 replicas are available"),
            explanation: None,
        }
    }

    #[test]
    fn sums_up_what_failed_before_what_is_on_the_way() {
        let all = [
            unsettled("a", Status::Progressing),
            unsettled("b", Status::Degraded),
            unsettled("c", Status::Degraded),
        ];
        assert_eq!(
            sum_up(&all),
            "Deployment.apps n/b: 0 of 1 replicas are available, and 1 more"
        );
        assert_eq!(
            sum_up(&all[..1]),
            "Deployment.apps n/a: 0 of 1 replicas are available"
        );
    }

    /// Notifiers are written for these events: their own tests read the same file.
    #[test]
    fn events_are_told_as_notifiers_know_them() {
        let name = ApplicationName::new("shop", "web");
        let learned = Learned {
            attempted: Some("9f3c2ab7d1e04c55a8f5b7f2c1d0e9a8b7c6d5e4".into()),
            ..Learned::default()
        };
        let tell = |verdict: Verdict| {
            let (reason, details) = (verdict.event.unwrap(), &verdict.details);
            let event = event(
                &name,
                reason,
                &verdict.message,
                details,
                &learned,
                1_772_359_200_000,
            );
            let mut event = serde_json::to_value(event).unwrap();
            // The id is a digest of all other fields.
            event.as_object_mut().unwrap().remove("id");
            event
        };
        let failed = |reason, message: &str| Verdict::failed(Standing::Stalled, reason, message);

        let mut denied = failed(
            Reason::PolicyDenied,
            "policy refuses the plan, nothing was written:\ndeny guardrails/image-tag-missing: no tag",
        );
        denied.details = json!({ "findings": [{
            "rule": "guardrails/image-tag-missing", "severity": "deny", "object": null, "message": "no tag", "hint": null,
        }] });
        let mut gone_back = failed(Reason::ApplyFailed, "Service shop/web: it is immutable");
        gone_back.message += " (instead of 0123456789ab, because ann went back: it is slow)";
        let told = [
            failed(Reason::SourceFailed, "the branch main is not there"),
            failed(
                Reason::HookFailed,
                "Job.batch shop/migrate: its pre-upgrade hook failed; the end of its log:\n    no such relation\n",
            ),
            denied,
            gone_back,
            Verdict {
                standing: Standing::Ready,
                reason: "Converged".into(),
                message: "9f3c2ab7d1e0 is converged: 3 objects are healthy".into(),
                event: Some(Reason::Converged),
                details: json!({}),
            },
        ];
        let told = Value::Array(told.map(tell).into());
        let known = include_str!("../../../../tests/events/told.json");
        let known: Value = serde_json::from_str(known).unwrap();
        assert_eq!(told, known, "{told:#}");
    }

    #[test]
    fn what_is_told_of_thousands_of_objects_is_short() {
        let line = |number: usize| {
            format!(
                "deny guardrails/image-tag-missing: Deployment.apps shop/größe-{number}: no tag\n"
            )
        };
        let all: String = (0..14_000).map(line).collect();
        assert!(all.len() > 1_000_000);
        let message = format!("policy refuses the plan, nothing was written:\n{all}");
        let verdict = Verdict::failed(Standing::Stalled, Reason::PolicyDenied, message.as_str());
        let learned = Learned::default();
        let size = |document: &Value| document.to_string().len();
        let after = status(&ApplicationStatus::default(), 1, &learned, &verdict);
        assert_eq!(after.conditions.len(), 2);
        for condition in &after.conditions {
            let (kept, remark) = condition.message.rsplit_once('\n').unwrap();
            assert!(message.starts_with(&format!("{kept}\n")), "{kept}");
            assert!(remark.starts_with("… and 1"), "{remark}");
        }
        let after = serde_json::to_value(after).unwrap();
        assert!(size(&after) < 16 * 1024, "{after:#}");

        let name = ApplicationName::new("shop", "web");
        let reason = Reason::PolicyDenied;
        let told = |details: &Value| {
            let told = event(&name, reason, &message, details, &learned, 1);
            serde_json::to_value(told).unwrap()
        };
        let failed = told(&verdict.details);
        assert!(size(&failed) < 8 * 1024, "{failed:#}");
        let cut = &after["conditions"][0]["message"];
        assert_eq!(failed["details"]["error"], *cut);

        let finding = json!({ "rule": "guardrails/image-tag-missing", "message": "no tag" });
        let denied = told(&json!({ "findings": vec![finding; 14_000] }));
        assert!(size(&denied) < 16 * 1024, "{denied:#}");
        assert_eq!(denied["details"]["findingsOmitted"], 13_800);
    }

    #[test]
    fn a_refusal_belongs_to_its_request() {
        let verdict = Verdict::failed(Standing::Stalled, Reason::PolicyDenied, "no");
        let after = |before: &ApplicationStatus, answer: Option<(&str, Option<&str>)>| {
            let answer = answer.map(|(request, refusal)| RollbackAnswer {
                request: request.to_owned(),
                refusal: refusal.map(ToOwned::to_owned),
            });
            let learned = Learned {
                rollback_answer: answer,
                ..Learned::default()
            };
            status(before, 1, &learned, &verdict)
        };
        let told = |status: &ApplicationStatus| {
            let request = status.last_handled_rollback.clone();
            (request.unwrap_or_default(), status.rollback_refused.clone())
        };
        let refused = after(
            &ApplicationStatus::default(),
            Some(("1", Some("there is no z"))),
        );
        let both = ("1".to_owned(), Some("there is no z".to_owned()));
        assert_eq!(told(&refused), both);
        assert_eq!(told(&after(&refused, None)), both, "nobody has asked anew");
        let next = after(&refused, Some(("2", None)));
        assert_eq!(told(&next), ("2".to_owned(), None));
    }

    fn verdict(standing: Standing, reason: Reason, message: &str) -> Verdict {
        Verdict::failed(standing, reason, message)
    }

    #[test]
    fn a_source_that_does_not_answer_is_told_over_what_goes_well_and_beside_what_does_not() {
        let away = verdict(Standing::Retrying, Reason::SourceFailed, "no route to git");
        let learned = Learned {
            stands: Some(Stands::Away(away.clone())),
            ..Learned::default()
        };
        for well in [
            verdict(Standing::Ready, Reason::Converged, "1 is converged"),
            verdict(Standing::Stalled, Reason::RolledBack, "running 1"),
        ] {
            assert_eq!(learned.shown(&well), away);
        }
        let degraded = verdict(Standing::Stalled, Reason::Degraded, "1 is not healthy");
        let shown = learned.shown(&degraded);
        assert_eq!(
            (shown.standing, shown.event),
            (degraded.standing, degraded.event)
        );
        insta::assert_snapshot!(shown.message, @"1 is not healthy (and its source does not answer: no route to git)");
        assert_eq!(Learned::default().shown(&degraded), degraded);

        let all = "Deployment.apps shop/web is not healthy\n".repeat(200);
        let shown = learned.shown(&verdict(Standing::Stalled, Reason::Degraded, &all));
        let end = " more (and its source does not answer: no route to git)";
        assert!(shown.message.ends_with(end), "{}", shown.message);
        assert!(!brief::is_long(&shown.message));
    }

    #[test]
    fn a_run_that_changes_nothing_about_it_says_again_what_was_told() {
        let denied = verdict(Standing::Stalled, Reason::PolicyDenied, "2 is denied");
        let before = status(
            &ApplicationStatus::default(),
            1,
            &Learned::default(),
            &denied,
        );
        let ready = verdict(Standing::Ready, Reason::Converged, "1 is converged");
        let again = Verdict::as_told(&before.conditions).expect("it has a condition");
        assert_eq!(
            (again.standing, again.reason.as_str()),
            (Standing::Stalled, "PolicyDenied")
        );
        let guard = Learned {
            stands: Some(Stands::Waits(again)),
            ..Learned::default()
        };
        let after = status(&before, 2, &guard, &ready);
        let told = |status: &ApplicationStatus| -> Vec<(String, String)> {
            let conditions = status.conditions.iter();
            conditions
                .map(|one| (one.kind.clone(), one.message.clone()))
                .collect()
        };
        assert_eq!(told(&after), told(&before));
        assert_eq!(
            (after.observed_generation, after.history),
            (Some(1), Vec::new())
        );
    }

    #[test]
    fn a_failed_run_keeps_what_was_known() {
        let before = ApplicationStatus {
            revision: Some("1".into()),
            objects: 3,
            ..ApplicationStatus::default()
        };
        let learned = Learned {
            attempted: Some("2".into()),
            ..Learned::default()
        };
        let verdict = Verdict::failed(Standing::Stalled, Reason::PolicyDenied, "no");
        let after = status(&before, 4, &learned, &verdict);
        assert_eq!(
            (
                after.revision.as_deref(),
                after.attempted_revision.as_deref()
            ),
            (Some("1"), Some("2"))
        );
        assert_eq!((after.objects, after.observed_generation), (3, Some(4)));
        assert_eq!(
            (
                after.conditions[0].status,
                after.conditions[0].reason.as_str()
            ),
            (ConditionStatus::False, "PolicyDenied")
        );
    }
}
