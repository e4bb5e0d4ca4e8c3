//! Flux's kustomize-controller, as Flux installs it, with the concurrency of Flux's own benchmark.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use pintle_harness::{ControlPlane, KUSTOMIZATION_CRD, Process, Program};
use serde_json::{Value, json};

use super::{Contender, Standing};
use crate::bench::applications::{NAMESPACE, Names, folder};
use crate::bench::flux::arena::Arena;
use crate::bench::flux::artifact::{Artifact, ArtifactServer};
use crate::bench::measure::{self, Meter, Phase, Subject};
use crate::{terminal, workspace};

const SYSTEM: &str = "flux-system";
const ACCOUNT: &str = "kustomize-controller";
const USER: &str = "system:serviceaccount:flux-system:kustomize-controller";
/// The `GitRepository` of all applications.
const SOURCE: &str = "apps";

/// The controller, and the part of source-controller that the benchmark plays.
#[derive(Debug)]
pub(super) struct Flux {
    process: Process,
    artifacts: ArtifactServer,
    /// The status of the `GitRepository`, once there is something to fetch.
    status: Option<Value>,
}

impl Flux {
    pub(super) fn start(arena: &Arena) -> Result<(Self, Phase)> {
        let executable = Program::KustomizeController.build(&|line| terminal::line(line))?;
        let control_plane = &arena.control_plane;
        let kubeconfig = install(control_plane, &executable)?;
        let artifacts = ArtifactServer::start(arena.runtime())?;

        let dir = arena.folder("flux")?;
        let temporary = arena.folder("flux/tmp")?;
        let mut command = Command::new(&executable);
        command
            // There is no leader election, which finds its namespace only inside a cluster. This means fewer requests.
            .arg("--watch-all-namespaces")
            .args(["--log-level=info", "--log-encoding=json"])
            .arg("--concurrent=20")
            // All applications are created before the first push. Without this they would look for it twice a minute, in vain.
            .arg("--requeue-dependency=10m")
            .arg(format!("--metrics-addr={}", free_address()?))
            .arg(format!("--health-addr={}", free_address()?))
            .env("KUBECONFIG", kubeconfig)
            .env("RUNTIME_NAMESPACE", SYSTEM)
            // From the limit of its Deployment, as in Flux's manifests.
            .env("GOMEMLIMIT", "1GiB")
            .env("TMPDIR", temporary);
        let mark = control_plane.requests_mark()?;
        let meter = Meter::since_start("start", mark, control_plane.process().usage()?);
        let start = Instant::now();
        let log = dir.join("kustomize-controller.log");
        let process = Process::spawn("kustomize-controller", command, &log)?;
        let subject = Subject {
            process: &process,
            user: USER,
        };
        measure::wait_following(subject, "kustomizations", control_plane, mark)?;
        let wall = start.elapsed();
        measure::wait_started(subject, "kustomizations", control_plane, mark)?;
        let phase = meter.end(wall, subject, control_plane)?;
        let flux = Self {
            process,
            artifacts,
            status: None,
        };
        Ok((flux, phase))
    }
}

/// Installs the definitions, and the account with the permissions that Flux gives it. Returns a kubeconfig for the account.
fn install(control_plane: &ControlPlane, executable: &Path) -> Result<std::path::PathBuf> {
    let definitions = [
        executable.with_file_name(KUSTOMIZATION_CRD),
        workspace::root().join("tests/bench/flux/sources.yaml"),
    ];
    for file in definitions {
        let file = file.to_str().context("the path of a definition is UTF-8")?;
        control_plane.kubectl(&["apply", "--server-side", "-f", file])?;
    }
    for crd in [
        "kustomizations.kustomize.toolkit.fluxcd.io",
        "gitrepositories.source.toolkit.fluxcd.io",
        "ocirepositories.source.toolkit.fluxcd.io",
        "buckets.source.toolkit.fluxcd.io",
    ] {
        let crd = format!("crd/{crd}");
        control_plane.kubectl(&["wait", &crd, "--for=condition=Established", "--timeout=60s"])?;
    }
    control_plane.kubectl(&["create", "namespace", SYSTEM])?;
    let kubeconfig = control_plane.service_account_kubeconfig(SYSTEM, ACCOUNT)?;
    let account = format!("--serviceaccount={SYSTEM}:{ACCOUNT}");
    control_plane.kubectl(&[
        "create",
        "clusterrolebinding",
        "cluster-reconciler",
        "--clusterrole=cluster-admin",
        &account,
    ])?;
    Ok(kubeconfig)
}

