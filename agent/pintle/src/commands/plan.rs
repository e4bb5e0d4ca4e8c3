//! `pintle diff` and `pintle plan`: what would be done.

use owo_colors::OwoColorize as _;
use pintle_cluster::Planned;
use pintle_core::{
    check::{Denied, Finding},
    diff::Difference,
    plan::{Action, Change, Plan},
    seed::Seed,
};
use serde_json::{Value, json};

use super::{
    follow,
    input::Origin,
    session::Session,
    target::{Target, connect},
};
use crate::cli::{
    args::ClusterCommand,
    exit::{Exit, Usage},
    output,
    progress::Progress,
};

/// Which part of a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// The differences of each object. Policies are not asked.
    Differences,
    /// The plan with the findings of policies, and its digest.
    Plan,
}

pub(super) async fn run(args: &ClusterCommand, show: Show) -> anyhow::Result<Exit> {
    if show == Show::Differences && !args.policies.is_empty() {
        let why = "`diff` asks no policies: `pintle plan` shows what those of --policy say";
        return Err(Usage(why.to_owned()).into());
    }
    let session = Session::granting(&args.renderer.registry, &args.cluster_reads)?;
    let connection = connect(&args.connection).await?;
    let origin = Origin::of(&args.input, &session.remotes)?;
    let session = session.with_standard_input(&args.renderer.helm)?;
    follow::run(&origin, args.input.follow, None, async || {
        let progress = Progress::new(args.output.output);
        let input = session.open(&origin, &args.renderer).await?;
        let target = Target::render(args, &session, &connection, &input, &progress).await?;
        let planned = target.plan(&progress).await?;
        progress.finish();
        let (findings, denied) = match show {
            Show::Differences => (Vec::new(), None),
            Show::Plan => {
                let (findings, verdict) = target.verdict(&session, &planned).await?;
                (findings, verdict.err())
            }
        };
        print(args, show, &planned, &findings, &target.release.seed)?;
        finish(&planned.plan, denied)
    })
    .await
}

fn finish(plan: &Plan, denied: Option<Denied>) -> anyhow::Result<Exit> {
    match denied {
        Some(denied) => Err(denied.into()),
        None if plan.is_empty() => Ok(Exit::Done),
        None => Ok(Exit::Different),
    }
}

fn print(
    args: &ClusterCommand,
    show: Show,
    planned: &Planned,
    findings: &[Finding],
    seed: &Seed,
) -> anyhow::Result<()> {
    if let Some(format) = args.output.output {
        return output::machine(format, &document(planned, findings, seed));
    }
    for change in planned.plan.changes() {
        output::text(&describe(change, seed));
    }
    for kept in &planned.kept {
        output::warning(&format!(
            "{} left the source and stays: {}",
            kept.id, kept.reason
        ));
    }
    if show == Show::Plan {
        for finding in findings {
            output::warning(&finding.to_string());
        }
        output::text(&format!(
            "{}\nplan {}",
            planned.plan.summary(),
            planned.plan.digest()
        ));
    }
    Ok(())
}

/// Returns a plan as a document for machines. The values of Secrets are concealed.
pub(super) fn document(planned: &Planned, findings: &[Finding], seed: &Seed) -> Value {
    let change = |change: &Change| {
        json!({
            "action": change.action,
            "object": change.id,
            "source": change.source,
            "hook": change.hook,
            "differences": change.differences(seed),
            "conflicts": change.conflicts,
        })
    };
    let changes = planned
        .plan
        .changes()
        .iter()
        .filter(|change| change.action != Action::Unchanged)
        .map(change);
    let kept = planned
        .kept
        .iter()
        .map(|kept| json!({ "object": kept.id, "reason": kept.reason }));
    json!({
        "digest": planned.plan.digest(),
        "summary": planned.plan.summary(),
        "changes": changes.collect::<Vec<_>>(),
        "kept": kept.collect::<Vec<_>>(),
        "findings": findings,
    })
}

/// Describes a change for people. Returns an empty text for an object that stays as it is.
pub(super) fn describe(change: &Change, seed: &Seed) -> String {
    let source = change
        .source
        .as_ref()
        .map(|source| format!("  {}", source.dimmed()))
        .unwrap_or_default();
    let id = &change.id;
    if change.is_hook() {
        let events: Vec<_> = change.hook.iter().map(|event| event.name()).collect();
        let events = events.join(", ");
        let (mark, more) = match change.action {
            Action::Keep => ("▷", ", kept for the removal"),
            Action::Replace => ("▶", ", deleted and made again"),
            _ => ("▶", ""),
        };
        return format!(
            "{} {id}{source} (hook: {events}{more})\n",
            mark.blue().bold()
        );
    }
    let title = match change.action {
        // Only hooks are kept.
        Action::Keep | Action::Unchanged => return String::new(),
        Action::Create => format!("{} {id}{source}\n", "+".green().bold()),
        Action::Update => format!("{} {id}{source}\n", "~".yellow().bold()),
        Action::Replace => format!(
            "{} {id}{source} (deleted and made again)\n",
            "±".red().bold()
        ),
        Action::Delete => return format!("{} {id}\n", "-".red().bold()),
    };
    let mut out = title;
    for conflict in &change.conflicts {
        out.push_str("    ");
        out.push_str(&conflict.field);
        out.push_str(" is taken over from ");
        out.push_str(&conflict.manager);
        out.push('\n');
    }
    for difference in change.differences(seed) {
        out += &line(&difference, change.action == Action::Create);
    }
    out
}

fn line(difference: &Difference, creates: bool) -> String {
    let Difference {
        pointer,
        before,
        after,
    } = difference;
    let pointer = if pointer.is_empty() { "/" } else { pointer };
    match (before, after) {
        // A new object is one difference: the object itself, which `render` shows better.
        _ if creates => String::new(),
        (None | Some(Value::Null), Some(after)) => {
            format!("    {pointer}: {}\n", short(after).green())
        }
        (Some(before), None | Some(Value::Null)) => {
            format!("    {pointer}: {}\n", short(before).red().strikethrough())
        }
        (Some(before), Some(after)) => format!(
            "    {pointer}: {} → {}\n",
            short(before).red(),
            short(after).green()
        ),
        (None, None) => String::new(),
    }
}

/// Formats a value on one line. The end of a long one is cut off.
fn short(value: &Value) -> String {
    const LIMIT: usize = 200;
    let text = value.to_string();
    match text.char_indices().nth(LIMIT) {
        None => text,
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
    }
}
