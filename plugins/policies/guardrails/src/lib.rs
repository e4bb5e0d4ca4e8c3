//! The policy `guardrails`: pinned images, allowed registries, required labels, no privileged or host-mounting pods, and
//! no surprising deletions.
//!
//! The README of this folder describes what a user sees, every rule included. The parts: [`settings`] is what an application
//! may set, [`rules`] names the rules and their severities, `images`, `pods`, `confinement`, `labels` and `deletions` find
//! violations, and `verdict` decides how severe a violation is: by the rule's severity, by exceptions, and by whether the
//! cluster already has it.

mod confinement;
mod deletions;
mod images;
mod labels;
mod pods;
pub mod rules;
pub mod settings;
mod verdict;
mod violation;

use pintle_sdk::{Action, Change, Context, Failure, Finding, Plan, Plugin, Policy, Problem};
use serde_json::Value;

use crate::{settings::Settings, verdict::Verdict, violation::Violation};

/// The policy `guardrails`.
#[derive(Debug)]
pub struct Guardrails;

impl Plugin for Guardrails {
    const NAME: &'static str = "guardrails";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str =
        "pinned images, required labels, no privileged pods, no surprising deletions";
    type Settings = Settings;

    fn validate(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}

impl Policy for Guardrails {
    fn evaluate(
        settings: &Settings,
        plan: &dyn Plan,
        _context: &dyn Context,
    ) -> Result<Vec<Finding>, Failure> {
        let verdict = Verdict::new(settings);
        let changes = plan.changes();
        let mut findings = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            judge_desired(settings, &verdict, plan, index, change, &mut findings);
            if let Some(violation) = deletions::of_kind(&settings.deletions, change) {
                findings.extend(verdict.finding(change, violation, false));
            }
        }
        findings.extend(
            deletions::too_many(&settings.deletions, &changes)
                .and_then(|problem| verdict.of_plan(problem)),
        );
        Ok(findings)
    }
}

pintle_sdk::export_policy!(Guardrails);

/// Judges the state that an object will have.
fn judge_desired(
    settings: &Settings,
    verdict: &Verdict<'_>,
    plan: &dyn Plan,
    index: usize,
    change: &Change,
    findings: &mut Vec<Finding>,
) {
    // Documents cross the component's boundary only if a rule looks into them.
    if change.action == Action::Delete || !is_looked_into(settings, change) {
        return;
    }
    let Some(desired) = plan.desired(index) else {
        return;
    };
    let violations = violations(settings, change, &desired);
    if violations.is_empty() {
        return;
    }
    let known = match change.action {
        Action::Update | Action::Replace => plan
            .live(index)
            .map(|live| self::violations(settings, change, &live)),
        Action::Unchanged | Action::Create | Action::Delete => None,
    };
    for violation in violations {
        let exists = change.action == Action::Unchanged
            || known
                .as_ref()
                .is_some_and(|known| known.iter().any(|other| other.is_same(&violation)));
        findings.extend(verdict.finding(change, violation, exists));
    }
}

fn is_looked_into(settings: &Settings, change: &Change) -> bool {
    pods::is_looked_into(&settings.pods, &change.id)
        || labels::is_looked_into(&settings.labels, &change.id)
}

fn violations(settings: &Settings, change: &Change, object: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    labels::check(&settings.labels, &change.id, object, &mut found);
    let pods = pods::of(&settings.pods, &change.id, object);
    pods::check_templates(&settings.pods, &change.id, &pods, &mut found);
    for pod in &pods {
        let mut of_pod = Vec::new();
        labels::check_pod(&settings.labels, &change.id, pod, &mut of_pod);
        pods::check(&settings.pods, pod, &mut of_pod);
        confinement::check(&settings.pods, pod, &mut of_pod);
        images::check(&settings.images, pod, &mut of_pod);
        found.extend(of_pod.into_iter().map(|violation| Violation {
            template: pod.template().to_owned(),
            ..violation
        }));
    }
    pods::check_volume(&settings.pods, &change.id, object, &mut found);
    found
}
