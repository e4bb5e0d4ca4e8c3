//! The view of applications, drawn from their status alone: anyone who may read an Application sees what the agent sees.

use owo_colors::OwoColorize as _;
use pintle_cluster::Application;
use pintle_core::{
    application::{
        ApplicationSpec, ApplicationStatus, Condition, ConditionStatus, ObjectDrift, ObjectProblem,
        PROBLEM_LIMIT, Source,
    },
    health::Status,
    history::{Ending, written},
    inventory::Inventory,
    revision::short,
    rollback::Rollback,
};

use crate::{cli::output, commands::act::suspended_by};

const HEADER: [&str; 7] = [
    "NAMESPACE",
    "NAME",
    "READY",
    "HEALTH",
    "REVISION",
    "OBJECTS",
    "STATUS",
];

/// Draws all applications, one in each line.
pub(in crate::commands) fn overview<'a>(
    applications: impl Iterator<Item = &'a Application>,
    height: usize,
) -> Vec<String> {
    let rows: Vec<Vec<String>> = applications.map(row).collect();
    let table = output::table(&HEADER, &rows);
    let mut lines: Vec<String> = table.lines().map(ToOwned::to_owned).collect();
    if lines.len() > height && height > 1 {
        let hidden = lines.len() - (height - 1);
        lines.truncate(height - 1);
        lines.push(format!("… and {hidden} more"));
    }
    lines
}

fn row(application: &Application) -> Vec<String> {
    let namespace = application.namespace.clone().unwrap_or_default();
    let mut row = vec![namespace, application.name.clone()];
    match (&application.spec, &application.status) {
        (Err(error), _) | (_, Err(error)) => {
            let empty = String::new;
            row.extend([
                "False".to_owned(),
                empty(),
                empty(),
                empty(),
                error.to_string(),
            ]);
        }
        (Ok(spec), Ok(status)) => {
            let (ready, message) = ready(status);
            let message = if spec.suspend {
                suspended(application, &message)
            } else {
                message
            };
            let health = status.health.map(|health| health.name().to_owned());
            row.extend([
                ready.to_owned(),
                health.unwrap_or_default(),
                short(status.revision.as_deref().unwrap_or_default()).to_owned(),
                status.objects.to_string(),
                message.lines().next().unwrap_or_default().to_owned(),
            ]);
        }
    }
    row
}

/// Describes who suspended an application, together with the message of its status, which may begin by saying that it is
/// suspended.
fn suspended(application: &Application, message: &str) -> String {
    let message = message.strip_prefix("suspended; ").unwrap_or(message);
    let who = suspended_by(application).map(|request| format!(" {}", request.told()));
    format!("suspended{}; {message}", who.unwrap_or_default())
}

/// Draws one application: its state, what it runs, and each of its objects.
pub(super) fn one(application: &Application, height: usize) -> Vec<String> {
    let mut lines = vec![
        application
            .application_name()
            .to_string()
            .bold()
            .to_string(),
    ];
    match (&application.spec, &application.status) {
        (Err(error), _) | (_, Err(error)) => lines.push(format!("  {}", error.red())),
        (Ok(spec), Ok(status)) => {
            let facts = facts(application, spec, status);
            let width = facts.iter().map(|(name, _)| name.len()).max();
            let width = width.unwrap_or_default();
            for (name, text) in facts {
                let mut parts = text.lines();
                let first = parts.next().unwrap_or_default();
                lines.push(format!("  {:<width$}  {first}", name.dimmed()));
                lines.extend(parts.map(|part| format!("  {:<width$}  {part}", "")));
            }
            let objects = objects(status, height.saturating_sub(lines.len() + 1));
            if !objects.is_empty() {
                lines.push(String::new());
                lines.extend(objects);
            }
        }
    }
    lines
}

