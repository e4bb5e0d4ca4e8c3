//! `pintle render`: the objects that a folder stands for.

use pintle_core::seed::Seed;
use pintle_host::Context;
use serde_json::Value;

use super::{
    follow, helm_flags,
    input::{Input, Origin},
    session::{Release, Session},
};
use crate::{
    cli::{
        args::{Format, RenderCommand, listed},
        exit::Exit,
        output,
    },
    pipeline::yaml,
};

pub(super) async fn run(args: &RenderCommand) -> anyhow::Result<Exit> {
    let session = Session::new(&args.renderer.registry)?;
    let origin = Origin::of(&args.input, &session.remotes)?;
    let session = session.with_standard_input(&args.renderer.helm)?;
    let done = follow::run(&origin, args.input.follow, None, async || {
        once(args, &session, &origin).await
    })
    .await;
    // The process ends here, so what was loaded need not be freed first.
    std::mem::forget(session);
    done
}

/// What a folder is rendered with.
pub(super) struct Prepared {
    pub(super) release: Release,
    pub(super) context: Context,
    pub(super) seed: Seed,
}

impl Prepared {
    pub(super) fn new(
        session: &Session,
        args: &RenderCommand,
        input: &Input,
    ) -> anyhow::Result<Self> {
        let mut release = session.release(input, &args.input, &args.renderer)?;
        if !release.is_described {
            helm_flags::without_crds(&mut release.spec, &*input.tree)?;
        }
        // Without a cluster, no seed is kept, so nothing could be derived from it again. A fresh seed is used, unless one is
        // given.
        let seed = args
            .renderer
            .seed
            .as_deref()
            .map_or_else(fresh_seed, Seed::from_text);
        let context = Context {
            name: release.name.clone(),
            namespace: release.namespace_or("default"),
            kube_version: args.kube_version.clone(),
            api_versions: api_versions(listed(&args.api_versions)).into(),
            revision: input.revision.commit.clone(),
            revision_time: input.revision.time,
        };
        Ok(Self {
            release,
            context,
            seed,
        })
    }
}

async fn once(args: &RenderCommand, session: &Session, origin: &Origin) -> anyhow::Result<Exit> {
    let input = session.open(origin, &args.renderer).await?;
    let Prepared {
        release,
        context,
        seed,
    } = Prepared::new(session, args, &input)?;
    let outcome = session
        .render(&release, &input, context, &seed, None)
        .await?;
    let values: Vec<&Value> = outcome
        .rendered
        .objects()
        .iter()
        .chain(outcome.rendered.hooks())
        .map(|one| one.object.value())
        .collect();
    match args.output.output {
        None | Some(Format::Yaml) => output::document(&yaml::stream(&values)),
        Some(Format::Json) => {
            output::machine(
                Format::Json,
                &serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": values }),
            )?;
        }
        Some(Format::Jsonl) => {
            for value in values {
                output::machine(Format::Jsonl, value)?;
            }
        }
    }
    if !args.input.follow {
        // The process ends here: freeing a large render piece by piece would be wasted work.
        std::mem::forget(outcome);
    }
    Ok(Exit::Done)
}

/// Draws a seed from the system's random source.
pub(super) fn fresh_seed() -> Seed {
    Seed::from_bytes(rand::random())
}

/// The API versions that a renderer is given when there is no cluster: each version that a client of Kubernetes 1.37 knows,
/// including the removed ones. `helm template` gives charts the same, so a chart takes the same branches here as there.
const API_VERSIONS: [&str; 57] = [
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
    "apiextensions.k8s.io/v1beta1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1alpha1",
    "certificates.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "internal.apiserver.k8s.io/v1alpha1",
    "lifecycle.k8s.io/v1alpha1",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1alpha1",
    "rbac.authorization.k8s.io/v1beta1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1alpha3",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1beta2",
    "scheduling.k8s.io/v1",
    "scheduling.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storage.k8s.io/v1beta1",
    "storagemigration.k8s.io/v1",
    "storagemigration.k8s.io/v1beta1",
    "v1",
];

/// Returns the API versions that are served without a cluster, and those that the user adds.
fn api_versions(more: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = API_VERSIONS
        .iter()
        .map(|one| (*one).to_owned())
        .chain(more)
        .collect();
    all.sort();
    all.dedup();
    all
}
