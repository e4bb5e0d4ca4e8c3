//! `pintle history`: the revisions of an application, who wrote them, and how they ended.

use pintle_core::{
    application::ApplicationStatus,
    history::{HistoryEntry, Trigger},
    plan::Summary,
    revision::short,
};

use super::act::Subject;
use crate::cli::{args::HistoryCommand, exit::Exit, output};

pub(super) async fn run(args: &HistoryCommand) -> anyhow::Result<Exit> {
    let subject = Subject::find(&args.application).await?;
    let status = subject.application.status.as_ref().map_err(Clone::clone)?;
    if let Some(format) = args.output.output {
        output::machine(format, &status.history)?;
        return Ok(Exit::Done);
    }
    if status.history.is_empty() {
        let name = subject.application.application_name();
        output::note(&format!("no revision of {name} was rolled out yet"));
        return Ok(Exit::Done);
    }
    output::text(&table(&status.history, running(status)));
    Ok(Exit::Done)
}

/// Returns the number of the entry for what runs. That is the newest entry of the running revision, because an earlier rollout of
/// it is history. Otherwise it is the newest entry of the same objects, which continued under a later commit that does not change
/// them.
fn running(status: &ApplicationStatus) -> Option<u64> {
    let history = &status.history;
    let revision = status.revision.as_ref()?;
    let of_revision = history.iter().find(|one| one.revision == *revision);
    let rendered = status
        .rendered_digest
        .filter(|_| status.attempted_revision.as_ref() == Some(revision));
    let of_render = || {
        let mut entries = history.iter();
        entries.find(|one| rendered.is_some() && one.rendered_digest == rendered)
    };
    of_revision.or_else(of_render).map(|one| one.number)
}

const HEADER: [&str; 7] = [
    "#", "REVISION", "STARTED", "OUTCOME", "CHANGES", "WHO", "WHAT",
];

fn table(history: &[HistoryEntry], running: Option<u64>) -> String {
    let rows: Vec<Vec<String>> = history
        .iter()
        .map(|entry| row(entry, Some(entry.number) == running))
        .collect();
    output::table(&HEADER, &rows)
}

fn row(entry: &HistoryEntry, is_current: bool) -> Vec<String> {
    let mark = if is_current { "*" } else { "" };
    let changes = entry.plan.as_ref().map_or_else(|| "-".to_owned(), changes);
    let mut what = what(entry);
    if let Some(message) = &entry.message {
        what = format!("{what} - {message}");
    }
    vec![
        format!("{}{mark}", entry.number),
        short(&entry.revision).to_owned(),
        entry.started.clone(),
        entry.ending.name().to_owned(),
        changes,
        who(entry),
        what,
    ]
}

/// Summarizes what a plan did. What did not change is not mentioned.
fn changes(plan: &Summary) -> String {
    let counts = [
        (plan.create, "created"),
        (plan.update, "updated"),
        (plan.replace, "replaced"),
        (plan.delete, "deleted"),
    ];
    let done = counts.iter().filter(|(count, _)| *count > 0);
    let done: Vec<String> = done
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    done.join(", ")
}

/// Returns the person who asked for it, or else the author of the commit.
fn who(entry: &HistoryEntry) -> String {
    let name = entry.author.split(" <").next().unwrap_or_default();
    let author = if name.is_empty() { "-" } else { name };
    let by = entry.requested_by.as_deref();
    by.unwrap_or(author).to_owned()
}

fn what(entry: &HistoryEntry) -> String {
    let reason = entry.reason.as_deref();
    let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let summary = &entry.summary;
    match entry.trigger {
        Trigger::Rollback => format!("rolled back{because}"),
        Trigger::Request => format!("{summary} (asked for{because})"),
        Trigger::Settings => format!("{summary} (other settings)"),
        Trigger::Revision | Trigger::Other => summary.clone(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use pintle_core::{
        digest::Digest,
        history::{Attempt, Ending, record},
    };

    /// Returns an attempt of a revision with a render of its own.
    pub(crate) fn attempt(revision: &str, trigger: Trigger, ending: Ending) -> Attempt {
        Attempt {
            revision: revision.to_owned(),
            reference: "main".into(),
            author: "Ada Lovelace <ada@example.com>".into(),
            summary: "two replicas".into(),
            trigger,
            requested_by: None,
            reason: None,
            origin: None,
            rendered: Some(Digest::of(revision)),
            plan: Some((
                Digest::of("plan"),
                Summary {
                    create: 2,
                    ..Summary::default()
                },
            )),
            ending,
            message: None,
        }
    }

    #[test]
    fn it_says_who_what_when_and_how_it_ended() {
        let mut history = Vec::new();
        let good = attempt("0123456789abcdef", Trigger::Revision, Ending::Healthy);
        record(&mut history, good, "2026-01-01T10:00:00Z");
        let mut bad = attempt("fedcba9876543210", Trigger::Request, Ending::Unhealthy);
        bad.requested_by = Some("bob".into());
        bad.reason = Some("now".into());
        bad.message = Some("web is not healthy".into());
        record(&mut history, bad, "2026-01-01T11:00:00Z");
        let mut back = attempt("0123456789abcdef", Trigger::Rollback, Ending::Healthy);
        back.reason = Some("web is not healthy".into());
        back.plan = None;
        record(&mut history, back, "2026-01-01T12:00:00Z");
        let mut status = ApplicationStatus {
            history,
            revision: Some("0123456789abcdef".into()),
            attempted_revision: Some("0123456789abcdef".into()),
            ..ApplicationStatus::default()
        };
        let number = running(&status);
        insta::assert_snapshot!(table(&status.history, number), @r"
        #    REVISION       STARTED                OUTCOME     CHANGES     WHO            WHAT
        3*   0123456789ab   2026-01-01T12:00:00Z   healthy     -           Ada Lovelace   rolled back: web is not healthy
        2    fedcba987654   2026-01-01T11:00:00Z   unhealthy   2 created   bob            two replicas (asked for: now) - web is not healthy
        1    0123456789ab   2026-01-01T10:00:00Z   healthy     2 created   Ada Lovelace   two replicas
        ");
        // A commit with the same render has no entry of its own.
        let later = Some("7777777777777777".to_owned());
        (status.revision, status.rendered_digest) =
            (later.clone(), Some(Digest::of("fedcba9876543210")));
        assert_eq!(running(&status), None, "another commit was rendered last");
        status.attempted_revision = later;
        assert_eq!(running(&status), Some(2));
    }
}
