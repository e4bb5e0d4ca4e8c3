//! `pintle render`: the objects that a folder stands for.

use pintle_core::seed::Seed;
use pintle_host::Context;
use serde_json::Value;

use super::{follow, session::Session};
use crate::{
    cli::{
        args::{Format, RenderCommand},
        exit::Exit,
        output,
    },
    pipeline::{input::Origin, yaml},
};

pub(super) async fn run(args: &RenderCommand) -> anyhow::Result<Exit> {
    let session = Session::new(&args.renderer.registry).await?;
    let origin = Origin::of(&args.input)?;
    follow::run(&origin, args.input.follow, async || {
        once(args, &session, &origin).await
    })
    .await
}

async fn once(args: &RenderCommand, session: &Session, origin: &Origin) -> anyhow::Result<Exit> {
    let input = origin.open().await?;
    let release = Session::release(&input, &args.input, &args.renderer)?;
    // Without a cluster nothing is kept, so nothing could be derived again: a fresh seed, unless one is given.
    let seed = args
        .renderer
        .seed
        .as_deref()
        .map_or_else(fresh_seed, Seed::from_text);
    let context = Context {
        name: release.name.clone(),
        namespace: release.namespace_or("default"),
        kube_version: args.kube_version.clone(),
        api_versions: api_versions(&args.api_versions),
        revision: input.revision.commit.clone(),
        revision_time: input.revision.time,
    };
    let outcome = session.render(&release, &input, context, &seed).await?;
    let values: Vec<&Value> = outcome
        .rendered
        .objects()
        .iter()
        .chain(outcome.rendered.hooks())
        .map(|one| one.object.value())
        .collect();
    match args.output.output {
        None | Some(Format::Yaml) => output::text(&yaml::stream(values)),
        Some(Format::Json) => {
            output::machine(
                Format::Json,
                &serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": values }),
            )?;
        }
    }
    Ok(Exit::Done)
}

/// Draws a seed from the system's random source.
pub(super) fn fresh_seed() -> Seed {
    Seed::from_bytes(rand::random())
}

/// What every cluster serves, and what the user adds.
fn api_versions(more: &[String]) -> Vec<String> {
    let built_in = [
        "admissionregistration.k8s.io/v1",
        "apiextensions.k8s.io/v1",
        "apiregistration.k8s.io/v1",
        "apps/v1",
        "authentication.k8s.io/v1",
        "authorization.k8s.io/v1",
        "autoscaling/v1",
        "autoscaling/v2",
        "batch/v1",
        "certificates.k8s.io/v1",
        "coordination.k8s.io/v1",
        "discovery.k8s.io/v1",
        "events.k8s.io/v1",
        "flowcontrol.apiserver.k8s.io/v1",
        "networking.k8s.io/v1",
        "node.k8s.io/v1",
        "policy/v1",
        "rbac.authorization.k8s.io/v1",
        "scheduling.k8s.io/v1",
        "storage.k8s.io/v1",
        "v1",
    ];
    let mut all: Vec<String> = built_in
        .iter()
        .map(|one| (*one).to_owned())
        .chain(more.iter().cloned())
        .collect();
    all.sort();
    all.dedup();
    all
}
