//! `pintle converge`: apply, prune, wait until healthy.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use pintle_cluster::{
    Applying, Connection, Explainer, InventoryStore as _, Patience, Planned, Purpose, Step,
    Tracker, Unsettled, Waited,
};
use pintle_core::{
    application::TestResult, check::Approved, duration::Span, object::ObjectId, plan::Action,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    follow,
    input::Origin,
    interrupt::cancel_on_interrupt,
    plan,
    session::Session,
    target::{Target, connect, tell_findings},
    test::request,
};
use crate::{
    cli::{
        args::{ConvergeCommand, OutputArgs},
        board::explanation_lines,
        exit::Exit,
        output,
        progress::Progress,
    },
    pipeline::results::TestResults,
};

/// How long watches may take to sync before this waits for what they have not reported.
const SYNC: Duration = Duration::from_secs(10);
/// How long an object may be progressing before it is asked why.
const MOMENT: Duration = Duration::from_secs(3);

pub(super) async fn run(args: &ConvergeCommand) -> anyhow::Result<Exit> {
    let session = Session::granting(&args.cluster.renderer.registry, &args.cluster.cluster_reads)?;
    let connection = connect(&args.cluster.connection).await?;
    let origin = Origin::of(&args.cluster.input, &session.remotes)?;
    let session = session.with_standard_input(&args.cluster.renderer.helm)?;
    let follow = args.cluster.input.follow;
    let cancel = cancel_on_interrupt();
    follow::run(&origin, follow, Some(&cancel), async || {
        let progress = Progress::new(args.cluster.output.output);
        let preparing = Box::pin(prepare(args, &session, &connection, &origin, &progress));
        let (target, plan) = tokio::select! {
            prepared = preparing => prepared?,
            () = cancel.cancelled() => bail!("stopped before anything was written"),
        };
        let wishes = Wishes {
            timeout: args.timeout,
            test: args.test,
            output: args.cluster.output,
            cancel: cancel.clone(),
        };
        Box::pin(carry_out(&wishes, &session, target, plan, &progress)).await
    })
    .await
}

/// Makes an approved plan. Nothing is written.
async fn prepare(
    args: &ConvergeCommand,
    session: &Session,
    connection: &Connection,
    origin: &Origin,
    progress: &Progress,
) -> anyhow::Result<(Target, (Planned, Approved))> {
    let input = session.open(origin, &args.cluster.renderer).await?;
    let mut target = Target::render(&args.cluster, session, connection, &input, progress).await?;
    target.release.confirmed_deletions = args.confirm_prune;
    target.release.adopt = args.adopt;
    let planned = target.plan(progress).await?;
    let approved = target.check(session, &planned).await?;
    tell_findings(&approved);
    Ok((target, (planned, approved)))
}

/// How a plan is carried out.
pub(super) struct Wishes {
    /// How long objects may take to become healthy. The default comes from the settings.
    pub(super) timeout: Option<Span>,
    /// Whether tests are run when everything is healthy.
    pub(super) test: bool,
    /// How the result is printed.
    pub(super) output: OutputArgs,
    /// Stops it at the next point where nothing is half done.
    pub(super) cancel: CancellationToken,
}

/// Applies the approved plan, and waits until everything is healthy and its hooks have succeeded.
pub(super) async fn carry_out(
    wishes: &Wishes,
    session: &Session,
    mut target: Target,
    (planned, approved): (Planned, Approved),
    progress: &Progress,
) -> anyhow::Result<Exit> {
    target
        .store
        .check_room(&planned.inventory, planned.plan.changes())?;
    target.settle(&planned).await?;
    progress.stage(&format!("applying: {}", planned.plan.summary()));
    let cancel = &wishes.cancel;
    target.release.hook_timeout = wishes.timeout.unwrap_or(target.settings.spec.timeout);
    let teller = Teller(progress);
    let applying = Applying {
        release: &target.release,
        prepared: &target.prepared,
        progress: &teller,
        cancel,
    };
    // The tracker is given the server's answer to each write: a watch may begin with the earlier state.
    let tracker = target.track(&planned.inventory);
    let cluster = target.cluster.clone().with_tracker(tracker.clone());
    let applied = cluster
        .apply(
            &applying,
            &approved,
            planned.inventory.clone(),
            &mut target.store,
        )
        .await?;
    target.observe(&tracker, &applied.inventory);
    for kept in &planned.kept {
        output::warning(&format!(
            "{} left the source and stays: {}",
            kept.id, kept.reason
        ));
    }
    let timeout = wishes.timeout.unwrap_or(target.settings.spec.timeout);
    let ids: Vec<ObjectId> = applied.inventory.managed().cloned().collect();
    let limit = timeout.get();
    let waited = wait(&target, &tracker, &ids, limit, progress, cancel).await?;
    if waited == Waited::Healthy {
        let applying = Applying {
            release: &target.release,
            prepared: &target.prepared,
            progress: &teller,
            cancel,
        };
        target
            .cluster
            .complete(&applying, applied.inventory, &mut target.store)
            .await?;
    }
    let is_healthy = waited == Waited::Healthy;
    if is_healthy {
        progress.all_healthy();
    }
    progress.finish();
    if is_healthy && wishes.output.output.is_none() {
        tell_healthy(&target, &planned, ids.len());
    }
    let tested = if is_healthy && wishes.test {
        Some(test(&mut target, session, progress, cancel).await)
    } else {
        None
    };
    if let Some(format) = wishes.output.output {
        let mut document = plan::document(&planned, approved.findings(), &target.release.seed);
        document["application"] = json!(target.release.application);
        document["rendered"] = json!(target.rendered.digest());
        document["objects"] = json!(ids.len());
        document["healthy"] = json!(is_healthy);
        if let Some((tests, _)) = &tested {
            document["tests"] = json!(tests);
        }
        output::machine(format, &document)?;
    }
    match waited {
        Waited::Healthy => {
            if let Some((_, outcome)) = tested {
                outcome?;
            }
            Ok(Exit::Done)
        }
        Waited::Cancelled => bail!("stopped while waiting: what was applied stays"),
        Waited::Failed(unsettled) => bail!("the rollout failed:\n{}", lines(&unsettled)),
        Waited::TimedOut(unsettled) => bail!(late(timeout, &unsettled)),
    }
}

