//! `pintle adopt helm`: take over a Helm release.

use std::sync::Arc;

use anyhow::bail;
use owo_colors::OwoColorize as _;
use pintle_cluster::{Connection, HelmRelease, InventoryStore as _, Planned, Takeover};
use pintle_core::{check::Finding, object::ObjectId, plan::Depth};
use serde_json::json;

use super::{
    converge::{self, Wishes},
    input::Origin,
    interrupt::cancel_on_interrupt,
    plan,
    session::Session,
    target::{Target, connect, tell_findings},
};
use crate::{
    cli::{
        args::{AdoptCommand, AdoptHelmCommand},
        exit::Exit,
        output,
        progress::Progress,
    },
    pipeline::adopt::{lines, restarts},
};

pub(super) async fn run(command: &AdoptCommand) -> anyhow::Result<Exit> {
    let AdoptCommand::Helm(args) = command;
    let session = Session::granting(&args.cluster.renderer.registry, &args.cluster.cluster_reads)?;
    let connection = connect(&args.cluster.connection).await?;
    let origin = Origin::of(&args.cluster.input, &session.remotes)?;
    let session = session.with_standard_input(&args.cluster.renderer.helm)?;
    let progress = Progress::new(args.cluster.output.output);
    let input = origin.open().await?;
    let mut cluster = args.cluster.clone();
    // The names of objects derive from the release's name, so it is kept.
    cluster
        .renderer
        .name
        .get_or_insert_with(|| args.release.clone());
    let mut target = Target::render(&cluster, &session, &connection, &input, &progress).await?;
    let namespace = target.release.namespace.clone();
    progress.stage(&format!("reading the release {} of Helm", args.release));
    let (rendered, seed) = (&target.rendered, &target.release.seed);
    let compared = HelmRelease::compared(&connection, &namespace, &args.release, rendered, seed);
    let (helm, takeover) = compared.await?;
    target.release = target
        .release
        .taking_over_from_helm(Arc::clone(&takeover.applied));
    let planned = plan_takeover(&target, &takeover, &progress).await?;
    progress.finish();
    let replaced = restarts(&planned.plan, &target.release.seed);
    let (findings, checked) = target.verdict(&session, &planned).await?;
    show(
        args, &helm, &takeover, &planned, &findings, &replaced, &target,
    )?;
    if !replaced.is_empty() && !args.allow_restarts {
        bail!(
            "pods of these would be replaced:\n{}\nrender what Helm has applied (chart {}, and its values), or allow it with \
             --allow-restarts",
            lines(replaced),
            helm.chart
        );
    }
    let approved = checked?;
    tell_findings(&approved);
    if !args.yes {
        output::note("nothing was written: take the release over with --yes");
        return Ok(Exit::Different);
    }
    let wishes = Wishes {
        timeout: args.timeout,
        test: false,
        output: args.cluster.output,
        cancel: cancel_on_interrupt(),
    };
    let carried_out =
        converge::carry_out(&wishes, &session, target, (planned, approved), &progress);
    let exit = Box::pin(carried_out).await?;
    if exit == Exit::Done {
        part(args, &connection, &namespace).await?;
    }
    Ok(exit)
}

/// Makes a plan with Helm's release as the last release.
async fn plan_takeover(
    target: &Target,
    takeover: &Takeover,
    progress: &Progress,
) -> anyhow::Result<Planned> {
    progress.stage("planning: a dry run by the server");
    let mut inventory = target.store.inventory().clone();
    // An interrupted takeover is continued.
    inventory
        .release
        .get_or_insert_with(|| takeover.record.clone());
    let planned = target
        .cluster
        .plan(&target.release, &target.prepared, &inventory, Depth::Server)
        .await?;
    Ok(planned)
}

fn show(
    args: &AdoptHelmCommand,
    helm: &HelmRelease,
    takeover: &Takeover,
    planned: &Planned,
    findings: &[Finding],
    replaced: &[&ObjectId],
    target: &Target,
) -> anyhow::Result<()> {
    let seed = &target.release.seed;
    if let Some(format) = args.cluster.output.output {
        // If the plan is carried out, only its result is printed.
        if args.yes {
            return Ok(());
        }
        let mut document = plan::document(planned, findings, seed);
        document["helm"] = json!({
            "release": helm.name, "namespace": helm.namespace, "revision": helm.revision, "chart": helm.chart,
            "same": takeover.is_same, "left": takeover.left, "restarts": replaced,
        });
        return output::machine(format, &document);
    }
    for change in planned.plan.changes() {
        output::text(&plan::describe(change, seed));
    }
    let same = if takeover.is_same {
        "what is rendered is what Helm has applied: no hook is run"
            .green()
            .to_string()
    } else {
        "what is rendered differs from what Helm has applied: this is an upgrade"
            .yellow()
            .to_string()
    };
    output::text(&format!(
        "{}, revision {} of {} by Helm; {same}\n{}\nplan {}",
        helm.chart,
        helm.revision,
        helm.name,
        planned.plan.summary(),
        planned.plan.digest()
    ));
    if helm.has_failed_since {
        output::warning("Helm has tried to upgrade it since, and failed: look at what it has left");
    }
    if !takeover.left.is_empty() {
        output::warning(&format!(
            "not in the source, so these stay unchanged and still belong to Helm:\n{}",
            lines(&takeover.left)
        ));
    }
    Ok(())
}

/// Has Helm forget the release, or reports what Helm still knows.
async fn part(
    args: &AdoptHelmCommand,
    connection: &Connection,
    namespace: &str,
) -> anyhow::Result<()> {
    let name = &args.release;
    if args.forget {
        let revisions = HelmRelease::forget(connection, namespace, name).await?;
        output::note(&format!(
            "Helm has forgotten the release {name}: {revisions} revisions deleted"
        ));
    } else {
        output::warning(&format!(
            "Helm still knows the release {name}, and `helm uninstall` would delete its objects: let it forget the release with \
             --yes --forget when all is well"
        ));
    }
    Ok(())
}
