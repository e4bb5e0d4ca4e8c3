//! `pintle converge`: apply, prune, wait until healthy.

use std::time::Duration;

use anyhow::bail;
use pintle_cluster::{Planned, Step, Unsettled, Waited};
use pintle_core::{inventory::Entry, object::ObjectId, plan::Action};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    follow, plan,
    session::Session,
    target::{Target, connect, tell_findings},
};
use crate::{
    cli::{args::ConvergeCommand, exit::Exit, output, progress::Progress},
    pipeline::input::Origin,
};

pub(super) async fn run(args: &ConvergeCommand) -> anyhow::Result<Exit> {
    let session = Session::granting(&args.cluster.renderer.registry, &args.cluster.cluster_reads)?;
    let connection = connect(&args.cluster.connection).await?;
    let origin = Origin::of(&args.cluster.input, &session.remotes)?;
    let follow = args.cluster.input.follow;
    follow::run(&origin, follow, async || {
        let progress = Progress::new(args.cluster.output.output.is_some());
        let input = origin.open().await?;
        let mut target = Target::render(
            &args.cluster,
            &session,
            &connection,
            &input,
            &progress,
            true,
        )
        .await?;
        target.release.confirmed_deletions = args.confirm_prune;
        target.release.adopt = args.adopt;
        once(args, &session, target, &progress).await
    })
    .await
}

async fn once(
    args: &ConvergeCommand,
    session: &Session,
    mut target: Target,
    progress: &Progress,
) -> anyhow::Result<Exit> {
    let planned = target.plan(progress).await?;
    let approved = target.check(session, &planned).await?;
    tell_findings(&approved);
    progress.stage(&format!("applying: {}", planned.plan.summary()));
    let cancel = cancel_on_interrupt();
    let applied = target
        .cluster
        .apply(
            &target.release,
            &target.prepared,
            &approved,
            planned.inventory.clone(),
            &mut target.store,
            &Teller(progress),
            &cancel,
        )
        .await?;
    for kept in &planned.kept {
        output::warning(&format!(
            "{} left the source and stays: {}",
            kept.id, kept.reason
        ));
    }
    let timeout = args.timeout.unwrap_or(target.settings.spec.timeout).get();
    let ids: Vec<ObjectId> = applied.inventory.entries().map(Entry::id).collect();
    let waited = wait(
        session,
        &target,
        &applied.inventory,
        &ids,
        timeout,
        progress,
        &cancel,
    )
    .await?;
    progress.finish();
    report(args, &target, &planned, ids.len(), &waited)?;
    match waited {
        Waited::Healthy => Ok(Exit::Done),
        Waited::Cancelled => bail!("stopped while waiting: what was applied stays"),
        Waited::Failed(unsettled) => bail!("the rollout failed:\n{}", lines(&unsettled)),
        Waited::TimedOut(unsettled) => {
            bail!("not healthy after {timeout:?}:\n{}", lines(&unsettled))
        }
    }
}

async fn wait(
    session: &Session,
    target: &Target,
    inventory: &pintle_core::inventory::Inventory,
    ids: &[ObjectId],
    timeout: Duration,
    progress: &Progress,
    cancel: &CancellationToken,
) -> anyhow::Result<Waited> {
    progress.stage("waiting until all is healthy");
    let tracker = target.track(session, inventory).await?;
    let report = |unsettled: &[Unsettled]| {
        for object in unsettled {
            progress.health(&object.id, &object.assessment);
        }
    };
    Ok(tracker
        .wait(&target.release.application, ids, timeout, cancel, &report)
        .await)
}

fn report(
    args: &ConvergeCommand,
    target: &Target,
    planned: &Planned,
    objects: usize,
    waited: &Waited,
) -> anyhow::Result<()> {
    let healthy = *waited == Waited::Healthy;
    match args.cluster.output.output {
        Some(format) => {
            let mut document = plan::document(planned, &[], &target.release.seed);
            document["application"] = json!(target.release.application);
            document["rendered"] = json!(target.rendered.digest());
            document["objects"] = json!(objects);
            document["healthy"] = json!(healthy);
            output::machine(format, &document)?;
        }
        None if healthy => {
            let summary = planned.plan.summary();
            output::note(&format!(
                "{} is healthy: {objects} objects ({summary})",
                target.release.application
            ));
            if let Some(notes) = target.rendered.notes() {
                output::note(notes);
            }
        }
        None => {}
    }
    Ok(())
}

fn lines(unsettled: &[Unsettled]) -> String {
    let line = |object: &Unsettled| {
        format!(
            "  {}: {}: {}",
            object.id, object.assessment.status, object.assessment.message
        )
    };
    unsettled.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Ctrl-C once stops at the next point where nothing is half done.
pub(super) fn cancel_on_interrupt() -> CancellationToken {
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            output::note("stopping; what is under way is finished first");
            token.cancel();
        }
    });
    cancel
}

/// Tells the steps of an apply on the terminal.
pub(super) struct Teller<'a>(pub(super) &'a Progress);

impl pintle_cluster::Progress for Teller<'_> {
    fn step(&self, step: Step<'_>) {
        match step {
            Step::Started { .. } => {}
            Step::Written { id, action, .. } => self.0.done(id, action),
            Step::Deleted { id } => self.0.done(id, Action::Delete),
            Step::Waiting { id, what } => self.0.stage(&format!("waiting for {id} {what}")),
            Step::Failed { id, error } => self.0.failed(id, &error.to_string()),
        }
    }
}