/// Runs the tests of what is applied and healthy. Returns the results of the tests that have ended, and whether all is well.
async fn test(
    target: &mut Target,
    session: &Session,
    progress: &Progress,
    cancel: &CancellationToken,
) -> (Vec<TestResult>, anyhow::Result<()>) {
    let teller = Teller(progress);
    let results = TestResults::telling(&teller);
    let outcome = run_tests(target, session, progress, &results, cancel).await;
    progress.finish();
    let results = results.into_all();
    if outcome.is_ok() {
        match results.len() {
            0 => output::note("there are no tests"),
            1 => output::note("1 test passed"),
            passed => output::note(&format!("{passed} tests passed")),
        }
    }
    (results, outcome)
}

async fn run_tests(
    target: &mut Target,
    session: &Session,
    progress: &Progress,
    results: &TestResults<'_>,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    target.release.purpose = Purpose::Test;
    let planned = target.plan(progress).await?;
    let approved = target.check(session, &planned).await?;
    let applying = Applying {
        release: &target.release,
        prepared: &target.prepared,
        progress: results,
        cancel,
    };
    let inventory = target.store.inventory().clone();
    let attempt = request()?;
    target
        .cluster
        .test(&applying, &approved, &attempt, inventory, &mut target.store)
        .await?;
    Ok(())
}

async fn wait(
    target: &Target,
    tracker: &Tracker,
    ids: &[ObjectId],
    timeout: Duration,
    progress: &Progress,
    cancel: &CancellationToken,
) -> anyhow::Result<Waited> {
    progress.stage("waiting until all is healthy");
    let report = |unsettled: &Arc<[Unsettled]>| progress.health(unsettled);
    let application = &target.release.application;
    // Until the watches have synced, everything would be unknown. Problems with a watch are reported below.
    let _ = tracker.synced(application, SYNC).await;
    let mut explainer = Explainer::new(&target.cluster, None)?;
    let patience = Patience {
        limit: timeout,
        moment: MOMENT,
    };
    let waiting = explainer.wait(tracker, application, ids, patience, cancel, &report);
    Ok(waiting.await)
}

fn tell_healthy(target: &Target, planned: &Planned, objects: usize) {
    let summary = planned.plan.summary();
    output::note(&format!(
        "{} is healthy: {objects} objects ({summary})",
        target.release.application
    ));
    if let Some(notes) = target.rendered.notes() {
        output::note(notes);
    }
}

fn late(timeout: Span, unsettled: &[Unsettled]) -> String {
    format!("not healthy after {timeout}:\n{}", lines(unsettled))
}

fn lines(unsettled: &[Unsettled]) -> String {
    let line = |object: &Unsettled| {
        let mut text = format!(
            "  {}: {}: {}",
            object.id, object.assessment.status, object.assessment.message
        );
        for line in explanation_lines(object) {
            text.push_str("\n      ");
            text.push_str(&line);
        }
        text
    };
    unsettled.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Shows the steps of an apply on the terminal.
pub(super) struct Teller<'a>(pub(super) &'a Progress);

impl pintle_cluster::Progress for Teller<'_> {
    fn step(&self, step: Step<'_>) {
        match step {
            Step::Written { id, action, .. } => self.0.done(id, action),
            Step::Deleted { id } => self.0.done(id, Action::Delete),
            Step::Hooks { event, count } => {
                self.0.stage(&format!("running {count} {event} hooks"));
            }
            Step::HookEnded {
                id,
                event,
                failure: None,
            } => self.0.line(&format!("{id}: its {event} hook succeeded")),
            // A hook that failed is reported as a failure.
            Step::Started { .. } | Step::HookEnded { .. } => {}
            Step::Log { origin, text, .. } => {
                for line in text.lines() {
                    self.0.line(&format!("{origin}: {line}"));
                }
            }
            Step::Settling { object } => self.0.health(std::slice::from_ref(object)),
            Step::Waiting { id, what } => self.0.stage(&format!("waiting for {id} {what}")),
            Step::Failed { id, error } => self.0.failed(id, &error.to_string()),
        }
    }

    fn wants_logs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_as_it_is_written_in_settings() {
        let late = late(Span::seconds(300), &[]);
        assert_eq!(late, "not healthy after 5m:\n");
    }
}