type Fact = (&'static str, String);

fn facts(
    application: &Application,
    spec: &ApplicationSpec,
    status: &ApplicationStatus,
) -> Vec<Fact> {
    let (ready, message) = ready(status);
    let ready = match ready {
        "True" => "Ready".green().to_string(),
        "False" => "not Ready".red().to_string(),
        _ => "on its way".yellow().to_string(),
    };
    let mut facts = vec![("status", format!("{ready}: {message}"))];
    if spec.suspend {
        let who = suspended_by(application).map(|request| request.told());
        let who = who.unwrap_or_else(|| "nothing is changed until it is resumed".to_owned());
        facts.push(("suspended", who.yellow().to_string()));
    }
    if let Some(rollback) = &status.rollback {
        facts.push(("rolled back", rollback_text(status, rollback)));
    }
    if application.deleting {
        facts.push(("deletion", "it is being deleted".yellow().to_string()));
    }
    if let Some(source) = &spec.source {
        facts.push(("source", source_text(source)));
    }
    if let Some(revision) = &status.revision {
        facts.push(("revision", revision.clone()));
    }
    let attempted = status.attempted_revision.as_ref();
    if let Some(attempted) = attempted.filter(|one| Some(*one) != status.revision.as_ref()) {
        facts.push(("attempted", attempted.clone()));
    }
    if let Some(plan) = &status.plan {
        facts.push(("last change", plan.to_string()));
    }
    let drifted = status.conditions.iter().find(|one| one.kind == "Drifted");
    if let Some(drifted) = drifted {
        facts.push(("drift", drifted.message.yellow().to_string()));
    }
    facts
}

fn rollback_text(status: &ApplicationStatus, rollback: &Rollback) -> String {
    let (to, wanted) = (short(&rollback.to), short(&rollback.instead_of));
    let who = rollback.by.as_deref().unwrap_or("the agent");
    let what = if runs(status, &rollback.to) {
        format!("runs {to}, not {wanted}")
    } else {
        // The status says why.
        format!("is to run {to}, not {wanted}, and does not yet")
    };
    let text = format!("{what}: {who} went back at {}", rollback.since);
    format!("{}\n{}", text.red().bold(), rollback.reason)
}

/// Returns whether a revision is completely in the cluster: the one that is to run may be unavailable, or refused.
fn runs(status: &ApplicationStatus, revision: &str) -> bool {
    written(&status.history, status.begun()).is_some_and(|entry| {
        let is_whole = entry.healthy_since.is_some() || entry.ending == Ending::Unhealthy;
        entry.revision == revision && is_whole
    })
}

fn source_text(source: &Source) -> String {
    match source {
        Source::Git(git) => {
            let reference = git
                .branch
                .as_ref()
                .or(git.tag.as_ref())
                .or(git.semver.as_ref())
                .or(git.commit.as_ref());
            let at = reference.map_or_else(String::new, |reference| format!(" at {reference}"));
            let path = if git.path.is_empty() {
                String::new()
            } else {
                format!(", {}", git.path)
            };
            format!("{}{at}{path}", git.url)
        }
        Source::Oci(oci) => oci.url.clone(),
        Source::Chart(chart) => format!("{} from {}", chart.name, chart.repository),
    }
}

/// Draws the objects. Those with something to report come first, and those that left git and stay come last.
fn objects(status: &ApplicationStatus, height: usize) -> Vec<String> {
    let inventory = status.recorded().unwrap_or_default();
    let told = told_lines(status);
    let names = managed(&inventory).into_iter();
    let others: Vec<String> = names
        .filter(|name| !told.iter().any(|(object, _)| object == name))
        .collect();
    let mut lines: Vec<String> = told.into_iter().flat_map(|(_, lines)| lines).collect();
    let state = if knows_all(status) {
        ("✓".green().to_string(), "healthy")
    } else {
        ("·".dimmed().to_string(), "")
    };
    lines.extend(
        others
            .iter()
            .map(|name| format!("{} {name}  {}", state.0, state.1.green())),
    );
    lines.extend(left_lines(&inventory).map(|(_, line)| line));
    if lines.len() > height && height > 1 {
        let hidden = lines.len() - (height - 1);
        lines.truncate(height - 1);
        lines.push(format!("… {hidden} more lines"));
    }
    lines
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// Returns whether objects that the status does not mention are known to have no problem. A full list says nothing about what is
/// not in it.
fn knows_all(status: &ApplicationStatus) -> bool {
    let is_full = status.problems.len() >= PROBLEM_LIMIT || status.drift.len() >= PROBLEM_LIMIT;
    status.health.is_some() && !is_full
}

/// Draws what there is to report about single objects, each with its lines: problems come first, with what is known of the
/// reasons, and then what others have changed. An object that is in both lists comes once.
fn told_lines(status: &ApplicationStatus) -> Vec<(String, Vec<String>)> {
    let problems = status.problems.iter();
    let mut told: Vec<_> = problems
        .map(|problem| (problem.object.clone(), problem_lines(problem)))
        .collect();
    for drift in &status.drift {
        let line = drift_line(drift);
        match told.iter_mut().find(|(object, _)| *object == drift.object) {
            Some((_, lines)) => lines.push(line),
            None => told.push((drift.object.clone(), vec![line])),
        }
    }
    told
}

fn drift_line(drift: &ObjectDrift) -> String {
    format!("{} {}  {}", "~".yellow(), drift.object, drift.told())
}

fn problem_lines(problem: &ObjectProblem) -> Vec<String> {
    let is_failed = problem.message.starts_with(Status::Degraded.name());
    let mark = if is_failed {
        "✗".red().to_string()
    } else {
        "◌".yellow().to_string()
    };
    let mut lines = vec![format!("{mark} {}  {}", problem.object, problem.message)];
    let why = problem.explanation.as_ref().map(ToString::to_string);
    let why = why.iter().flat_map(|why| why.lines());
    lines.extend(why.map(|line| format!("    {}", line.dimmed())));
    lines
}

fn managed(inventory: &Inventory) -> Vec<String> {
    inventory.managed().map(ToString::to_string).collect()
}

/// Returns what left git and stays, each with its line. Nothing is known about the state of these objects.
fn left_lines(inventory: &Inventory) -> impl Iterator<Item = (String, String)> {
    inventory.left().map(|id| {
        let line = format!("{} {id}  {}", "·".dimmed(), "left git, and stays".dimmed());
        (id.to_string(), line)
    })
}

/// Returns everything about an application that can change, each item with a line that describes its state. Where there is no
/// terminal, a line is printed when it differs from the one before.
pub(super) fn object_lines(application: &Application, with_objects: bool) -> Vec<(String, String)> {
    let name = application.application_name().to_string();
    let Ok(status) = &application.status else {
        return vec![(name.clone(), format!("{name}: its status cannot be read"))];
    };
    let (ready, message) = ready(status);
    let is_suspended = matches!(&application.spec, Ok(spec) if spec.suspend);
    let suspended = if is_suspended { " (suspended)" } else { "" };
    let line = format!("{name}: Ready is {ready}{suspended}: {message}");
    let mut lines = vec![(name, line)];
    if with_objects {
        let told = told_lines(status);
        let is_told = |name: &String| told.iter().any(|(object, _)| object == name);
        let inventory = status.recorded().unwrap_or_default();
        if knows_all(status) {
            let healthy = managed(&inventory).into_iter();
            let healthy = healthy.filter(|name| !is_told(name));
            lines.extend(
                healthy.map(|name| (name.clone(), format!("{} {name}  healthy", "✓".green()))),
            );
        }
        lines.extend(
            told.into_iter()
                .map(|(object, told)| (object, told.join("\n"))),
        );
        lines.extend(left_lines(&inventory));
    }
    lines
}

/// Returns the state of `Ready`, and its message.
pub(in crate::commands) fn ready(status: &ApplicationStatus) -> (&'static str, String) {
    let Some(ready) = Condition::ready(&status.conditions) else {
        let message = "not looked at yet: is the agent running?";
        return ("Unknown", message.to_owned());
    };
    let state = match ready.status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    (state, ready.message.clone())
}

#[cfg(test)]
mod tests {
    use pintle_core::{
        application::FightStatus,
        digest::Digest,
        history::{Trigger, record},
        inventory::{Entry, StoredInventory},
        object::ObjectId,
        release::ReleaseRecord,
    };
    use serde_json::json;

    use super::*;
    use crate::commands::history::tests::attempt;

    #[test]
    fn that_an_application_is_suspended_is_said_once() {
        let application = Application::read(json!({"metadata": {"name": "shop"}}));
        for message in ["no answer", "suspended; no answer"] {
            let told = suspended(&application, message);
            assert_eq!(told, "suspended; no answer");
        }
    }

    #[test]
    fn what_left_git_and_stays_is_listed_as_that() {
        let entry = |name: &str, left| {
            let id = ObjectId {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: Some("shop".into()),
                name: name.into(),
            };
            Entry {
                left,
                ..Entry::intended(&id, "v1")
            }
        };
        let mut inventory = Inventory::default();
        inventory.insert(entry("a", true));
        inventory.insert(entry("b", false));
        let status = ApplicationStatus {
            inventory: Some(inventory.store()),
            health: Some(Status::Healthy),
            ..ApplicationStatus::default()
        };
        let lines = objects(&status, 10);
        let says = |line: &str, texts: [&str; 2]| texts.iter().all(|text| line.contains(text));
        assert_eq!(lines.len(), 2, "{lines:?}");
        let managed = ["ConfigMap shop/b", "healthy"];
        assert!(says(&lines[0], managed), "{lines:?}");
        let left = ["ConfigMap shop/a", "left git, and stays"];
        assert!(says(&lines[1], left), "{lines:?}");
    }

    #[test]
    fn what_others_have_deleted_or_changed_is_not_called_healthy() {
        let named = |name: &str| ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: Some("shop".into()),
            name: name.into(),
        };
        let mut inventory = Inventory::default();
        for name in ["edited", "gone", "well"] {
            inventory.insert(Entry::intended(&named(name), "v1"));
        }
        let drift = vec![
            ObjectDrift {
                object: named("gone").to_string(),
                deleted: true,
                ..ObjectDrift::default()
            },
            ObjectDrift {
                object: named("edited").to_string(),
                fields: vec!["/data/value".into()],
                managers: vec!["eve".into()],
                fight: Some(FightStatus {
                    repairs: 3,
                    next_repair: "t9".into(),
                }),
                ..ObjectDrift::default()
            },
        ];
        let status = ApplicationStatus {
            inventory: Some(inventory.store()),
            health: Some(Status::Healthy),
            conditions: Condition::drifted(&drift, None, "t", &[])
                .into_iter()
                .collect(),
            drift,
            // An object with a problem may have been changed as well.
            problems: vec![ObjectProblem {
                object: named("edited").to_string(),
                message: "Degraded: it crashes".into(),
                explanation: None,
            }],
            ..ApplicationStatus::default()
        };
        let metadata = json!({"namespace": "shop", "name": "web"});
        let application = Application {
            status: Ok(status.clone()),
            ..Application::read(json!({"metadata": metadata, "spec": {}}))
        };
        let spec = application.spec.clone().unwrap();
        let facts = facts(&application, &spec, &status);
        let says_so = |(name, text): &Fact| *name == "drift" && text.contains("(and 1 more)");
        assert!(facts.iter().any(says_so), "{facts:?}");

        let lines = objects(&status, 10);
        let changed = "/data/value changed by eve; put right 3 times in a row";
        let expected = [
            "edited  Degraded: it crashes",
            changed,
            "gone  deleted",
            "well",
        ];
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, text) in lines.iter().zip(expected) {
            assert!(line.contains(text), "{lines:?}");
        }

        // A line is printed again when that of its object changes: each object has one line.
        let lines = object_lines(&application, true);
        let of = |name: &str| {
            let object = named(name).to_string();
            let all = lines.iter().filter(move |(what, _)| *what == object);
            all.map(|(_, text)| text.as_str()).collect::<Vec<_>>()
        };
        assert!(of("well")[0].ends_with("healthy"), "{lines:?}");
        assert!(of("gone")[0].ends_with("deleted"), "{lines:?}");
        assert!(of("edited")[0].contains("crashes"), "{lines:?}");
        assert!(of("edited")[0].contains(changed), "{lines:?}");
        assert_eq!(
            ["well", "gone", "edited"].map(|name| of(name).len()),
            [1; 3]
        );
    }

    /// Returns a status in which each revision has a render of its own, and one was last written.
    fn tried(tries: &[(&str, Trigger, Ending)], written: &str) -> ApplicationStatus {
        let mut history = Vec::new();
        for (revision, trigger, ending) in tries {
            record(&mut history, attempt(revision, *trigger, *ending), "t");
        }
        ApplicationStatus {
            history,
            inventory: Some(StoredInventory {
                release: Some(ReleaseRecord::taken_over(1, Digest::of(written))),
                ..StoredInventory::default()
            }),
            ..ApplicationStatus::default()
        }
    }

    #[test]
    fn what_is_gone_back_to_runs_when_it_is_there_as_a_whole() {
        use Ending::{Failed, Healthy, Underway, Unhealthy};
        let told = |endings: &[Ending], written: &str| {
            let first = ("a", Trigger::Revision, Healthy);
            let second = ("b", Trigger::Revision, Failed);
            let back = endings.iter().map(|one| ("a", Trigger::Rollback, *one));
            let tries: Vec<_> = [first, second].into_iter().chain(back).collect();
            let rollback = Rollback {
                to: "a".into(),
                instead_of: "b".into(),
                by: None,
                reason: "web is not healthy".into(),
                since: "t".into(),
                left_digest: None,
            };
            rollback_text(&tried(&tries, written), &rollback)
        };
        let not_yet = "is to run a, not b, and does not yet: the agent went back at t";
        // It was decided on and could not be fetched; its plan was refused; it is progressing; it was partly written.
        let not_there: [(&[Ending], &str); 4] = [
            (&[], "b"),
            (&[Failed], "b"),
            (&[Underway], "a"),
            (&[Failed], "a"),
        ];
        for (endings, written) in not_there {
            let told = told(endings, written);
            assert!(told.contains(not_yet), "{endings:?}: {told}");
        }
        // Later problems do not take it out of the cluster.
        for endings in [&[Healthy][..], &[Unhealthy], &[Healthy, Failed]] {
            let told = told(endings, "a");
            let runs = "runs a, not b: the agent went back at t";
            assert!(told.contains(runs), "{endings:?}: {told}");
        }
    }
}