/// Returns an address that was free a moment ago. If another process takes it in the meantime, the start fails with an error that
/// says so.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    let address = listener.local_addr().context("find a free port")?;
    Ok(address.to_string())
}

impl Contender for Flux {
    fn subject(&self) -> Subject<'_> {
        Subject {
            process: &self.process,
            user: USER,
        }
    }

    fn resource(&self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(
            "kustomize.toolkit.fluxcd.io",
            "v1",
            "Kustomization",
        ))
    }

    fn standing(&self) -> fn(&DynamicObject) -> Standing {
        |object| Standing::read(object, "lastAppliedRevision")
    }

    fn applications(&self, arena: &Arena, names: Names, interval: u64) -> String {
        let url = arena.servers.git_http(&arena.repository);
        let mut text = format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata:\n  name: {SOURCE}\n  \
             namespace: {NAMESPACE}\nspec:\n  interval: {interval}s\n  url: {url}\n  ref: {{branch: main}}\n"
        );
        for name in names.all() {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: {name}\n  \
                 namespace: {NAMESPACE}\nspec:\n  interval: {interval}s\n  path: ./{}\n  prune: true\n  wait: true\n  \
                 timeout: 5m\n  sourceRef: {{kind: GitRepository, name: {SOURCE}}}\n",
                folder(&name)
            );
        }
        text
    }

    fn revision(&self, commit: &str) -> String {
        format!("main@sha1:{commit}")
    }

    fn publish(&mut self, arena: &Arena, commit: &str) -> Result<()> {
        let Artifact {
            url,
            path,
            digest,
            size,
        } = self.artifacts.publish(&arena.repository, commit)?;
        let now = jiff::Timestamp::now().to_string();
        let revision = self.revision(commit);
        self.status = Some(json!({
            "observedGeneration": 1,
            "artifact": {
                "url": url, "path": path, "digest": digest, "size": size,
                "revision": revision, "lastUpdateTime": now,
            },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Succeeded", "observedGeneration": 1,
                "message": format!("stored artifact for revision '{revision}'"), "lastTransitionTime": now,
            }],
        }));
        Ok(())
    }

    fn announce(&self, arena: &Arena) -> Result<()> {
        let status = self.status.as_ref().context("a commit was published")?;
        let gvk = GroupVersionKind::gvk("source.toolkit.fluxcd.io", "v1", "GitRepository");
        let mut resource = ApiResource::from_gvk(&gvk);
        "gitrepositories".clone_into(&mut resource.plural);
        let api = arena.api(&resource);
        let patch = Patch::Merge(json!({ "status": status }));
        let patched = arena
            .runtime()
            .block_on(api.patch_status(SOURCE, &PatchParams::default(), &patch))
            .context("write the status of the GitRepository")?;
        ensure!(
            patched.data["status"]["artifact"]["revision"] == status["artifact"]["revision"],
            "the GitRepository does not keep its status"
        );
        Ok(())
    }

    fn looks(&self) -> Result<Option<f64>> {
        Ok(None)
    }

    fn stop(&mut self) -> Result<()> {
        let status = self.process.terminate()?;
        ensure!(
            status.success(),
            "kustomize-controller ended with {status}: {}",
            self.process.log_tail()
        );
        Ok(())
    }
}
